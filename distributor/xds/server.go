package xds

import (
	"container/list"
	"context"
	"log/slog"
	"sync"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"

	"github.com/waft-project/waft/distributor/inbox"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/paced"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/distributor/xds/pushed"
)

// Server serves envoy.service.discovery.v3.AggregatedDiscoveryService, and envoy.service.metrics.v3.MetricsService for the Envoys that it serves. It may be used concurrently. Errors of the
// backend end a stream as they are; what they become on the wire is for the gRPC server's interceptors (api.ServerOptions).
type Server struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer

	backend backend
	metrics *Metrics
	log     *slog.Logger
	encoder encoder
	chains  chains
	crew    inbox.Crew
	// pace is that of nodes that take no resources, and resourcePace that of those that do.
	pace, resourcePace *paced.Nodes
	// stop ends all streams when it is done.
	stop context.Context

	mu sync.Mutex
	// nodes are those with a stream, and those of which something is to be remembered, up to maxIdle.
	nodes map[string]*record
	// idle are the ids of those without a stream, the newest last.
	idle list.List
	// pushing are the streams of statistics, by node.
	pushing map[string]*push
}

// record is a node as all its streams see it.
type record struct {
	// mu guards memory, owner, and the desk of the owner. It is never held while something is sent. Server.mu may be held when it is locked, not the other way.
	mu     sync.Mutex
	memory memory
	// owner is the newest stream of the node, nil when that has ended. No other touches memory.
	owner *stream
	// wanted is what the owner was told of statistics, and account what the node has pushed since; nil while there are none to be counted.
	wanted  service.Directive
	account *pushed.Account
	// Server.mu guards what follows.
	streams int
	// idle is its place in Server.idle; nil while it has streams.
	idle *list.Element
}

func newServer(stop context.Context, b backend, metrics *Metrics, log *slog.Logger) *Server {
	if metrics == nil {
		metrics, _ = NewMetrics(nil) // cannot fail without a registry
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Server{backend: b, metrics: metrics, log: log, stop: stop, pace: paced.New(RequestsPerSecond, RequestBurst), resourcePace: paced.New(RequestsPerSecond, ResourceRequestBurst), nodes: map[string]*record{}, pushing: map[string]*push{}}
}

// paceOf are the paces of Envoys like this one.
func (s *Server) paceOf(n *corev3.Node) *paced.Nodes {
	if takes, err := takesOf(n); err == nil && len(takes.Collections) > 0 {
		return s.resourcePace
	}
	return s.pace
}

// Register adds both services to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(r, s)
	s.registerMetrics(r)
}

// StreamAggregatedResources serves one Envoy the state of the world.
func (s *Server) StreamAggregatedResources(g grpc.BidiStreamingServer[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]) error {
	return s.serve(g.Context(), sotw{g, &discoveryv3.DiscoveryRequest{}})
}

// DeltaAggregatedResources serves one Envoy incrementally.
func (s *Server) DeltaAggregatedResources(g grpc.BidiStreamingServer[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]) error {
	return s.serve(g.Context(), delta{g, &discoveryv3.DeltaDiscoveryRequest{}})
}

// Fetched takes that a node was sent a module, whole, from whoever serves modules. read says that the node was seen to read all of it: it acknowledged the last byte
// and then closed the connection, without a reset; so what it then rejects again it does not load. It does not block, and what is said of a node without a stream is dropped.
//
// It is a hint, which nobody has proved. Where there is an access policy, the port drops one for a node other than the certificate's; without a policy
// anybody who reaches the port can give one. A false one has an offer come too early: that may end the fetch that is under way, and takes the patience of a
// module that is missing from the rejections that follow. So false ones can have a version refused that only was slow to come; they can have nothing run.
func (s *Server) Fetched(node, digest string, read bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.nodes[node]
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.owner == nil {
		return
	}
	select {
	case r.owner.sent <- notice{digest, read}:
		r.owner.inbox.Wake()
	default:
	}
}

// open gives a stream the record of its node; row is the node's from before it connected.
func (s *Server) open(n *stream, row model.Node, unfit string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.nodes[n.id]
	if r == nil {
		r = &record{}
		s.nodes[n.id] = r
	}
	if r.idle != nil {
		s.idle.Remove(r.idle)
		r.idle = nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.streams == 0 && len(r.memory.refused) == 0 {
		r.memory = memory{build: row.EnvoyBuild, retry: row.Retry, last: r.memory.last, client: r.memory.client, whole: row.Serving, supplied: r.memory.supplied, rejections: r.memory.rejections}
		if l := row.Ledger; l.State == model.ChainRejected && l.Final && (l.Step != stepResources || r.memory.client == nil) {
			r.memory.refused = []refusal{{l.Chain, l.Step, l.Reason}}
		}
	}
	r.streams++
	n.record, n.desk, n.slotless = r, &desk{memory: &r.memory, unfit: unfit, ownSlot: unfit == "" && n.takes.Slot}, unfit
}

// close takes it back. What a node holds it says again; what it rejected, and accepted before, it does not.
func (s *Server) close(n *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := n.record
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.owner == n {
		if r.wanted.StatisticsInterval == 0 {
			r.account = nil
		}
		r.owner, r.wanted = nil, service.Directive{}
	}
	if r.streams--; r.streams > 0 {
		return
	}
	if len(r.memory.refused) == 0 && r.memory.last == nil {
		delete(s.nodes, n.id)
		return
	}
	r.idle = s.idle.PushBack(n.id)
	if s.idle.Len() > maxIdle {
		oldest := s.idle.Remove(s.idle.Front()).(string)
		delete(s.nodes, oldest)
	}
}
