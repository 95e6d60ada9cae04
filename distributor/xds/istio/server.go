package istio

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/waft-project/waft/distributor/paced"
	"github.com/waft-project/waft/distributor/xds/internal/streams"
)

// Server serves envoy.service.discovery.v3.AggregatedDiscoveryService to Istio's control plane. It may be used concurrently;
// each stream has a goroutine of its own.
type Server struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer

	backend backend
	settle  time.Duration
	log     *slog.Logger
	pace    *paced.Nodes
	// stop ends all streams when it is done.
	stop context.Context
}

func newServer(stop context.Context, b backend, settle time.Duration, log *slog.Logger) *Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Server{backend: b, settle: settle, log: log, pace: paced.New(RequestsPerSecond, RequestBurst), stop: stop}
}

// Register adds the server to a gRPC server.
func (s *Server) Register(r grpc.ServiceRegistrar) {
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(r, s)
}

type adsStream = grpc.BidiStreamingServer[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]

// streamOfNode is one stream. Only its own goroutine touches it.
type streamOfNode struct {
	server *Server
	stream adsStream
	who    identity
	// kinds are those that were asked for.
	kinds  map[string]*subscription
	nonces uint64
	// settled: a node without a chain has waited for long enough.
	settled bool
	// told is the version of the snapshot that was told to be none that Istio can have.
	told string
}

// StreamAggregatedResources serves one control plane until it goes, does what none may do, or the server stops.
func (s *Server) StreamAggregatedResources(stream adsStream) error {
	ctx := stream.Context()
	requests, failed := streams.Receive(ctx, stream.Recv)
	var first *discoveryv3.DiscoveryRequest
	select {
	case <-s.stop.Done():
		return streams.Stopping()
	case err := <-failed:
		return err
	case first = <-requests:
	}
	who, err := identify(first.GetNode())
	if err != nil {
		return err
	}
	// One that asks faster than it may is made to wait before it is served, and not read from for a while later; what it is to be sent goes on.
	pace := s.pace.Join(who.id)
	defer s.pace.Leave(who.id)
	if err := pace.Take().Rest(ctx, s.stop); err != nil {
		return streams.Ended(err, s.stop)
	}
	session, err := s.backend.connect(ctx, who.id, who.labels)
	if err != nil {
		return err
	}
	defer session.Close()
	changed, cancel := s.backend.watch(who.id)
	defer cancel()
	s.log.Debug("Istio connected", "node", who.id)
	defer s.log.Debug("Istio disconnected", "node", who.id)

	n := &streamOfNode{server: s, stream: stream, who: who, kinds: map[string]*subscription{}}
	if err := n.request(ctx, first); err != nil {
		return err
	}
	settled := time.NewTimer(s.settle)
	defer settled.Stop()
	next, rested := requests, (<-chan time.Time)(nil)
	for {
		select {
		case <-s.stop.Done():
			return streams.Stopping()
		case <-session.Done():
			if s.stop.Err() != nil {
				return streams.Stopping()
			}
			return status.Errorf(codes.Aborted, "another stream of node %s has taken the place of this one; check that no two control planes have its id", who.id)
		case err := <-failed:
			return err
		case req := <-next:
			if err := n.request(ctx, req); err != nil {
				return err
			}
			if wait := pace.Take().Wait; wait > 0 {
				next, rested = nil, time.After(wait)
			}
		case <-rested:
			next, rested = requests, nil
		case <-settled.C:
			n.settled = true
			if err := n.push(ctx); err != nil {
				return err
			}
		case _, open := <-changed:
			if !open {
				return streams.Stopping()
			}
			if err := n.push(ctx); err != nil {
				return err
			}
		}
	}
}

