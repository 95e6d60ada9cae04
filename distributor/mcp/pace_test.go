package mcp

import (
	"context"
	"slices"
	"testing"
	"time"

	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
)

// A sink that asks for everything again and again is answered as often as it may ask, over all streams that it opens.
func TestANodeThatAsksTooOftenWaits(t *testing.T) {
	const burst, rate, requests = 10, 100, 40
	b := newTable()
	b.set(filters("a", "1"))
	conn, source, registry := serve(t, b)
	source.pace.rate, source.pace.burst = rate, burst
	began := time.Now()
	count := func(of, from int) {
		w := open(t, conn)
		go func() {
			for range of - from {
				_ = w.stream.Send(&mcpv1.RequestResources{SinkNode: &mcpv1.SinkNode{Id: "node-1"}, Collection: filtersName})
			}
		}()
		for range of - from {
			if _, err := w.stream.Recv(); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
	}
	count(requests, requests/2)
	count(requests, requests/2) // a second stream goes on where the first was
	if took, least := time.Since(began), time.Duration(requests-burst-1)*time.Second/rate; took < least {
		t.Errorf("%d requests were answered in %v; want %v at least", requests, took, least)
	}
	if n := total(t, registry, "waft_mcp_throttled_requests_total"); n == 0 {
		t.Error("nobody was slowed down")
	}
}

func TestPacesAreForgottenWhenTheyMakeNoDifference(t *testing.T) {
	p := paces{rate: 1000, burst: 10}
	one := p.join("a")
	one.ReserveN(time.Now(), 5)
	if p.join("a") != one {
		t.Error("a second stream begins anew")
	}
	p.leave("a")
	p.leave("a")
	known := func() []string {
		p.mu.Lock()
		defer p.mu.Unlock()
		var out []string
		for name := range p.nodes {
			out = append(out, name)
		}
		return out
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for len(known()) > 0 {
		if sleep(ctx, time.Millisecond) != nil {
			t.Fatalf("kept: %v", known())
		}
	}
	// One that is used again meanwhile stays.
	one = p.join("b")
	one.ReserveN(time.Now(), 10)
	p.leave("b")
	again := p.join("b")
	if again != one {
		t.Error("what b did was forgotten at once")
	}
	p.mu.Lock()
	p.forget("b", one) // as the timer of the first stream does
	p.mu.Unlock()
	if got := known(); !slices.Equal(got, []string{"b"}) {
		t.Errorf("known: %v", got)
	}
}
