package mcp

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/paced"
	"github.com/waft-project/waft/distributor/port"
)

// A source that stops ends the stream of a sink that rests because it has asked too often, at once, and not after the rest. (On grpc-go's server it does.)
func TestAStreamThatRestsEnds(t *testing.T) {
	b := newTable()
	b.set(filters("a", "1"))
	metrics, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	stop, cancel := context.WithCancel(t.Context())
	defer cancel()
	source := newSource(stop, b, metrics, nil)
	source.pace = paced.New(0.1, 2)
	server := port.NewServer(port.Config{})
	source.Register(server)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := mcpv1.NewResourceSourceClient(conn).EstablishResourceStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := stream.Send(&mcpv1.RequestResources{SinkNode: &mcpv1.SinkNode{Id: "node-1"}, Collection: filtersName}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	began := time.Now()
	_, err = stream.Recv()
	if took := time.Since(began); err == nil || took > 5*time.Second {
		t.Errorf("the stream ended %v after the source did: %v", took, err)
	}
}
