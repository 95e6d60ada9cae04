package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// issuer is one that signs with real keys.
type issuer struct {
	*httptest.Server
	mu     sync.Mutex
	keys   []jose.JSONWebKey
	asked  int
	broken bool
}

func newIssuer(t *testing.T) *issuer {
	i := &issuer{}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.asked++
		if i.broken {
			http.Error(w, "no", http.StatusInternalServerError)
			return
		}
		// Others than those that are known here are among them (RFC 7517, section 5).
		keys := []any{map[string]string{"kty": "OKP", "crv": "X25519", "x": "aaaa"}, map[string]string{"kty": "AKP", "alg": "ML-DSA-44", "pub": "aaaa"}}
		for _, k := range i.keys {
			keys = append(keys, k)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": keys})
	})
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) publish(keys ...jose.JSONWebKey) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = nil
	for _, k := range keys {
		i.keys = append(i.keys, k.Public())
	}
}

func (i *issuer) timesAsked() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

func ecKey(t *testing.T, id string) jose.JSONWebKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return jose.JSONWebKey{Key: k, KeyID: id, Algorithm: string(jose.ES256), Use: "sig"}
}

func sign(t *testing.T, algorithm jose.SignatureAlgorithm, key any, claims map[string]any) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jwt.Signed(s).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// clock is a time that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestVerify(t *testing.T) {
	i := newIssuer(t)
	key, other := ecKey(t, "one"), ecKey(t, "one")
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rs := jose.JSONWebKey{Key: rsaKey, KeyID: "rsa", Use: "sig"}
	i.publish(key, rs)
	c := &clock{now: time.Now()}
	v := NewVerifier(Issuer{URL: i.URL, Audience: "waft", UserClaim: "email", GroupsClaim: "groups"}, c.time)
	good := func(change map[string]any) map[string]any {
		claims := map[string]any{
			"iss": i.URL, "aud": []string{"other", "waft"}, "sub": "1", "email": "ann@example.org", "groups": []any{"sre", 7, "dev"},
			"exp": c.now.Add(time.Hour).Unix(), "iat": c.now.Unix(),
		}
		for k, v := range change {
			if claims[k] = v; v == nil {
				delete(claims, k)
			}
		}
		return claims
	}
	for name, tc := range map[string]struct {
		raw  string
		says string // empty: it counts
	}{
		"good":                      {sign(t, jose.ES256, key, good(nil)), ""},
		"by another key of it":      {sign(t, jose.RS256, rs, good(nil)), ""},
		"no key id":                 {sign(t, jose.ES256, key.Key, good(nil)), ""},
		"one audience":              {sign(t, jose.ES256, key, good(map[string]any{"aud": "waft"})), ""},
		"expired a little":          {sign(t, jose.ES256, key, good(map[string]any{"exp": c.now.Add(-30 * time.Second).Unix()})), ""},
		"expired":                   {sign(t, jose.ES256, key, good(map[string]any{"exp": c.now.Add(-2 * time.Minute).Unix()})), "expired at"},
		"no end":                    {sign(t, jose.ES256, key, good(map[string]any{"exp": nil})), "no end"},
		"not yet":                   {sign(t, jose.ES256, key, good(map[string]any{"nbf": c.now.Add(2 * time.Minute).Unix()})), "future"},
		"issued in the future":      {sign(t, jose.ES256, key, good(map[string]any{"iat": c.now.Add(2 * time.Minute).Unix()})), "future"},
		"for somebody else":         {sign(t, jose.ES256, key, good(map[string]any{"aud": "other"})), "audience"},
		"for nobody":                {sign(t, jose.ES256, key, good(map[string]any{"aud": nil})), "audience"},
		"of another issuer":         {sign(t, jose.ES256, key, good(map[string]any{"iss": i.URL + "/"})), "issuer"},
		"of no issuer":              {sign(t, jose.ES256, key, good(map[string]any{"iss": nil})), "issuer"},
		"by a stranger":             {sign(t, jose.ES256, other, good(nil)), "not signed by a key"},
		"by a stranger, no id":      {sign(t, jose.ES256, other.Key, good(nil)), "not signed by a key"},
		"the public key's HMAC":     {sign(t, jose.HS256, rsaKey.N.Bytes(), good(nil)), "no JSON Web Token"},
		"another algorithm":         {sign(t, jose.PS256, jose.JSONWebKey{Key: rsaKey, KeyID: "one"}, good(nil)), "not signed by a key"},
		"unsigned":                  {"eyJhbGciOiJub25lIn0.e30.", "no JSON Web Token"},
		"no token":                  {"hunter2", "no JSON Web Token"},
		"nothing":                   {"", "no JSON Web Token"},
		"too long":                  {strings.Repeat("a", MaxTokenBytes+1), "more than"},
		"no user":                   {sign(t, jose.ES256, key, good(map[string]any{"email": nil})), "names no user"},
		"a user who is a list":      {sign(t, jose.ES256, key, good(map[string]any{"email": []string{"a"}})), "names no user"},
		"a user with a newline":     {sign(t, jose.ES256, key, good(map[string]any{"email": "a\nlevel=INFO"})), "names no user"},
		"not verified":              {sign(t, jose.ES256, key, good(map[string]any{"email_verified": false})), "not verified"},
		"not verified, in a string": {sign(t, jose.ES256, key, good(map[string]any{"email_verified": "false"})), "not verified"},
		"maybe verified":            {sign(t, jose.ES256, key, good(map[string]any{"email_verified": 1})), "not verified"},
		"verified, in a string":     {sign(t, jose.ES256, key, good(map[string]any{"email_verified": "true"})), ""},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := v.Verify(t.Context(), tc.raw)
			if tc.says == "" {
				if err != nil || token.User != "ann@example.org" || !slices.Equal(token.Groups, []string{"sre", "dev"}) {
					t.Errorf("%+v, %v", token, err)
				}
				return
			}
			if !errors.Is(err, ErrToken) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%v; want %q", err, tc.says)
			}
			if tc.raw != "" && strings.Contains(err.Error(), tc.raw) {
				t.Errorf("the token is in %v", err)
			}
		})
	}
}

