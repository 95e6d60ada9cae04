package xds

import (
	"errors"
	"io"
	"strings"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/waft-project/waft/distributor/xds/internal/streams"
)

// Dialects is the one aggregated discovery service of a port on which Envoys ask for Envoy's resources, and control planes for those of another
// dialect. What a stream asks for first says whose it is: Envoy's types are URLs under type.googleapis.com, others are not. It may be used
// concurrently.
type Dialects struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer

	envoy *Server
	other discoveryv3.AggregatedDiscoveryServiceServer
}

// NewDialects hands streams to the one or the other. The other dialect has no incremental streams.
func NewDialects(envoy *Server, other discoveryv3.AggregatedDiscoveryServiceServer) *Dialects {
	return &Dialects{envoy: envoy, other: other}
}

// Register adds the service to a gRPC server, and that of the statistics of Envoys.
func (d *Dialects) Register(r grpc.ServiceRegistrar) {
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(r, d)
	d.envoy.registerMetrics(r)
}

type sotwStream = grpc.BidiStreamingServer[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]

// StreamAggregatedResources waits for the first request, and hands it on with the stream.
func (d *Dialects) StreamAggregatedResources(g sotwStream) error {
	var first *discoveryv3.DiscoveryRequest
	came := make(chan error, 1)
	go func() {
		var err error
		first, err = g.Recv()
		came <- err
	}()
	select {
	case <-d.envoy.stop.Done():
		return streams.Stopping()
	case err := <-came:
		if errors.Is(err, io.EOF) {
			return nil // the client has closed its side in order
		}
		if err != nil {
			return err
		}
	}
	begun := &begunStream{sotwStream: g, first: first}
	if ofEnvoy(first) {
		return d.envoy.StreamAggregatedResources(begun)
	}
	return d.other.StreamAggregatedResources(begun)
}

// ofEnvoy says whether a request asks for a resource of Envoy's.
func ofEnvoy(r *discoveryv3.DiscoveryRequest) bool {
	return r.GetTypeUrl() == "" || strings.HasPrefix(r.GetTypeUrl(), envoyTypes)
}

// envoyTypes is how the type URLs of Envoy's resources begin.
const envoyTypes = "type.googleapis.com/"

// DeltaAggregatedResources is Envoy's alone.
func (d *Dialects) DeltaAggregatedResources(g grpc.BidiStreamingServer[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]) error {
	return d.envoy.DeltaAggregatedResources(g)
}

// begunStream is a stream whose first request was read already. As with every stream, only one goroutine receives.
type begunStream struct {
	sotwStream
	first *discoveryv3.DiscoveryRequest
}

// Recv is grpc.BidiStreamingServer's.
func (s *begunStream) Recv() (*discoveryv3.DiscoveryRequest, error) {
	if first := s.first; first != nil {
		s.first = nil
		return first, nil
	}
	return s.sotwStream.Recv()
}

// RecvMsg is grpc.ServerStream's.
func (s *begunStream) RecvMsg(m any) error {
	into, ok := m.(*discoveryv3.DiscoveryRequest)
	if s.first == nil || !ok {
		return s.sotwStream.RecvMsg(m)
	}
	proto.Reset(into)
	proto.Merge(into, s.first)
	s.first = nil
	return nil
}
