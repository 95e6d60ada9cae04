package registry

import (
	"runtime"
	"testing"
)

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

// LockFile locks a file as another process would.
func LockFile(t testing.TB, path string) (unlock func()) {
	t.Helper()
	f, err := lockFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return func() { _ = f.Close() }
}