// Keys come and go, and nobody can have the issuer asked more often than is right.
func TestKeysRotate(t *testing.T) {
	i := newIssuer(t)
	one, two, stranger := ecKey(t, "one"), ecKey(t, "two"), ecKey(t, "three")
	c := &clock{now: time.Now()}
	v := NewVerifier(Issuer{URL: i.URL, Audience: "waft", UserClaim: "sub"}, c.time)
	by := func(key jose.JSONWebKey) error {
		_, err := v.Verify(t.Context(), sign(t, jose.ES256, key, map[string]any{"iss": i.URL, "aud": "waft", "sub": "ann", "exp": c.time().Add(time.Hour).Unix()}))
		return err
	}
	step := func(what string, key jose.JSONWebKey, kind error, asked int) {
		t.Helper()
		if err := by(key); !errors.Is(err, kind) || i.timesAsked() != asked {
			t.Errorf("%s: %v, asked %d times; want %v, %d", what, err, i.timesAsked(), kind, asked)
		}
	}
	i.publish(one)
	step("the first", one, nil, 1)
	step("again", one, nil, 1)
	i.publish(two)
	step("a new key, at once", two, ErrToken, 1)
	c.advance(askEvery + time.Second)
	step("a new key", two, nil, 2)
	step("the old key is withdrawn", one, ErrToken, 2)
	for range 20 {
		step("a stranger's key", stranger, ErrToken, 2)
	}
	c.advance(askEvery + time.Second)
	step("a stranger's key, later", stranger, ErrToken, 3)
	i.publish(one)
	c.advance(keysFor + time.Second)
	step("a withdrawn key, after a while", two, ErrToken, 4)
	// An issuer that is away keeps nobody out for a while.
	i.mu.Lock()
	i.broken = true
	i.mu.Unlock()
	c.advance(keysFor + time.Second)
	step("the issuer is away", one, nil, 5)
	c.advance(staleFor)
	step("the issuer is away for long", one, ErrUnavailable, 6)
	i.mu.Lock()
	i.broken = false
	i.mu.Unlock()
	c.advance(askEvery + time.Second)
	step("the issuer is back", one, nil, 7)
}

func TestManyAtOnceAskOnce(t *testing.T) {
	i := newIssuer(t)
	key := ecKey(t, "one")
	i.publish(key)
	v := NewVerifier(Issuer{URL: i.URL, Audience: "waft", UserClaim: "sub"}, nil)
	raw := sign(t, jose.ES256, key, map[string]any{"iss": i.URL, "aud": "waft", "sub": "ann", "exp": time.Now().Add(time.Hour).Unix()})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := v.Verify(t.Context(), raw); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := i.timesAsked(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewVerifier(Issuer{URL: i.URL + "/other", Audience: "waft", UserClaim: "sub"}, nil).Verify(gone, raw); !errors.Is(err, ErrUnavailable) {
		t.Errorf("who has gone: %v", err)
	}
}

// What an issuer says is not taken for granted.
func TestIssuersThatLie(t *testing.T) {
	answer := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, answer) }))
	defer server.Close()
	raw := sign(t, jose.ES256, ecKey(t, "one"), map[string]any{"iss": server.URL})
	for name, said := range map[string]string{
		"another issuer": `{"issuer": "https://else.example", "jwks_uri": "` + server.URL + `/keys"}`,
		"no TLS":         `{"issuer": "` + server.URL + `", "jwks_uri": "http://192.0.2.1/keys"}`,
		"a secret":       `{"issuer": "` + server.URL + `", "jwks_uri": "` + server.URL + `/keys", "keys": [{"kty": "oct", "k": "AAAA"}]}`,
		"too much":       strings.Repeat(" ", maxAnswerBytes+1),
		"no JSON":        "<html>",
	} {
		t.Run(name, func(t *testing.T) {
			answer = said
			if _, err := NewVerifier(Issuer{URL: server.URL, Audience: "waft", UserClaim: "sub"}, nil).Verify(t.Context(), raw); !errors.Is(err, ErrUnavailable) {
				t.Errorf("%v", err)
			}
		})
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("eyJhbGciOiJFUzI1NiJ9.e30.AAAA")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, raw string) {
		key := ecKey(t, "one")
		v := &Verifier{issuer: Issuer{URL: "https://issuer.example", Audience: "waft", UserClaim: "sub"}, now: time.Now, keys: &keySet{
			now: time.Now, fetched: time.Now(), asked: time.Now(), keys: []jose.JSONWebKey{key.Public()},
		}}
		if _, err := v.Verify(t.Context(), raw); err == nil {
			t.Errorf("%q counts", raw)
		}
	})
}
