package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// How a request is made again.
const (
	// DefaultRetries is how often a request is made again when the registry answers 408, 429 or 5xx, or none at all, and
	// how often a download goes on without having come further.
	DefaultRetries = 3
	// retryFirstWait is how long it is waited before the second attempt; it doubles for each further one.
	retryFirstWait = 100 * time.Millisecond
	// retryMaxWait bounds the wait that nobody asked for.
	retryMaxWait = 3 * time.Second
	// maxRetryAfter bounds the wait that a registry asks for by Retry-After. A request that would have to wait longer fails.
	maxRetryAfter = 10 * time.Second
)

// backoff decides how long to wait before a request is made again.
type backoff struct {
	retries int
	random  func() float64
}

// next says whether there is another attempt after attempt (0 is the first), and how long to wait for it. after is what the
// registry asked for, 0 if it asked for nothing; a registry is never asked again before that.
func (b backoff) next(attempt int, after time.Duration) (time.Duration, bool) {
	if attempt >= b.retries || after > maxRetryAfter {
		return 0, false
	}
	d := retryMaxWait
	if attempt < 5 { // 0.1, 0.2, 0.4, 0.8, 1.6 s
		d = min(retryFirstWait<<attempt, retryMaxWait)
	}
	return max(jitter(d, b.random), after), true
}

// jitter takes up to a half off a wait, so that those who failed together do not come back together.
func jitter(d time.Duration, random func() float64) time.Duration {
	return d/2 + time.Duration(random()*float64(d/2))
}

// retryAfter reads the header of that name: seconds or a date.
// https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
func retryAfter(resp *http.Response, now time.Time) (time.Duration, bool) {
	text := strings.TrimSpace(resp.Header.Get("Retry-After"))
	if text == "" {
		return 0, false
	}
	const most = 1 << 31 // seconds; more would overflow
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Duration(min(max(n, 0), most)) * time.Second, true
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0), true
	}
	return 0, false
}

// retryTransport makes a request again when that may help.
type retryTransport struct {
	next    http.RoundTripper
	backoff backoff
	clock   Clock
}

func (t *retryTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	for attempt := 0; ; attempt++ {
		resp, err := t.next.RoundTrip(req)
		var after time.Duration
		switch {
		case err != nil:
			if !worthRetrying(ctx, err) {
				return nil, err
			}
		case resp.StatusCode == http.StatusRequestTimeout, resp.StatusCode == http.StatusTooManyRequests, serverFailed(resp.StatusCode):
			after, _ = retryAfter(resp, t.clock.Now())
		default:
			return resp, nil
		}
		wait, again := t.backoff.next(attempt, after)
		if again && req.Body != nil && req.Body != http.NoBody {
			again = req.GetBody != nil // else it is gone
		}
		if !again {
			return resp, err
		}
		if resp != nil {
			drain(resp.Body)
		}
		if err := t.clock.Sleep(ctx, wait); err != nil {
			return nil, err
		}
		if req.Body != nil && req.GetBody != nil {
			body, err := req.GetBody()
			if err != nil {
				return nil, err
			}
			req = req.Clone(ctx)
			req.Body = body
		}
	}
}

// drain reads the rest of an answer that is not used, so that its connection can be used again, and closes it. It takes
// neither many bytes nor long: a new connection costs less.
func drain(body io.ReadCloser) {
	const maxBytes, maxTime = 64 << 10, time.Second
	timer := time.AfterFunc(maxTime, func() { _ = body.Close() })
	_, _ = io.CopyN(io.Discard, body, maxBytes)
	timer.Stop()
	_ = body.Close() // nothing of it is used
}

// worthRetrying says whether a request that got no answer may get one later.
func worthRetrying(ctx context.Context, err error) bool {
	var open *openError
	var dns *net.DNSError
	return ctx.Err() == nil && !distrusted(err) && !errors.As(err, &open) && (!errors.As(err, &dns) || !dns.IsNotFound)
}

// distrusted says whether a request failed because the other side is not trusted: that is no failure of the registry, and
// trying again does not help.
func distrusted(err error) bool {
	var cert *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	return errors.As(err, &cert) || errors.As(err, &authority) || errors.Is(err, http.ErrSchemeMismatch) || errors.Is(err, ErrUntrusted)
}
