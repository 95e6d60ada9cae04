package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// stallTransport fails bodies that send nothing for a while, whoever reads them: oras-go reads some, those of errors among them.
type stallTransport struct {
	next    http.RoundTripper
	timeout time.Duration
}

func (t *stallTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil && req.Body != http.NoBody {
		ctx, cancel := context.WithCancelCause(req.Context())
		body := &sentBody{ReadCloser: req.Body, timeout: t.timeout}
		body.timer = time.AfterFunc(t.timeout, func() { cancel(fmt.Errorf("%w: it took no byte for %s", errStalled, t.timeout)) })
		defer body.timer.Stop()
		req = req.WithContext(ctx)
		req.Body = body
	}
	resp, err := t.next.RoundTrip(req)
	if err == nil && resp.Body != nil && resp.Body != http.NoBody {
		resp.Body = &stallBody{ReadCloser: resp.Body, timeout: t.timeout}
	}
	return resp, err
}

// pace holds a body to MinBytesPerSecond, of the time that is spent in its reads: the consumer's own time, such as a slow disk's, is not the
// registry's. The zero value is ready; it is used by one goroutine at a time.
type pace struct {
	waited time.Duration
	bytes  int64
}

// tooSlow takes note of a read, and says whether the body has been too slow since it last kept the pace.
func (p *pace) tooSlow(took time.Duration, n int, timeout time.Duration) bool {
	p.waited += took
	p.bytes += int64(n)
	if p.waited < timeout {
		return false
	}
	if float64(p.bytes) < MinBytesPerSecond*p.waited.Seconds() {
		return true
	}
	*p = pace{}
	return false
}

func (p *pace) err() error {
	return fmt.Errorf("%w: %d bytes in %s, and less than %d a second is taken for none", errStalled, p.bytes, p.waited.Round(time.Millisecond), MinBytesPerSecond)
}

// stallBody closes the body under a read that takes too long, which ends it.
type stallBody struct {
	io.ReadCloser
	timeout time.Duration
	stalled atomic.Bool
	pace    pace
}

func (b *stallBody) Read(p []byte) (int, error) {
	timer := time.AfterFunc(b.timeout, func() {
		b.stalled.Store(true)
		_ = b.ReadCloser.Close() // the read tells
	})
	start := time.Now()
	n, err := b.ReadCloser.Read(p)
	timer.Stop()
	if err == nil && b.pace.tooSlow(time.Since(start), n, b.timeout) {
		_ = b.Close() // no more is read of it
		return n, b.pace.err()
	}
	if err != nil && err != io.EOF && b.stalled.Load() {
		err = fmt.Errorf("%w: no byte for %s", errStalled, b.timeout)
	}
	return n, err
}

// sentBody is a request's body; its timer runs while what was read of it is being sent.
type sentBody struct {
	io.ReadCloser
	timeout time.Duration
	timer   *time.Timer
}

func (b *sentBody) Read(p []byte) (int, error) {
	b.timer.Stop()
	n, err := b.ReadCloser.Read(p)
	if err == nil {
		b.timer.Reset(b.timeout)
	}
	return n, err
}