// request takes one request, and sends what it makes possible.
func (n *streamOfNode) request(ctx context.Context, req *discoveryv3.DiscoveryRequest) error {
	kind := req.GetTypeUrl()
	sub := n.kinds[kind]
	if sub == nil {
		if err := checkKind(kind); err != nil {
			return err
		}
		if len(n.kinds) >= MaxTypes {
			return status.Errorf(codes.ResourceExhausted, "one stream asks for more than %d kinds of resources", MaxTypes)
		}
		n.kinds[kind] = &subscription{}
		return n.push(ctx)
	}
	switch sub.take(req) {
	case answerNone:
		return nil
	case answerACK:
		if kind == n.carrier() && sub.chain != "" {
			n.server.backend.accepted(n.who.id, sub.chain)
		}
	case answerNACK:
		n.server.backend.refused(n.who.id, sub.chain, kind, streams.Clip(req.GetErrorDetail().GetMessage(), MaxReasonBytes))
	}
	return n.push(ctx)
}

// checkKind takes GROUP/VERSION/KIND, as Istio names kinds of resources.
func checkKind(kind string) error {
	if strings.HasPrefix(kind, "type.googleapis.com/") {
		return status.Errorf(codes.InvalidArgument, "%.253q is Envoy's; what a stream asks for first says whose it is", kind)
	}
	if len(kind) > MaxTypeBytes || strings.Count(kind, "/") != 2 {
		return status.Errorf(codes.InvalidArgument, "%.253q is not GROUP/VERSION/KIND", kind)
	}
	return nil
}

// carrier is the kind that filters go by to this client: one that knows both would run each filter twice.
func (n *streamOfNode) carrier() string {
	if n.kinds[kindTrafficExtension] != nil {
		return kindTrafficExtension
	}
	return kindWasmPlugin
}

// push sends what is due: nothing of most kinds, and of filters what the node is to have.
func (n *streamOfNode) push(ctx context.Context) error {
	for _, kind := range slices.Sorted(maps.Keys(n.kinds)) {
		if kind == kindWasmPlugin || kind == kindTrafficExtension {
			continue
		}
		if sub := n.kinds[kind]; sub.due(noVersion) {
			if err := n.send(kind, noVersion, "", nil); err != nil {
				return err
			}
		}
	}
	if n.kinds[kindWasmPlugin] == nil && n.kinds[kindTrafficExtension] == nil {
		return nil
	}
	all, err := n.server.backend.collections(ctx, n.who.id)
	if err != nil {
		return err
	}
	now := snapshotOf(all)
	if now.chain == "" && !n.settled {
		return nil // it may be given one yet
	}
	carrier := n.carrier()
	for _, kind := range []string{kindTrafficExtension, kindWasmPlugin} {
		sub := n.kinds[kind]
		version := now.version
		if kind != carrier {
			version = noVersion
		}
		if sub == nil || !sub.due(version) {
			continue
		}
		var resources []*anypb.Any
		if kind == carrier {
			if resources, err = now.render(kind, n.who.namespace); err != nil {
				n.cannot(now, err)
				return nil
			}
		}
		if err := n.send(kind, version, now.chain, resources); err != nil {
			return err
		}
	}
	return nil
}

// noVersion is that of a kind of which there is nothing.
const noVersion = "none"

// cannot says, once, that the node cannot have its chain. What it had stays: to leave a filter out would let requests pass
// that it is there to stop.
func (n *streamOfNode) cannot(now snapshot, err error) {
	if n.told == now.version {
		return
	}
	n.told = now.version
	n.server.log.Error("Istio cannot have the chain of a node, and keeps the one before", "node", n.who.id, "chain", now.chain, "error", err)
	n.server.backend.refused(n.who.id, now.chain, n.carrier(), streams.Clip(err.Error(), MaxReasonBytes))
}

func (n *streamOfNode) send(kind, version, chain string, resources []*anypb.Any) error {
	n.nonces++
	msg := &discoveryv3.DiscoveryResponse{TypeUrl: kind, VersionInfo: version, Nonce: strconv.FormatUint(n.nonces, 10), Resources: resources}
	if size := proto.Size(msg); size > MaxResponseBytes {
		return status.Errorf(codes.ResourceExhausted, "%s has %d bytes for node %s; the limit is %d", kind, size, n.who.id, MaxResponseBytes)
	}
	n.kinds[kind].sent(msg.Nonce, version, chain)
	return n.stream.Send(msg)
}
