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

// stallBody closes the body under a read that takes too long, which ends it.
type stallBody struct {
	io.ReadCloser
	timeout time.Duration
	stalled atomic.Bool
}

func (b *stallBody) Read(p []byte) (int, error) {
	timer := time.AfterFunc(b.timeout, func() {
		b.stalled.Store(true)
		_ = b.ReadCloser.Close() // the read tells
	})
	n, err := b.ReadCloser.Read(p)
	timer.Stop()
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
