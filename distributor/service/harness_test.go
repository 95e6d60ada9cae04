package service_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/distributor/store"
)

// patience is how long a test waits for a condition.
const patience = 30 * time.Second

// background is for what a helper does without a test's context.
var background = context.Background()

var alice = service.Actor{Name: "alice", Reason: "a test"}

// library is Modules held in memory: what a registry with a copy on disk would answer.
type library struct {
	mu      sync.Mutex
	modules map[string]model.Module
	schemas map[string][]byte
	failure error
}

func (l *library) Resolve(_ context.Context, reference string) (model.Module, []byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure != nil {
		return model.Module{}, nil, l.failure
	}
	m, ok := l.modules[reference]
	if !ok {
		return m, nil, &model.Error{Kind: model.ErrNotFound, Object: reference, Message: "no such artifact in the registry"}
	}
	return m, l.schemas[m.Digest], nil
}

func (l *library) Schema(_ context.Context, m model.Module) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure != nil {
		return nil, l.failure
	}
	return l.schemas[m.Digest], nil
}

func (l *library) Keep(_ context.Context, m service.InlineModule) (string, error) {
	reference := "waft.example/" + m.Repository() + "@" + model.Digest(m.Manifest)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.modules[reference] = model.Module{Artifact: model.Digest(m.Manifest), Digest: model.Digest(m.Wasm), Size: int64(len(m.Wasm))}
	return reference, l.failure
}

func (l *library) Bytes(context.Context, model.Module) ([]byte, error) {
	return nil, errors.New("there are none here")
}

func (l *library) add(reference, schema string, envoys ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	digest := model.Digest([]byte(reference))
	l.modules[reference] = model.Module{Artifact: model.Digest([]byte("artifact of " + reference)), Digest: digest, Size: 1000, Envoys: envoys}
	if schema != "" {
		l.schemas[digest] = []byte(schema)
	}
}

func (l *library) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failure = err
}

// tap is the store, with a count of what is written and a way to cut it off.
type tap struct {
	service.Store
	rows     atomic.Int64
	batches  atomic.Int64
	rollouts atomic.Int64
	// looks is how often releases were listed, which each look of the collection begins with.
	looks atomic.Int64
	// cut makes every call fail, as when the process is killed or etcd is away.
	cut atomic.Bool
	// cutRows makes writes of nodes' rows fail.
	cutRows atomic.Bool
	// cutDeletes makes removals of nodes' rows fail.
	cutDeletes atomic.Bool
	// holdReads has reads of a rollout wait until whoever reads gives up; reading counts those that do.
	holdReads atomic.Bool
	reading   atomic.Int64
	// unread is the name of a rollout of which the store says nothing until whoever reads it gives up; nil for none. The bound of one who has one is not waited for.
	unread atomic.Pointer[string]
	// refusedRow is the id of a node whose row the store refuses; nil for none.
	refusedRow atomic.Pointer[string]
	// gate, when set, holds the next write of a rollout: it says on the channel that it is there, and waits for an answer.
	gate atomic.Pointer[chan struct{}]
	// mute makes the next write of a rollout succeed without saying so.
	mute atomic.Bool
}

var errCut = &model.Error{Kind: model.ErrUnavailable, Object: "store", Message: "is cut off"}

func (s *tap) PutNodes(ctx context.Context, nodes []model.Node, audit []model.AuditEntry) error {
	if s.cut.Load() || s.cutRows.Load() {
		return errCut
	}
	if id := s.refusedRow.Load(); id != nil && slices.ContainsFunc(nodes, func(n model.Node) bool { return n.ID == *id }) {
		return model.Invalidf("node/"+*id, "", "make it smaller", "is too large")
	}
	s.rows.Add(int64(len(nodes)))
	s.batches.Add(1)
	return s.Store.PutNodes(ctx, nodes, audit)
}

func (s *tap) DeleteNodes(ctx context.Context, ids []string, audit []model.AuditEntry) error {
	if s.cut.Load() || s.cutDeletes.Load() {
		return errCut
	}
	return s.Store.DeleteNodes(ctx, ids, audit)
}

func (s *tap) ListReleases(ctx context.Context, name string, cursor int64, limit int) ([]model.Release, int64, error) {
	s.looks.Add(1)
	return s.Store.ListReleases(ctx, name, cursor, limit)
}

func (s *tap) CreateRollout(ctx context.Context, r model.Rollout, audit []model.AuditEntry) (model.Rollout, int64, error) {
	if s.cut.Load() {
		return r, 0, errCut
	}
	s.rollouts.Add(1)
	stored, revision, err := s.Store.CreateRollout(ctx, r, audit)
	if s.mute.CompareAndSwap(true, false) && err == nil {
		return r, 0, errCut
	}
	return stored, revision, err
}

