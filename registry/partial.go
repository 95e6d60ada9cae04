package registry

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// partial is a blob that is being written. One that has a name for its digest (DIR/partial/HEX) stays when the transfer is
// cut off, and the next download goes on from there; whoever writes to it holds a lock on it, which ends with the process.
// Another process that wants the same blob meanwhile writes to a file of its own (DIR/tmp), which does not stay.
type partial struct {
	file  *os.File
	w     io.Writer // the file, or what a test put before it
	stays bool
	hash  hash.Hash
	n     int64 // bytes in the file, all of them in hash
}

// openPartial opens what there is of a blob, or begins anew. want says how much can be right of it at most.
func (c *Cache) openPartial(ctx context.Context, want Descriptor, limit int64) (*partial, error) {
	f, err := lockFile(c.partialPath(want.Digest))
	stays := err == nil
	if errors.Is(err, errLocked) {
		f, err = os.CreateTemp(c.tempDir(), "fetch-")
	}
	if err != nil {
		return nil, c.storageError("write", err)
	}
	p := &partial{file: f, w: c.writer(f), stays: stays, hash: sha256.New()}
	if err := p.readBack(ctx, want, limit); err != nil {
		p.drop()
		return nil, c.storageError("write", err)
	}
	return p, nil
}

// readBack takes into the hash what an earlier download has left in the file.
func (p *partial) readBack(ctx context.Context, want Descriptor, limit int64) error {
	info, err := p.file.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	if info.Size() > limit || want.Size > 0 && info.Size() > want.Size {
		return p.restart()
	}
	return copyTo(ctx, p.hash, p.file, func(n int64) { p.n = n })
}

// restart forgets what there is.
func (p *partial) restart() error {
	p.hash.Reset()
	p.n = 0
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return p.file.Truncate(0)
}

// leave closes the file; it stays for the next download where that can make use of it.
func (p *partial) leave() {
	if p.n == 0 {
		p.drop()
		return
	}
	if !p.stays {
		_ = os.Remove(p.file.Name()) // OpenCache clears it otherwise
	}
	_ = p.file.Close() // whoever goes on verifies it
}

// drop removes the file.
func (p *partial) drop() {
	_ = os.Remove(p.file.Name()) // while it is locked, so that nobody has begun to write to it
	_ = p.file.Close()
}

// keep makes the file the blob of its digest, which must have been verified.
func (c *Cache) keep(f *os.File, d Digest) (string, error) {
	path := c.blobPath(d)
	// Envoy may run as another user. The folder is the writer's alone.
	err := f.Chmod(0o644)
	if err == nil {
		err = c.flush(f)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = c.syncDir(c.blobsDir())
	}
	if err != nil {
		return "", c.storageError("write", err)
	}
	return path, nil
}

// download makes the download of a flight.
func (c *Cache) download(ctx context.Context, f *flight, want Descriptor, limit int64, open Opener) (string, error) {
	subject := f.source + "@" + string(want.Digest)
	if want.Size > limit {
		return "", tooLarge("fetch", subject, limit, want.Size)
	}
	p, err := c.openPartial(ctx, want, limit)
	if err != nil {
		return "", err
	}
	for {
		resumed := p.n > 0
		err := c.fill(ctx, f, p, subject, want, limit, open)
		switch {
		case err == nil:
			path, err := c.keep(p.file, want.Digest)
			if err != nil {
				_ = os.Remove(p.file.Name()) // it makes room at least
			}
			return path, err
		case errors.Is(err, ErrStorage):
			p.drop() // it makes room at least
			return "", err
		case ctx.Err() != nil, errors.Is(err, ErrUnavailable):
			p.leave()
			return "", err
		case !resumed:
			p.drop()
			return "", err
		}
		// What an earlier download left may be what is wrong.
		if err := p.restart(); err != nil {
			p.drop()
			return "", c.storageError("write", err)
		}
	}
}

// fill gets what is missing, and verifies the whole.
func (c *Cache) fill(ctx context.Context, f *flight, p *partial, subject string, want Descriptor, limit int64, open Opener) error {
	var rest io.Reader = io.MultiReader() // nothing, when all of it is there already
	var stop func()
	if want.Size == 0 || p.n < want.Size {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		stop = cancel
		body, first, err := open(ctx, p.n)
		if err != nil {
			return err
		}
		defer body.Close()
		if first != p.n {
			if err := p.restart(); err != nil {
				return c.storageError("write", err)
			}
		}
		rest = body
	}
	v := newVerifier("fetch", subject, rest, want, limit)
	v.hash, v.n = p.hash, p.n
	start, begun := p.n, p.n
	err := copyUntil(ctx, p.w, v, func(n int64) {
		p.n = start + n
		if p.n-begun >= writebackBytes {
			startWriteback(p.file, begun, p.n-begun)
			begun = p.n
		}
		f.tell(p.n, want.Size)
	}, stop)
	var we *writeError
	if errors.As(err, &we) {
		return c.storageError("write", we.err)
	}
	return err
}

// writebackBytes is how much is written before the disk is told to begin with it.
const writebackBytes = 2 << 20

// errLocked: another process, or another download of this one, has the file.
var errLocked = errors.New("locked")

// lockFile opens a file, which it makes if need be, and locks it until it is closed. Whoever holds the lock may remove or
// rename the file.
func lockFile(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := flock(f, syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			_ = f.Close() // nothing was written
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, errLocked
			}
			return nil, err
		}
		// Between opening and locking, whoever had it may have moved it away.
		mine, err := f.Stat()
		if err == nil {
			var there os.FileInfo
			if there, err = os.Stat(path); err == nil && os.SameFile(mine, there) {
				return f, nil
			}
		}
		_ = f.Close() // nothing was written
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
}

// flock is flock(2), made again when a signal comes between.
func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// clearPartials removes what downloads have left that nobody works on, if it is older than age, and gives the bytes.
func (c *Cache) clearPartials(age time.Duration) (freed int64) {
	files, err := os.ReadDir(c.partialDir())
	if err != nil {
		return 0 // there is none
	}
	for _, e := range files {
		info, err := e.Info()
		if err != nil || time.Since(info.ModTime()) < age {
			continue
		}
		f, err := lockFile(filepath.Join(c.partialDir(), e.Name()))
		if err != nil {
			continue // somebody works on it
		}
		if os.Remove(f.Name()) == nil {
			freed += info.Size()
		}
		_ = f.Close() // it is gone
	}
	return freed
}
