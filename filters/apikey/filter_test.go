package main

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

func hashOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// keys are those of two clients, one of them with a second key that ends a minute after the tests begin.
var keys = `"keys":[{"client":"ann","sha256":"` + hashOf("ann-key") + `"},{"client":"ann","sha256":"` + hashOf("ann-old") + `","notAfter":"2026-01-01T00:01:00Z"},` +
	`{"client":"bob","sha256":"` + strings.ToUpper(hashOf("bob-key")) + `"}]`

func TestDecisions(t *testing.T) {
	t.Parallel()
	const everywhere = `,"from":[{"header":"X-Api-Key"},{"header":"authorization","scheme":"Bearer"},{"query":"key"}]`
	const rules = `,"rules":[{"match":{"path":{"prefix":"/open"}},"config":{"public":true}},{"match":{"path":{"prefix":"/bobs"}},"config":{"clients":["bob"]}}]`
	for _, tc := range []struct {
		name, config, path string
		headers            []sdk.Header
		denied             reason
		client, upstream   string
	}{
		{"a key", "", "/", sdktest.Headers("x-api-key", "ann-key"), "", "ann", "/"},
		{"another key", "", "/", sdktest.Headers("x-api-key", "bob-key"), "", "bob", "/"},
		{"no key", "", "/", nil, reasonNoKey, "", ""},
		{"an unknown key", "", "/", sdktest.Headers("x-api-key", "ann-kez"), reasonUnknown, "", ""},
		{"a key in parts", "", "/", sdktest.Headers("x-api-key", "ann-key "), reasonUnknown, "", ""},
		{"the hash is no key", "", "/", sdktest.Headers("x-api-key", hashOf("ann-key")), reasonUnknown, "", ""},
		{"an empty key", "", "/", sdktest.Headers("x-api-key", ""), reasonUnknown, "", ""},
		{"too long a key", "", "/", sdktest.Headers("x-api-key", strings.Repeat("a", maxKeyBytes+1)), reasonUnknown, "", ""},
		{"two keys", "", "/", sdktest.Headers("x-api-key", "ann-key", "x-api-key", "bob-key"), reasonManyKeys, "", ""},
		{"two keys in two places", everywhere, "/?key=ann-key", sdktest.Headers("x-api-key", "ann-key"), reasonManyKeys, "", ""},
		{"by scheme", everywhere, "/", sdktest.Headers("authorization", "bearer  ann-key"), "", "ann", "/"},
		{"another scheme", everywhere, "/", sdktest.Headers("authorization", "Basic ann-key"), reasonNoKey, "", ""},
		{"by query", everywhere, "/a?b=c&key=ann%2Dkey&d", nil, "", "ann", "/a?b=c&d"},
		{"by query alone", everywhere, "/a?key=ann-key", nil, "", "ann", "/a"},
		{"twice in the query", everywhere, "/a?key=ann-key&key=ann-key", nil, reasonManyKeys, "", ""},
		{"bad encoding", everywhere, "/a?key=%zz", nil, reasonUnknown, "", ""},
		{"the client's own word", "", "/", sdktest.Headers("x-api-key", "ann-key", "x-client-id", "bob", "x_client_id", "bob"), "", "ann", "/"},
		{"public", rules, "/open/a", sdktest.Headers("x-client-id", "bob", "x-client_id", "bob"), "", "", "/open/a"},
		{"another client's", rules, "/bobs", sdktest.Headers("x-api-key", "ann-key"), reasonClient, "", ""},
		{"the client's", rules, "/bobs/a", sdktest.Headers("x-api-key", "bob-key"), "", "bob", "/bobs/a"},
		{"no rule", rules, "/else", sdktest.Headers("x-api-key", "ann-key"), "", "ann", "/else"},
		{"no rule, no key", rules, "/else", nil, reasonNoKey, "", ""},
		{"not public by an odd path", rules, "/open/../else", nil, reasonNoKey, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := sdktest.New(t, configure, "{"+keys+tc.config+"}")
			got := f.Do(sdktest.Request{Path: tc.path, Headers: tc.headers})
			if tc.denied != "" {
				if got.Upstream != nil || got.Details != "apikey_"+string(tc.denied) {
					t.Fatalf("upstream %v, details %s", got.Upstream, got.Details)
				}
				if n := f.Metric(sdk.MetricName("apikey.denied", sdk.Tag{Name: "reason", Value: string(tc.denied)})); n != 1 {
					t.Errorf("counted %d", n)
				}
				return
			}
			if got.Upstream == nil {
				t.Fatalf("denied: %s", got.Details)
			}
			if client := got.Upstream.Get("x-client-id"); client != tc.client || got.Upstream.Has("x_client_id") || got.Upstream.Has("x-client_id") {
				t.Errorf("the client is %q, want %q: %v", client, tc.client, got.Upstream.Headers)
			}
			if path := got.Upstream.Get(":path"); path != tc.upstream {
				t.Errorf("the path is %s, want %s", path, tc.upstream)
			}
			if tc.client != "" && (got.Upstream.Has("x-api-key") || got.Upstream.Has("authorization")) {
				t.Error("the upstream got the key")
			}
		})
	}
}

