package main

import (
	"testing"

	"github.com/waft-project/waft/sdk/sdktest"
)

// TestShare: about the share of requests that was asked for.
func TestShare(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, `{"default":{"abort":{"percent":25}}}`)
	for range 4000 {
		f.Do(sdktest.Request{})
	}
	// 1000 expected; six standard deviations are 164.
	if n := f.Metric("fault.aborts"); n < 836 || n > 1164 {
		t.Errorf("%d of 4000 aborted, want about 1000", n)
	}
}

// TestLeaves: a client that goes away ends its delay, and frees its place.
func TestLeaves(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, `{"maxActive":1,"default":{"delay":{"percent":100,"milliseconds":50}}}`)
	for range 5 {
		f.Do(sdktest.Request{Leaves: true})
	}
	if got := f.Do(sdktest.Request{}); got.Upstream == nil {
		t.Errorf("answered with %d", got.Response.Status())
	}
	if n, over := f.Metric("fault.delays"), f.Metric("fault.overflows"); n != 6 || over != 0 {
		t.Errorf("%d delays and %d overflows, want 6 and 0", n, over)
	}
}
