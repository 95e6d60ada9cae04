package service

import (
	"sync"

	"github.com/waft-project/waft/distributor/model"
)

// maxSealedBytes is how much of sealed values is kept in memory, in bytes; beyond it the cache begins anew.
const maxSealedBytes = 32 << 20

// sealedValues keeps values of secrets as the store has them, sealed, so that a fleet that connects at once reads each once. Nothing in it can be read without a key. The zero value
// is ready. It may be used concurrently.
type sealedValues struct {
	mu    sync.Mutex
	known map[model.SecretRef][]byte
	size  int
	// turn rises when something is dropped: what was read before that is not kept.
	turn int
}

// get gives a sealed value; read reads it where it is not known.
func (c *sealedValues) get(ref model.SecretRef, read func() ([]byte, error)) ([]byte, error) {
	c.mu.Lock()
	sealed, known := c.known[ref]
	turn := c.turn
	c.mu.Unlock()
	if known {
		return sealed, nil
	}
	sealed, err := read()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.known[ref]; known || turn != c.turn {
		return sealed, nil
	}
	if c.known == nil || c.size+len(sealed) > maxSealedBytes {
		c.known, c.size = map[model.SecretRef][]byte{}, 0
	}
	c.known[ref] = sealed
	c.size += len(sealed)
	return sealed, nil
}

// drop forgets one.
func (c *sealedValues) drop(ref model.SecretRef) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn++
	c.size -= len(c.known[ref])
	delete(c.known, ref)
}
