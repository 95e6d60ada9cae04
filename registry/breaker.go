package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// How a registry that fails is left alone.
const (
	// breakerThreshold is how many requests to a registry must fail, one after the other, before it is left alone.
	breakerThreshold = 5
	// breakerFirstPause is how long it is left alone at first; each failed probe doubles that.
	breakerFirstPause = time.Second
	// breakerMaxPause bounds the pause: a registry that came back is used again no later than this.
	breakerMaxPause = 10 * time.Second
	// maxCircuits is how many hosts that fail are remembered.
	maxCircuits = 1024
)

// circuit is what is remembered of one host that fails. A host that works has none.
//
//	closed   failures < breakerThreshold: requests pass
//	open     until the time in until: requests fail at once
//	probing  after that: one request passes, and decides; the others fail at once
type circuit struct {
	failures int
	pauses   int // how often it was opened since it last worked
	open     bool
	probing  bool
	until    time.Time
	cause    error
}

// openError is a request that was not made, since its registry has just failed.
type openError struct {
	host    string
	until   time.Time
	now     time.Time
	probing bool
	cause   error
}

func (e *openError) Error() string {
	when := "another request is trying it right now"
	if !e.probing {
		when = fmt.Sprintf("it is left alone until %s (%s)", e.until.UTC().Format("15:04:05Z"), e.until.Sub(e.now).Round(time.Millisecond))
	}
	return fmt.Sprintf("%s is not asked: %s, since it failed: %v", e.host, when, e.cause)
}

// breakers keep a client from asking registries that do not work. It may be used by any number of goroutines.
type breakers struct {
	clock  Clock
	random func() float64

	mu    sync.Mutex
	hosts map[string]*circuit
}

// allow says whether a host may be asked now. Whoever was let through must tell succeeded, failed or released.
func (b *breakers) allow(host string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.hosts[host]
	if c == nil || !c.open {
		return nil
	}
	now := b.clock.Now()
	if now.Before(c.until) || c.probing {
		return &openError{host: host, until: c.until, now: now, probing: !now.Before(c.until), cause: c.cause}
	}
	c.probing = true
	return nil
}

// answered: a head came that is no failure. The body may still break; so of a host that was being tried one more failure
// is enough.
func (b *breakers) answered(host string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.hosts[host]; c != nil && c.open {
		c.open, c.probing, c.failures = false, false, breakerThreshold-1
	}
}

// succeeded: an answer came whole. The failures before it are forgotten.
func (b *breakers) succeeded(host string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.hosts, host)
}

// released: whoever asked went away before it was known how it would end.
func (b *breakers) released(host string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.hosts[host]; c != nil {
		c.probing = false
	}
}

// circuit is that of a host, a new one where it has none. The caller holds the lock.
func (b *breakers) circuit(host string) *circuit {
	c := b.hosts[host]
	if c == nil {
		if len(b.hosts) >= maxCircuits {
			clear(b.hosts) // they are counted anew; nothing else is lost
		}
		c = &circuit{}
		b.hosts[host] = c
	}
	return c
}

// failed: no answer, a broken one, or one that says that the registry does not work. after is how long the registry asked
// to be left alone, 0 if it did not.
func (b *breakers) failed(host string, cause error, after time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.circuit(host)
	c.failures++
	c.cause = cause
	if c.failures < breakerThreshold && !c.open {
		return
	}
	if c.open && !c.probing {
		return // one that was under way when the circuit opened
	}
	b.pause(c, after)
}

// rest: the registry works, and asks to be left alone for longer than a request would wait.
func (b *breakers) rest(host string, cause error, after time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.circuit(host)
	c.cause = cause
	b.pause(c, after)
}

func (b *breakers) pause(c *circuit, after time.Duration) {
	d := breakerMaxPause
	if c.pauses < 4 { // 1, 2, 4, 8 s
		d = breakerFirstPause << c.pauses
	}
	d = jitter(d, b.random)
	c.open, c.probing, c.until = true, false, b.clock.Now().Add(min(max(d, after), breakerMaxPause))
	c.pauses++
}

// breakerTransport asks breakers before each request, and tells them how it ended.
type breakerTransport struct {
	next http.RoundTripper
	b    *breakers
}

func (t *breakerTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	host := req.URL.Host
	if err := t.b.allow(host); err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // as http.RoundTripper must
		}
		return nil, err
	}
	resp, err := t.next.RoundTrip(req)
	switch {
	case err != nil:
		t.ended(req.Context(), host, err)
		return nil, err
	case serverFailed(resp.StatusCode):
		after, _ := retryAfter(resp, t.b.clock.Now())
		t.b.failed(host, fmt.Errorf("it answered %d", resp.StatusCode), after)
		return resp, nil
	case resp.StatusCode == http.StatusTooManyRequests:
		if after, ok := retryAfter(resp, t.b.clock.Now()); ok && after > maxRetryAfter {
			t.b.rest(host, fmt.Errorf("it answered 429 and asked for %s of rest", after), after)
			return resp, nil
		}
	}
	t.b.answered(host)
	if resp.Body == nil || resp.Body == http.NoBody {
		t.b.succeeded(host)
		return resp, nil
	}
	resp.Body = &watchedBody{ReadCloser: resp.Body, t: t, ctx: req.Context(), host: host}
	return resp, nil
}

// ended tells how a request ended that brought no answer, or half of one.
func (t *breakerTransport) ended(ctx context.Context, host string, err error) {
	switch {
	case errors.Is(context.Cause(ctx), errStalled):
		t.b.failed(host, context.Cause(ctx), 0)
	case errors.Is(ctx.Err(), context.Canceled), distrusted(err):
		t.b.released(host)
	default: // a caller's deadline counts: there was no answer in that time
		t.b.failed(host, err, 0)
	}
}

// serverFailed says whether a status means that the registry does not work.
func serverFailed(status int) bool {
	return status >= http.StatusInternalServerError && status != http.StatusNotImplemented
}

// watchedBody tells the breakers whether a body came whole.
type watchedBody struct {
	io.ReadCloser
	t    *breakerTransport
	ctx  context.Context // the request's
	host string
	told bool
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !b.told {
		b.told = true
		if err == io.EOF {
			b.t.b.succeeded(b.host)
		} else {
			b.t.ended(b.ctx, b.host, err)
		}
	}
	return n, err
}
