package main

import (
	"testing"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/sdktest"
)

// TestQuestions: whatever the service is told makes another question, and nothing else does.
func TestQuestions(t *testing.T) {
	t.Parallel()
	base := sdktest.Request{Path: "/a", Headers: sdktest.Headers("authorization", "t", "x-a", "1")}
	for _, test := range []struct {
		name  string
		other sdktest.Request
		asked uint64
	}{
		{"the same", base, 1},
		{"a header that nobody sends", sdktest.Request{Path: "/a", Headers: sdktest.Headers("authorization", "t", "x-a", "1", "cookie", "c")}, 1},
		{"a body", sdktest.Request{Path: "/a", Headers: base.Headers, Body: "b"}, 1},
		{"another path", sdktest.Request{Path: "/b", Headers: base.Headers}, 2},
		{"a query", sdktest.Request{Path: "/a?b", Headers: base.Headers}, 2},
		{"another method", sdktest.Request{Method: "DELETE", Path: "/a", Headers: base.Headers}, 2},
		{"another host", sdktest.Request{Authority: "b", Path: "/a", Headers: base.Headers}, 2},
		{"another credential", sdktest.Request{Path: "/a", Headers: sdktest.Headers("authorization", "u", "x-a", "1")}, 2},
		{"none", sdktest.Request{Path: "/a", Headers: sdktest.Headers("x-a", "1")}, 2},
		{"a value more", sdktest.Request{Path: "/a", Headers: sdktest.Headers("authorization", "t", "x-a", "1", "x-a", "2")}, 2},
		{"values that are joined", sdktest.Request{Path: "/a", Headers: sdktest.Headers("authorization", "t", "x-a", "1x-b2")}, 2},
		{"another rule", sdktest.Request{Path: "/rule", Headers: base.Headers}, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := sdktest.New(t, configure, `{
				"default": {"cluster":"auth","maxCacheSeconds":60,"send":["x-a","x-b"]},
				"rules": [{"match":{"path":{"prefix":"/rule"}},"config":{"cluster":"auth","maxCacheSeconds":60,"send":["x-a","x-b"]}}]
			}`, sdktest.Cluster("auth", func(sdk.FetchRequest) (*sdk.FetchResponse, error) {
				return &sdk.FetchResponse{Status: 200, Headers: sdktest.Headers("cache-control", "max-age=60")}, nil
			}))
			for _, r := range []sdktest.Request{base, test.other} {
				if got := f.Do(r); got.Upstream == nil {
					t.Fatalf("denied with %d", got.Response.Status())
				}
			}
			if asked := f.Metric("extauthz.asked"); asked != test.asked {
				t.Errorf("asked %d times, want %d", asked, test.asked)
			}
		})
	}
}
