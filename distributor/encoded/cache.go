package encoded

import "sync"

// MaxCached bounds what a Cache keeps, in bytes, keys included.
const MaxCached = 32 << 20

// Cache keeps encodings that many messages share, by what they say, so that what goes to a thousand nodes is encoded once. What was not used for longest goes
// first. The zero value is ready. It may be used concurrently.
type Cache struct {
	// making is held while something is encoded: a thousand nodes that are told at once must not have it encoded a thousand times. It is taken before mu.
	making sync.Mutex

	mu sync.Mutex
	// young and old are two generations: what is used moves to young; when young is full it becomes old, and old goes.
	young, old map[string][]byte
	youngBytes int
}

// Get gives what is kept by a key, of which it keeps a copy. Where there is nothing, encode makes it, for all who wait for it, and it is kept; its error is Get's, and is not.
// The bytes must not be changed.
func (c *Cache) Get(key []byte, encode func() ([]byte, error)) ([]byte, error) {
	if b := c.find(key); b != nil {
		return b, nil
	}
	c.making.Lock()
	defer c.making.Unlock()
	if b := c.find(key); b != nil {
		return b, nil // somebody else was first
	}
	b, err := encode()
	if err != nil {
		return nil, err
	}
	c.Keep(string(key), b)
	return b, nil
}

// Find gives what is kept by a key; nil where there is nothing. The bytes must not be changed.
func (c *Cache) Find(key string) []byte { return c.find([]byte(key)) }

// Keep keeps an encoding by a key. It must not be changed any more. It is for what takes long to make: whoever waits for that in Get keeps all others waiting.
func (c *Cache) Keep(key string, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keep(key, b)
}

// Len is how many encodings are kept.
func (c *Cache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.young) + len(c.old)
}

// find makes no string of the key, where it can.
func (c *Cache) find(key []byte) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.young[string(key)]
	if b == nil {
		if b = c.old[string(key)]; b != nil {
			c.keep(string(key), b)
		}
	}
	return b
}

// keep is called with mu held.
func (c *Cache) keep(key string, b []byte) {
	size := len(key) + len(b)
	if c.youngBytes+size > MaxCached/2 {
		c.old, c.young, c.youngBytes = c.young, nil, 0
	}
	if c.young == nil {
		c.young = map[string][]byte{}
	}
	if c.young[key] == nil {
		c.youngBytes += size
	}
	c.young[key] = b
}
