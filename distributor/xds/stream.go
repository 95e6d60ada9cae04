package xds

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/waft-project/waft/distributor/inbox"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/paced"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/distributor/xds/internal/streams"
	"github.com/waft-project/waft/distributor/xds/snapshot"
	"github.com/waft-project/waft/envoy"
)

// stream is one stream of one node. One goroutine at a time touches it, whom its inbox lets; what is in the record is behind the record's lock.
type stream struct {
	server  *Server
	wire    wire
	id      string
	record  *record
	desk    *desk
	session session
	// inbox has its requests, and is woken for all else.
	inbox *inbox.Inbox[request]
	// changed tells that the node may be to have something else.
	changed <-chan struct{}
	// alarm wakes it when something is due; nil: nothing has been yet.
	alarm *time.Timer
	// nonce is that of the latest response; nonces counts them.
	nonce  string
	nonces uint64
	// kindNonce are those of the latest responses with resources.
	kindNonce [snapshot.Kinds]string
	// names are what Envoy asks for of slots and other extensions.
	names []string
	// takes is what its bootstrap asks for, as it says itself; slotless says why it can be given no filters, empty where it can.
	takes    model.Takes
	slotless string
	// lately are snapshots that the node had before, the latest first; read when it is first known what it is to have.
	lately []*snapshot.Snapshot
	looked bool
	// suspect: it may be a new process, since it has not said yet that it holds anything, and restarted: it is one, and that is to be told. One that goes on asks for
	// all at once, before it answers anything, and one by one it may hold nothing. Until that is known, what it held before counts.
	suspect, restarted bool
	// begun: it has asked for slots.
	begun bool
	build string
	// said is the latest report; at first, what the row has.
	said service.ChainReport
	// sent receives which modules the node was sent while this is the owner of its record.
	sent chan notice
}

// maxSent is how many notices of modules may wait for a stream; what is more is found out by waiting.
const maxSent = 16

