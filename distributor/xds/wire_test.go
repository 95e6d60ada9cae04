package xds

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/google/go-cmp/cmp"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/envoy"
)

const patience = 30 * time.Second

// table is a backend that a test writes by hand, for one node.
type table struct {
	mu      sync.Mutex
	row     model.Node
	current *model.NodeChain
	// others are collections beside waft's own.
	others []model.Collection
	// before is what lately gives.
	before  [][]model.Collection
	hellos  []service.NodeHello
	session *tableSession
	// changed are those of the streams, each with a receipt at its beginning, as the service gives it.
	changed []watcher
	reports []service.ChainReport
	// statistics are what sessions were told, in order.
	statistics []model.Statistics
	// said is closed, and replaced, with each report, restart and session.
	said     chan struct{}
	restarts int
	// lingers: what ends a session that another has taken the place of is slow.
	lingers bool
}

func newTable() *table { return &table{said: make(chan struct{})} }

func (b *table) tell(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
	close(b.said)
	b.said = make(chan struct{})
}

// until waits until a condition holds.
func (b *table) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		b.mu.Lock()
		ok, said := holds(), b.said
		b.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-said:
		case <-ctx.Done():
			b.mu.Lock()
			defer b.mu.Unlock()
			t.Fatalf("never: %s; the reports are %+v", what, b.reports)
		}
	}
}

func (b *table) node(context.Context, string) (model.Node, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.row, nil
}

func (b *table) connect(_ context.Context, hello service.NodeHello) (session, error) {
	s := &tableSession{table: b, done: make(chan struct{}), directives: make(chan service.Directive, 1)}
	b.tell(func() {
		b.hellos = append(b.hellos, hello)
		if b.session != nil && !b.lingers {
			close(b.session.done)
			b.session.call()
		}
		b.session = s
	})
	return s, nil
}

func (b *table) collections(_ context.Context, id string) ([]model.Collection, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current == nil {
		return nil, nil
	}
	return append([]model.Collection{{Name: model.CollectionChains, Resources: []model.Resource{{Name: id, Chain: b.current}}}}, b.others...), nil
}

func (b *table) lately(context.Context, string) ([][]model.Collection, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.before, nil
}

func (b *table) watch(_ string, call func()) (<-chan struct{}, func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := make(chan struct{}, 1)
	c <- struct{}{}
	b.changed = append(b.changed, watcher{c, call})
	return c, func() {}
}

// set gives the node a chain of filters, written name=module.
func (b *table) set(hash string, filters ...string) { b.setAll(hash, nil, filters...) }

