package mcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
)

// SinkConfig says what a sink is and wants.
type SinkConfig struct {
	// Conn leads to the source. The sink does not close it. Required for a Sink; a SinkServer is dialled and takes none.
	Conn grpc.ClientConnInterface
	// Node is the node's id. Required.
	Node string
	// Labels are sent as the annotations of SinkNode.
	Labels map[string]string
	// Collections are asked for in this order. At least one.
	Collections []string
	// More, when set, names further collections, in any order: it is called when a stream opens, and after each update that Apply has taken. One that
	// is new is asked for at once; one that is named no longer, when the next stream opens, is not. It is never called while Apply runs.
	More func() []string
	// FetchesModules: the sink gets modules by their digests, so that filters come without the bytes of those that releases were given inline. A SinkServer, whose
	// source opens the stream, cannot say so, and is sent them.
	FetchesModules bool
	// FullState asks for whole collections instead of changes.
	FullState bool
	// Held is what the sink holds from an earlier life, by collection, of More's, too: it is offered to the source as
	// initial_resource_versions, so that only changes are sent, and it is part of Update.Resources. May be nil.
	Held map[string][]*mcpv1.Resource
	// Apply takes an update: decode, verify, store. When it returns nil the update is accepted (ACK); an error refuses
	// it (NACK, with the error's text, and its gRPC code where it has one) and the sink goes on with what it held.
	// It is called for one update after the other; while it runs nothing else is received. Required.
	Apply func(context.Context, Update) error
	// OnState, when set, is told when the stream to the source opens and when it is lost. One call comes after the other.
	OnState func(SinkState)
	// Metrics to count in; nil counts nowhere.
	Metrics *Metrics
	// Log; nil logs nowhere.
	Log *slog.Logger
	// MinBackoff and MaxBackoff bound the pause between attempts of a Sink. Zero: DefaultMinBackoff, DefaultMaxBackoff.
	MinBackoff, MaxBackoff time.Duration
}

// Update is a collection after a message of the source.
type Update struct {
	Collection string
	// Version is the source's system_version_info; opaque.
	Version string
	// Resources is the whole collection as it is with this update, by name. Do not change them.
	Resources []*mcpv1.Resource
	// Changed names the resources that are new or have another version than the ones held; Removed names those that are
	// gone. Both in order. Both are empty when the message only confirms what is held.
	Changed, Removed []string
	// Incremental says whether the message carried changes only.
	Incremental bool
}

// SinkState is the state of a sink's stream.
type SinkState struct {
	// Connected is true from the source's first answer until the stream is lost.
	Connected bool
	// Err says why the stream was lost; nil when Connected.
	Err error
	// RetryIn is the pause before the next attempt; zero when Connected, and always of a SinkServer, which waits to be dialled.
	RetryIn time.Duration
}

// Sink keeps collections of a source up to date, for as long as Run runs.
type Sink struct {
	cfg     SinkConfig
	metrics *Metrics
	log     *slog.Logger
	// held is what was accepted, by collection and name. Only the one exchange that is under way touches it.
	held map[string]map[string]*mcpv1.Resource
}

// NewSink checks the configuration of a sink that dials its source.
func NewSink(cfg SinkConfig) (*Sink, error) {
	if cfg.Conn == nil {
		return nil, errors.New("mcp sink: no connection")
	}
	return newSink(cfg)
}