// serve serves one Envoy until it goes, does what no Envoy may do, or the server stops.
func (s *Server) serve(ctx context.Context, w wire) error {
	s.metrics.streams.WithLabelValues(w.kind()).Inc()
	defer s.metrics.streams.WithLabelValues(w.kind()).Dec()

	c := &call{server: s, wire: w}
	defer c.end()
	c.inbox = inbox.New(ctx, &s.crew, func() (request, error) { return c.receive(ctx) }, inbox.Handler[request]{
		Request: func(req request) error { return c.request(ctx, req) },
		News:    func() error { return c.news(ctx) },
	})
	defer context.AfterFunc(s.stop, c.inbox.Wake)()
	if err := c.inbox.Run(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil // the client has closed its side in order
}

// call is a stream of an Envoy that may not have said yet who it is.
type call struct {
	server *Server
	wire   wire
	inbox  *inbox.Inbox[request]
	// named is the first request; nil: there was none yet.
	named *request
	// node is whose stream it is, and leave ends it; nil: it is not known yet.
	node  *stream
	leave func()
	// pace is what the node may still send that the first request named, and rest for how long it is not to be read from, which is of whoever receives.
	pace    *paced.Pace
	paces   *paced.Nodes
	pacedAs string
	rest    time.Duration
}

// receive gives the next request, after the rest that the Envoy is to take.
func (c *call) receive(ctx context.Context) (request, error) {
	if c.rest > 0 {
		select {
		case <-time.After(c.rest):
		case <-ctx.Done(): // which receiving says, too
		case <-c.inbox.Ended():
			return request{}, inbox.ErrWoken
		}
		c.rest = 0
	}
	return c.wire.recv()
}

// request takes a request. An Envoy that asks faster than it may is made to wait before its stream begins, and not read from for a while later; what it is to be sent goes on.
func (c *call) request(ctx context.Context, req request) error {
	if c.pace == nil {
		c.pacedAs = streams.Clip(req.node.GetId(), MaxNodeIDBytes)
		c.paces = c.server.paceOf(req.node)
		c.pace = c.paces.Join(c.pacedAs)
		if err := c.take().Rest(ctx, c.server.stop); err != nil {
			return streams.Ended(err, c.server.stop)
		}
	} else {
		c.rest = c.take().Wait
	}
	if c.node == nil {
		return c.arrive(ctx, req)
	}
	if err := c.node.request(req); err != nil {
		return err
	}
	return c.node.advance()
}

// take takes a request that the Envoy sent.
func (c *call) take() paced.Turn {
	turn := c.pace.Take()
	if turn.Wait > 0 {
		c.server.metrics.throttled.WithLabelValues(c.wire.kind()).Inc()
	}
	return turn
}

// arrive takes one of an Envoy that is no node yet. The first one for slots makes the Envoy a node, and the node is put into it that the stream's first request named. What an
// Envoy asks for beside that (LDS, CDS) is not answered: an empty answer would have it remove what it has from elsewhere.
func (c *call) arrive(ctx context.Context, req request) (err error) {
	if c.named == nil {
		c.named = &req
	}
	takes, err := takesOf(c.named.node)
	if err != nil {
		return err
	}
	if err := req.check(takes); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	if !answers(takes, req.typeURL) {
		c.server.unanswered(c.wire, req)
		return nil
	}
	if req.node == nil {
		req.node = c.named.node
	}
	if c.node, c.leave, err = c.server.join(ctx, c.wire, c.inbox, &req); err != nil {
		return err
	}
	c.named = nil
	return c.node.news(ctx)
}

func (c *call) news(ctx context.Context) error {
	switch {
	case c.server.stop.Err() != nil:
		return streams.Stopping()
	case c.node != nil:
		return c.node.news(ctx)
	}
	return nil
}

func (c *call) end() {
	if c.pace != nil {
		c.paces.Leave(c.pacedAs)
	}
	if c.leave != nil {
		c.leave()
	}
}

// join makes the stream of a node that has said who it is; leave ends it.
func (s *Server) join(ctx context.Context, w wire, in *inbox.Inbox[request], first *request) (_ *stream, leave func(), err error) {
	hello, unfit, err := helloOf(first.node)
	if err != nil {
		return nil, nil, err
	}
	row, err := s.backend.node(ctx, hello.ID)
	if err != nil && !errors.Is(err, model.ErrNotFound) {
		return nil, nil, err
	}
	session, err := s.backend.connect(ctx, hello)
	if err != nil {
		return nil, nil, err
	}
	session.Alert(in.Wake)
	changed, cancel := s.backend.watch(hello.ID, in.Wake)
	n := &stream{server: s, wire: w, id: hello.ID, session: session, inbox: in, changed: changed, sent: make(chan notice, maxSent), takes: hello.Takes, build: hello.EnvoyBuild, said: service.ChainReport{Serving: row.Serving}}
	s.open(n, row, unfit)
	s.log.Debug("Envoy connected", "node", hello.ID, "version", hello.EnvoyVersion, "dialect", w.kind(), "holds", first.held)
	leave = func() {
		s.log.Debug("Envoy disconnected", "node", n.id)
		if n.alarm != nil {
			n.alarm.Stop()
		}
		s.close(n)
		cancel()
		session.Close()
	}
	joined := false
	defer func() { // also where it panics, which ends this call alone
		if !joined {
			leave()
		}
	}()
	n.suspect = row.Serving != "" && !first.holds()
	n.restarted = n.suspect && len(n.takes.Collections) == 0
	if err := n.begin(*first); err != nil {
		return nil, nil, err
	}
	joined = true
	return n, leave, nil
}

// advance does what is due, and has itself woken when something will be.
func (n *stream) advance() error {
	at, err := n.step()
	if err != nil || at.IsZero() { // an alarm that is set already finds nothing to do
		return err
	}
	switch in := time.Until(at); {
	case in <= 0:
		n.inbox.Wake()
	case n.alarm == nil:
		n.alarm = time.AfterFunc(in, n.inbox.Wake)
	default:
		n.alarm.Reset(in)
	}
	return nil
}

// news takes all that the stream is woken for, and does what is due.
func (n *stream) news(ctx context.Context) error {
	select {
	case <-n.session.Done():
		return n.displaced()
	default:
	}
	select {
	case _, open := <-n.changed:
		if !open {
			return streams.Stopping()
		}
		if err := n.assign(ctx); err != nil {
			return err
		}
	default:
	}
	select {
	case d := <-n.session.Directives():
		if err := n.directive(d); err != nil {
			return err
		}
	default:
	}
	for {
		select {
		case notice := <-n.sent:
			if err := n.fetched(notice); err != nil {
				return err
			}
			continue
		default:
		}
		return n.advance()
	}
}

// begin makes the stream the owner of its node's record. One whose session another has taken the place of comes too late.
func (n *stream) begin(first request) error {
	n.record.mu.Lock()
	defer n.record.mu.Unlock()
	select {
	case <-n.session.Done():
		return n.displaced()
	default:
	}
	n.record.owner, n.record.wanted = n, service.Directive{}
	d := n.desk
	d.asksUntil = time.Now().Add(askPause)
	if len(n.takes.Collections) == 0 {
		d.client = nil
	} else {
		if d.client == nil {
			d.client = &snapshot.Client{}
		}
		// While it is between two chains its row names none that it serves, so what was known of its resources says whether there was a process before.
		n.suspect = n.suspect || !first.holds() && d.client.HoldsAny()
		for k := range snapshot.Kinds {
			if d.client.IsPending(k) {
				d.took(k)
			}
		}
		d.client.Reset(n.wire.encoding())
	}
	if first.typeURL == envoy.ExtensionConfigURL {
		n.beginSlots(first)
		return nil
	}
	d.slots = slots{}
	if !first.holds() {
		d.begin(n.build, "")
	}
	if kind, is := snapshot.KindOf(first.typeURL); is && d.client != nil {
		n.askFor(kind, first)
	}
	return nil
}

// beginSlots takes the first request for slots; the record is locked.
func (n *stream) beginSlots(first request) {
	n.begun, n.suspect = true, n.suspect && !first.holds()
	n.desk.begin(n.build, first.held)
	n.ask(first)
	n.desk.preloaded = first.preloaded
}

// enter locks the record, unless a newer stream of the node owns it. Who entered unlocks it.
func (n *stream) enter() error {
	n.record.mu.Lock()
	if n.record.owner != n {
		n.record.mu.Unlock()
		return n.displaced()
	}
	return nil
}

// displaced is what a stream ends with when its session has: that of a stopping server, or of one whose place another has taken.
func (n *stream) displaced() error {
	if n.server.stop.Err() != nil {
		return streams.Stopping()
	}
	return status.Errorf(codes.Aborted, "another stream of node %s has taken the place of this one; check that no two Envoys have its id, and that no agent runs under it", n.id)
}

func (s *Server) unanswered(w wire, req request) {
	s.metrics.unknown.WithLabelValues(w.kind()).Inc()
	s.log.Debug("resources that are not served were asked for", "type", streams.Clip(req.typeURL, MaxNodeIDBytes))
}

// request takes one request that is not the first.
func (n *stream) request(req request) error {
	s, kind := n.server, n.wire.kind()
	if err := req.check(n.takes); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	if id := req.node.GetId(); id != "" && id != n.id {
		return status.Errorf(codes.InvalidArgument, "node.id changed from %q to %.253q; a stream belongs to one node", n.id, id)
	}
	resources, is := snapshot.KindOf(req.typeURL)
	if is = is && len(n.takes.Collections) > 0; !answers(n.takes, req.typeURL) {
		s.unanswered(n.wire, req)
		return nil
	}
	if err := n.enter(); err != nil {
		return err
	}
	defer n.record.mu.Unlock()
	switch {
	case req.typeURL != envoy.ExtensionConfigURL:
		n.resource(resources, req)
		return nil
	case !n.begun:
		n.beginSlots(req)
		return nil
	case is && n.desk.client.IsPending(resources) && req.nonce == n.kindNonce[resources]:
		n.answer(resources, req)
		n.ask(req)
		return nil
	}
	answered := n.desk.pending != nil && req.nonce == n.nonce
	switch {
	case answered && req.refused != nil:
		s.metrics.nacks.WithLabelValues(kind).Inc()
		reason := streams.Clip(req.refused.GetMessage(), MaxReasonBytes)
		s.log.Debug("Envoy rejected an offer", "node", n.id, "slot", n.desk.pending.slot, "version", n.desk.pending.version, "reason", reason)
		n.desk.reject(reason, time.Now())
	case answered:
		s.metrics.acks.WithLabelValues(kind).Inc()
		n.desk.accept(time.Now())
	case req.nonce != "" && req.nonce != n.nonce:
		s.metrics.stale.WithLabelValues(kind).Inc()
		if req.whole {
			return nil // its names are as old as its nonce, and come again with the answer to the newer response
		}
	case req.whole && req.nonce == "" && n.desk.pending != nil:
		return nil // likewise
	}
	n.ask(req)
	return nil
}

// ask takes what a request asks for; the record is locked.
func (n *stream) ask(req request) {
	if req.whole {
		n.names = req.names
	} else {
		n.names = slices.DeleteFunc(slices.Clone(n.names), func(name string) bool { return slices.Contains(req.dropped, name) })
		n.desk.subscribe(n.names)
		for _, name := range req.names {
			if !slices.Contains(n.names, name) {
				if len(n.names) < maxNames(envoy.ExtensionConfigURL, n.takes) {
					n.names = append(n.names, name)
				}
				continue
			}
			// It is asked for again, so it is to be sent again.
			switch name {
			case envoy.SlotName:
				n.desk.hold("")
			case envoy.PreloadSlotName:
				n.desk.preloaded, n.desk.attempt.loaded, n.desk.attempt.asked = "", 0, false
			}
		}
	}
	n.desk.subscribe(n.names)
	if n.desk.client != nil {
		n.askFor(snapshot.Extensions, req)
	}
}

// assign reads what the node is to run.
func (n *stream) assign(ctx context.Context) error {
	collections, err := n.server.backend.collections(ctx, n.id)
	if err != nil {
		return err
	}
	c, prefetch, err := n.server.chains.chainOf(n.id, collections)
	if err != nil {
		return status.Errorf(codes.Internal, "node %s: %v", n.id, err)
	}
	if err := n.lookBack(ctx); err != nil {
		return err
	}
	if err := n.enter(); err != nil {
		return err
	}
	n.desk.lately = n.lately
	n.desk.assign(c, time.Now())
	n.desk.unfit = n.misfit(c)
	n.record.mu.Unlock()
	// Without an agent nothing is fetched before a wave moves the node: the chain before goes on until all of the new one is there, so a wave has nothing to
	// wait for.
	n.session.Fetched(prefetch)
	return nil
}

// misfit says why this Envoy cannot be given a chain; empty where it can.
func (n *stream) misfit(c *chain) string {
	if c == nil {
		return n.slotless
	}
	if err := c.resources.Check(n.takes, len(c.filters) > 0); err != nil {
		return err.Error()
	}
	if n.slotless != "" && n.desk.needsSlot(c) {
		return n.slotless
	}
	return ""
}

func (n *stream) fetched(said notice) error {
	if err := n.enter(); err != nil {
		return err
	}
	defer n.record.mu.Unlock()
	n.desk.fetched(said, time.Now())
	return nil
}

func (n *stream) directive(d service.Directive) error {
	if err := n.enter(); err != nil {
		return err
	}
	defer n.record.mu.Unlock()
	n.record.wanted = d
	if d.Retry > n.record.memory.retry {
		n.record.memory.retry = d.Retry
		n.desk.forgive()
	}
	return nil
}

// step sends what is due and reports what is new. It says when it is to be called although nothing has happened; zero: never.
func (n *stream) step() (time.Time, error) {
	now := time.Now()
	if err := n.enter(); err != nil {
		return time.Time{}, err
	}
	supplied := n.desk.supply(now)
	if supplied != nil {
		n.nonces++
		n.kindNonce[supplied.Kind] = strconv.FormatUint(n.nonces, 10)
		if supplied.Kind == snapshot.Extensions {
			n.nonce = n.kindNonce[supplied.Kind]
		}
	}
	var o *offer
	held := n.desk.held
	if n.desk.client == nil || !n.desk.client.IsPending(snapshot.Extensions) {
		o = n.desk.next(now)
	}
	if o != nil {
		n.desk.sent(o)
		n.nonces++
		n.nonce = strconv.FormatUint(n.nonces, 10)
	}
	n.desk.settle(n.suspect)
	report, wake := n.desk.report(now), n.desk.wake(now)
	restarted := n.restarted
	n.restarted = false
	if n.desk.client != nil {
		wake = sooner(sooner(wake, n.desk.client.Wake()), n.desk.slotWake(now))
	}
	n.record.mu.Unlock()
	if restarted {
		n.session.EnvoyRestarted("it asks anew and holds no chain")
	}
	if supplied != nil {
		if err := n.sendResources(supplied, held); err != nil {
			return wake, err
		}
		wake = now // there may be more of another kind
	}
	if o != nil {
		resource, err := n.server.encoder.field(o, n.wire.encoding())
		if err != nil {
			return wake, status.Errorf(codes.Internal, "node %s: %v", n.id, err)
		}
		if log := n.server.log; log.Enabled(context.Background(), slog.LevelDebug) {
			log.Debug("offer", "node", n.id, "slot", o.slot, "version", o.version, "fetch", o.fetch, "missing", len(o.missing), "nonce", n.nonce)
		}
		n.server.metrics.offers.WithLabelValues(n.wire.kind()).Inc()
		if err := n.wire.send(o, held, resource, n.nonce); err != nil {
			return wake, err
		}
	}
	if !report.Equal(n.said) {
		n.said = report
		n.session.Chain(report)
	}
	return wake, nil
}

// sendResources sends an offer of resources; held is what the serving slot holds.
func (n *stream) sendResources(o *snapshot.Offer, held string) error {
	fields, err := n.server.encoder.resourceFields(o, n.wire.encoding())
	if err != nil {
		return status.Errorf(codes.Internal, "node %s: %v", n.id, err)
	}
	nonce := n.kindNonce[o.Kind]
	n.server.log.Debug("resources", "node", n.id, "collection", o.Kind.Collection(), "version", o.Version, "resources", len(o.Resources), "removed", len(o.Removed), "nonce", nonce)
	n.server.metrics.offers.WithLabelValues(n.wire.kind()).Inc()
	return n.wire.sendResources(o, held, fields, nonce)
}

// sooner is the earlier of two times; zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