// setAll gives it resources, too.
func (b *table) setAll(hash string, others []model.Collection, filters ...string) {
	c := &model.NodeChain{Chain: model.Chain{Hash: hashOf(hash)}, Generation: 1}
	for _, text := range filters {
		name, module, _ := strings.Cut(text, "=")
		c.Filters = append(c.Filters, model.RenderedFilter{Version: text, FilterSpec: model.FilterSpec{
			Name: name, Module: &model.Module{Digest: hashOf(module)}, Config: []byte(`{"v":1}`),
		}})
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current, b.others = c, others
	for _, w := range b.changed {
		select {
		case w.changed <- struct{}{}:
			w.call()
		default:
		}
	}
}

// stands waits for a report.
func (b *table) stands(t *testing.T, state model.ChainState, serving string) {
	t.Helper()
	if serving != "" {
		serving = hashOf(serving)
	}
	b.until(t, string(state)+" serving "+serving, func() bool {
		return len(b.reports) > 0 && b.reports[len(b.reports)-1].State == state && b.reports[len(b.reports)-1].Serving == serving
	})
}

// watcher is a watch of the node, and whom it calls.
type watcher struct {
	changed chan struct{}
	call    func()
}

type tableSession struct {
	table      *table
	done       chan struct{}
	directives chan service.Directive
	// alert is what Alert was given, nil before; table.mu guards it.
	alert func()
}

func (s *tableSession) Alert(call func()) {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	s.alert = call
}

// direct gives the stream a directive.
func (s *tableSession) direct(d service.Directive) {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	s.directives <- d
	s.call()
}

// call has the stream look; table.mu is held.
func (s *tableSession) call() {
	if s.alert != nil {
		s.alert()
	}
}

func (s *tableSession) Fetched([]string) {}
func (s *tableSession) Chain(r service.ChainReport) {
	s.table.tell(func() { s.table.reports = append(s.table.reports, r) })
}
func (s *tableSession) Statistics(stats model.Statistics) {
	s.table.tell(func() { s.table.statistics = append(s.table.statistics, stats) })
}
func (s *tableSession) EnvoyRestarted(string)                { s.table.tell(func() { s.table.restarts++ }) }
func (s *tableSession) Directives() <-chan service.Directive { return s.directives }
func (s *tableSession) Done() <-chan struct{}                { return s.done }
func (s *tableSession) Close()                               {}

// run serves on a connection in memory until the test ends.
func run(t *testing.T, b backend) (*Server, *grpc.ClientConn) {
	t.Helper()
	stop, cancel := context.WithCancel(t.Context())
	s := newServer(stop, b, nil, nil)
	return s, connect(t, cancel, s.Register)
}

// connect serves on a connection in memory until the test ends. Streams that go on then end by stop.
func connect(t *testing.T, stop func(), register func(grpc.ServiceRegistrar)) *grpc.ClientConn {
	t.Helper()
	g := grpc.NewServer()
	register(g)
	l := bufconn.Listen(1 << 20)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	t.Cleanup(func() {
		stop()
		g.GracefulStop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient("passthrough:xds", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// nodeOf is Envoy 1.40.0 as it introduces itself.
func nodeOf(id string) *corev3.Node {
	metadata, err := structpb.NewStruct(map[string]any{envoy.MetadataLabels: map[string]any{"env": "prod"}})
	if err != nil {
		panic(err)
	}
	build, err := structpb.NewStruct(map[string]any{"revision.sha": "abc", "revision.status": "Clean", "build.type": "RELEASE", "ssl.version": "BoringSSL"})
	if err != nil {
		panic(err)
	}
	return &corev3.Node{Id: id, Cluster: "edge", Metadata: metadata, Locality: &corev3.Locality{Zone: "a"}, UserAgentName: "envoy",
		UserAgentVersionType: &corev3.Node_UserAgentBuildVersion{UserAgentBuildVersion: &corev3.BuildVersion{
			Version: &typev3.SemanticVersion{MajorNumber: 1, MinorNumber: 40}, Metadata: build,
		}}}
}

// hand is an Envoy written by hand, message by message, of either kind.
type hand interface {
	// first asks for slots and says what is in the serving one.
	first(node *corev3.Node, held string, slots ...string)
	// want receives the next response: one slot at one version, the filters in it.
	want(slot, version string, filters ...string) (nonce string)
	ack(nonce string)
	nack(nonce string)
	// end is the error that the stream ends with.
	end() error
}

type sotwHand struct {
	t       *testing.T
	stream  grpc.BidiStreamingClient[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]
	slots   []string
	version string // accepted
	got     string // the latest
}

type deltaHand struct {
	t      *testing.T
	stream grpc.BidiStreamingClient[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]
}

func both(t *testing.T, test func(t *testing.T, open func(*grpc.ClientConn) hand)) {
	t.Run("ads", func(t *testing.T) {
		test(t, func(c *grpc.ClientConn) hand { return openSotw(t, c) })
	})
	t.Run("delta", func(t *testing.T) {
		test(t, func(c *grpc.ClientConn) hand { return openDelta(t, c) })
	})
}

// bounded is the context of a stream: a test that waits for what never comes fails.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func openSotw(t *testing.T, c *grpc.ClientConn) *sotwHand {
	t.Helper()
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(c).StreamAggregatedResources(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	return &sotwHand{t: t, stream: stream}
}

func openDelta(t *testing.T, c *grpc.ClientConn) *deltaHand {
	t.Helper()
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(c).DeltaAggregatedResources(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	return &deltaHand{t: t, stream: stream}
}

func (h *sotwHand) send(r *discoveryv3.DiscoveryRequest) {
	h.t.Helper()
	r.TypeUrl = envoy.ExtensionConfigURL
	if err := h.stream.Send(r); err != nil {
		h.t.Fatal(err)
	}
}

func (h *sotwHand) first(node *corev3.Node, held string, slots ...string) {
	h.t.Helper()
	h.slots, h.version = slots, held
	h.send(&discoveryv3.DiscoveryRequest{Node: node, VersionInfo: held, ResourceNames: slots})
}

func (h *sotwHand) want(slot, version string, filters ...string) string {
	h.t.Helper()
	m, err := h.stream.Recv()
	if err != nil {
		h.t.Fatal(err)
	}
	if len(m.GetResources()) != 1 || m.GetTypeUrl() != envoy.ExtensionConfigURL {
		h.t.Fatalf("got %v", m)
	}
	compare(h.t, m.GetResources()[0], slot, filters)
	h.got = m.GetVersionInfo()
	if slot == envoy.SlotName && h.got != version || slot != envoy.SlotName && !strings.HasSuffix(h.got, " "+slot+"="+version) {
		h.t.Fatalf("the version of %s is %q, want %q", slot, h.got, version)
	}
	return m.GetNonce()
}

func (h *sotwHand) ack(nonce string) {
	h.t.Helper()
	h.version = h.got
	h.send(&discoveryv3.DiscoveryRequest{VersionInfo: h.version, ResponseNonce: nonce, ResourceNames: h.slots})
}

func (h *sotwHand) nack(nonce string) {
	h.t.Helper()
	h.send(&discoveryv3.DiscoveryRequest{VersionInfo: h.version, ResponseNonce: nonce, ResourceNames: h.slots, ErrorDetail: &spb.Status{Code: 13, Message: "no"}})
}

func (h *sotwHand) end() error { _, err := h.stream.Recv(); return err }

func (h *deltaHand) send(r *discoveryv3.DeltaDiscoveryRequest) {
	h.t.Helper()
	r.TypeUrl = envoy.ExtensionConfigURL
	if err := h.stream.Send(r); err != nil {
		h.t.Fatal(err)
	}
}

func (h *deltaHand) first(node *corev3.Node, held string, slots ...string) {
	h.t.Helper()
	r := &discoveryv3.DeltaDiscoveryRequest{Node: node, ResourceNamesSubscribe: slots}
	if held != "" {
		r.InitialResourceVersions = map[string]string{envoy.SlotName: held, envoy.PreloadSlotName: emptied}
	}
	h.send(r)
}

func (h *deltaHand) want(slot, version string, filters ...string) string {
	h.t.Helper()
	m, err := h.stream.Recv()
	if err != nil {
		h.t.Fatal(err)
	}
	if len(m.GetResources()) != 1 || len(m.GetRemovedResources()) > 0 {
		h.t.Fatalf("got %v", m)
	}
	r := m.GetResources()[0]
	if r.GetName() != slot || r.GetVersion() != version {
		h.t.Fatalf("got %s %s, want %s %s", r.GetName(), r.GetVersion(), slot, version)
	}
	compare(h.t, r.GetResource(), slot, filters)
	return m.GetNonce()
}

func (h *deltaHand) ack(nonce string) {
	h.t.Helper()
	h.send(&discoveryv3.DeltaDiscoveryRequest{ResponseNonce: nonce})
}

func (h *deltaHand) nack(nonce string) {
	h.t.Helper()
	h.send(&discoveryv3.DeltaDiscoveryRequest{ResponseNonce: nonce, ErrorDetail: &spb.Status{Code: 13, Message: "no"}})
}

func (h *deltaHand) end() error { _, err := h.stream.Recv(); return err }

// reach takes the node to serve a chain of one filter a=1.
func reach(t *testing.T, s *Server, b *table, h hand) {
	t.Helper()
	h.first(nodeOf("n"), "", serves, loads)
	b.set("one", "a=1")
	nonce := h.want(loads, hashOf("one")+"#0", "a")
	s.Fetched("n", hashOf("1"), false)
	h.ack(nonce)
	h.ack(h.want(loads, hashOf("one")+"#1", "a"))
	h.ack(h.want(serves, hashOf("one"), "a"))
	h.ack(h.want(loads, emptied))
	b.stands(t, model.ChainLoaded, "one")
}

func TestChainOnTheWire(t *testing.T) {
	both(t, func(t *testing.T, open func(*grpc.ClientConn) hand) {
		b := newTable()
		s, conn := run(t, b)
		reach(t, s, b, open(conn))
		want := service.NodeHello{
			ID: "n", Labels: map[string]string{"env": "prod", "cluster": "edge", "zone": "a"}, Reports: true, Dialect: model.DialectADS,
			EnvoyVersion: "1.40.0", EnvoyBuild: "abc/1.40.0/Clean/RELEASE/BoringSSL", Splits: true,
		}
		if diff := cmp.Diff([]service.NodeHello{want}, b.hellos); diff != "" {
			t.Error(diff)
		}
	})
}

// What Envoy rejects goes no further, the chain before stays, and the next one goes on; on another stream, too.
func TestRejectionOnTheWire(t *testing.T) {
	both(t, func(t *testing.T, open func(*grpc.ClientConn) hand) {
		b := newTable()
		s, conn := run(t, b)
		h := open(conn)
		reach(t, s, b, h)
		b.set("bad", "a=1", "b=1")
		h.nack(h.want(loads, hashOf("bad")+"#1", "b"))
		b.stands(t, model.ChainRejected, "one")
		if r := b.reports[len(b.reports)-1]; r.Reason != "no" || !r.Final || r.Chain != hashOf("bad") {
			t.Errorf("the report is %+v", r)
		}
		again := open(conn)
		again.first(nodeOf("n"), hashOf("one"), serves, loads)
		if err := h.end(); status.Code(err) != codes.Aborted {
			t.Errorf("the first stream ended with %v", err)
		}
		if _, whole := again.(*sotwHand); whole {
			again.ack(again.want(loads, emptied)) // it could not say what is in there
		}
		b.set("two", "c=1")
		again.ack(again.want(loads, hashOf("two")+"#1", "c"))
		again.ack(again.want(serves, hashOf("two"), "c"))
		again.ack(again.want(loads, emptied))
		b.stands(t, model.ChainLoaded, "two")
		// A person asks for the bad one.
		b.set("bad", "a=1", "b=1")
		b.stands(t, model.ChainRejected, "two")
		b.session.direct(service.Directive{Retry: 1})
		again.ack(again.want(loads, hashOf("bad")+"#1", "a"))
	})
}

// An Envoy that starts while its version is refused listens with the chain that it accepted last.
func TestRestartWhileRejectedOnTheWire(t *testing.T) {
	both(t, func(t *testing.T, open func(*grpc.ClientConn) hand) {
		b := newTable()
		s, conn := run(t, b)
		h := open(conn)
		reach(t, s, b, h)
		b.set("bad", "a=1", "b=1")
		h.nack(h.want(loads, hashOf("bad")+"#1", "b"))
		b.stands(t, model.ChainRejected, "one")
		again := open(conn)
		again.first(nodeOf("n"), "", serves, loads)
		nonce := again.want(loads, hashOf("one")+"#0", "a")
		s.Fetched("n", hashOf("1"), false)
		again.ack(nonce)
		again.ack(again.want(loads, hashOf("one")+"#1", "a"))
		again.ack(again.want(serves, hashOf("one"), "a"))
		again.ack(again.want(loads, emptied))
		b.stands(t, model.ChainRejected, "one")
		if r := b.reports[len(b.reports)-1]; r.Chain != hashOf("bad") || !r.Final {
			t.Errorf("the report is %+v", r)
		}
	})
}

// A stream that has not noticed that another has taken its place has no say any more.
func TestAnswerOnAnOlderStream(t *testing.T) {
	both(t, func(t *testing.T, open func(*grpc.ClientConn) hand) {
		b := newTable()
		b.lingers = true
		_, conn := run(t, b)
		older := open(conn)
		older.first(nodeOf("n"), hashOf("one"), serves, loads)
		b.set("two", "a=1")
		late := older.want(loads, hashOf("two")+"#1", "a")
		newer := open(conn)
		newer.first(nodeOf("n"), hashOf("one"), serves, loads)
		nonce := newer.want(loads, hashOf("two")+"#1", "a")
		older.nack(late)
		if err := older.end(); status.Code(err) != codes.Aborted {
			t.Errorf("the older stream ended with %v", err)
		}
		newer.ack(nonce)
		newer.ack(newer.want(serves, hashOf("two"), "a"))
		b.stands(t, model.ChainLoaded, "two")
	})
}

// A distributor that was started anew knows from the ledger what was rejected.
func TestRejectionIsKnownFromTheLedger(t *testing.T) {
	both(t, func(t *testing.T, open func(*grpc.ClientConn) hand) {
		b := newTable()
		b.row = model.Node{EnvoyBuild: "abc/1.40.0/Clean/RELEASE/BoringSSL", Serving: hashOf("one"), Ledger: model.LedgerEntry{
			Chain: hashOf("bad"), State: model.ChainRejected, Final: true, Reason: "as before", Step: stepLoad,
		}}
		_, conn := run(t, b)
		h := open(conn)
		h.first(nodeOf("n"), hashOf("one"), serves)
		b.set("bad", "a=1")
		b.stands(t, model.ChainRejected, "one")
		b.set("two", "a=2")
		h.want(serves, hashOf("two"), "a") // and not the bad one
		if b.restarts != 0 {
			t.Error("Envoy is taken to have restarted")
		}
	})
}

func TestEnvoyThatHoldsNothingHasRestarted(t *testing.T) {
	both(t, func(t *testing.T, open func(*grpc.ClientConn) hand) {
		b := newTable()
		b.row = model.Node{Serving: hashOf("one")}
		_, conn := run(t, b)
		h := open(conn)
		h.first(nodeOf("n"), "", serves, loads)
		b.until(t, "a restart", func() bool { return b.restarts == 1 })
		b.set("one", "a=1")
		h.want(loads, hashOf("one")+"#0", "a")
	})
}

// A nonce that is not awaited answers nothing, and a NACK is told by its error alone.
func TestStaleNonces(t *testing.T) {
	both(t, func(t *testing.T, open func(*grpc.ClientConn) hand) {
		b := newTable()
		s, conn := run(t, b)
		h := open(conn)
		h.first(nodeOf("n"), "", serves)
		b.set("one", "a=1")
		first := h.want(serves, hashOf("one"), "a")
		for _, stale := range []string{"0", "no nonce", first + "1"} {
			h.nack(stale)
			h.ack(stale)
		}
		h.nack(first)
		s.Fetched("n", hashOf("1"), false)
		second := h.want(serves, hashOf("one"), "a")
		h.nack(first)
		h.ack(second)
		h.ack(second) // twice
		h.nack(second)
		b.stands(t, model.ChainLoaded, "one")
		b.set("two", "a=1", "b=1")
		h.want(serves, hashOf("two"), "a", "b")
	})
}

// Slots come and go on a stream of the state of the world, whose requests name all of them.
func TestNamesOnStateOfTheWorld(t *testing.T) {
	b := newTable()
	_, conn := run(t, b)
	h := openSotw(t, conn)
	h.first(nodeOf("n"), hashOf("one"), "waft-of-another", serves)
	b.set("one", "a=1")
	b.stands(t, model.ChainLoaded, "one")
	h.send(&discoveryv3.DiscoveryRequest{VersionInfo: hashOf("one")}) // asks for nothing
	b.stands(t, "", "")
	h.slots = []string{serves}
	h.send(&discoveryv3.DiscoveryRequest{VersionInfo: hashOf("one"), ResourceNames: h.slots})
	h.ack(h.want(serves, hashOf("one"), "a"))
	b.stands(t, model.ChainLoaded, "one")
}

func TestSubscriptionsOnDelta(t *testing.T) {
	b := newTable()
	_, conn := run(t, b)
	h := openDelta(t, conn)
	h.first(nodeOf("n"), hashOf("one"), serves)
	b.set("one", "a=1")
	b.stands(t, model.ChainLoaded, "one")
	for _, again := range []*discoveryv3.DeltaDiscoveryRequest{
		{ResourceNamesSubscribe: []string{serves}}, // once more, without having let go of it
		{ResourceNamesUnsubscribe: []string{serves}, ResourceNamesSubscribe: []string{serves}},
		{ResourceNamesUnsubscribe: []string{serves, "*"}},
	} {
		h.send(again)
		if slices.Contains(again.GetResourceNamesUnsubscribe(), "*") {
			b.stands(t, model.ChainFetched, "")
			h.send(&discoveryv3.DeltaDiscoveryRequest{ResourceNamesSubscribe: []string{serves}})
		}
		h.ack(h.want(serves, hashOf("one"), "a"))
		b.stands(t, model.ChainLoaded, "one")
	}
}

// What is not served is not answered, and makes no node.
func TestOtherTypesAreNotAnswered(t *testing.T) {
	b := newTable()
	_, conn := run(t, b)
	h := openSotw(t, conn)
	for _, other := range []string{"type.googleapis.com/envoy.config.listener.v3.Listener", "", "x"} {
		if err := h.stream.Send(&discoveryv3.DiscoveryRequest{Node: nodeOf("n"), TypeUrl: other}); err != nil {
			t.Fatal(err)
		}
	}
	h.first(nil, "", serves) // the node was named before
	b.set("one", "a=1")
	h.want(serves, hashOf("one"), "a")
	if len(b.hellos) != 1 || b.hellos[0].ID != "n" {
		t.Errorf("it introduced itself as %+v", b.hellos)
	}
}

func TestNodesThatAreRefused(t *testing.T) {
	labels := func(v any) *corev3.Node {
		m, err := structpb.NewStruct(map[string]any{envoy.MetadataLabels: v})
		if err != nil {
			t.Fatal(err)
		}
		return &corev3.Node{Id: "n", Metadata: m}
	}
	many := map[string]any{}
	for i := range MaxLabels + 1 {
		many[strings.Repeat("x", i+1)] = "y"
	}
	for name, test := range map[string]struct {
		node *corev3.Node
		want string
	}{
		"no node":   {nil, "node.id is empty"},
		"long id":   {&corev3.Node{Id: strings.Repeat("n", MaxNodeIDBytes+1)}, "the limit is"},
		"no string": {labels(map[string]any{"env": 1}), "write it in quotes"},
		"many":      {labels(many), "labels; the limit"},
		"long":      {labels(map[string]any{"env": strings.Repeat("x", MaxLabelBytes)}), "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			_, conn := run(t, newTable())
			h := openSotw(t, conn)
			h.first(test.node, "", serves)
			if err := h.end(); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	_, conn := run(t, newTable())
	h := openSotw(t, conn)
	h.first(nodeOf("n"), "", serves)
	h.first(nodeOf("another"), "", serves)
	if err := h.end(); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "another") {
		t.Errorf("got %v", err)
	}
}

// An Envoy that has no slot for a whole chain is told so in the ledger.
func TestOldEnvoyOnTheWire(t *testing.T) {
	b := newTable()
	_, conn := run(t, b)
	h := openSotw(t, conn)
	node := nodeOf("n")
	node.GetUserAgentBuildVersion().Version.MinorNumber = 38
	h.first(node, "", serves)
	b.set("one", "a=1")
	b.stands(t, model.ChainRejected, "")
	if r := b.reports[len(b.reports)-1]; !strings.Contains(r.Reason, "1.38.0") {
		t.Errorf("the report is %+v", r)
	}
}

// One rendering serves all nodes that are sent the same.
func TestEachResourceIsEncodedOnce(t *testing.T) {
	var e encoder
	c := chainFor("one", "a=1")
	c.filters[0].Remote = envoy.RemoteModule{URL: modulesURL + hashOf("1"), Cluster: "c", SHA256: strings.TrimPrefix(hashOf("1"), "sha256:")}
	o := &offer{slot: serves, version: c.hash, chain: c, filters: c.filters}
	first, err := e.field(o, false)
	if err != nil {
		t.Fatal(err)
	}
	another := *o
	second, err := e.field(&another, false)
	if err != nil {
		t.Fatal(err)
	}
	if &first[0] != &second[0] {
		t.Error("the same was encoded twice")
	}
	fetch := *o
	fetch.fetch, fetch.version = true, "x"
	for _, other := range []*offer{&fetch, {slot: loads, version: c.hash, chain: c, filters: c.filters}} {
		if third, err := e.field(other, false); err != nil || string(third) == string(first) {
			t.Errorf("%+v gave the same bytes; %v", other, err)
		}
	}
}