func TestKeysEnd(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, "{"+keys+"}")
	old := sdktest.Request{Headers: sdktest.Headers("x-api-key", "ann-old")}
	if got := f.Do(old); got.Upstream == nil {
		t.Errorf("before its end: %s", got.Details)
	}
	f.Advance(61 * time.Second)
	if got := f.Do(old); got.Details != "apikey_expired_key" {
		t.Errorf("after its end: %s", got.Details)
	}
}

func TestKeepKey(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, "{"+keys+`,"keepKey":true}`)
	if got := f.Do(sdktest.Request{Headers: sdktest.Headers("x-api-key", "ann-key")}); got.Upstream == nil || !got.Upstream.Has("x-api-key") {
		t.Errorf("%+v", got)
	}
}

// Nothing that is logged or answered holds a key.
func TestKeysStaySecret(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, "{"+keys+"}")
	got := f.Do(sdktest.Request{Headers: sdktest.Headers("x-api-key", "almost-ann-key")})
	if text := strings.Join(f.Logs(), "\n") + got.Response.Body; strings.Contains(text, "ann-key") {
		t.Errorf("it says %q", text)
	}
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, config, want string }{
		{"no keys", `{}`, "keys: required field is missing"},
		{"an empty list", `{"keys":[]}`, "keys: it is empty"},
		{"a key itself", `{"keys":[{"client":"a","sha256":"secret"}]}`, "keys[0].sha256: want the 64 hexadecimal digits of a SHA-256 hash, got 6 characters"},
		{"no digits", `{"keys":[{"client":"a","sha256":"` + strings.Repeat("x", 64) + `"}]}`, "keys[0].sha256: want hexadecimal digits"},
		{"the empty key", `{"keys":[{"client":"a","sha256":"` + hashOf("") + `"}]}`, "it is the hash of the empty key"},
		{"one key of two", `{"keys":[{"client":"a","sha256":"` + hashOf("k") + `"},{"client":"b","sha256":"` + hashOf("k") + `"}]}`, "keys[1].sha256: this key is there already"},
		{"a client with a line break", `{"keys":[{"client":"a\nb","sha256":"` + hashOf("k") + `"}]}`, "keys[0].client: "},
		{"two places in one", "{" + keys + `,"from":[{"header":"a","query":"b"}]}`, "from[0]: want exactly one of header and query"},
		{"no place", "{" + keys + `,"from":[{}]}`, "from[0]: want exactly one"},
		{"a place twice", "{" + keys + `,"from":[{"header":"a"},{"header":"A"}]}`, "from[1]: it is there already"},
		{"scheme of a query", "{" + keys + `,"from":[{"query":"a","scheme":"b"}]}`, "from[0].scheme: counts for a header only"},
		{"odd parameter", "{" + keys + `,"from":[{"query":"a=b"}]}`, "from[0].query: "},
		{"public for some", "{" + keys + `,"default":{"public":true,"clients":["ann"]}}`, "default.public: excludes clients"},
		{"unknown client", "{" + keys + `,"rules":[{"match":{},"config":{"clients":["eve"]}}]}`, `rules[0].config.clients[0]: no key is of the client "eve"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := sdktest.Configure(t, configure, tc.config)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

// FuzzQuery wants the parameter to be gone, and all else to stay as it was.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{"/", "/a?key=1", "/a?b&key=1&c=2", "/?", "/?&", "/?key", "/?key=1&key=2", "/?a=key=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		rest := withoutQuery(path, "key")
		if len(queryValues(rest, "key")) > 0 {
			t.Errorf("%q becomes %q, which still has the key", path, rest)
		}
		if len(queryValues(path, "key")) == 0 && rest != path && path != rest+"?" {
			t.Errorf("%q has no key and becomes %q", path, rest)
		}
	})
}
