package main

import (
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

func TestOrigins(t *testing.T) {
	t.Parallel()
	var s originSet
	for _, origin := range []string{"https://app.example", "http://localhost:3000", "https://*.app.example", "https://*.dev.example:8443", "null", "capacitor://localhost", "https://[2001:db8::1]:8443"} {
		if err := s.add(origin); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		origin string
		want   bool
	}{
		{"https://app.example", true},
		{"http://app.example", false},
		{"https://app.example:8443", false},
		{"https://APP.example", false},
		{"https://app.example/", false},
		{"https://app.example.evil.example", false},
		{"https://evilapp.example", false},
		{"http://localhost:3000", true},
		{"http://localhost", false},
		{"https://a.app.example", true},
		{"https://a.b-c.app.example", true},
		{"https://.app.example", false},
		{"https://a..app.example", false},
		{"https://evil.example/.app.example", false},
		{"https://evil.example:80.app.example", false},
		{"https://user@.app.example", false},
		{"https://evil.example#.app.example", false},
		{"https://evil.example\x00.app.example", false},
		{"https://a.dev.example:8443", true},
		{"https://a.dev.example", false},
		{"null", true},
		{"*", false},
		{"", false},
		{"capacitor://localhost", true},
		{"https://[2001:db8::1]:8443", true},
		{"https://app.example, https://app.example", false},
	} {
		if got := s.has(tc.origin); got != tc.want {
			t.Errorf("%q is listed: %v", tc.origin, got)
		}
	}
}

// FuzzOriginsBelow wants that whatever counts as a host below one parses as that.
func FuzzOriginsBelow(f *testing.F) {
	for _, s := range []string{"https://a.app.example", "https://.app.example", "https://a/.app.example", "https://a:1.app.example"} {
		f.Add(s)
	}
	var s originSet
	if err := s.add("https://*.app.example"); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, origin string) {
		if !s.has(origin) {
			return
		}
		if err := checkOrigin(origin); err != nil || strings.Count(origin, ":") != 1 || strings.Count(origin, "/") != 2 {
			t.Errorf("%q counts as a host below app.example: %v", origin, err)
		}
	})
}

const strict = `{"default":{"allowOrigins":["https://app.example","https://*.app.example"],"allowMethods":["PUT","DELETE"],"allowHeaders":["X-A","content-type"],"exposeHeaders":["X-B"],"allowCredentials":true,"maxAgeSeconds":60}}`

func TestPreflight(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, config string
		headers      []sdk.Header
		status       int
		want         map[string]string
	}{
		{"allowed", strict, sdktest.Headers("origin", "https://app.example", "access-control-request-method", "PUT"), 204, map[string]string{
			"access-control-allow-origin": "https://app.example", "access-control-allow-methods": "PUT, DELETE", "access-control-allow-headers": "x-a, content-type",
			"access-control-allow-credentials": "true", "access-control-max-age": "60", "vary": "origin", "access-control-expose-headers": ""}},
		{"another origin", strict, sdktest.Headers("origin", "https://evil.example", "access-control-request-method", "PUT"), 403, map[string]string{
			"access-control-allow-origin": "", "access-control-allow-methods": "", "vary": "origin"}},
		{"two origins", strict, sdktest.Headers("origin", "https://app.example", "origin", "https://app.example", "access-control-request-method", "PUT"), 403, map[string]string{"access-control-allow-origin": ""}},
		{"every origin", `{"default":{"allowOrigins":["*"],"allowHeaders":["*"]}}`, sdktest.Headers("origin", "https://x.example", "access-control-request-method", "PUT"), 204, map[string]string{
			"access-control-allow-origin": "*", "access-control-allow-methods": "GET, HEAD, POST", "access-control-allow-headers": "*", "access-control-max-age": "600", "access-control-allow-credentials": "", "vary": ""}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := sdktest.New(t, configure, tc.config).Do(sdktest.Request{Method: "OPTIONS", Headers: tc.headers})
			if got.Upstream != nil || got.Response.Status() != tc.status {
				t.Fatalf("upstream %v, status %d", got.Upstream, got.Response.Status())
			}
			check(t, &got.Response, tc.want)
		})
	}
}

