package registry

import (
	"context"
	"io"
	"sync"
)

// Memory that is used while a blob is copied: copyBuffers of copyBytes each.
const (
	copyBytes   = 128 << 10
	copyBuffers = 4
)

// buffers are used again: a pull would otherwise allocate most of what it does for them.
var buffers = sync.Pool{New: func() any { return new([copyBytes]byte) }}

// writeError tells a failed write of copyTo from a failed read.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }

// piece is what one read gave.
type piece struct {
	buf *[copyBytes]byte
	n   int
	err error // the last piece's: io.EOF, or how reading failed
}

// copyTo is copyUntil for readers that end by themselves.
func copyTo(ctx context.Context, w io.Writer, r io.Reader, progress func(int64)) error {
	return copyUntil(ctx, w, r, progress, nil)
}

// copyUntil copies until r ends, and stops when ctx does. It reads (and so verifies) and writes at the same time, since the
// network and the disk wait for different things. When a write fails, it waits for the read that is under way: whoever can
// end that does so in onWriteError, which may be nil. What was read before reading failed is written.
func copyUntil(ctx context.Context, w io.Writer, r io.Reader, progress func(int64), onWriteError func()) error {
	pieces := make(chan piece, copyBuffers-2) // one is being read, one written
	stop := make(chan struct{})
	go func() {
		defer close(pieces)
		for {
			p := piece{buf: buffers.Get().(*[copyBytes]byte)}
			if p.err = ctx.Err(); p.err == nil {
				p.n, p.err = fill(r, p.buf[:])
			}
			select {
			case pieces <- p:
			case <-stop:
				return
			}
			if p.err != nil {
				return
			}
		}
	}()
	var total int64
	for p := range pieces {
		if p.n > 0 {
			if _, err := w.Write(p.buf[:p.n]); err != nil {
				if onWriteError != nil {
					onWriteError()
				}
				close(stop)
				for range pieces { // until the reader has ended
				}
				return &writeError{err}
			}
			total += int64(p.n)
			progress(total)
		}
		buffers.Put(p.buf)
		if p.err == io.EOF {
			return nil
		}
		if p.err != nil {
			return p.err
		}
	}
	return io.ErrUnexpectedEOF // not reached: the last piece has an error
}

// fill reads until the buffer is full or the reader has ended; unlike io.ReadFull it gives the reader's own error.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}
