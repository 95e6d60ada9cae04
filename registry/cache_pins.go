package registry

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"
)

// Pin makes digests the ones that owner needs, in place of those that owner pinned before: call it without digests to
// let go. A pinned blob is never evicted, whether it is there yet or not, by this process or by another one that shares the
// folder. Owners are the caller's own names, such as "serving".
//
// Pins are written to the folder and outlive the process: the next one that opens the folder has them until it pins
// something else for the same owner. Programs that share a folder use different names, therefore. On an error the pins hold
// in this process all the same, and the next call writes them, although it is for the same digests; that it cannot either is no error, as it has been told.
func (c *Cache) Pin(owner string, digests ...Digest) error {
	set := make(map[Digest]bool, len(digests))
	for _, d := range digests {
		set[d] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	same := maps.Equal(c.pins[owner], set)
	if same && !c.unwritten {
		return nil
	}
	if c.pins[owner] = set; len(set) == 0 {
		delete(c.pins, owner)
	}
	if err := c.savePins(); err != nil && !same {
		return c.storageError("pin", err)
	}
	return nil
}

// savePins writes the pins under the folder's lock, so that a Trim that has already read the pins of others ends before this returns.
func (c *Cache) savePins() error {
	c.unwritten = true
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return c.writePins()
}

// Pinned says whether any owner pinned the digest, in this process or in another one.
func (c *Cache) Pinned(d Digest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	others, err := c.othersPins()
	return err != nil || others[d] || c.pinned(d)
}

func (c *Cache) pinned(d Digest) bool {
	for _, set := range c.pins {
		if set[d] {
			return true
		}
	}
	return false
}

// Entry is one blob of a cache.
type Entry struct {
	Digest   Digest
	Size     int64
	LastUsed time.Time
	Pinned   bool
}

// List gives the blobs, the least recently used first. It does not verify them.
func (c *Cache) List() ([]Entry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	others, err := c.othersPins()
	if err != nil {
		return nil, c.storageError("read the pins of another process", err)
	}
	return c.list(others)
}

func (c *Cache) list(others map[Digest]bool) ([]Entry, error) {
	files, err := os.ReadDir(c.blobsDir())
	if err != nil {
		return nil, c.storageError("list", err)
	}
	var entries []Entry
	for _, f := range files {
		d, err := ParseDigest(sha256Prefix + f.Name())
		if err != nil {
			continue // not ours
		}
		info, err := f.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, c.storageError("list", err)
		}
		entries = append(entries, Entry{Digest: d, Size: info.Size(), LastUsed: info.ModTime(), Pinned: others[d] || c.pinned(d)})
	}
	slices.SortFunc(entries, func(a, b Entry) int { return a.LastUsed.Compare(b.LastUsed) })
	return entries, nil
}

// Remove drops a blob that is neither pinned nor being fetched, and says whether it was there and is gone.
func (c *Cache) Remove(d Digest) (bool, error) {
	var gone bool
	err := c.evicting(func(others map[Digest]bool) (err error) {
		if others[d] || !d.Valid() {
			return nil
		}
		gone, err = c.remove(d)
		return err
	})
	return gone, err
}

// remove is called with both locks held.
func (c *Cache) remove(d Digest) (bool, error) {
	if c.pinned(d) || c.flights[d] != nil {
		return false, nil
	}
	err := os.Remove(c.blobPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, c.storageError("remove", err)
	}
	return true, nil
}

// evicting runs a removal under the locks that keep every process from pinning meanwhile. others are the pins of other
// processes; where those cannot be read, nothing is removed.
func (c *Cache) evicting(removal func(others map[Digest]bool) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	unlock, err := c.lock()
	if err != nil {
		return c.storageError("lock", err)
	}
	defer unlock()
	others, err := c.othersPins()
	if err != nil {
		return c.storageError("read the pins of another process, so nothing is removed", err)
	}
	return removal(others)
}

// Trim drops blobs, the least recently used first, until those that stay are at most maxBytes together, or all pinned. What
// is left of downloads that were cut off, and that nobody works on, goes first. It gives the number of bytes that it freed.
func (c *Cache) Trim(maxBytes int64) (freed int64, err error) {
	err = c.evicting(func(others map[Digest]bool) error {
		entries, err := c.list(others)
		if err != nil {
			return err
		}
		var total int64
		for _, e := range entries {
			total += e.Size
		}
		if total+c.partialBytes() > maxBytes {
			freed += c.clearPartials(0)
		}
		for _, e := range entries {
			if total <= maxBytes {
				break
			}
			if e.Pinned {
				continue
			}
			gone, err := c.remove(e.Digest)
			if err != nil {
				return err
			}
			if gone {
				freed += e.Size
				total -= e.Size
			}
		}
		return nil
	})
	return freed, err
}

func (c *Cache) partialBytes() (n int64) {
	files, err := os.ReadDir(c.partialDir())
	if err != nil {
		return 0 // there is none
	}
	for _, f := range files {
		if info, err := f.Info(); err == nil {
			n += info.Size()
		}
	}
	return n
}
