package distributor

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"google.golang.org/grpc"

	"github.com/waft-project/waft/distributor/model"
)

func newTestThrottle(t *testing.T, perSecond, streams int) *throttle {
	t.Helper()
	limits, err := newThrottle(perSecond, streams, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return limits
}

// A client that has used up what it may is refused, and told for how long; others are not.
func TestThrottle(t *testing.T) {
	limits := newTestThrottle(t, 1, 2)
	for i := range throttleBurst {
		if err := limits.request(portGRPC, "a"); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	err := limits.request(portGRPC, "a")
	told, ok := errors.AsType[*throttled](err)
	if !ok || !errors.Is(err, model.ErrExhausted) || told.after <= 0 || told.after > time.Second {
		t.Errorf("one more: %v", err)
	}
	if err := limits.spent(portGRPC, &visit{at: "a"}); !errors.Is(err, model.ErrExhausted) {
		t.Errorf("an address that has used up what it may: %v", err)
	}
	if err := limits.spent(portGRPC, &visit{at: "a", certified: true}); err != nil {
		t.Errorf("a certificate that was never refused for another reason: %v", err)
	}
	for range throttleBurst {
		limits.fail("a")
	}
	for _, certified := range []bool{false, true} {
		if err := limits.spent(portGRPC, &visit{at: "a", certified: certified}); !errors.Is(err, model.ErrExhausted) {
			t.Errorf("it was refused too often, and is heard: %v", err)
		}
	}
	for _, other := range []string{"b", "c"} {
		if err := limits.spent(portGRPC, &visit{at: other}); err != nil {
			t.Error(err)
		}
	}
	for range 2 {
		if err := limits.open(portGRPC, "a", false); err != nil {
			t.Fatal(err)
		}
	}
	if err := limits.open(portGRPC, "b", false); err != nil {
		t.Error(err)
	}
	if err := limits.open(portGRPC, "a", false); !errors.Is(err, model.ErrExhausted) {
		t.Errorf("a third stream: %v", err)
	}
	for range 2 {
		limits.close("a")
	}
	limits.close("b")
	if len(limits.streams) != 0 {
		t.Errorf("streams that are closed are remembered: %v", limits.streams)
	}
	for n, limits := range map[int]*throttle{StreamsPerNode: newTestThrottle(t, -1, DefaultStreamsPerClient), 3: newTestThrottle(t, -1, 3)} { // the smaller one counts
		for range n {
			if err := limits.open(portGRPC, "node", true); err != nil {
				t.Fatal(err)
			}
		}
		if err := limits.open(portGRPC, "node", true); !errors.Is(err, model.ErrExhausted) {
			t.Errorf("stream %d of a node: %v", n+1, err)
		}
	}
	none := newTestThrottle(t, -1, -1)
	for range 100_000 {
		if err := errors.Join(none.request(portHTTP, "a"), none.open(portHTTP, "a", false)); err != nil {
			t.Fatal(err)
		}
	}
}

// However many clients come, no more are remembered than may be, and one that goes on asking is not forgotten.
func TestThrottleRemembersSoMany(t *testing.T) {
	limits := newTestThrottle(t, 1, 1)
	for limits.request(portGRPC, "mad") == nil {
	}
	for i := range 5 * maxClients {
		_ = limits.request(portGRPC, fmt.Sprint("client ", i))
		if i%1000 == 0 {
			limits.requests.of("mad")
		}
	}
	if n := len(limits.requests.young) + len(limits.requests.old); n > 2*maxClients {
		t.Errorf("%d clients are remembered", n)
	}
	if one := limits.requests.of("mad"); one.Tokens() > throttleBurst/2 {
		t.Errorf("a client that goes on begins anew, with %f", one.Tokens())
	}
}

// What is said on a report stream faster than it may is read later.
func TestReportsArePaced(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &pacedStream{silentStream{ctx: ctx}, rate.NewLimiter(rate.Every(time.Hour), 2)}
	for range 2 {
		if err := s.RecvMsg(nil); err != nil {
			t.Fatal(err)
		}
	}
	read := make(chan error, 1)
	go func() { read <- s.RecvMsg(nil) }()
	select {
	case err := <-read:
		t.Fatalf("a third is read at once: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	cancel()
	if err := <-read; !errors.Is(err, context.Canceled) {
		t.Errorf("a stream that has ended: %v", err)
	}
}

// silentStream is a stream on which there is always something to read.
type silentStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s silentStream) Context() context.Context { return s.ctx }
func (silentStream) RecvMsg(any) error          { return nil }

func TestAddressed(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.1:5":          "address 192.0.2.1",
		"[::ffff:192.0.2.1]:5": "address 192.0.2.1",
		"[2001:db8:1:2:3::]:5": "address 2001:db8:1:2::/64",
		"[fe80::1%eth0]:5":     "address fe80::/64",
		"[::1]:5":              "address ::1",
		"pipe":                 "address pipe",
	} {
		if got := addressed(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}
