package mcp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/waft-project/waft/distributor/encoded"
	"github.com/waft-project/waft/distributor/inbox"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/paced"
)

// known are the collections that every source has, in the order in which a sink does well to have them. Those of a release's resources come before the
// last, which names what belongs together.
var known = [...]string{model.CollectionPrefetch, model.CollectionFilters, model.CollectionSecrets, model.CollectionChains}

// Source serves istio.mcp.v1alpha1.ResourceSource, and dials sinks that serve istio.mcp.v1alpha1.ResourceSink. It may be used
// concurrently.
type Source struct {
	mcpv1.UnimplementedResourceSourceServer

	backend backend
	metrics *Metrics
	log     *slog.Logger
	encoder encoder
	pace    *paced.Nodes
	crew    inbox.Crew
	// stop ends all streams when it is done.
	stop context.Context
	// unasked is called when an answer was taken for which the backend need not be asked; nil but in tests.
	unasked func()
}

func newSource(stop context.Context, b backend, metrics *Metrics, log *slog.Logger) *Source {
	if metrics == nil {
		metrics, _ = NewMetrics(nil) // cannot fail without a registry
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Source{backend: b, metrics: metrics, log: log, stop: stop, pace: paced.New(RequestsPerSecond, RequestBurst)}
}

// Register adds the source to a gRPC server.
func (s *Source) Register(r grpc.ServiceRegistrar) { mcpv1.RegisterResourceSourceServer(r, s) }

// exchange is a stream as a source uses it, whichever end opened it.
type exchange interface {
	Context() context.Context
	SendMsg(any) error
	RecvMsg(any) error
}

// streamOfNode is one stream. One goroutine at a time touches it, whom its inbox lets.
type streamOfNode struct {
	source        *Source
	stream        exchange
	node          string
	subscriptions map[string]*subscription
	// asked are the collections that the sink has asked for, in the order in which it is sent them; see askedOf. tells: it is for tell to say what it has accepted.
	asked  []string
	tells  bool
	nonces uint64
	// byDigest: the sink fetches modules, and needs none inline.
	byDigest bool
	// inbox has its requests, and is woken for all else. Each is read into the same message, of which nothing stays there while the next is waited for.
	inbox *inbox.Inbox[*mcpv1.RequestResources]
	read  mcpv1.RequestResources
	// failed receives what receiving has ended with.
	failed chan error
	// session is its stream as the backend sees it, nil until it is known whose it is; changed receives when the node's collections may have changed, and unwatch ends
	// that.
	session session
	changed <-chan struct{}
	unwatch func()
	// pace is what its node may still send, and rest for how long the sink is not to be read from, which is of whoever receives.
	pace *paced.Pace
	rest time.Duration
	// secretsAgain is when secrets that could not be given are to be tried again; zero: there are none.
	secretsAgain time.Time
	// told is the version of the chain that the backend was last told of as accepted; see tell.
	told string
}

// EstablishResourceStream serves one sink until it goes, does what no sink may do, or the source stops.
func (s *Source) EstablishResourceStream(stream grpc.BidiStreamingServer[mcpv1.RequestResources, mcpv1.Resources]) error {
	return s.serve(stream, "")
}

// serve serves one sink until the stream ends. The sink may call itself only, or whatever it likes where only is empty.
func (s *Source) serve(stream exchange, only string) error {
	ctx := stream.Context()
	s.metrics.clients.WithLabelValues(string(componentSource)).Inc()
	defer s.metrics.clients.WithLabelValues(string(componentSource)).Dec()

	n := &streamOfNode{source: s, stream: stream, subscriptions: map[string]*subscription{}, byDigest: byDigest(ctx), failed: make(chan error, 1)}
	defer n.leave()
	n.inbox = inbox.New(ctx, &s.crew, n.receive, inbox.Handler[*mcpv1.RequestResources]{
		Request: func(req *mcpv1.RequestResources) error { return n.react(ctx, req, only) },
		News:    func() error { return n.news(ctx) },
	})
	defer context.AfterFunc(s.stop, n.inbox.Wake)()
	err := n.inbox.Run()
	if errors.Is(err, io.EOF) { // it cannot be sent on any more; why, receiving knows
		select {
		case err = <-n.failed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if errors.Is(err, errClosed) {
		return nil
	}
	return err
}

// errClosed: the sink has closed its side in order.
var errClosed = errors.New("the sink has closed the stream")

// receive gives the next request, after the rest that the sink is to take.
func (n *streamOfNode) receive() (*mcpv1.RequestResources, error) {
	if n.rest > 0 {
		select {
		case <-time.After(n.rest):
		case <-n.stream.Context().Done(): // which receiving says, too
		case <-n.inbox.Ended():
			return nil, inbox.ErrWoken
		}
		n.rest = 0
	}
	n.read.Reset()
	err := n.stream.RecvMsg(&n.read)
	switch {
	case err == nil || errors.Is(err, inbox.ErrWoken):
		return &n.read, err
	case errors.Is(err, io.EOF):
		err = errClosed
	default:
		n.source.metrics.recvFailures.WithLabelValues(string(componentSource), status.Code(err).String()).Inc()
	}
	n.failed <- err
	return nil, err
}

// react takes one request. The first says whose stream it is.
func (n *streamOfNode) react(ctx context.Context, req *mcpv1.RequestResources, only string) error {
	switch {
	case n.session == nil && refusesGreeting(req):
		return nil
	case n.session == nil:
		if err := n.begin(ctx, req, only); err != nil {
			return err
		}
		if err := n.request(ctx, req); err != nil {
			return err
		}
		return n.news(ctx)
	case !refusesGreeting(req):
		if err := n.request(ctx, req); err != nil {
			return err
		}
	}
	n.rest = n.source.take(n.pace).Wait
	return nil
}

// begin makes it the stream of the node that the first request names.
func (n *streamOfNode) begin(ctx context.Context, first *mcpv1.RequestResources, only string) error {
	s := n.source
	id, labels, err := nodeOf(first.GetSinkNode())
	if err != nil {
		return err
	}
	if only != "" && id != only {
		return status.Errorf(codes.PermissionDenied, "the sink calls itself %q, and was dialled as node %s; give it that id, or dial it under its own", id, only)
	}
	n.node = id
	// A node that asks faster than it may is made to wait before it is served, and not read from for a while later; what it
	// is to be sent goes on.
	n.pace = s.pace.Join(id)
	if err := s.take(n.pace).Rest(ctx, s.stop); err != nil {
		if s.stop.Err() != nil {
			return errStopping()
		}
		return err
	}
	session, err := s.backend.connect(ctx, id, labels)
	if err != nil {
		return toStatus(err)
	}
	n.session = session
	session.Alert(n.inbox.Wake)
	n.changed, n.unwatch = s.backend.watch(id, n.inbox.Wake)
	s.log.Debug("sink connected", "node", id)
	return nil
}

// leave ends what begin has begun.
func (n *streamOfNode) leave() {
	if n.unwatch != nil {
		n.source.log.Debug("sink disconnected", "node", n.node)
		n.unwatch()
	}
	if n.session != nil {
		n.session.Close()
	}
	if n.pace != nil {
		n.source.pace.Leave(n.node)
	}
}

// news takes all that the stream is woken for.
func (n *streamOfNode) news(ctx context.Context) error {
	if n.source.stop.Err() != nil {
		return errStopping()
	}
	if n.session == nil {
		return nil
	}
	select {
	case <-n.session.Done():
		return n.displaced()
	default:
	}
	select {
	case _, open := <-n.changed:
		if !open {
			return errStopping()
		}
		if err := n.push(ctx); err != nil {
			return err
		}
	default:
	}
	if !n.secretsAgain.IsZero() && !time.Now().Before(n.secretsAgain) {
		n.secretsAgain = time.Time{}
		return n.push(ctx, model.CollectionSecrets)
	}
	return nil
}

// displaced is what a stream ends with when its session has: that of a stopping source, or of one whose place another has taken.
func (n *streamOfNode) displaced() error {
	if n.source.stop.Err() != nil {
		return errStopping()
	}
	return status.Errorf(codes.Aborted, "another stream of node %s has taken the place of this one; check that no two sinks have its id", n.node)
}

// take takes a request that a node sent.
func (s *Source) take(p *paced.Pace) paced.Turn {
	turn := p.Take()
	if turn.Wait > 0 {
		s.metrics.throttled.WithLabelValues(string(componentSource)).Inc()
	}
	return turn
}

func errStopping() error {
	return status.Error(codes.Unavailable, "the distributor is stopping; connect again")
}

// nodeOf reads who the sink is.
func nodeOf(n *mcpv1.SinkNode) (string, map[string]string, error) {
	switch id := n.GetId(); {
	case id == "":
		return "", nil, status.Error(codes.InvalidArgument, "sink_node.id is empty; the first request names the node")
	case len(id) > MaxNodeIDBytes:
		return "", nil, status.Errorf(codes.InvalidArgument, "sink_node.id has %d bytes; the limit is %d", len(id), MaxNodeIDBytes)
	case len(n.GetAnnotations()) > MaxLabels:
		return "", nil, status.Errorf(codes.InvalidArgument, "sink_node has %d annotations; the limit is %d", len(n.GetAnnotations()), MaxLabels)
	}
	for k, v := range n.GetAnnotations() {
		if len(k)+len(v) > MaxLabelBytes {
			return "", nil, status.Errorf(codes.InvalidArgument, "sink_node annotation %.64q has more than %d bytes", k, MaxLabelBytes)
		}
	}
	return n.GetId(), n.GetAnnotations(), nil
}

// request takes one request, and sends what it makes possible.
func (n *streamOfNode) request(ctx context.Context, req *mcpv1.RequestResources) error {
	s, name := n.source, req.GetCollection()
	if id := req.GetSinkNode().GetId(); id != "" && id != n.node {
		return status.Errorf(codes.InvalidArgument, "sink_node.id changed from %q to %.253q; a stream belongs to one node", n.node, id)
	}
	if !slices.Contains(known[:], name) {
		if err := model.ValidateCollection("", "", name); err != nil {
			return status.Errorf(codes.InvalidArgument, "unknown collection %.253q; there are %s, and those of releases' resources: %v", name, strings.Join(known[:], ", "), err)
		}
	}
	sub := n.subscriptions[name]
	if sub == nil {
		if len(n.subscriptions) >= MaxCollections {
			return status.Errorf(codes.ResourceExhausted, "node %s asks for more than %d collections on one stream", n.node, MaxCollections)
		}
		sub = &subscription{collection: name}
	}
	kind, offer := sub.take(req, n.room(sub))
	switch kind {
	case answerFirst:
		n.subscriptions[name] = sub // not before: an answer to nothing asks for nothing
		n.asked, n.tells = askedOf(n.subscriptions)
	case answerStale:
		s.metrics.stale.WithLabelValues(string(componentSource), collectionLabel(name)).Inc()
		return nil
	case answerACK:
		s.metrics.acks.WithLabelValues(string(componentSource), collectionLabel(name)).Inc()
		if offer.chain != "" {
			s.backend.accepted(n.node, offer.chain)
		}
	case answerNACK:
		code := codeLabel(codes.Code(req.GetErrorDetail().GetCode()))
		s.metrics.nacks.WithLabelValues(string(componentSource), collectionLabel(name), code).Inc()
		s.backend.refused(n.node, offer.toward, name, clip(req.GetErrorDetail().GetMessage(), MaxReasonBytes))
	}
	if kind != answerFirst && !sub.behind && !n.tells && name != model.CollectionSecrets {
		// What it answers is what the sink is to have, as far as is known; news are looked at by themselves.
		if s.unasked != nil {
			s.unasked()
		}
		return nil
	}
	return n.push(ctx, name)
}

// room is how many bytes the sink may still say that it holds, beside what it has said of the other collections.
func (n *streamOfNode) room(but *subscription) int {
	room := MaxHeldBytes
	for _, sub := range n.subscriptions {
		if sub != but {
			room -= sub.claimed
		}
	}
	return room
}

// collectionLabel keeps sinks from filling the metrics with names of their own: all collections of users are one.
func collectionLabel(name string) string {
	if slices.Contains(known[:], name) {
		return name
	}
	return "resources"
}

// codeLabel keeps a sink from filling the metrics with codes of its own.
func codeLabel(c codes.Code) string {
	if c > codes.Unauthenticated {
		return "Other"
	}
	return c.String()
}

// push sends what is due of the collections named, or of all that the sink asked for.
func (n *streamOfNode) push(ctx context.Context, names ...string) error {
	if len(names) == 0 {
		names = n.asked
	}
	all, err := n.source.backend.collections(ctx, n.node)
	if err != nil {
		return toStatus(err)
	}
	for _, name := range names {
		c := model.Collection{Name: name, Version: emptyVersion}
		if i := slices.IndexFunc(all, func(c model.Collection) bool { return c.Name == name }); i >= 0 {
			c = all[i]
		}
		if name == model.CollectionSecrets && !n.subscriptions[name].settled(c.Version) {
			if c, err = n.withTroubles(ctx, c); err != nil {
				return err
			}
		}
		if err := n.send(ctx, n.subscriptions[name], c, chainIn(all)); err != nil {
			return err
		}
	}
	n.tell(all)
	return nil
}

// askedOf are the collections of subscriptions, in the order in which a sink is sent them. tells: there are users' own among them, and chains are not.
func askedOf(subscriptions map[string]*subscription) (asked []string, tells bool) {
	last := len(known) - 1
	add := func(of ...string) {
		for _, name := range of {
			if subscriptions[name] != nil {
				asked = append(asked, name)
			}
		}
	}
	add(known[:last]...)
	own := 0
	for _, name := range slices.Sorted(maps.Keys(subscriptions)) {
		if !slices.Contains(known[:], name) {
			asked = append(asked, name)
			own++
		}
	}
	add(known[last])
	return asked, own > 0 && subscriptions[model.CollectionChains] == nil
}

// tell tells the backend of a chain of which the sink has accepted all that it asks for, where it does not ask for chains, whose ACK would say so: an
// application that takes a collection of users' resources only, and knows nothing of what runs it.
func (n *streamOfNode) tell(all []model.Collection) {
	if !n.tells {
		return
	}
	chain, version := chainIn(all), versionIn(all, model.CollectionChains)
	if chain == "" || version == n.told {
		return
	}
	for name, sub := range n.subscriptions {
		if !sub.settled(versionIn(all, name)) {
			return
		}
	}
	n.told = version
	n.source.backend.accepted(n.node, chain)
}

// versionIn is the version of a collection among those that a backend gave.
func versionIn(all []model.Collection, name string) string {
	for _, c := range all {
		if c.Name == name {
			return c.Version
		}
	}
	return emptyVersion
}

// resourcesType is the type of what a source sends.
var resourcesType = (*mcpv1.Resources)(nil).ProtoReflect().Type()

// emptyVersion is the version of a collection that the backend does not mention.
const emptyVersion = "empty"

// chainIn is the hash of the chain among the collections that a backend gave; empty for none.
func chainIn(all []model.Collection) string {
	i := slices.IndexFunc(all, func(c model.Collection) bool { return c.Name == model.CollectionChains })
	if i < 0 || len(all[i].Resources) == 0 || all[i].Resources[0].Chain == nil {
		return ""
	}
	return all[i].Resources[0].Chain.Hash
}

// Numbers of fields of Resources; that of the resources is fieldResources.
const (
	fieldVersion     = 1
	fieldCollection  = 2
	fieldRemoved     = 4
	fieldNonce       = 5
	fieldIncremental = 6
)

// ownRest is what appendOwn mostly takes beside version and name, in bytes.
const ownRest = 24

// appendOwn appends what a message Resources has beside its resources.
func appendOwn(b []byte, c model.Collection, ch change, nonce string) []byte {
	text := func(field protowire.Number, s string) {
		b = protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), s)
	}
	text(fieldVersion, c.Version)
	text(fieldCollection, c.Name)
	for _, name := range ch.removed {
		text(fieldRemoved, name)
	}
	text(fieldNonce, nonce)
	if ch.incremental {
		b = protowire.AppendVarint(protowire.AppendTag(b, fieldIncremental, protowire.VarintType), 1)
	}
	return b
}

// send sends what is due of a collection, on the way to a chain.
func (n *streamOfNode) send(ctx context.Context, sub *subscription, c model.Collection, toward string) error {
	ch, due := sub.next(c)
	if !due {
		return nil
	}
	n.nonces++
	nonce := strconv.FormatUint(n.nonces, 10)
	// The resources are bytes already, shared with other streams; protobuf takes fields in any order.
	parts := append(make([][]byte, 0, 1+len(ch.resources)), appendOwn(make([]byte, 0, len(c.Version)+len(c.Name)+ownRest), c, ch, nonce))
	if c.Name == model.CollectionSecrets {
		limited, cancel := context.WithTimeout(ctx, secretTimeout)
		defer cancel()
		ctx = limited
	}
	for _, r := range ch.resources {
		b, err := n.field(ctx, c.Name, r)
		if err != nil {
			return err
		}
		parts = append(parts, b)
	}
	msg := encoded.Of(resourcesType, parts...)
	size := msg.Size()
	if size > MaxResourcesBytes {
		return status.Errorf(codes.ResourceExhausted, "collection %s has %d bytes for node %s; the limit is %d", c.Name, size, n.node, MaxResourcesBytes)
	}
	n.source.metrics.sizes.WithLabelValues(string(componentSource), collectionLabel(c.Name)).Observe(float64(size))
	sub.sent(nonce, c, toward)
	if err := n.stream.SendMsg(msg); err != nil {
		n.source.metrics.sendFailures.WithLabelValues(string(componentSource), status.Code(err).String()).Inc()
		return err
	}
	return nil
}

// codesOf maps kinds of error to what a sink is told; the first that fits wins.
var codesOf = [...]struct {
	kind error
	code codes.Code
}{
	{model.ErrInvalid, codes.InvalidArgument},
	{model.ErrNotFound, codes.NotFound},
	{model.ErrExists, codes.AlreadyExists},
	{model.ErrConflict, codes.Aborted},
	{model.ErrPrecondition, codes.FailedPrecondition},
	{model.ErrUnauthenticated, codes.Unauthenticated},
	{model.ErrDenied, codes.PermissionDenied},
	{model.ErrUnavailable, codes.Unavailable},
	{context.Canceled, codes.Canceled},
	{context.DeadlineExceeded, codes.DeadlineExceeded},
}

func toStatus(err error) error {
	for _, k := range codesOf {
		if errors.Is(err, k.kind) {
			return status.Error(k.code, err.Error())
		}
	}
	return status.Error(codes.Internal, err.Error())
}
