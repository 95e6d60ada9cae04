package mcp

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/testing/protocmp"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/encoded"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
)

// table is a backend that a test writes by hand.
type table struct {
	mu       sync.Mutex
	current  []model.Collection
	watchers map[chan struct{}]func()
	nodes    map[string]map[string]string
	sessions map[string]*tableSession
	stored   []string
	refusals []string
	// asked receives once for each call of collections, and for each answer that needs none; calls counts the former.
	asked chan struct{}
	calls int
	fail  error
	// read is how often a module was read.
	read int
	// agents are the nodes that have one.
	agents map[string]bool
	// secrets are those that can be given.
	secrets map[model.SecretRef]string
	// noSecrets is why none can be read now.
	noSecrets error
}

func newTable() *table {
	return &table{watchers: map[chan struct{}]func(){}, nodes: map[string]map[string]string{}, sessions: map[string]*tableSession{}, asked: make(chan struct{}, 1000)}
}

func (b *table) connect(_ context.Context, id string, labels map[string]string) (session, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return nil, b.fail
	}
	b.nodes[id] = labels
	if old := b.sessions[id]; old != nil {
		old.end()
	}
	b.sessions[id] = &tableSession{done: make(chan struct{})}
	return b.sessions[id], nil
}

type tableSession struct {
	done chan struct{}
	mu   sync.Mutex
	call func()
}

func (s *tableSession) Done() <-chan struct{} { return s.done }
func (s *tableSession) Close()                {}

func (s *tableSession) Alert(call func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.call = call
}

// end is that another stream has taken its place.
func (s *tableSession) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.done)
	if s.call != nil {
		s.call()
	}
}

// module gives the digest that it was asked for as bytes.
func (b *table) module(_ context.Context, m model.Module) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.read++
	if b.fail != nil {
		return nil, b.fail
	}
	return []byte("bytes of " + m.Digest), nil
}

func (b *table) secret(_ context.Context, ref model.SecretRef) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.noSecrets != nil {
		return "", b.noSecrets
	}
	value, there := b.secrets[ref]
	if !there {
		return "", &model.Error{Kind: model.ErrPrecondition, Object: ref.String(), Message: "it cannot be opened", Next: "add the key"}
	}
	return value, nil
}

func (b *table) fetches(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.agents[id]
}

func (b *table) refused(id, hash, collection, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refusals = append(b.refusals, id+" "+hash+" "+collection+" "+reason)
}

func (b *table) collections(context.Context, string) ([]model.Collection, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	b.asked <- struct{}{}
	return slices.Clone(b.current), nil
}

func (b *table) watch(_ string, call func()) (<-chan struct{}, func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := make(chan struct{}, 1)
	b.watchers[c] = call
	return c, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.watchers, c)
	}
}

func (b *table) accepted(id, hash string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stored = append(b.stored, id+" "+hash)
}

// set replaces the collections and wakes the streams.
func (b *table) set(collections ...model.Collection) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current = collections
	for c, call := range b.watchers {
		select {
		case c <- struct{}{}:
			call()
		default:
		}
	}
}

// settle returns when streams have looked at the collections so many times since it last returned: once for each first
// request, ACK and NACK, and for each set.
func (b *table) settle(t *testing.T, times int) {
	t.Helper()
	for range times {
		select {
		case <-b.asked:
		case <-t.Context().Done():
			t.Fatal("no stream looked")
		}
	}
}

// filters is the collection of filters with the versions given as name=version.
func filters(versions ...string) model.Collection {
	c := model.Collection{Name: model.CollectionFilters, Version: fmt.Sprint("v", versions)}
	for i := 0; i+1 < len(versions); i += 2 {
		c.Resources = append(c.Resources, model.Resource{Name: versions[i], Version: versions[i+1], Filter: &model.RenderedFilter{
			FilterSpec: model.FilterSpec{
				Name: versions[i], Module: &model.Module{Digest: "sha256:" + versions[i+1], Size: 1},
				Phase: model.PhaseAuthn, FailurePolicy: model.FailClosed, Config: []byte(`{"v":"` + versions[i+1] + `"}`),
			},
			Version: versions[i+1],
		}})
	}
	return c
}

