package agent

import (
	"bytes"
	"errors"
	"os"
	"sync"
	"syscall"

	"github.com/waft-project/waft/wholefile"
)

// reserveBytes is how much of the disk is kept for going back to the good chain while the disk is full: the slots' files, the bootstrap and the state, twice over.
const reserveBytes = 4 << 20

// reserve is room on the disk of the state folder that is given up where an Envoy would be left without the good chain else. Its methods may be used concurrently.
type reserve struct {
	path string
	mu   sync.Mutex
}

// keep takes the room, where there is so much and it is not taken yet.
func (r *reserve) keep() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if info, err := os.Stat(r.path); err == nil && info.Size() == reserveBytes {
		return nil
	}
	return wholefile.Replace(r.path, bytes.Repeat([]byte("waft"), reserveBytes/4))
}

// spend gives the room up, and says whether there was any and err is of a full disk.
func (r *reserve) spend(err error) bool {
	if !errors.Is(err, syscall.ENOSPC) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return os.Remove(r.path) == nil
}
