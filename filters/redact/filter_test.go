package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

const both = `{"default":{"messages":["request","response"],"fields":["password"],"patterns":["card","email"],"maxBodyBytes":64}}`

func TestBodies(t *testing.T) {
	t.Parallel()
	typed := func(kind string) []sdk.Header { return sdktest.Headers("content-type", kind, "content-length", "9") }
	for _, tc := range []struct {
		name, kind, in, want string
		refused              reason
	}{
		{"JSON", "application/json; charset=utf-8", `{"password":"x","to":"a@b.example"}`, `{"password":"[redacted]","to":"[redacted]"}`, ""},
		{"another JSON", "application/problem+json", `{"password":1}`, `{"password":"[redacted]"}`, ""},
		{"text", "text/plain", "password a@b.example", "password [redacted]", ""},
		{"no type", "", "a@b.example", "[redacted]", ""},
		{"an image", "image/png", "a@b.example", "a@b.example", ""},
		{"no JSON after all", "application/json", "a@b.example", "", reasonMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := sdktest.New(t, configure, both)
			got := f.Do(sdktest.Request{Method: "POST", Headers: typed(tc.kind), Chunks: []string{tc.in[:3], tc.in[3:]}, Upstream: sdktest.Response{Headers: typed(tc.kind), Chunks: []string{tc.in[:5], tc.in[5:]}}})
			if tc.refused != "" {
				if got.Upstream != nil || got.Response.Status() != 400 || got.Details != "redact_"+string(tc.refused) {
					t.Errorf("status %d, details %s", got.Response.Status(), got.Details)
				}
				return
			}
			if got.Upstream == nil || got.Upstream.Body != tc.want || got.Response.Body != tc.want {
				t.Fatalf("upstream %+v, response %q, want %q", got.Upstream, got.Response.Body, tc.want)
			}
			if tc.in != tc.want && (got.Upstream.Has("content-length") || got.Response.Has("content-length")) {
				t.Error("the length of before is still there")
			}
		})
	}
}

func TestResponsesThatCannotBeLookedAt(t *testing.T) {
	t.Parallel()
	const config = `{"default":{"patterns":["email"],"maxBodyBytes":64}}`
	compressed := sdktest.New(t, configure, config).Do(sdktest.Request{Upstream: sdktest.Response{Headers: sdktest.Headers("content-type", "text/html", "content-encoding", "gzip"), Body: "zip"}})
	if compressed.Response.Status() != 502 || compressed.Response.Body == "zip" || compressed.Details != "redact_encoded" {
		t.Errorf("compressed: %+v", compressed)
	}
	malformed := sdktest.New(t, configure, config).Do(sdktest.Request{Upstream: sdktest.Response{Headers: sdktest.Headers("content-type", "application/json"), Body: "a@b.example"}})
	if !malformed.Reset || strings.Contains(malformed.Response.Body, "example") {
		t.Errorf("malformed: %+v", malformed)
	}
	long := sdktest.New(t, configure, config).Do(sdktest.Request{Upstream: sdktest.Response{Headers: sdktest.Headers("content-type", "text/plain"), Body: strings.Repeat("a@b.example ", 9)}})
	if !long.Reset || strings.Contains(long.Response.Body, "example") {
		t.Errorf("long: %+v", long)
	}
	identity := sdktest.New(t, configure, config).Do(sdktest.Request{Upstream: sdktest.Response{Headers: sdktest.Headers("content-type", "text/plain", "content-encoding", "identity"), Body: "a@b.example"}})
	if identity.Response.Body != "[redacted]" {
		t.Errorf("identity: %+v", identity)
	}
}

func TestRequestsThatCannotBeLookedAt(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, both)
	if got := f.Do(sdktest.Request{Method: "POST", Headers: sdktest.Headers("content-type", "application/json", "content-encoding", "br"), Body: "x"}); got.Response.Status() != 415 || got.Upstream != nil {
		t.Errorf("compressed: %d", got.Response.Status())
	}
	if got := f.Do(sdktest.Request{Method: "POST", Headers: sdktest.Headers("content-type", "text/plain"), Body: strings.Repeat("x", 65)}); got.Response.Status() != 413 || got.Upstream != nil {
		t.Errorf("long: %d", got.Response.Status())
	}
	if n := f.Metric(sdk.MetricName("redact.refused", sdk.Tag{Name: "reason", Value: "encoded"})); n != 1 {
		t.Errorf("counted %d", n)
	}
}

func TestEncodingsAreNotOffered(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, `{"default":{"patterns":["email"]},"rules":[{"match":{"path":{"prefix":"/raw"}},"config":{"messages":["request"],"patterns":["email"]}}]}`)
	if got := f.Do(sdktest.Request{Headers: sdktest.Headers("accept-encoding", "gzip")}); got.Upstream.Has("accept-encoding") {
		t.Error("the upstream may compress")
	}
	got := f.Do(sdktest.Request{Path: "/raw", Headers: sdktest.Headers("accept-encoding", "gzip"), Upstream: sdktest.Response{Headers: sdktest.Headers("content-encoding", "gzip"), Body: "zip"}})
	if !got.Upstream.Has("accept-encoding") || got.Response.Body != "zip" {
		t.Errorf("a policy about requests changes responses: %+v", got)
	}
}

