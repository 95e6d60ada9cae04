package registry

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// staleTempAge is how old a temporary file must be before OpenCache takes it for one that a dead process left behind.
// Other processes may be writing to the same folder.
const staleTempAge = 24 * time.Hour

// Cache keeps blobs on disk under their digest, in the layout of OCI's image layout: DIR/blobs/sha256/HEX.
//
// A blob is written to a temporary file, synced and renamed, so that a file under blobs is whole. It is verified again
// whenever it is asked for: one that the disk has damaged is dropped, and Fetch gets it anew. A download that was cut off
// is kept beside (DIR/partial), and the next one goes on from there.
//
// Any number of processes may share a folder, and may die at any moment. What they must not do at once they do under locks
// that the system takes back when a process ends. Pins are kept in the folder: Trim and Remove of one process take nothing
// that another one has pinned. A folder on a file system without flock(2) must not be shared.
//
// A Cache may be used by any number of goroutines. There is nothing to close.
type Cache struct {
	dir string
	// writer is the identity, and flush is os.File.Sync, but for tests of disks that fail.
	writer func(io.Writer) io.Writer
	flush  func(*os.File) error

	mu      sync.Mutex
	pins    map[string]map[Digest]bool // by owner
	pinFile *pinFile                   // nil until something is pinned
	// unwritten: the last write of pins failed. ended are the locks of caches that have ended, whose files of pins go when these are written.
	unwritten bool
	ended     []string
	flights   map[Digest]*flight
}

// OpenCache opens the cache in a folder, which it makes if need be, clears what interrupted writes left there, and takes over
// the pins of processes that have ended. It does not verify the blobs: that happens when they are used, or by Check. A full disk is no error: what is there
// can be read.
func OpenCache(dir string) (*Cache, error) {
	c := &Cache{
		dir: dir, pins: map[string]map[Digest]bool{}, flights: map[Digest]*flight{},
		writer: func(w io.Writer) io.Writer { return w }, flush: (*os.File).Sync,
	}
	for _, sub := range []string{c.blobsDir(), c.linksDir(), c.tempDir(), c.partialDir()} {
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return nil, c.storageError("open", err)
		}
	}
	entries, err := os.ReadDir(c.tempDir())
	if err != nil {
		return nil, c.storageError("open", err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > staleTempAge {
			_ = os.Remove(filepath.Join(c.tempDir(), e.Name())) // another process may have been faster
		}
	}
	c.clearPartials(staleTempAge)
	if err := c.inheritPins(); err != nil {
		return nil, err
	}
	return c, nil
}

// Dir is the folder that the cache was opened in.
func (c *Cache) Dir() string { return c.dir }

func (c *Cache) blobsDir() string { return filepath.Join(c.dir, "blobs", "sha256") }

// linksDir holds, for packed layers, which module they hold.
func (c *Cache) linksDir() string { return filepath.Join(c.dir, "links", "sha256") }
func (c *Cache) tempDir() string  { return filepath.Join(c.dir, "tmp") }

// partialDir holds downloads that were cut off, under their digests.
func (c *Cache) partialDir() string { return filepath.Join(c.dir, "partial") }
func (c *Cache) pinsDir() string    { return filepath.Join(c.dir, "pins") }

func (c *Cache) partialPath(d Digest) string { return filepath.Join(c.partialDir(), d.Hex()) }

func (c *Cache) blobPath(d Digest) string { return filepath.Join(c.blobsDir(), d.Hex()) }

// Path gives the file that holds the blob, after verifying its bytes. A blob that is not there is an ErrNotCached; so is one
// that the disk has damaged, which is dropped. The file stays until Trim or Remove takes it: pin what is in use. It must
// not be written to.
func (c *Cache) Path(d Digest) (string, error) {
	f, _, err := c.Open(d)
	if err != nil {
		return "", err
	}
	_ = f.Close() // only read
	return c.blobPath(d), nil
}

// Open opens the blob for reading, after verifying its bytes, and gives its size. Errors are those of Path. The caller
// closes the file; it can be read to its end even when the entry is removed meanwhile.
func (c *Cache) Open(d Digest) (*os.File, int64, error) {
	f, n, err := c.verified(d)
	if err == nil {
		now := time.Now()
		_ = os.Chtimes(c.blobPath(d), now, now) // the time of the last use, for Trim; a wrong one costs a download at most
	}
	return f, n, err
}

