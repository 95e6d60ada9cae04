package registry

import "runtime"

// AwaitWaiters waits until n callers wait for the download of a digest.
func (c *Cache) AwaitWaiters(d Digest, n int) {
	for {
		c.mu.Lock()
		f := c.flights[d]
		ok := f != nil && f.waiters == n
		c.mu.Unlock()
		if ok {
			return
		}
		runtime.Gosched()
	}
}