func chain(hash string, generation int64) model.Collection {
	return model.Collection{Name: model.CollectionChains, Version: fmt.Sprint(hash, generation), Resources: []model.Resource{
		{Name: "node-1", Version: fmt.Sprint(hash, generation), Chain: &model.NodeChain{
			Chain: model.Chain{Hash: hash, Releases: map[model.Layer]model.ReleaseID{model.LayerGlobal: {Name: "r", Hash: "sha256:1"}}}, Generation: generation,
		}},
	}}
}

// serve runs a source on a connection in memory.
func serve(t *testing.T, b backend) (*grpc.ClientConn, *Source, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	stop, cancel := context.WithCancel(t.Context())
	source := newSource(stop, b, metrics, nil)
	if b, ok := b.(*table); ok {
		source.unasked = func() { b.asked <- struct{}{} }
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(MaxRequestBytes))
	source.Register(server)
	return connect(t, server, cancel), source, registry
}

// serveScript runs a source of a test's own.
func serveScript(t *testing.T, s *script) *grpc.ClientConn {
	t.Helper()
	server := grpc.NewServer()
	mcpv1.RegisterResourceSourceServer(server, s)
	return connect(t, server, server.Stop)
}

// connect serves on a connection in memory until the test ends; then stop, and the server ends when its streams have.
func connect(t *testing.T, server *grpc.Server, stop func()) *grpc.ClientConn {
	t.Helper()
	l := bufconn.Listen(1 << 20)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		stop()
		server.GracefulStop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient("passthrough:source",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// wire is a sink written by hand, message by message.
type wire struct {
	t      *testing.T
	stream grpc.BidiStreamingClient[mcpv1.RequestResources, mcpv1.Resources]
}

func open(t *testing.T, conn *grpc.ClientConn) wire {
	t.Helper()
	stream, err := mcpv1.NewResourceSourceClient(conn).EstablishResourceStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return wire{t, stream}
}

func (w wire) send(r *mcpv1.RequestResources) {
	w.t.Helper()
	if err := w.stream.Send(r); err != nil {
		w.t.Fatal(err)
	}
}

func (w wire) first(collection string, held ...string) {
	w.t.Helper()
	r := &mcpv1.RequestResources{SinkNode: &mcpv1.SinkNode{Id: "node-1", Annotations: map[string]string{"zone": "a"}}, Collection: collection}
	if held != nil {
		r.Incremental, r.InitialResourceVersions = true, map[string]string{}
		for i := 0; i+1 < len(held); i += 2 {
			r.InitialResourceVersions[held[i]] = held[i+1]
		}
	}
	w.send(r)
}

func (w wire) ack(collection, nonce string, incremental bool) {
	w.t.Helper()
	w.send(&mcpv1.RequestResources{Collection: collection, ResponseNonce: nonce, Incremental: incremental})
}

func (w wire) nack(collection, nonce string, incremental bool) {
	w.t.Helper()
	w.send(&mcpv1.RequestResources{Collection: collection, ResponseNonce: nonce, Incremental: incremental,
		ErrorDetail: &spb.Status{Code: int32(codes.InvalidArgument), Message: "no"}})
}

// want receives one message and compares it: collection, nonce, incremental, resources as name version pairs, removed.
func (w wire) want(collection, nonce string, incremental bool, resources []string, removed ...string) *mcpv1.Resources {
	w.t.Helper()
	m, err := w.stream.Recv()
	if err != nil {
		w.t.Fatal(err)
	}
	var got []string
	for _, r := range m.GetResources() {
		got = append(got, r.GetMetadata().GetName(), r.GetMetadata().GetVersion())
	}
	if m.GetCollection() != collection || m.GetNonce() != nonce || m.GetIncremental() != incremental ||
		!slices.Equal(got, resources) || !slices.Equal(m.GetRemovedResources(), removed) {
		w.t.Fatalf("got %s nonce %s incremental %v resources %v removed %v\nwant %s nonce %s incremental %v resources %v removed %v",
			m.GetCollection(), m.GetNonce(), m.GetIncremental(), got, m.GetRemovedResources(), collection, nonce, incremental, resources, removed)
	}
	if len(m.ProtoReflect().GetUnknown()) > 0 {
		w.t.Fatal("the sink sees unknown fields")
	}
	return m
}

func (w wire) ends(code codes.Code) string {
	w.t.Helper()
	m, err := w.stream.Recv()
	if status.Code(err) != code {
		w.t.Fatalf("got %v, %v; want the stream to end as %s", m, err, code)
	}
	return status.Convert(err).Message()
}

const (
	filtersName = model.CollectionFilters
	chainsName  = model.CollectionChains
)

func TestFullState(t *testing.T) {
	b := newTable()
	b.set(filters("a", "1", "b", "1"))
	conn, _, _ := serve(t, b)
	w := open(t, conn)
	w.first(filtersName)
	w.want(filtersName, "1", false, []string{"a", "1", "b", "1"})
	w.ack(filtersName, "1", false)
	b.settle(t, 2)
	b.set(filters("b", "2"))
	w.want(filtersName, "2", false, []string{"b", "2"})
	b.settle(t, 1)
	// A change while an answer is due: one message, after the answer, with the latest state.
	b.set(filters("b", "3"))
	b.settle(t, 1)
	b.set(filters("b", "4"))
	b.settle(t, 1)
	w.ack(filtersName, "2", false)
	w.want(filtersName, "3", false, []string{"b", "4"})
}

// An answer to what the sink is to have asks the backend nothing: a fleet that is told something answers all at once.
func TestAnAnswerAsksNothing(t *testing.T) {
	b := newTable()
	b.set(filters("a", "1"))
	conn, _, _ := serve(t, b)
	w := open(t, conn)
	w.first(filtersName)
	w.want(filtersName, "1", false, []string{"a", "1"})
	calls := func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.calls
	}
	b.settle(t, 1)
	before := calls()
	w.ack(filtersName, "1", false)
	b.settle(t, 1)
	b.set(filters("a", "2"))
	w.want(filtersName, "2", false, []string{"a", "2"})
	w.nack(filtersName, "2", false)
	b.settle(t, 2)
	if n := calls() - before; n != 1 {
		t.Errorf("with two answers and one change it was asked %d times", n)
	}
}

func TestIncremental(t *testing.T) {
	for name, tc := range map[string]struct {
		held      []string
		resources []string
		removed   []string
	}{
		"nothing held":       {[]string{}, []string{"a", "2", "b", "1"}, nil},
		"all held":           {[]string{"a", "2", "b", "1"}, nil, nil},
		"one is old":         {[]string{"a", "1", "b", "1"}, []string{"a", "2"}, nil},
		"one is gone":        {[]string{"a", "2", "b", "1", "c", "1"}, nil, []string{"c"}},
		"one has no version": {[]string{"a", "", "b", "1"}, []string{"a", "2"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTable()
			b.set(filters("a", "2", "b", "1"))
			conn, _, _ := serve(t, b)
			w := open(t, conn)
			w.first(filtersName, tc.held...)
			w.want(filtersName, "1", true, tc.resources, tc.removed...)
			w.ack(filtersName, "1", true)
			b.set(filters("b", "1", "d", "1"))
			w.want(filtersName, "2", true, []string{"d", "1"}, "a")
			// The sink opts out, message by message.
			w.ack(filtersName, "2", false)
			b.set(filters("e", "1"))
			w.want(filtersName, "3", false, []string{"e", "1"})
			w.ack(filtersName, "3", true)
			b.set(filters("f", "1"))
			w.want(filtersName, "4", true, []string{"f", "1"}, "e")
		})
	}
}

func TestSeveralCollectionsOnOneStream(t *testing.T) {
	b := newTable()
	b.set(filters("a", "1"), chain("sha256:aa", 1))
	conn, _, _ := serve(t, b)
	w := open(t, conn)
	w.first(filtersName)
	w.want(filtersName, "1", false, []string{"a", "1"})
	w.first(chainsName)
	m := w.want(chainsName, "2", false, []string{"node-1", "sha256:aa1"})
	got := &waftv1.Chain{}
	if err := Body(m.GetResources()[0], got); err != nil {
		t.Fatal(err)
	}
	want := &waftv1.Chain{Hash: "sha256:aa", Generation: 1, Releases: []*waftv1.ReleaseRef{{Layer: "global", Release: "r@sha256:1"}}}
	if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
		t.Error(d)
	}
	w.first(model.CollectionPrefetch)
	w.want(model.CollectionPrefetch, "3", false, nil) // known, and empty
	w.ack(chainsName, "2", false)
	w.ack(filtersName, "1", false)
	w.ack(model.CollectionPrefetch, "3", false)
	b.settle(t, 6)
	b.set(filters("a", "2"), chain("sha256:bb", 2))
	w.want(filtersName, "4", false, []string{"a", "2"})
	w.want(chainsName, "5", false, []string{"node-1", "sha256:bb2"})
	b.mu.Lock()
	defer b.mu.Unlock()
	if d := cmp.Diff([]string{"node-1 sha256:aa"}, b.stored); d != "" {
		t.Errorf("accepted chains: %s", d)
	}
	if d := cmp.Diff(map[string]string{"zone": "a"}, b.nodes["node-1"]); d != "" {
		t.Errorf("labels: %s", d)
	}
}

