package registry

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
)

// flight is one download that any number of callers wait for.
type flight struct {
	source string        // where the bytes come from, for those who wait
	size   int64         // what its starter was told of their size
	cancel func()        // ends the download
	done   chan struct{} // closed when path and err are set

	// Guarded by Cache.mu.
	waiters   int
	abandoned bool

	// Progress has a lock of its own, taken after Cache.mu if both are, since it is held while callers' functions run.
	progressMu sync.Mutex
	progress   map[*Progress]struct{}

	path string
	err  error
}

// Opener opens the bytes of a blob from offset on, or from the beginning where that is all it can, and says at which offset
// they begin. It may be called again when they break off.
type Opener func(ctx context.Context, offset int64) (body io.ReadCloser, first int64, err error)

// Fetch gives the file of the blob, from the disk if a sound copy is there, else from open, whose bytes are verified.
// Callers who want the same digest at the same time share one download; it is given up when the last of them has gone.
//
// source names where open gets the bytes: a caller who waited for a download from another source that failed tries its
// own. limit bounds the blob; a want without a size takes any.
func (c *Cache) Fetch(ctx context.Context, want Descriptor, limit int64, source string, progress Progress, open Opener) (string, error) {
	if _, err := ParseDigest(string(want.Digest)); err != nil {
		return "", &Error{Op: "fetch", Subject: source, Kind: ErrInvalidReference, Detail: err.Error(), Next: "check the digest", Err: err}
	}
	for {
		f, leads := c.join(ctx, want, limit, source, &progress, open)
		path, err := c.wait(ctx, f, &progress)
		switch {
		case ctx.Err() != nil && path == "":
			return "", ctx.Err()
		case err == nil:
			return path, checkSize(path, source, want)
		case leads || f.source == source && f.size == want.Size:
			return "", err
		}
		// Somebody else's download failed, or was given up just before: have one of our own.
	}
}

// join finds the flight for the digest or starts one, and says whether it did.
func (c *Cache) join(ctx context.Context, want Descriptor, limit int64, source string, progress *Progress, open Opener) (*flight, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.flights[want.Digest]
	leads := f == nil || f.abandoned
	if leads {
		// The download belongs to all who wait: it outlives the caller who happened to start it.
		flightCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f = &flight{source: source, size: want.Size, cancel: cancel, done: make(chan struct{}), progress: map[*Progress]struct{}{}}
		c.flights[want.Digest] = f
		go c.fly(flightCtx, f, want, limit, open)
	}
	f.waiters++
	if *progress != nil {
		f.progressMu.Lock()
		f.progress[progress] = struct{}{}
		f.progressMu.Unlock()
	}
	return f, leads
}

// fly makes the download.
func (c *Cache) fly(ctx context.Context, f *flight, want Descriptor, limit int64, open Opener) {
	path, err := c.Path(want.Digest)
	if errors.Is(err, ErrNotCached) {
		path, err = c.download(ctx, f, want, limit, open)
	}
	f.cancel()
	c.mu.Lock()
	f.path, f.err = path, err
	if c.flights[want.Digest] == f {
		delete(c.flights, want.Digest)
	}
	c.mu.Unlock()
	close(f.done)
}

// tell tells all who wait how far the download is.
func (f *flight) tell(done, total int64) {
	f.progressMu.Lock()
	defer f.progressMu.Unlock()
	for p := range f.progress {
		(*p)(done, total)
	}
}

// wait waits for the flight's end or the caller's, whichever is first.
func (c *Cache) wait(ctx context.Context, f *flight, progress *Progress) (string, error) {
	var err error
	select {
	case <-f.done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	f.progressMu.Lock()
	delete(f.progress, progress)
	f.progressMu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.waiters--; f.waiters == 0 {
		f.abandoned = true
		f.cancel()
	}
	if err != nil {
		return "", err
	}
	return f.path, f.err
}

// checkSize compares a blob, whose digest is right, with the size that the caller was told.
func checkSize(path, source string, want Descriptor) error {
	if want.Size == 0 {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return &Error{Op: "fetch", Subject: source, Kind: ErrStorage, Detail: err.Error(), Next: "try again: the entry was removed just now", Err: err}
	}
	if info.Size() != want.Size {
		return sizeMismatch("fetch", source+"@"+string(want.Digest), want.Size, info.Size())
	}
	return nil
}
