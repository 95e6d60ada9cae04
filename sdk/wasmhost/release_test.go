package wasmhost_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// story sends one request by hand, and tells all that can be seen of the stream.
func story(t *testing.T, p *wasmhost.Plugin, do string, release bool) string {
	t.Helper()
	pr, ctx := profile(t, "envoy-1.40"), context.Background()
	s := p.NewStream(ctx, wasmhost.StreamInfo{RouteName: "route of " + do})
	request := pr.NewRequest("POST", "/", "waft.test", wasmhost.NewHeaders("x-do", do), nil)
	told := fmt.Sprintln(s.RequestHeaders(ctx, request.Headers, false), s.RequestBody(ctx, []byte("body"), true))
	if s.Upstream().Complete {
		answer := pr.NewResponse("POST", 200, wasmhost.NewHeaders("x-from", "upstream"), nil)
		told += fmt.Sprintln(s.ResponseHeaders(ctx, answer.Headers, false), s.ResponseBody(ctx, []byte("answer"), true))
	}
	held, back := s.Paused()
	local, details := s.LocalReply()
	told += fmt.Sprintln(s.Close(ctx), s.Misuse(), s.Reset(), held, back, local, details)
	told += fmt.Sprintf("%+v\n%+v\n", s.Upstream(), s.Downstream())
	if release {
		s.Release()
	}
	return told
}

// TestRelease has streams of all kinds follow one another in the same memory: none shows what another was.
func TestRelease(t *testing.T) {
	m := loadGoFilter(t)
	kinds := []string{"deny", "pause", "headers", "", "path", "callout-unknown", "panic"}
	for _, before := range kinds {
		for _, after := range kinds {
			fresh, again := newPlugin(t, m, wasmhost.VMConfig{}, wasmhost.PluginConfig{}), newPlugin(t, m, wasmhost.VMConfig{}, wasmhost.PluginConfig{})
			if got, want := story(t, again, before, true), story(t, fresh, before, false); got != want {
				t.Fatalf("%q: got %s\nwant %s", before, got, want)
			}
			if got, want := story(t, again, after, true), story(t, fresh, after, false); got != want {
				t.Errorf("%q after %q: got %s\nwant %s", after, before, got, want)
			}
		}
	}
}

// TestReleaseIsOnlyForClosedStreams also has streams released twice.
func TestReleaseIsOnlyForClosedStreams(t *testing.T) {
	p, ctx := newPlugin(t, loadGoFilter(t), wasmhost.VMConfig{}, wasmhost.PluginConfig{}), context.Background()
	request := profile(t, "envoy-1.40").NewRequest("GET", "/", "waft.test", nil, nil)
	open := p.NewStream(ctx, wasmhost.StreamInfo{})
	open.Release()
	if err := open.RequestHeaders(ctx, request.Headers, true); err != nil || !open.Upstream().Complete {
		t.Fatalf("a stream was given away while it was open: %v, %+v", err, open.Upstream())
	}
	if err := open.Close(ctx); err != nil {
		t.Fatal(err)
	}
	open.Release()
	open.Release()
	a, b := p.NewStream(ctx, wasmhost.StreamInfo{}), p.NewStream(ctx, wasmhost.StreamInfo{})
	if a == b {
		t.Fatal("two open streams are one: it was released twice")
	}
	if a != open {
		t.Error("a stream that was released was not used again")
	}
	for _, s := range []*wasmhost.Stream{a, b} {
		if err := s.RequestHeaders(ctx, request.Headers, true); err != nil || !s.Upstream().Complete {
			t.Errorf("%v, %+v", err, s.Upstream())
		}
	}
}
