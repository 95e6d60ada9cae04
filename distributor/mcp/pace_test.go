package mcp

import (
	"testing"
	"time"

	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/paced"
)

// A sink that asks for everything again and again is answered as often as it may ask, over all streams that it opens.
func TestANodeThatAsksTooOftenWaits(t *testing.T) {
	const burst, rate, requests = 10, 100, 40
	b := newTable()
	b.set(filters("a", "1"))
	conn, source, registry := serve(t, b)
	source.pace = paced.New(rate, burst)
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