func (s *tap) UpdateRollout(ctx context.Context, r model.Rollout, revision int64, audit []model.AuditEntry) (int64, error) {
	if s.cut.Load() {
		return 0, errCut
	}
	if gate := s.gate.Swap(nil); gate != nil {
		*gate <- struct{}{}
		<-*gate
	}
	s.rollouts.Add(1)
	next, err := s.Store.UpdateRollout(ctx, r, revision, audit)
	if s.mute.CompareAndSwap(true, false) && err == nil {
		return 0, errCut
	}
	return next, err
}

func (s *tap) GetRollout(ctx context.Context, name string) (model.Rollout, int64, error) {
	if s.cut.Load() {
		return model.Rollout{}, 0, errCut
	}
	if s.holdReads.Load() {
		s.reading.Add(1)
		<-ctx.Done()
		return model.Rollout{}, 0, errCut
	}
	if unread := s.unread.Load(); unread != nil && *unread == name {
		if _, bounded := ctx.Deadline(); !bounded {
			<-ctx.Done()
		}
		return model.Rollout{}, 0, errCut
	}
	return s.Store.GetRollout(ctx, name)
}

// site is a distributor over a real etcd, with simulated nodes that use sessions as agents do.
type site struct {
	t       *testing.T
	store   service.Store
	modules *library
	// ahead is how far the distributor's clock is ahead of the real one.
	ahead atomic.Int64

	mu      sync.Mutex
	changed chan struct{} // closed when current changes
	current *service.Service
	tap     *tap
	cancel  context.CancelFunc
	ended   chan error
	config  func(*service.Config)
}

func newSite(t *testing.T) *site {
	t.Helper()
	embedded, err := store.StartEmbedded(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = embedded.Close() })
	etcd, err := store.Open(t.Context(), embedded.Client())
	if err != nil {
		t.Fatal(err)
	}
	s := &site{
		t: t, store: etcd, changed: make(chan struct{}), config: func(*service.Config) {},
		modules: &library{modules: map[string]model.Module{}, schemas: map[string][]byte{}},
	}
	for _, reference := range []string{"good:1", "good:2", "good:3", "bad:1", "broken:1"} {
		s.modules.add(reference, "")
	}
	return s
}

// start runs a new distributor over the site's store.
func (s *site) start() *service.Service {
	s.t.Helper()
	return s.startWith(func(*tap) {})
}

// startWith is start over a store that was prepared.
func (s *site) startWith(prepare func(*tap)) *service.Service {
	s.t.Helper()
	tapped := &tap{Store: s.store}
	prepare(tapped)
	level := slog.LevelError + 4
	if os.Getenv("WAFT_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	config := service.Config{
		Store: tapped, Modules: s.modules, StatisticsInterval: 20 * time.Millisecond,
		Now: func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) },
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	}
	s.config(&config)
	svc, err := service.New(config)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- svc.Run(ctx) }()
	s.t.Cleanup(cancel)
	s.mu.Lock()
	s.current, s.tap, s.cancel, s.ended = svc, tapped, cancel, ended
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	s.eventually("the distributor is ready", func() bool { return svc.Ready() == nil })
	return svc
}

// stop ends the distributor as SIGTERM would.
func (s *site) stop() {
	s.t.Helper()
	s.cancel()
	select {
	case err := <-s.ended:
		if err != nil && !s.tap.cut.Load() {
			s.t.Fatalf("Run: %v", err)
		}
	case <-time.After(patience):
		s.t.Fatal("Run did not end")
	}
}

// kill ends the distributor so that nothing that it has not written yet is written.
func (s *site) kill() {
	s.t.Helper()
	s.tap.cut.Store(true)
	s.stop()
}

// service is the distributor that runs now, and a channel that is closed when there is another.
func (s *site) service() (*service.Service, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current, s.changed
}

// eventually waits for a condition that nothing announces.
func (s *site) eventually(what string, condition func() bool) {
	s.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !condition() {
		select {
		case <-look.C:
		case <-deadline.C:
			s.t.Fatalf("not so after %s: %s", patience, what)
		}
	}
}

// release creates a release of one filter.
func (s *site) release(name, module string) model.Release {
	s.t.Helper()
	svc, _ := s.service()
	r, err := svc.CreateRelease(s.t.Context(), alice, service.ReleaseDraft{Name: name, Filters: []service.FilterDraft{{Name: "filter", Module: module}}})
	if err != nil {
		s.t.Fatalf("create release %s: %v", name, err)
	}
	return r
}