func newSink(cfg SinkConfig) (*Sink, error) {
	switch {
	case cfg.Node == "":
		return nil, errors.New("mcp sink: no node id")
	case cfg.Apply == nil:
		return nil, errors.New("mcp sink: no Apply")
	case len(cfg.Collections) == 0:
		return nil, errors.New("mcp sink: no collections")
	}
	s := &Sink{cfg: cfg, metrics: cfg.Metrics, log: cfg.Log, held: map[string]map[string]*mcpv1.Resource{}}
	if s.metrics == nil {
		s.metrics, _ = NewMetrics(nil) // cannot fail without a registry
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.cfg.MinBackoff <= 0 {
		s.cfg.MinBackoff = DefaultMinBackoff
	}
	if s.cfg.MaxBackoff < s.cfg.MinBackoff {
		s.cfg.MaxBackoff = max(DefaultMaxBackoff, s.cfg.MinBackoff)
	}
	for _, name := range cfg.Collections {
		if s.held[name] != nil {
			return nil, fmt.Errorf("mcp sink: collection %s is named twice", name)
		}
		s.held[name] = map[string]*mcpv1.Resource{}
	}
	for name, resources := range cfg.Held {
		if s.held[name] == nil && cfg.More == nil {
			continue // not asked for
		}
		s.held[name] = make(map[string]*mcpv1.Resource, len(resources))
		for _, r := range resources {
			s.held[name][r.GetMetadata().GetName()] = r
		}
	}
	return s, nil
}

// names are the collections to ask for now.
func (s *Sink) names() []string {
	names := slices.Clone(s.cfg.Collections)
	if s.cfg.More == nil {
		return names
	}
	for _, name := range s.cfg.More() {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Run keeps a stream to the source open until ctx ends, and returns ctx's error. A stream that is lost is opened again
// after a pause that doubles from MinBackoff to MaxBackoff, with jitter, without an end.
func (s *Sink) Run(ctx context.Context) error {
	pauses := backoff{min: s.cfg.MinBackoff, max: s.cfg.MaxBackoff}
	for attempt := 0; ; attempt++ {
		if attempt > 0 {
			s.metrics.reconnections.WithLabelValues(string(componentSink)).Inc()
		}
		answered, rest, err := s.stream(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if answered {
			pauses.reset()
		}
		wait := max(pauses.next(), rest)
		s.log.Warn("lost the source", "node", s.cfg.Node, "error", err, "retry_in", wait)
		s.state(SinkState{Err: err, RetryIn: wait})
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

func (s *Sink) state(st SinkState) {
	if s.cfg.OnState != nil {
		s.cfg.OnState(st)
	}
}

// stream opens one stream and serves it until it breaks. answered says whether the source sent anything, and rest for how long it asks to be left alone.
func (s *Sink) stream(ctx context.Context) (answered bool, rest time.Duration, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.cfg.FetchesModules {
		ctx = metadata.AppendToOutgoingContext(ctx, MetadataModules, ModulesByDigest)
	}
	stream, err := mcpv1.NewResourceSourceClient(s.cfg.Conn).EstablishResourceStream(ctx, grpc.MaxCallRecvMsgSize(MaxResourcesBytes))
	if err != nil {
		return false, 0, err
	}
	answered, err = s.exchange(ctx, stream)
	if ctx.Err() == nil {
		rest = restAsked(stream.Trailer()) // the stream has ended, and with it its trailer has come
	}
	return answered, rest, err
}

// sinkExchange is a stream as a sink uses it, whichever end opened it.
type sinkExchange interface {
	Send(*mcpv1.RequestResources) error
	Recv() (*mcpv1.Resources, error)
}

// exchange asks for the collections and takes what comes, until the stream breaks. answered says whether the source sent
// anything of them.
func (s *Sink) exchange(ctx context.Context, stream sinkExchange) (answered bool, err error) {
	s.metrics.clients.WithLabelValues(string(componentSink)).Inc()
	defer s.metrics.clients.WithLabelValues(string(componentSink)).Dec()

	asked := map[string]bool{}
	if err := s.ask(stream, asked); err != nil {
		return false, err
	}
	for {
		msg, err := stream.Recv()
		if err != nil {
			s.metrics.recvFailures.WithLabelValues(string(componentSink), status.Code(err).String()).Inc()
			if errors.Is(err, io.EOF) {
				err = errors.New("the source closed the stream")
			}
			return answered, err
		}
		if isGreeting(msg) {
			req := s.request("")
			req.ErrorDetail = &spb.Status{Code: int32(codes.Unimplemented), Message: "no collection"}
			if err := s.send(stream, req); err != nil {
				return answered, err
			}
			continue
		}
		if !answered {
			answered = true
			s.state(SinkState{Connected: true})
		}
		s.metrics.sizes.WithLabelValues(string(componentSink), s.collectionLabel(msg.GetCollection())).Observe(float64(proto.Size(msg)))
		refusal := s.take(ctx, msg)
		if ctx.Err() != nil {
			// Neither an ACK nor a NACK: the sink is stopping, and whatever Apply said of it was said for that reason.
			return answered, ctx.Err()
		}
		req := s.request(msg.GetCollection())
		req.ResponseNonce = msg.GetNonce()
		req.ErrorDetail = refusal
		if err := s.send(stream, req); err != nil {
			return answered, err
		}
		if refusal == nil {
			if err := s.ask(stream, asked); err != nil {
				return answered, err
			}
		}
	}
}

// ask asks for those of the collections that have not been asked for on a stream.
func (s *Sink) ask(stream sinkExchange, asked map[string]bool) error {
	for _, name := range s.names() {
		if asked[name] {
			continue
		}
		asked[name] = true
		if s.held[name] == nil {
			s.held[name] = map[string]*mcpv1.Resource{}
		}
		req := s.request(name)
		if !s.cfg.FullState {
			req.InitialResourceVersions = map[string]string{}
			for n, r := range s.held[name] {
				req.InitialResourceVersions[n] = r.GetMetadata().GetVersion()
			}
			if proto.Size(req) > MaxRequestBytes {
				// What cannot be said is taken anew.
				s.held[name], req.InitialResourceVersions = map[string]*mcpv1.Resource{}, nil
			}
		}
		if err := s.send(stream, req); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sink) request(collection string) *mcpv1.RequestResources {
	return &mcpv1.RequestResources{
		SinkNode:    &mcpv1.SinkNode{Id: s.cfg.Node, Annotations: s.cfg.Labels},
		Collection:  collection,
		Incremental: !s.cfg.FullState,
	}
}

func (s *Sink) send(stream sinkExchange, req *mcpv1.RequestResources) error {
	err := stream.Send(req)
	if err == nil {
		return nil
	}
	err = endOf(err, stream.Recv)
	s.metrics.sendFailures.WithLabelValues(string(componentSink), status.Code(err).String()).Inc()
	return err
}

// collectionLabel keeps a source from filling the metrics with names of its own.
func (s *Sink) collectionLabel(name string) string {
	if s.held[name] == nil {
		return "unknown"
	}
	return name
}

// take applies one message. It returns the reason for a NACK, or nil for an ACK.
func (s *Sink) take(ctx context.Context, msg *mcpv1.Resources) *spb.Status {
	label := s.collectionLabel(msg.GetCollection())
	held := s.held[msg.GetCollection()]
	var err error
	if held == nil {
		err = status.Errorf(codes.Unimplemented, "collection %q was not asked for", msg.GetCollection())
	} else {
		var next map[string]*mcpv1.Resource
		var update Update
		if next, update, err = merge(held, msg, !s.cfg.FullState); err == nil {
			if err = s.cfg.Apply(ctx, update); err == nil {
				s.held[msg.GetCollection()] = next
			}
		}
	}
	if err == nil {
		s.metrics.acks.WithLabelValues(string(componentSink), label).Inc()
		return nil
	}
	st := refusal(err)
	s.metrics.nacks.WithLabelValues(string(componentSink), label, codes.Code(st.GetCode()).String()).Inc()
	s.log.Warn("refused an update", "node", s.cfg.Node, "collection", msg.GetCollection(), "version", msg.GetSystemVersionInfo(), "error", err)
	return st
}

// refusal is an error as the error_detail of a NACK. Its code is never OK: a NACK says so by its detail.
func refusal(err error) *spb.Status {
	st := status.Convert(err)
	code := st.Code()
	if code == codes.Unknown || code == codes.OK {
		code = codes.InvalidArgument
	}
	return &spb.Status{Code: int32(code), Message: clip(st.Message(), MaxReasonBytes)}
}

// merge is the collection after a message: pure, so that a refused message leaves no trace.
func merge(held map[string]*mcpv1.Resource, msg *mcpv1.Resources, incrementalAsked bool) (map[string]*mcpv1.Resource, Update, error) {
	u := Update{Collection: msg.GetCollection(), Version: msg.GetSystemVersionInfo(), Incremental: msg.GetIncremental()}
	if msg.GetIncremental() && !incrementalAsked {
		return nil, u, status.Errorf(codes.InvalidArgument, "collection %s: changes were sent, full state was asked for", u.Collection)
	}
	if !msg.GetIncremental() && len(msg.GetRemovedResources()) > 0 {
		return nil, u, status.Errorf(codes.InvalidArgument, "collection %s: removed_resources in a message of full state", u.Collection)
	}
	next := map[string]*mcpv1.Resource{}
	if msg.GetIncremental() {
		next = maps.Clone(held)
	}
	seen := make(map[string]bool, len(msg.GetResources()))
	for i, r := range msg.GetResources() {
		name := r.GetMetadata().GetName()
		if name == "" {
			return nil, u, status.Errorf(codes.InvalidArgument, "collection %s: resource %d has no name", u.Collection, i)
		}
		if seen[name] {
			return nil, u, status.Errorf(codes.InvalidArgument, "collection %s: resource %q is there twice", u.Collection, name)
		}
		seen[name] = true
		// An empty version says nothing and so always counts as a change.
		old, v := held[name], r.GetMetadata().GetVersion()
		if old == nil || v == "" || old.GetMetadata().GetVersion() != v {
			u.Changed = append(u.Changed, name)
		}
		next[name] = r
	}
	for _, name := range msg.GetRemovedResources() {
		if seen[name] {
			return nil, u, status.Errorf(codes.InvalidArgument, "collection %s: resource %q is both sent and removed", u.Collection, name)
		}
		delete(next, name)
	}
	for name := range held {
		if next[name] == nil {
			u.Removed = append(u.Removed, name)
		}
	}
	slices.Sort(u.Changed)
	slices.Sort(u.Removed)
	for _, name := range slices.Sorted(maps.Keys(next)) {
		u.Resources = append(u.Resources, next[name])
	}
	return next, u, nil
}

// clip cuts a text to at most n bytes of valid UTF-8, which is what a message can carry.
func clip(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
