package wasmhost_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// TestExchangeTime has a virtual clock move as far as a request needs it.
func TestExchangeTime(t *testing.T) {
	after := func(d time.Duration, err error) wasmhost.Upstream {
		return func(context.Context, wasmhost.Request) (wasmhost.Response, error) {
			r, _ := ok(context.Background(), wasmhost.Request{})
			r.Delay = d
			return r, err
		}
	}
	for _, test := range []struct {
		name     string
		strings  map[string]string
		upstream wasmhost.Upstream
		status   string // empty: stuck
		details  string
		moved    time.Duration
	}{
		{"at once", nil, after(0, nil), "200", "", 0},
		{"a slow upstream", nil, after(2*time.Second, nil), "200", "", 2 * time.Second},
		{"one that is too slow", nil, after(20*time.Second, nil), "504", "response_timeout", 15 * time.Second},
		{"one that never answers", nil, after(0, wasmhost.ErrNoAnswer), "504", "response_timeout", 15 * time.Second},
		{"one that resets", nil, after(0, wasmhost.ErrCalloutReset), "503", "upstream_reset_before_response_started{remote_reset}", 0},
		{"one that is away", nil, after(0, errors.New("away")), "503", "upstream_reset_before_response_started{remote_connection_failure}", 0},
		{"a slow callout", map[string]string{
			"request_headers": "http_call slow / 9000\nreturn 1", "http_call_response": "set_effective_context 2\ncontinue 0",
		}, after(0, nil), "200", "", 3 * time.Second},
		{"a callout that times out", map[string]string{
			"request_headers": "http_call slow / 700\nreturn 1", "http_call_response": "set_effective_context 2\ncontinue 0",
		}, after(0, nil), "200", "", 700 * time.Millisecond},
		{"a tick", map[string]string{
			"request_headers": "set_tick_period 400\nreturn 1", "tick": "set_effective_context 2\nset_tick_period 0\ncontinue 0",
		}, after(0, nil), "200", "", 400 * time.Millisecond},
		{"ticks without an end", map[string]string{"request_headers": "set_tick_period 60000\nreturn 1"},
			after(0, nil), "", "", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			proxy := virtual()
			proxy.Clusters = map[string]wasmhost.Upstream{"slow": after(3*time.Second, nil)}
			p := newPuppet(t, proxy, wasmhost.VMConfig{})
			for k, v := range test.strings {
				p.strings[k] = v
			}
			began := proxy.Clock.Now()
			out, err := p.Exchange(t.Context(), get(t), test.upstream)
			if err != nil {
				t.Fatal(err)
			}
			moved := proxy.Clock.Now().Sub(began)
			if test.status == "" {
				if !out.Stuck || moved > 2*wasmhost.StreamIdleTimeout {
					t.Errorf("got %+v after %s", out, moved)
				}
				return
			}
			status := ""
			if out.Response != nil {
				status, _ = out.Response.Headers.Get(":status")
			}
			if status != test.status || out.Details != test.details || moved != test.moved {
				t.Errorf("got %s %q after %s", status, out.Details, moved)
			}
		})
	}
}

// TestWireTrailers has trailers on messages with a length, which HTTP/1.1 cannot send, and without.
func TestWireTrailers(t *testing.T) {
	p := newPuppet(t, virtual(), wasmhost.VMConfig{})
	for _, length := range []bool{true, false} {
		request, answer := get(t), wasmhost.Response{Headers: wasmhost.NewHeaders(":status", "200")}
		request.Body, request.Trailers = []byte("ab"), wasmhost.NewHeaders("x-t", "1")
		answer.Body, answer.Trailers = []byte("ok"), wasmhost.NewHeaders("x-u", "1")
		if length {
			request.Headers = append(request.Headers, wasmhost.Header{Name: "content-length", Value: "2"})
			answer.Headers = append(answer.Headers, wasmhost.Header{Name: "content-length", Value: "2"})
		}
		out, err := p.Exchange(t.Context(), request, func(context.Context, wasmhost.Request) (wasmhost.Response, error) { return answer, nil })
		if err != nil || out.Upstream == nil || out.Response == nil {
			t.Fatalf("got %+v, %v", out, err)
		}
		if len(out.Upstream.Trailers) == 0 != length || len(out.Response.Trailers) == 0 != length {
			t.Errorf("length %t: trailers %v and %v", length, out.Upstream.Trailers, out.Response.Trailers)
		}
	}
}