func TestPain13AfterANACKNothingIsSentUntilTheCollectionChanges(t *testing.T) {
	for name, incremental := range map[string]bool{"full state": false, "incremental": true} {
		t.Run(name, func(t *testing.T) {
			b := newTable()
			b.set(filters("a", "1"))
			conn, _, registry := serve(t, b)
			w := open(t, conn)
			if incremental {
				w.first(filtersName, []string{}...)
			} else {
				w.first(filtersName)
			}
			w.want(filtersName, "1", incremental, []string{"a", "1"})
			w.ack(filtersName, "1", incremental)
			b.settle(t, 2)
			b.set(filters("a", "2", "b", "2"))
			w.want(filtersName, "2", incremental, []string{"a", "2", "b", "2"})
			b.settle(t, 1)
			w.nack(filtersName, "2", incremental)
			b.settle(t, 1) // the NACK was read, and nothing was due
			b.set(filters("a", "2", "b", "2"))
			b.settle(t, 1) // woken without a change: nothing
			b.set(filters("a", "2", "b", "3"))
			// What was refused was never held: both are sent.
			w.want(filtersName, "3", incremental, []string{"a", "2", "b", "3"})
			w.ack(filtersName, "3", incremental)
			b.set(filters("a", "2", "b", "2"))
			if incremental {
				w.want(filtersName, "4", true, []string{"b", "2"})
			} else {
				w.want(filtersName, "4", false, []string{"a", "2", "b", "2"})
			}
			if n := total(t, registry, "istio_mcp_request_nacks_total", "InvalidArgument"); n != 1 {
				t.Errorf("%v NACKs counted", n)
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			if d := cmp.Diff([]string{"node-1  waft/v1/filters no"}, b.refusals); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestAStaleNonceIsCountedAndIgnored(t *testing.T) {
	b := newTable()
	b.set(filters("a", "1"))
	conn, _, registry := serve(t, b)
	w := open(t, conn)
	w.first(filtersName)
	w.want(filtersName, "1", false, []string{"a", "1"})
	w.ack(filtersName, "0", false)  // never given
	w.nack(filtersName, "7", false) // not given yet
	w.ack(chainsName, "1", false)   // another collection's
	w.nack(filtersName, "", false)  // a NACK of nothing
	w.ack(filtersName, "1", false)
	w.ack(filtersName, "1", false) // twice
	b.set(filters("a", "2"))
	w.want(filtersName, "2", false, []string{"a", "2"})
	w.nack(filtersName, "1", false) // from before
	w.ack(filtersName, "2", false)
	b.set(filters("a", "3"))
	w.want(filtersName, "3", false, []string{"a", "3"})
	if n := total(t, registry, "waft_mcp_stale_nonces_total", filtersName); n != 5 {
		t.Errorf("%v stale nonces of filters, want 5", n)
	}
	if n := total(t, registry, "waft_mcp_stale_nonces_total", chainsName); n != 1 {
		t.Errorf("%v stale nonces of chains, want 1", n)
	}
	if n := total(t, registry, "istio_mcp_request_acks_total", filtersName); n != 2 {
		t.Errorf("%v ACKs, want 2", n)
	}
}

func TestWhatEndsAStream(t *testing.T) {
	node := &mcpv1.SinkNode{Id: "node-1"}
	for name, tc := range map[string]struct {
		requests []*mcpv1.RequestResources
		code     codes.Code
		says     string
	}{
		"an unknown collection": {
			[]*mcpv1.RequestResources{{SinkNode: node, Collection: "waft/v1/gateways"}},
			codes.InvalidArgument, `unknown collection "waft/v1/gateways"; there are waft/v1/prefetch, waft/v1/filters, waft/v1/secrets, waft/v1/chains, and those of releases' resources: collections below waft/ are waft's own; use another name`,
		},
		"no node":      {[]*mcpv1.RequestResources{{Collection: filtersName}}, codes.InvalidArgument, "sink_node.id is empty; the first request names the node"},
		"another node": {[]*mcpv1.RequestResources{{SinkNode: node, Collection: chainsName, ResponseNonce: "x"}, {SinkNode: &mcpv1.SinkNode{Id: "node-2"}, Collection: filtersName}}, codes.InvalidArgument, `sink_node.id changed from "node-1" to "node-2"; a stream belongs to one node`},
	} {
		t.Run(name, func(t *testing.T) {
			conn, _, registry := serve(t, newTable())
			w := open(t, conn)
			for _, r := range tc.requests {
				w.send(r)
			}
			if said := w.ends(tc.code); said != tc.says {
				t.Errorf("said %q\nwant %q", said, tc.says)
			}
			if n := total(t, registry, "istio_mcp_clients_total"); n != 0 {
				t.Errorf("%v clients left", n)
			}
		})
	}
	t.Run("a refusal of the service", func(t *testing.T) {
		b := newTable()
		b.fail = model.Invalidf("node/x", "id", "", "no")
		conn, _, _ := serve(t, b)
		w := open(t, conn)
		w.first(filtersName)
		w.ends(codes.InvalidArgument)
	})
	t.Run("another stream of the node", func(t *testing.T) {
		conn, _, _ := serve(t, newTable())
		old, young := open(t, conn), open(t, conn)
		old.first(filtersName)
		old.want(filtersName, "1", false, nil)
		young.first(filtersName)
		young.want(filtersName, "1", false, nil)
		old.ends(codes.Aborted)
	})
	t.Run("the source stops", func(t *testing.T) {
		b := newTable()
		stop, cancel := context.WithCancel(t.Context())
		source := newSource(stop, b, nil, nil)
		server := grpc.NewServer()
		source.Register(server)
		l := bufconn.Listen(1 << 20)
		go server.Serve(l)
		conn, err := grpc.NewClient("passthrough:x", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		w := open(t, conn)
		w.first(filtersName)
		w.want(filtersName, "1", false, nil)
		cancel()
		w.ends(codes.Unavailable)
		server.GracefulStop() // returns only when no stream is left
	})
}

// total adds up a counter or gauge over the series that have all these label values, as it is shown.
func total(t *testing.T, r *prometheus.Registry, name string, labels ...string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			have := map[string]bool{}
			for _, l := range m.GetLabel() {
				have[l.GetValue()] = true
			}
			if !slices.ContainsFunc(labels, func(l string) bool { return !have[l] }) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func TestNodesShareEncodedFilters(t *testing.T) {
	var e encoder
	r := filters("a", "1").Resources[0]
	one, err := e.field(filtersName, r)
	if err != nil {
		t.Fatal(err)
	}
	two, err := e.field(filtersName, filters("a", "1").Resources[0])
	if err != nil {
		t.Fatal(err)
	}
	if &one[0] != &two[0] {
		t.Error("the same filter was encoded twice")
	}
	renamed := filters("a", "1").Resources[0]
	renamed.Filter.Module.Reference = "elsewhere:1"
	three, err := e.field(filtersName, renamed)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(one, three) {
		t.Error("a reference of another release was sent")
	}
	// A thousand versions do not stay for ever.
	big := filters("a", "1").Resources[0]
	big.Filter.Config = make([]byte, 1<<20)
	for i := range 100 {
		big.Version = fmt.Sprint(i)
		if _, err := e.field(filtersName, big); err != nil {
			t.Fatal(err)
		}
	}
	if n := e.kept.Len(); n > encoded.MaxCached>>20 {
		t.Errorf("%d MiB kept", n)
	}
	if _, err := e.field(filtersName, model.Resource{Name: "x"}); err == nil {
		t.Error("a resource without a body was encoded")
	}
}
