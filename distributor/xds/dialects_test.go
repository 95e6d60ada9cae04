package xds

import (
	"context"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// parrot is another dialect: it answers each request with its type.
type parrot struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
}

func (parrot) StreamAggregatedResources(g sotwStream) error {
	for {
		r, err := g.Recv()
		if err != nil {
			return err
		}
		if err := g.Send(&discoveryv3.DiscoveryResponse{TypeUrl: r.GetTypeUrl()}); err != nil {
			return err
		}
	}
}

// A stream is of the dialect of its first request, and no request is lost on the way there.
func TestDialects(t *testing.T) {
	stop, cancel := context.WithCancel(t.Context())
	b := newTable()
	b.set("one", "a=1")
	conn := connect(t, cancel, NewDialects(newServer(stop, b, nil, nil), parrot{}).Register)
	client := discoveryv3.NewAggregatedDiscoveryServiceClient(conn)

	other, err := client.StreamAggregatedResources(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"networking.istio.io/v1/Gateway", envoyTypes + "that.is.not.first"} {
		if err := other.Send(&discoveryv3.DiscoveryRequest{TypeUrl: kind}); err != nil {
			t.Fatal(err)
		}
		if got, err := other.Recv(); err != nil || got.GetTypeUrl() != kind {
			t.Fatalf("asked for %s: %v, %v", kind, got, err)
		}
	}
	both(t, func(t *testing.T, open func(*grpc.ClientConn) hand) {
		h := open(conn)
		h.first(nodeOf("n"), hashOf("zero"), serves)
		h.want(serves, hashOf("one"), "a")
	})

	// A stream on which nobody has asked yet does not keep the server from stopping.
	silent, err := client.StreamAggregatedResources(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := silent.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("a stream without a request ended with %v", err)
	}
	_ = other.CloseSend() // the parrot goes on until then; the server is stopped next
}
