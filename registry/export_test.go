package registry

import (
	"io"
	"os"
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

// FailWritesAfter has each file take n bytes and then fail with err.
func (c *Cache) FailWritesAfter(n int, err error) {
	c.writer = func(w io.Writer) io.Writer { return &failingWriter{w: w, left: n, err: err} }
}

type failingWriter struct {
	w    io.Writer
	left int
	err  error
}

func (f *failingWriter) Write(p []byte) (int, error) {
	if len(p) > f.left {
		n, err := f.w.Write(p[:f.left]) // as a disk that has room for that much
		if f.left -= n; err == nil {
			err = f.err
		}
		return n, err
	}
	f.left -= len(p)
	return f.w.Write(p)
}

// OnFlush has each sync of a file or a folder told with its path, and fail where told gives an error.
func (c *Cache) OnFlush(told func(path string) error) {
	c.flush = func(f *os.File) error {
		if err := told(f.Name()); err != nil {
			return err
		}
		return f.Sync()
	}
}
