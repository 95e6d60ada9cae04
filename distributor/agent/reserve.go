package agent

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
	// While it is taken, nobody else on the disk is to find it full.
	var disk syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(r.path), &disk); err == nil && disk.Bavail*uint64(disk.Bsize) < 2*reserveBytes {
		return fmt.Errorf("take %d bytes of %s: less than twice that is free: %w", reserveBytes, filepath.Dir(r.path), syscall.ENOSPC)
	}
	room := make([]byte, reserveBytes)
	_, _ = rand.Read(room) // it does not fail; a file system that compresses would give what repeats no room
	return wholefile.Replace(r.path, room)
}

// full says whether an error is of a disk, or a share of it, that is full.
func full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// spend gives the room up, and says whether there was any and err is of a full disk.
func (r *reserve) spend(err error) bool {
	if !full(err) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return os.Remove(r.path) == nil
}

// try does something that Envoy would be left without the good chain without: where the disk is full, once more with the room given up.
func (r *reserve) try(do func() error) error {
	err := do()
	if r.spend(err) {
		err = do()
	}
	return err
}
