package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/auth"
)

// When bearer tokens are fetched anew.
const (
	// defaultTokenLife is how long a token lives whose service does not say.
	// https://distribution.github.io/distribution/spec/auth/token/#token-response-fields
	defaultTokenLife = 60 * time.Second
	// tokenMargin is how long before its end a token is no longer used: a request may be under way for a while before
	// its token is looked at. Of a token that lives shortly, the last quarter is left.
	tokenMargin = 30 * time.Second
	// maxTokens is how many tokens are kept: one for each registry and set of scopes.
	maxTokens = 1024
	// maxTokenBytes is the size of a token service's answer.
	maxTokenBytes = 1 << 20
)

// tokenKey names a token.
type tokenKey struct {
	registry string
	scheme   auth.Scheme
	scopes   string
}

type token struct {
	text  string
	until time.Time // zero: it does not end
	fetch func(context.Context) (string, error)
}

// tokens is an auth.Cache whose tokens end: one that is about to is fetched again before it is used. oras-go's own keeps a
// token until the registry refuses it, by which time an upload may have been sent in vain.
type tokens struct {
	clock Clock

	fetching singleflight.Group

	mu      sync.Mutex
	schemes map[string]auth.Scheme
	kept    map[tokenKey]token
}

func newTokens(clock Clock) *tokens {
	return &tokens{clock: clock, schemes: map[string]auth.Scheme{}, kept: map[tokenKey]token{}}
}

// GetScheme is auth.Cache's.
func (t *tokens) GetScheme(_ context.Context, registry string) (auth.Scheme, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	scheme, ok := t.schemes[registry]
	if !ok {
		return auth.SchemeUnknown, errdef.ErrNotFound
	}
	return scheme, nil
}

// GetToken is auth.Cache's.
func (t *tokens) GetToken(ctx context.Context, registry string, scheme auth.Scheme, scopes string) (string, error) {
	key := tokenKey{registry, scheme, scopes}
	t.mu.Lock()
	have, ok := t.kept[key]
	if ok && (have.until.IsZero() || t.clock.Now().Before(have.until)) {
		t.mu.Unlock()
		return have.text, nil
	}
	delete(t.kept, key)
	t.mu.Unlock()
	if !ok {
		return "", errdef.ErrNotFound
	}
	text, err := t.Set(ctx, registry, scheme, scopes, have.fetch)
	if err != nil {
		return "", errdef.ErrNotFound // the registry will say anew what it wants
	}
	return text, nil
}

// Set is auth.Cache's.
func (t *tokens) Set(ctx context.Context, registry string, scheme auth.Scheme, scopes string, fetch func(context.Context) (string, error)) (string, error) {
	key := tokenKey{registry, scheme, scopes}
	result := t.fetching.DoChan(registry+"\x00"+scheme.String()+"\x00"+scopes, func() (any, error) {
		// It is fetched for all who wait: the one who came first may leave.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), HeaderTimeout)
		defer cancel()
		var life tokenLife
		text, err := fetch(context.WithValue(ctx, tokenLifeKey{}, &life))
		if err != nil {
			return "", err
		}
		t.keep(key, token{text: text, until: life.until(t.clock.Now()), fetch: fetch})
		return text, nil
	})
	select {
	case r := <-result:
		if r.Err != nil {
			return "", r.Err
		}
		return r.Val.(string), nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func (t *tokens) keep(key tokenKey, fresh token) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.kept) >= maxTokens {
		clear(t.kept) // they can be had again
		clear(t.schemes)
	}
	t.schemes[key.registry] = key.scheme
	t.kept[key] = fresh
}

// tokenLife is how long a fetched token lives; seen is false for one that no service gave (basic authentication).
type tokenLife struct {
	seen bool
	life time.Duration
}

func (l tokenLife) until(now time.Time) time.Time {
	if !l.seen {
		return time.Time{}
	}
	return now.Add(l.life - min(tokenMargin, l.life/4))
}

// tokenLifeKey is the context's key under which Set asks tokenTransport for a *tokenLife.
type tokenLifeKey struct{}

// tokenTransport reads of an answer to a request for a token how long that lives; oras-go does not tell.
type tokenTransport struct{ next http.RoundTripper }

func (t *tokenTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	life, asked := req.Context().Value(tokenLifeKey{}).(*tokenLife)
	if err != nil || !asked || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxTokenBytes))
	_ = resp.Body.Close() // all that counts was read
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	*life = tokenLife{seen: true, life: readTokenLife(body)}
	return resp, nil
}

// readTokenLife reads expires_in, in seconds, of a token service's answer.
func readTokenLife(body []byte) time.Duration {
	var answer struct {
		ExpiresIn json.Number `json:"expires_in"`
	}
	const most = 365 * 24 * time.Hour
	if json.Unmarshal(body, &answer) == nil {
		if n, err := strconv.ParseFloat(answer.ExpiresIn.String(), 64); err == nil {
			if life := time.Duration(min(max(n, 0), most.Seconds()) * float64(time.Second)); life > 0 {
				return life
			}
		}
	}
	return defaultTokenLife
}
