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

// get asks for a manifest or a blob and gives the answer's head and its body, which fails when it stalls. The caller
// closes the body.
func (c *Client) get(ctx context.Context, op string, ref Reference, kind, object, accept string) (*http.Response, error) {
	host := oras.Reference{Registry: ref.Registry}.Host() // docker.io is served by another host
	u := url.URL{Scheme: "https", Host: host, Path: "/v2/" + ref.Repository + "/" + kind + "/" + object}
	if c.isPlainHTTP(ref.Registry) {
		u.Scheme = "http"
	}
	subject := ref.InRepository().String() + "@" + object
	if object == ref.object() {
		subject = ref.String()
	}
	ctx = auth.AppendRepositoryScope(ctx, oras.Reference{Registry: ref.Registry, Repository: ref.Repository}, auth.ActionPull)
	ctx, cancel := context.WithCancelCause(ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		cancel(nil)
		return nil, &Error{Op: op, Subject: subject, Kind: ErrInvalidReference, Detail: err.Error(), Next: "check the reference", Err: err}
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	req.Header.Set("Accept-Encoding", "identity") // digests are of the bytes as they travel
	resp, err := c.http.Do(req)
	if err != nil {
		err = requestError(ctx, op, subject, ref.Registry, err)
		cancel(nil)
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		defer cancel(nil)
		defer resp.Body.Close()
		return nil, statusError(op, subject, ref.Registry, resp)
	}
	resp.Body = newStallReader(ctx, cancel, resp.Body, c.stall, func(err error) error {
		return transferError(ctx, op, subject, ref.Registry, err)
	})
	return resp, nil
}

// readBlob reads a small blob into memory. A size of 0 is one that is not known.
func (c *Client) readBlob(ctx context.Context, op string, ref Reference, digest Digest, size, limit int64) ([]byte, error) {
	resp, err := c.get(ctx, op, ref, kindBlobs, string(digest), "")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return readVerified(op, ref.InRepository().String()+"@"+string(digest), resp.Body, resp.ContentLength, Descriptor{Digest: digest, Size: size}, limit)
}

// openBlob gives the body of a blob that is still to be verified.
func (c *Client) openBlob(ctx context.Context, op string, ref Reference, want Descriptor) (io.ReadCloser, error) {
	resp, err := c.get(ctx, op, ref, kindBlobs, string(want.Digest), "")
	if err != nil {
		return nil, err
	}
	if n := resp.ContentLength; n >= 0 && want.Size > 0 && n != want.Size {
		_ = resp.Body.Close() // nothing of it is used
		return nil, sizeMismatch(op, ref.InRepository().String()+"@"+string(want.Digest), want.Size, n)
	}
	return resp.Body, nil
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
}

func newStallReader(ctx context.Context, cancel context.CancelCauseFunc, body io.ReadCloser, timeout time.Duration, wrap func(error) error) *stallReader {
	stalled := fmt.Errorf("%w: no byte for %s", errStalled, timeout)
	timer := time.AfterFunc(timeout, func() { cancel(stalled) })
	timer.Stop() // Read starts it
	return &stallReader{ctx: ctx, cancel: cancel, body: body, timer: timer, timeout: timeout, wrap: wrap}
}

func (r *stallReader) Read(p []byte) (int, error) {
	r.timer.Reset(r.timeout)
	n, err := r.body.Read(p)
	// The consumer's own time, such as a slow disk, is not the registry's.
	r.timer.Stop()
	r.read += int64(n)
	if err != nil && err != io.EOF {
		if cause := context.Cause(r.ctx); errors.Is(cause, errStalled) {
			err = cause
		}
		err = r.wrap(fmt.Errorf("cut off after %d bytes: %w", r.read, err))
	}
	return n, err
}

func (r *stallReader) Close() error {
	r.timer.Stop()
	err := r.body.Close()
	r.cancel(nil)
	return err
}