// Whatever the pieces are in which a body comes: it is looked at whole.
func TestBordersOfChunks(t *testing.T) {
	t.Parallel()
	const in = "DE89 3704 0044 0532 0130 00, 078-05-1120, +1 (415) 555-2671, 192.0.2.17, 2001:db8::17, eyJhbGciOiJub25lIn0.e30., Bearer 0123456789abcdef, ORD-123456, ann@shop.example, 4111 1111 1111 1111"
	want := strings.Repeat("#, ", 6) + "Bearer #, #, #, #"
	config := `{"default":{"messages":["request","response"],"patterns":["` + strings.Join(names(), `","`) + `"],"expressions":[{"name":"order","regex":"ORD-[0-9]{6}"}],"replacement":"#"}}`
	for size := 1; size <= len(in); size = size*3 + 1 {
		f := sdktest.New(t, configure, config)
		var chunks []string
		for chunk := range slices.Chunk([]byte(in), size) {
			chunks = append(chunks, string(chunk))
		}
		text := sdktest.Headers("content-type", "text/plain")
		got := f.Do(sdktest.Request{Method: "POST", Headers: text, Chunks: chunks, Upstream: sdktest.Response{Headers: text, Chunks: chunks}})
		if got.Upstream == nil || got.Upstream.Body != want || got.Response.Body != want {
			t.Errorf("in chunks of %d: upstream %+v, response %q", size, got.Upstream, got.Response.Body)
		}
		for _, kind := range append(names(), "order") {
			if n := f.Metric(sdk.MetricName("redact.replaced", sdk.Tag{Name: "kind", Value: kind})); n != 2 {
				t.Errorf("%s was counted %d times, want 2", kind, n)
			}
		}
	}
}

func TestLogPath(t *testing.T) {
	t.Parallel()
	p, err := compilePolicy("", &Policy{LogPath: true, Query: []string{"token"}, Patterns: []string{"card", "email"}, Replacement: "[x]"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ in, want string }{
		{"/a", "/a"},
		{"/a?b=c&d", "/a?b=c&d"},
		{"/a?token=1&b=c", "/a?token=%5Bx%5D&b=c"},
		{"/a?tok%65n=1", "/a?tok%65n=%5Bx%5D"},
		{"/a?%zz=1", "/a?%zz=%5Bx%5D"},
		{"/a?q=ann@b.example", "/a?q=%5Bx%5D"},
		{"/a?q=ann%40b.example", "/a?q=%5Bx%5D"},
		{"/a?q=4111+1111+1111+1111", "/a?q=%5Bx%5D"},
		{"/users/ann@b.example/x", "/users/%5Bx%5D/x"},
	} {
		got := p.cleanPath(tc.in)
		if got != tc.want {
			t.Errorf("%s becomes %s, want %s", tc.in, got, tc.want)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, config, want string }{
		{"nothing to find", `{"default":{}}`, "default: neither fields nor patterns"},
		{"unknown pattern", `{"default":{"patterns":["passport"]}}`, `default.patterns[0]: want one of card, email, iban, ssn, phone, ipv4, ipv6, jwt, bearer, got "passport"`},
		{"an expression without a name", `{"default":{"expressions":[{"regex":"a"}]}}`, "default.expressions[0].name: required field is missing"},
		{"a name with a dot", `{"default":{"expressions":[{"name":"a.b","regex":"a"}]}}`, "default.expressions[0].name: want what matches"},
		{"a name that is taken", `{"default":{"expressions":[{"name":"iban","regex":"a"}]}}`, `default.expressions[0].name: "iban" is the name of something else`},
		{"a name twice", `{"default":{"expressions":[{"name":"a","regex":"a"},{"name":"a","regex":"b"}]}}`, `default.expressions[1].name: "a" is the name of something else`},
		{"no expression", `{"default":{"expressions":[{"name":"a","regex":"("}]}}`, "default.expressions[0].regex: it is no regular expression of RE2: "},
		{"an expression that matches nothing", `{"default":{"expressions":[{"name":"a","regex":"b*"}]}}`, `default.expressions[0].regex: "b*" matches nothing at all`},
		{"a replacement that an expression finds", `{"default":{"expressions":[{"name":"a","regex":"redacted"}]}}`, "default.replacement: it is what the patterns find"},
		{"unknown message", `{"default":{"patterns":["card"],"messages":["trailers"]}}`, "default.messages[0]: want one of request, response"},
		{"bad path", `{"default":{"fields":["a[0].b"]}}`, `default.fields[0]: "a[0].b": want names between dots`},
		{"query without a log", `{"default":{"patterns":["card"],"query":["q"]}}`, "default.query: counts for logPath only"},
		{"a replacement that is found", `{"default":{"patterns":["email"],"replacement":"x@y.example"}}`, "default.replacement: it is what the patterns find"},
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