func (c *Cache) verified(d Digest) (*os.File, int64, error) {
	if _, err := ParseDigest(string(d)); err != nil {
		return nil, 0, &Error{Op: "cache", Subject: c.dir, Kind: ErrNotCached, Detail: err.Error(), Next: "check the digest", Err: err}
	}
	f, err := os.Open(c.blobPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, &Error{Op: "cache", Subject: string(d), Kind: ErrNotCached, Next: "fetch it first", Err: err}
	}
	if err != nil {
		return nil, 0, c.storageError("open", err)
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = f.Close() // only read
		return nil, 0, c.storageError("read", err)
	}
	if have := (&verifier{hash: h}).digest(); have != d {
		err := c.dropDamaged(f, d)
		_ = f.Close() // only read
		if err != nil {
			return nil, 0, c.storageError("drop a damaged entry", err)
		}
		return nil, 0, &Error{Op: "cache", Subject: string(d), Kind: ErrNotCached,
			Detail: "the copy on disk was damaged (it has " + have.Short() + ") and was dropped", Next: "fetch it again, and check the disk"}
	}
	return f, n, nil
}

// dropDamaged removes a blob, unless another process has put a sound one in its place meanwhile.
func (c *Cache) dropDamaged(f *os.File, d Digest) error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(c.blobPath(d))
	if err == nil && os.SameFile(mine, there) {
		err = os.Remove(c.blobPath(d))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Put stores the bytes that r gives, which must be those of want, and gives their file. A want without size takes any size,
// one without digest any bytes; limit bounds them in any case. Nothing is kept of what does not fit.
func (c *Cache) Put(ctx context.Context, want Descriptor, limit int64, r io.Reader) (Descriptor, string, error) {
	return c.put(ctx, "cache", string(want.Digest), want, limit, r, nil)
}

func (c *Cache) put(ctx context.Context, op, subject string, want Descriptor, limit int64, r io.Reader, progress Progress) (_ Descriptor, _ string, err error) {
	if want.Size > limit {
		return Descriptor{}, "", tooLarge(op, subject, limit, want.Size)
	}
	tmp, err := os.CreateTemp(c.tempDir(), "put-")
	if err != nil {
		return Descriptor{}, "", c.storageError("write", err)
	}
	defer func() {
		if err != nil {
			_ = tmp.Close()           // the first error is the one to tell
			_ = os.Remove(tmp.Name()) // OpenCache clears it otherwise
		}
	}()
	v := newVerifier(op, subject, r, want, limit)
	if err := copyTo(ctx, c.writer(tmp), v, func(n int64) {
		if progress != nil {
			progress(n, want.Size)
		}
	}); err != nil {
		var we *writeError
		if errors.As(err, &we) {
			return Descriptor{}, "", c.storageError("write", we.err)
		}
		return Descriptor{}, "", err
	}
	have := Descriptor{MediaType: want.MediaType, Digest: v.digest(), Size: v.n}
	path, err := c.keep(tmp, have.Digest)
	return have, path, err
}

// Check verifies every blob, and drops those that the disk has damaged, which it gives: they are fetched again when they
// are next asked for. It reads all of the cache.
func (c *Cache) Check(ctx context.Context) (dropped []Digest, err error) {
	entries, err := c.List()
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			return dropped, context.Cause(ctx)
		}
		f, _, err := c.verified(e.Digest)
		switch {
		case err == nil:
			_ = f.Close() // only read
		case !errors.Is(err, ErrNotCached):
			return dropped, err
		case !errors.Is(err, fs.ErrNotExist): // else another process has removed it meanwhile
			dropped = append(dropped, e.Digest)
		}
	}
	return dropped, nil
}

// syncDir makes the renames in a folder last.
func (c *Cache) syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return c.flush(d)
}

func (c *Cache) storageError(what string, err error) error {
	return &Error{Op: "cache", Subject: c.dir, Kind: ErrStorage, Detail: fmt.Sprintf("%s: %v", what, err),
		Next: "check that the folder can be written to and the disk is not full", Err: err}
}
