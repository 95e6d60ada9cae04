package registry

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Pin makes digests the ones that owner needs, in place of those that owner pinned before: call it without digests to
// let go. A pinned blob is never evicted, whether it is there yet or not. Owners are the caller's own names, such as
// "serving". Pins live as long as the process.
func (c *Cache) Pin(owner string, digests ...Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(digests) == 0 {
		delete(c.pins, owner)
		return
	}
	set := make(map[Digest]bool, len(digests))
	for _, d := range digests {
		set[d] = true
	}
	c.pins[owner] = set
}

// Pinned says whether any owner pinned the digest.
func (c *Cache) Pinned(d Digest) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pinned(d)
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
	files, err := os.ReadDir(c.blobsDir())
	if err != nil {
		return nil, c.storageError("list", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
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
		entries = append(entries, Entry{Digest: d, Size: info.Size(), LastUsed: info.ModTime(), Pinned: c.pinned(d)})
	}
	slices.SortFunc(entries, func(a, b Entry) int { return a.LastUsed.Compare(b.LastUsed) })
	return entries, nil
}

// Remove drops a blob that is neither pinned nor being fetched, and says whether it was there and is gone.
func (c *Cache) Remove(d Digest) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.remove(d)
}

func (c *Cache) remove(d Digest) (bool, error) {
	if c.pinned(d) || c.flights[d] != nil || !d.Valid() {
		return false, nil
	}
	err := os.Remove(filepath.Join(c.blobsDir(), d.Hex()))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, c.storageError("remove", err)
	}
	return true, nil
}

// Trim drops blobs, the least recently used first, until those that stay are at most maxBytes together, or all pinned. It
// gives the number of bytes that it freed.
func (c *Cache) Trim(maxBytes int64) (freed int64, err error) {
	entries, err := c.List()
	if err != nil {
		return 0, err
	}
	var total int64
	for _, e := range entries {
		total += e.Size
	}
	for _, e := range entries {
		if total-freed <= maxBytes {
			break
		}
		gone, err := c.Remove(e.Digest)
		if err != nil {
			return freed, err
		}
		if gone {
			freed += e.Size
		}
	}
	return freed, nil
}
