package xds

import (
	"context"
	"log/slog"
	"sync"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/waft-project/waft/distributor/model"
)

// Server serves envoy.service.discovery.v3.AggregatedDiscoveryService. It may be used concurrently; each stream has a goroutine of its own. Errors of the
// backend end a stream as they are; what they become on the wire is for the gRPC server's interceptors (api.ServerOptions).
type Server struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer

	backend backend
	metrics *Metrics
	log     *slog.Logger
	encoder encoder
	// stop ends all streams when it is done.
	stop context.Context

	mu sync.Mutex
	// nodes are those with a stream, and those of which something is to be remembered.
	nodes map[string]*record
}

// record is a node as all its streams see it.
type record struct {
	// mu guards memory, and the desk of the stream that has it now. It is never held while something is sent.
	mu     sync.Mutex
	memory memory
	// Server.mu guards what follows.
	streams int
	// sent receives the digests of modules that the node was sent.
	sent chan string
}

// maxSent is how many notices of modules may wait for a node's stream; what is more is found out by waiting.
const maxSent = 64

func newServer(stop context.Context, b backend, metrics *Metrics, log *slog.Logger) *Server {
	if metrics == nil {
		metrics, _ = NewMetrics(nil) // cannot fail without a registry
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Server{backend: b, metrics: metrics, log: log, stop: stop, nodes: map[string]*record{}}
}

// Register adds the server to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(r, s)
}

// StreamAggregatedResources serves one Envoy the state of the world.
func (s *Server) StreamAggregatedResources(g grpc.BidiStreamingServer[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]) error {
	return s.serve(g.Context(), sotw{g})
}

// DeltaAggregatedResources serves one Envoy incrementally.
func (s *Server) DeltaAggregatedResources(g grpc.BidiStreamingServer[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]) error {
	return s.serve(g.Context(), delta{g})
}

// Fetched takes that a node was sent a module, whole, by whoever serves modules. It does not block. It is a hint, which nobody has proved: all that comes of
// a false one is an offer that comes too early.
func (s *Server) Fetched(node, digest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.nodes[node]; r != nil {
		select {
		case r.sent <- digest:
		default:
		}
	}
}

// open gives the record of a node to a stream; row is the node's from before it connected.
func (s *Server) open(id string, row model.Node) *record {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.nodes[id]
	if r == nil {
		r = &record{sent: make(chan string, maxSent)}
		r.memory.build, r.memory.retry = row.EnvoyBuild, row.Retry
		if l := row.Ledger; l.State == model.ChainRejected && l.Final {
			r.memory.refused = []refusal{{l.Chain, l.Step, l.Reason}}
		}
		s.nodes[id] = r
	}
	r.streams++
	return r
}

// close takes it back. What a node holds it says again; what it rejected it does not.
func (s *Server) close(id string, r *record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.streams--; r.streams == 0 && len(r.memory.refused) == 0 {
		delete(s.nodes, id)
	}
}

func errStopping() error {
	return status.Error(codes.Unavailable, "the distributor is stopping; connect again")
}
