package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	oras "oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// What a registry keeps under a repository.
const (
	kindManifests = "manifests"
	kindBlobs     = "blobs"
)

// get asks one place for a manifest or a blob and gives the answer's head and its body, which fails when it stalls. ref is
// what errors are about: the caller's reference, of which at may be a mirror. The caller closes the body.
func (c *Client) get(ctx context.Context, op string, ref, at Reference, kind, object string, header http.Header) (*http.Response, error) {
	host := oras.Reference{Registry: at.Registry}.Host() // docker.io is served by another host
	u := url.URL{Scheme: "https", Host: host, Path: "/v2/" + at.Repository + "/" + kind + "/" + object}
	if c.isPlainHTTP(at.Registry) {
		u.Scheme = "http"
	}
	subject := ref.subject(object)
	ctx = auth.AppendRepositoryScope(ctx, oras.Reference{Registry: at.Registry, Repository: at.Repository}, auth.ActionPull)
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		cancel(nil)
		return nil, &Error{Op: op, Subject: subject, Kind: ErrInvalidReference, Detail: err.Error(), Next: "check the reference", Err: err}
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Accept-Encoding", "identity") // digests are of the bytes as they travel
	resp, err := c.http.Do(req)
	if err != nil {
		err = requestError(ctx, op, subject, at.Registry, err)
		cancel(nil)
		return nil, err
	}
	// Errors have bodies, too, and those can stall as any other.
	resp.Body = newStallReader(ctx, cancel, resp.Body, c.stall, func(err error) error {
		return transferError(ctx, op, subject, at.Registry, err)
	})
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusPartialContent {
		defer resp.Body.Close()
		return nil, statusError(op, subject, at.Registry, resp)
	}
	return resp, nil
}

// subject is how an error names a manifest or a blob of the reference's repository.
func (r Reference) subject(object string) string {
	if object == r.object() {
		return r.String()
	}
	return r.InRepository().String() + "@" + object
}

// readBlob reads a small blob into memory. A size of 0 is one that is not known.
func (c *Client) readBlob(ctx context.Context, op string, ref Reference, digest Digest, size, limit int64) ([]byte, error) {
	want := Descriptor{Digest: digest, Size: size}
	return inTurn(ctx, ref, c.places(ref, true), func(at Reference) ([]byte, error) {
		return again(ctx, c, func() ([]byte, error) {
			resp, err := c.get(ctx, op, ref, at, kindBlobs, string(digest), nil)
			if err != nil {
				return nil, err
			}
			defer resp.Body.Close()
			return readVerified(op, ref.subject(string(digest)), resp.Body, resp.ContentLength, want, limit)
		})
	})
}

// again reads something small anew when its transfer was cut off; get has made its request again by itself.
func again[T any](ctx context.Context, c *Client, read func() (T, error)) (T, error) {
	for attempt := 0; ; attempt++ {
		got, err := read()
		var cut *cutError
		if err == nil || !errors.As(err, &cut) || ctx.Err() != nil {
			return got, err
		}
		wait, more := c.backoff.next(attempt, 0)
		if !more {
			return got, err
		}
		if serr := c.clock.Sleep(ctx, wait); serr != nil {
			return got, serr
		}
	}
}

// errStalled is the cause of a body's end when it sent nothing for too long.
var errStalled = errors.New("stalled")

// stallReader fails a body that sends nothing for a while, and tells the errors of the transfer in this package's words.
type stallReader struct {
	ctx     context.Context // the request's own, which the timer cancels
	cancel  context.CancelCauseFunc
	body    io.ReadCloser
	timer   *time.Timer
	timeout time.Duration
	wrap    func(error) error
	read    int64
	pace    pace
}

func newStallReader(ctx context.Context, cancel context.CancelCauseFunc, body io.ReadCloser, timeout time.Duration, wrap func(error) error) *stallReader {
	stalled := fmt.Errorf("%w: no byte for %s", errStalled, timeout)
	timer := time.AfterFunc(timeout, func() { cancel(stalled) })
	timer.Stop() // Read starts it
	return &stallReader{ctx: ctx, cancel: cancel, body: body, timer: timer, timeout: timeout, wrap: wrap}
}

func (r *stallReader) Read(p []byte) (int, error) {
	r.timer.Reset(r.timeout)
	start := time.Now()
	n, err := r.body.Read(p)
	// The consumer's own time, such as a slow disk, is not the registry's.
	r.timer.Stop()
	r.read += int64(n)
	if err == nil && r.pace.tooSlow(time.Since(start), n, r.timeout) {
		err = r.pace.err()
		r.cancel(err)
	}
	if err != nil && err != io.EOF {
		if cause := context.Cause(r.ctx); errors.Is(cause, errStalled) {
			err = cause
		}
		err = r.wrap(&cutError{read: r.read, err: err})
	}
	return n, err
}

// cutError is a body that broke off.
type cutError struct {
	read int64
	err  error
}

func (e *cutError) Error() string { return fmt.Sprintf("cut off after %d bytes: %v", e.read, e.err) }
func (e *cutError) Unwrap() error { return e.err }

func (r *stallReader) Close() error {
	r.timer.Stop()
	err := r.body.Close()
	r.cancel(nil)
	return err
}
