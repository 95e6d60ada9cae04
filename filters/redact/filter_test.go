package main

import (
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
		{"unknown pattern", `{"default":{"patterns":["iban"]}}`, `default.patterns[0]: want one of card, email, got "iban"`},
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