// begin starts a rollout and fails the test when that is refused.
func (s *site) begin(name, release string, waves ...model.WaveSpec) model.Rollout {
	s.t.Helper()
	r, err := s.try(name, release, "", waves...)
	if err != nil {
		s.t.Fatalf("start rollout %s: %v", name, err)
	}
	return r
}

func (s *site) try(name, release, selector string, waves ...model.WaveSpec) (model.Rollout, error) {
	svc, _ := s.service()
	return svc.StartRollout(s.t.Context(), alice, service.RolloutDraft{Name: name, Release: release, Selector: selector, Waves: waves})
}

// reach waits until a rollout is in one of the phases.
func (s *site) reach(name string, phases ...model.RolloutPhase) model.Rollout {
	s.t.Helper()
	return s.until(name, fmt.Sprintf("a phase out of %v", phases), func(r model.Rollout) bool { return slices.Contains(phases, r.Phase) })
}

// until waits for a state of a rollout.
func (s *site) until(name, what string, condition func(model.Rollout) bool) model.Rollout {
	s.t.Helper()
	svc, _ := s.service()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	states, err := svc.WatchRollout(ctx, name)
	if err != nil {
		s.t.Fatalf("watch rollout %s: %v", name, err)
	}
	var last model.Rollout
	for r := range states {
		if last = r; condition(r) {
			return r
		}
	}
	s.t.Fatalf("rollout %s did not come to %s; it is %s: %s\n%s", name, what, last.Phase, last.Message, history(last))
	return last
}

func history(r model.Rollout) string {
	out := ""
	for _, t := range r.History {
		out += fmt.Sprintf("  %s %s wave %d: %s (%s)\n", t.At.Format("05.000"), t.Phase, t.Wave, t.Message, t.Actor)
	}
	for id, p := range r.Nodes {
		out += fmt.Sprintf("  %s %s wave %d %s\n", id, p.State, p.Wave, p.Reason)
	}
	return out
}

// wantKind checks the kind of an error and that its text names the parts.
func wantKind(t *testing.T, err, kind error, parts ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error is %v, want one of kind %q", err, kind)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

// behaviour is what a simulated node does with a chain.
type behaviour struct {
	// reject is the reason for which it rejects it; empty: it does not.
	reject string
	// errors of every ten requests.
	errors int64
	// health of its Envoy.
	health model.Health
}

// sim is a simulated node: an agent's side of sessions and collections.
type sim struct {
	site   *site
	hello  service.NodeHello
	cancel context.CancelFunc
	done   chan struct{}

	mu sync.Mutex
	// hold stops it before a step: fetch or load.
	hold    string
	freed   chan struct{}        // closed when hold changes
	behaves map[string]behaviour // by module reference
	served  []string             // module references in the order in which it served them; "" for an empty chain
	refused []string
	serving string
	chain   model.Chain
	session *service.Session
	// has are the digests that it has told of last.
	has []string
}

// told says whether it has told that it has a module.
func (n *sim) told(digest string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Contains(n.has, digest)
}

// node starts a simulated node with env=prod.
func (s *site) node(id string) *sim {
	return s.sim(service.NodeHello{ID: id, Labels: map[string]string{"env": "prod"}, Reports: true, EnvoyVersion: "1.40.0"})
}

func (s *site) sim(hello service.NodeHello) *sim {
	s.t.Helper()
	n := &sim{site: s, hello: hello, freed: make(chan struct{}), behaves: map[string]behaviour{
		"bad:1": {errors: 5}, "broken:1": {reject: "Wasm VM failed to initialize"},
	}}
	n.connect()
	return n
}

func (s *site) nodes(count int) []*sim {
	s.t.Helper()
	var nodes []*sim
	for i := range count {
		nodes = append(nodes, s.node(fmt.Sprintf("n%d", i)))
	}
	s.known(nodes...)
	return nodes
}

// known waits until the distributor has the nodes connected.
func (s *site) known(nodes ...*sim) {
	s.t.Helper()
	s.eventually("all nodes are connected", func() bool {
		svc, _ := s.service()
		for _, n := range nodes {
			status, err := svc.GetNode(s.t.Context(), n.hello.ID)
			if err != nil || status.Presence != service.PresenceConnected {
				return false
			}
		}
		return true
	})
}

// connect starts the node's loop; it connects again when its stream ends, until disconnect.
func (n *sim) connect() {
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel, n.done = cancel, make(chan struct{})
	n.site.t.Cleanup(cancel)
	go func() {
		defer close(n.done)
		for ctx.Err() == nil {
			svc, next := n.site.service()
			if !n.run(ctx, svc) {
				// That distributor does not serve; wait for another, or for it to be ready.
				select {
				case <-ctx.Done():
				case <-next:
				case <-time.After(5 * time.Millisecond):
				}
			}
		}
	}()
}

func (n *sim) disconnect() {
	n.cancel()
	<-n.done
}

func (n *sim) behave(module string, as behaviour) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.behaves[module] = as
}

