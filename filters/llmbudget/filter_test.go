package main

import (
	"testing"
	"time"

	"github.com/waft-project/waft/sdk/sdktest"
)

var answer = sdktest.Response{
	Headers: sdktest.Headers("content-type", "application/json"), Body: `{"usage":{"prompt_tokens":30,"completion_tokens":12}}`,
}

func ask(key string) sdktest.Request {
	return sdktest.Request{Method: "POST", Headers: sdktest.Headers("authorization", key), Body: "{}", Upstream: answer}
}

// TestWindow: what was used is forgotten when the window ends.
func TestWindow(t *testing.T) {
	t.Parallel()
	clock := sdktest.Clock(time.Date(2026, 1, 1, 0, 0, 50, 0, time.UTC))
	f := sdktest.New(t, configure, `{"default":{"tokens":42}}`, clock)
	for _, step := range []struct {
		after  time.Duration
		key    string
		passes bool
		wait   string
	}{{0, "a", true, ""}, {0, "a", false, "10"}, {0, "b", true, ""}, {9500 * time.Millisecond, "a", false, "1"}, {500 * time.Millisecond, "a", true, ""}, {0, "a", false, "60"}} {
		f.Advance(step.after)
		got := f.Do(ask(step.key))
		if (got.Upstream != nil) != step.passes || got.Response.Get("retry-after") != step.wait {
			t.Errorf("%+v: passed %v, retry-after %q", step, got.Upstream != nil, got.Response.Get("retry-after"))
		}
	}
}

// TestLimits: the last request may go beyond the budget, no other passes then.
func TestLimits(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, `{"default":{"tokens":50}}`)
	for i, want := range []bool{true, true, false} {
		if got := f.Do(ask("a")); (got.Upstream != nil) != want {
			t.Errorf("request %d passed: %v, want %v", i, got.Upstream != nil, want)
		}
	}
}
