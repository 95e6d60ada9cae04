package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk/sdktest"
)

func from(address string) sdktest.Request {
	return sdktest.Request{Properties: map[string]any{"source.address": address}}
}

func TestClients(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, `{"default":{"requests":1,"per":"minute"}}`)
	for _, step := range []struct {
		address string
		after   time.Duration
		passes  bool
	}{
		{"10.0.0.1:1", 0, true},
		{"10.0.0.1:2", 0, false}, // the port is not the client
		{"10.0.0.2:1", 0, true},
		{"[2001:db8::1]:1", 0, true},
		{"[2001:db8::2]:1", 0, true},
		{"10.0.0.1:1", 59 * time.Second, false},
		{"10.0.0.1:1", time.Second, true},
	} {
		f.Advance(step.after)
		if got := f.Do(from(step.address)); (got.Upstream != nil) != step.passes {
			t.Errorf("%s: passed %v, want %v", step.address, got.Upstream != nil, step.passes)
		}
	}
}

// TestAnnounced holds the times that clients are told.
func TestAnnounced(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, `{"headers":"always","default":{"requests":60,"per":"hour","burst":2}}`)
	for i, want := range []struct{ remaining, reset, retry string }{{"1", "60", ""}, {"0", "120", ""}, {"0", "120", "60"}} {
		r := f.Do(sdktest.Request{}).Response
		if got := r.Get("ratelimit-remaining"); got != want.remaining {
			t.Errorf("request %d: %q remaining, want %q", i, got, want.remaining)
		}
		if got := r.Get("ratelimit-reset"); got != want.reset {
			t.Errorf("request %d: reset %q, want %q", i, got, want.reset)
		}
		if got := r.Get("retry-after"); got != want.retry {
			t.Errorf("request %d: retry after %q, want %q", i, got, want.retry)
		}
	}
}

// TestMoreKeysThanSlots holds what the README says of the error: whatever is evicted, no key gets less than its limit, and the table does
// not grow.
func TestMoreKeysThanSlots(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, `{"slots":64,"default":{"requests":2,"per":"hour"}}`)
	denied := 0
	for round := range 3 {
		for i := range 1000 {
			if got := f.Do(from(fmt.Sprintf("10.1.%d.%d:1", i/250, i%250))); got.Upstream == nil {
				denied++
				if round < 2 {
					t.Fatalf("client %d was denied its request number %d of 2", i, round+1)
				}
			}
		}
	}
	if evicted := f.Metric("ratelimit.evicted"); evicted < 2000 {
		t.Errorf("evicted %d, want most of 3000", evicted)
	}
	if denied > 64 {
		t.Errorf("%d denied, of a table that remembers 64", denied)
	}
}

// TestFewKeys: keys that fit stay, though others come and go.
func TestFewKeys(t *testing.T) {
	t.Parallel()
	f := sdktest.New(t, configure, `{"default":{"requests":1,"per":"hour"}}`)
	for range 2 {
		passed := 0
		for i := range 500 {
			if f.Do(from(fmt.Sprintf("10.1.%d.%d:1", i/250, i%250))).Upstream != nil {
				passed++
			}
		}
		t.Log(passed, "passed")
	}
	if evicted := f.Metric("ratelimit.evicted"); evicted != 0 {
		t.Errorf("%d evicted of 500 keys in 8192 slots", evicted)
	}
	if denied := f.Metric("ratelimit.denied"); denied != 500 {
		t.Errorf("%d denied in the second round, want 500", denied)
	}
}