func (n *sim) setHold(step string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hold = step
	close(n.freed)
	n.freed = make(chan struct{})
}

func (n *sim) held() (string, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hold, n.freed
}

// run is one connection. It says whether there was one.
func (n *sim) run(ctx context.Context, svc *service.Service) bool {
	n.mu.Lock()
	hello := n.hello
	n.mu.Unlock()
	session, err := svc.Connect(ctx, hello)
	if err != nil {
		return false
	}
	defer session.Close()
	changed, cancel := svc.Watch(hello.ID, nil)
	defer cancel()
	n.mu.Lock()
	n.session = session
	last := service.ChainReport{Serving: n.serving, Generation: hello.Generation}
	if n.serving != "" {
		last.Chain, last.State = n.serving, model.ChainServing
		session.Chain(last)
	}
	n.mu.Unlock()

	statistics := time.NewTicker(time.Hour)
	defer statistics.Stop()
	requests := int64(0)
	var asked []string
	generation := int64(0)
	_, freed := n.held()
	for {
		select {
		case <-ctx.Done():
			return true
		case <-session.Done():
			return true
		case d := <-session.Directives():
			asked = d.Statistics
			if d.StatisticsInterval > 0 {
				statistics.Reset(d.StatisticsInterval)
			} else {
				statistics.Reset(time.Hour)
			}
			continue
		case <-statistics.C:
			requests += 10
			n.mu.Lock()
			errors := n.behaves[moduleOf(n.chain)].errors
			said := model.Statistics{Chain: n.serving, Requests: requests, Errors: requests / 10 * errors, Seen: requests, Health: n.behaves[moduleOf(n.chain)].health}
			if slices.Contains(asked, "wasmcustom.errors") {
				said.Values = map[string]model.StatisticValue{"wasmcustom.errors": {Value: float64(said.Errors), Increase: float64(said.Errors)}}
			}
			session.Statistics(said)
			n.mu.Unlock()
			continue
		case _, open := <-changed:
			if !open {
				return true
			}
		case <-freed:
		}
		_, freed = n.held() // before it looks whether it is held, so that it misses no end of that
		collections, err := svc.Collections(ctx, hello.ID)
		if err != nil {
			return true
		}
		was := n.current()
		n.apply(svc, session, collections, &generation)
		if n.current() != was {
			requests = 0
		}
	}
}

func (n *sim) current() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.serving
}

func moduleOf(chain model.Chain) string {
	if len(chain.Filters) == 0 {
		return ""
	}
	return chain.Filters[0].Module.Reference
}

// apply does with collections what an agent does: fetch, load, serve, and report each step.
func (n *sim) apply(svc *service.Service, session *service.Session, collections []model.Collection, generation *int64) {
	hold, _ := n.held()
	if hold == "fetch" {
		return
	}
	digests := []string{}
	var given *model.NodeChain
	for _, c := range collections {
		for _, r := range c.Resources {
			switch {
			case r.Prefetch != nil:
				digests = append(digests, r.Prefetch.Digest)
			case r.Filter != nil:
				digests = append(digests, r.Filter.Module.Digest)
			case r.Chain != nil:
				given = r.Chain
			}
		}
	}
	session.Fetched(digests, nil)
	n.mu.Lock()
	n.has = digests
	n.mu.Unlock()
	if given == nil || given.Generation <= *generation || hold == "load" {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	*generation = given.Generation
	n.hello.Generation = given.Generation
	svc.Offered(n.hello.ID, given.Hash)
	report := service.ChainReport{Chain: given.Hash, State: model.ChainFetched, Serving: n.serving, Generation: given.Generation}
	session.Chain(report)
	if reason := n.behaves[moduleOf(given.Chain)].reject; reason != "" {
		n.refused = append(n.refused, moduleOf(given.Chain))
		report.State, report.Reason, report.Step, report.Final = model.ChainRejected, reason, "probe", true
		session.Chain(report)
		return
	}
	report.State = model.ChainLoaded
	session.Chain(report)
	if n.serving != given.Hash {
		n.served = append(n.served, moduleOf(given.Chain))
	}
	n.serving, n.chain = given.Hash, given.Chain
	report.State, report.Serving = model.ChainServing, given.Hash
	session.Chain(report)
}

// log is what the node has served, in order.
func (n *sim) log() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.served)
}

func raw(text string) json.RawMessage { return json.RawMessage(text) }
