package xds

import (
	"testing"

	"google.golang.org/grpc"

	"github.com/waft-project/waft/distributor/paced"
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