func TestResponse(t *testing.T) {
	t.Parallel()
	const open = `{"default":{"allowOrigins":["*"]}}`
	generous := sdktest.Response{Headers: sdktest.Headers("access-control-allow-origin", "*", "access-control-allow-credentials", "true", "access-control-max-age", "9", "vary", "accept")}
	for _, tc := range []struct {
		name, config string
		request      sdktest.Request
		want         map[string]string
	}{
		{"listed", strict, sdktest.Request{Headers: sdktest.Headers("origin", "https://a.app.example"), Upstream: generous}, map[string]string{
			"access-control-allow-origin": "https://a.app.example", "access-control-allow-credentials": "true", "access-control-expose-headers": "x-b", "access-control-max-age": "", "vary": "accept, origin"}},
		{"not listed", strict, sdktest.Request{Headers: sdktest.Headers("origin", "https://evil.example"), Upstream: generous}, map[string]string{
			"access-control-allow-origin": "", "access-control-allow-credentials": "", "vary": "accept, origin"}},
		{"no origin", strict, sdktest.Request{Upstream: generous}, map[string]string{"access-control-allow-origin": "", "vary": "accept, origin"}},
		{"vary is there", strict, sdktest.Request{Upstream: sdktest.Response{Headers: sdktest.Headers("vary", "Accept, Origin")}}, map[string]string{"vary": "Accept, Origin"}},
		{"vary on everything", strict, sdktest.Request{Upstream: sdktest.Response{Headers: sdktest.Headers("vary", "*")}}, map[string]string{"vary": "*"}},
		{"every origin", open, sdktest.Request{Headers: sdktest.Headers("origin", "https://x.example"), Upstream: generous}, map[string]string{
			"access-control-allow-origin": "*", "access-control-allow-credentials": "", "vary": "accept"}},
		{"OPTIONS that is no preflight", open, sdktest.Request{Method: "OPTIONS", Headers: sdktest.Headers("origin", "https://x.example")}, map[string]string{"access-control-allow-origin": "*"}},
		{"no policy", `{"rules":[{"match":{"methods":["PUT"]},"config":{"allowOrigins":["*"]}}]}`, sdktest.Request{Headers: sdktest.Headers("origin", "https://x.example"), Upstream: generous}, map[string]string{
			"access-control-allow-origin": "*", "access-control-allow-credentials": "true", "vary": "accept"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := sdktest.New(t, configure, tc.config).Do(tc.request)
			if got.Upstream == nil {
				t.Fatalf("it did not pass: %s", got.Details)
			}
			check(t, &got.Response, tc.want)
		})
	}
}

func TestDenyOthers(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, `{"default":{"allowOrigins":["https://app.example"],"denyOthers":true}}`)
	if got := f.Do(sdktest.Request{Method: "POST", Headers: sdktest.Headers("origin", "https://evil.example")}); got.Upstream != nil || got.Response.Status() != 403 || got.Details != "cors_origin" {
		t.Errorf("another origin: %d %s", got.Response.Status(), got.Details)
	}
	if got := f.Do(sdktest.Request{Method: "POST", Headers: sdktest.Headers("origin", "https://app.example")}); got.Upstream == nil {
		t.Error("the listed origin is denied")
	}
	if got := f.Do(sdktest.Request{Method: "POST"}); got.Upstream == nil {
		t.Error("a request without an origin is denied")
	}
	if f.Metric("cors.others") != 1 || f.Metric("cors.allowed") != 1 || f.Metric("cors.preflights") != 0 {
		t.Errorf("others %d, allowed %d, preflights %d", f.Metric("cors.others"), f.Metric("cors.allowed"), f.Metric("cors.preflights"))
	}
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	origin := func(s string) string { return `{"default":{"allowOrigins":["` + s + `"]}}` }
	for _, tc := range []struct{ name, config, want string }{
		{"no origins", `{"default":{"allowOrigins":[]}}`, "default.allowOrigins: it is empty"},
		{"a host", origin("app.example"), `default.allowOrigins[0]: "app.example" is no origin`},
		{"a path", origin("https://app.example/"), "nothing behind the port"},
		{"upper case", origin("https://App.example"), "in lower case"},
		{"default port", origin("https://app.example:443"), "browsers leave the port 443 out"},
		{"no port", origin("https://app.example:"), "no port number"},
		{"a star within", origin("https://a.*.example"), "is no origin"},
		{"every host", origin("https://*"), "is no origin"},
		{"every scheme", origin("*://app.example"), "is no origin"},
		{"credentials for everybody", `{"default":{"allowOrigins":["*"],"allowCredentials":true}}`, "default.allowOrigins: with allowCredentials it must list names"},
		{"credentials for null", `{"default":{"allowOrigins":["null"],"allowCredentials":true}}`, "default.allowOrigins: with allowCredentials"},
		{"credentials and every header", `{"default":{"allowOrigins":["https://a.example"],"allowHeaders":["*"],"allowCredentials":true}}`, "default.allowHeaders: with allowCredentials"},
		{"no method", `{"default":{"allowOrigins":["*"],"allowMethods":["GET, PUT"]}}`, `default.allowMethods[0]: "GET, PUT" is no method`},
		{"no header", `{"rules":[{"match":{},"config":{"allowOrigins":["*"],"exposeHeaders":["a b"]}}]}`, "rules[0].config.exposeHeaders[0]: "},
		{"age", `{"default":{"allowOrigins":["*"],"maxAgeSeconds":86401}}`, "default.maxAgeSeconds: want at most 86400"},
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

// check compares headers; the empty value stands for an absent header.
func check(t *testing.T, m *sdktest.Message, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got := m.Get(name); got != value || value == "" && m.Has(name) {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
}
