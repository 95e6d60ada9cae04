package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Locks, in the order in which they are taken: Cache.mu, then the folder's lock (DIR/lock), then that of one file of pins.
// The folder's lock is held for as long as pins are written or blobs are removed, by any process; nothing is transferred
// meanwhile.

// lock takes the folder's lock, which is between processes and between the caches of one process.
func (c *Cache) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(c.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := flock(f, syscall.LOCK_EX); err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return func() { _ = f.Close() }, nil // which gives the lock back
}

// pinFile is where this Cache keeps its pins: DIR/pins/ID.json. As long as DIR/pins/ID.lock is locked, whoever made it lives.
type pinFile struct {
	path string
	lock *os.File
}

const (
	pinSuffix  = ".json"
	lockSuffix = ".lock"
	// maxPinBytes is the size of a file of pins.
	maxPinBytes = 16 << 20
)

// writePins writes the pins of this Cache, and removes the files of those that have ended, which it has taken over. It is called with the folder's lock.
func (c *Cache) writePins() error {
	c.unwritten = true
	if c.pinFile == nil {
		if err := os.MkdirAll(c.pinsDir(), 0o755); err != nil {
			return err
		}
		lock, err := os.CreateTemp(c.pinsDir(), fmt.Sprintf("%d-*%s", os.Getpid(), lockSuffix))
		if err != nil {
			return err
		}
		if err := flock(lock, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			_ = lock.Close() // nothing was written
			return err
		}
		c.pinFile = &pinFile{path: strings.TrimSuffix(lock.Name(), lockSuffix) + pinSuffix, lock: lock}
	}
	owners := map[string][]Digest{}
	for owner, set := range c.pins {
		for d := range set {
			owners[owner] = append(owners[owner], d)
		}
		slices.Sort(owners[owner])
	}
	data, err := json.Marshal(owners)
	if err != nil {
		return err
	}
	if err := c.writeSmall(c.pinFile.path, data); err != nil {
		return err
	}
	c.unwritten = false
	c.removeEnded()
	return nil
}

// removeEnded removes the files of caches that have ended. It is called with the folder's lock.
func (c *Cache) removeEnded() {
	for _, path := range c.ended {
		if ended(path) { // another process may have removed it
			_ = os.Remove(strings.TrimSuffix(path, lockSuffix) + pinSuffix) // what is left holds too much, and nothing else
			_ = os.Remove(path)
		}
	}
	c.ended = nil
}

// ended says whether the lock of a file of pins is there, and nobody holds it. It is called with the folder's lock, which keeps others from looking.
func ended(path string) bool {
	lock, err := os.Open(path)
	if err != nil {
		return false // gone meanwhile
	}
	defer lock.Close()
	return flock(lock, syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// writeSmall writes a small file: whole or not at all, whatever happens.
func (c *Cache) writeSmall(path string, data []byte) error {
	tmp, err := os.CreateTemp(c.tempDir(), "small-")
	if err != nil {
		return err
	}
	_, err = c.writer(tmp).Write(data)
	if err == nil {
		err = c.flush(tmp)
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err == nil {
		err = c.syncDir(filepath.Dir(path))
	}
	if err != nil {
		_ = os.Remove(tmp.Name()) // OpenCache clears it otherwise
	}
	return err
}

// othersPins are the pins of the other caches of the folder, of those that live and of those that have ended.
func (c *Cache) othersPins() (map[Digest]bool, error) {
	files, err := os.ReadDir(c.pinsDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	pins := map[Digest]bool{}
	for _, f := range files {
		path := filepath.Join(c.pinsDir(), f.Name())
		if !strings.HasSuffix(path, pinSuffix) || c.pinFile != nil && path == c.pinFile.path {
			continue
		}
		owners, err := readPins(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // another process has just taken it over; whoever removes something holds the folder's lock
		}
		if err != nil {
			return nil, err
		}
		for _, digests := range owners {
			for _, d := range digests {
				pins[d] = true
			}
		}
	}
	return pins, nil
}

func readPins(path string) (map[string][]Digest, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var owners map[string][]Digest
	if err := json.NewDecoder(io.LimitReader(f, maxPinBytes)).Decode(&owners); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return owners, nil
}

// inheritPins takes over the pins of caches that have ended, so that a program that starts again finds its blobs.
func (c *Cache) inheritPins() error {
	if _, err := os.Stat(c.pinsDir()); errors.Is(err, fs.ErrNotExist) {
		return nil // the common case of a folder that has no pins
	}
	unlock, err := c.lock()
	if err != nil {
		return c.storageError("lock", err)
	}
	defer unlock()
	locks, err := filepath.Glob(filepath.Join(c.pinsDir(), "*"+lockSuffix))
	if err != nil {
		return c.storageError("read pins", err)
	}
	for _, path := range locks {
		if !ended(path) {
			continue
		}
		// Files of pins are written whole. Where the disk has damaged one, there is no better course than to have its program
		// pin again what it needs, as it does when it starts.
		owners, _ := readPins(strings.TrimSuffix(path, lockSuffix) + pinSuffix)
		for owner, digests := range owners {
			if c.pins[owner] == nil {
				c.pins[owner] = map[Digest]bool{}
			}
			for _, d := range digests {
				c.pins[owner][d] = true
			}
		}
		c.ended = append(c.ended, path)
	}
	if len(c.pins) == 0 {
		c.removeEnded()
		return nil
	}
	_ = c.writePins() // on a full disk they stay in the files of those that have ended, where everybody sees them, until Pin can write, or the next that opens
	return nil
}
