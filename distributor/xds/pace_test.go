package xds

import (
	"context"
	"fmt"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/prometheus/client_golang/prometheus"
	prom "github.com/prometheus/client_model/go"
	"google.golang.org/grpc"

	"github.com/waft-project/waft/distributor/paced"
	"github.com/waft-project/waft/envoy"
)

// An Envoy that asks too often is read from later, over all its streams, which go on, and is sent what changes meanwhile; others are not slowed down. The
// streams that rest end with the server.
func TestAnEnvoyThatAsksTooOftenWaits(t *testing.T) {
	both(t, func(t *testing.T, open func(*grpc.ClientConn) hand) {
		const burst, most = 5, 50
		b := newTable()
		s, conn := run(t, b)
		s.pace = paced.New(1.0/3600, burst)
		h := open(conn)
		h.first(nodeOf("n"), "", serves, loads)
		for range most {
			h.ack("stale")
		}
		kind := "ads"
		if _, delta := h.(*deltaHand); delta {
			kind = "delta"
		}
		throttled := func(n int) {
			t.Helper()
			awaitThat(t, "a stream is slowed down", func() bool { return counted(s.metrics.throttled.WithLabelValues(kind)) >= n })
		}
		throttled(1)
		b.set("one", "a=1")
		h.want(loads, hashOf("one")+"#0", "a")
		if read := counted(s.metrics.stale.WithLabelValues(kind)); read != burst {
			t.Errorf("%d requests were read behind the first, want %d", read, burst)
		}
		open(conn).first(nodeOf("n"), "", serves, loads)
		throttled(2) // it waits, and does not take the place of the first
		other := open(conn)
		other.first(nodeOf("other"), "", serves, loads)
		other.want(loads, hashOf("one")+"#0", "a")
	})
}

// An Envoy that takes resources and starts asks for the routes of every listener by themselves, and gives up on those that are not there in 15 s: they are read as they come.
func TestAnEnvoyThatStartsIsReadAtOnce(t *testing.T) {
	const listeners = 2000
	s, conn := run(t, newTable())
	h := openDelta(t, conn)
	h.first(dynamicNode(), "", serves, loads)
	for i := range listeners {
		if err := h.stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: envoy.RouteURL, ResourceNamesSubscribe: []string{fmt.Sprintf("r%d", i)}}); err != nil {
			t.Fatal(err)
		}
	}
	h.ack("stale")
	awaitThat(t, "the last one is read", func() bool { return counted(s.metrics.stale.WithLabelValues("delta")) == 1 })
	if n := counted(s.metrics.throttled.WithLabelValues("delta")); n > 0 {
		t.Errorf("%d of %d requests were read late", n, listeners)
	}
}

// Streams that wait for their turn and go leave it to those that come after them.
func TestAStreamThatGoesLeavesItsTurn(t *testing.T) {
	const burst = 4
	s, conn := run(t, newTable())
	s.pace = paced.New(1.0/3600, burst)
	h := openSotw(t, conn)
	h.first(nodeOf("n"), "", serves, loads)
	for range burst - 1 {
		h.ack("stale")
	}
	awaitThat(t, "the burst is read", func() bool { return counted(s.metrics.stale.WithLabelValues("ads")) == burst-1 })
	for range 2 * burst {
		before := counted(s.metrics.throttled.WithLabelValues("ads"))
		ctx, leave := context.WithCancel(t.Context())
		stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(&discoveryv3.DiscoveryRequest{Node: nodeOf("n"), TypeUrl: envoy.ExtensionConfigURL}); err != nil {
			t.Fatal(err)
		}
		awaitThat(t, "the stream waits", func() bool { return counted(s.metrics.throttled.WithLabelValues("ads")) > before })
		leave()
		awaitThat(t, "the stream is gone", func() bool { return present(s.metrics.streams.WithLabelValues("ads")) == 1 })
	}
	p := s.pace.Join("n")
	defer s.pace.Leave("n")
	if wait := p.Take().Wait; wait > time.Hour {
		t.Errorf("behind streams that have gone the next one waits for %v", wait)
	}
}

// present is the value of a gauge.
func present(g prometheus.Gauge) int {
	var m prom.Metric
	if err := g.Write(&m); err != nil {
		panic(err)
	}
	return int(m.GetGauge().GetValue())
}
