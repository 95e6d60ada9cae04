package istio

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/structpb"

	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/paced"
)

// table is a backend that a test writes by hand.
type table struct {
	mu       sync.Mutex
	current  []model.Collection
	watchers map[chan struct{}]bool
	nodes    map[string]map[string]string
	sessions map[string]tableSession
	stored   []string
	refusals []string
	// asked receives once for each call of collections, and told for each acceptance and refusal.
	asked, told chan struct{}
}

func newTable() *table {
	return &table{watchers: map[chan struct{}]bool{}, nodes: map[string]map[string]string{}, sessions: map[string]tableSession{},
		asked: make(chan struct{}, 1000), told: make(chan struct{}, 1000)}
}

type tableSession chan struct{}

func (s tableSession) Done() <-chan struct{} { return s }
func (s tableSession) Close()                {}

func (b *table) connect(_ context.Context, id string, labels map[string]string) (session, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nodes[id] = labels
	if old := b.sessions[id]; old != nil {
		close(old)
	}
	b.sessions[id] = make(tableSession)
	return b.sessions[id], nil
}

func (b *table) collections(context.Context, string) ([]model.Collection, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked <- struct{}{}
	return slices.Clone(b.current), nil
}

func (b *table) watch(string) (<-chan struct{}, func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := make(chan struct{}, 1)
	b.watchers[c] = true
	return c, func() {}
}

func (b *table) accepted(id, hash string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stored = append(b.stored, hash)
	b.told <- struct{}{}
}

func (b *table) refused(id, hash, kind, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refusals = append(b.refusals, hash+" "+kind+" "+reason)
	b.told <- struct{}{}
}

func (b *table) set(collections ...model.Collection) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current = collections
	for c := range b.watchers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (b *table) lists() (stored, refusals []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.stored), slices.Clone(b.refusals)
}

// chainOf is what a node with these filters is to have.
func chainOf(hash string, filters ...*model.RenderedFilter) []model.Collection {
	f := model.Collection{Name: model.CollectionFilters}
	for _, one := range filters {
		f.Resources = append(f.Resources, model.Resource{Name: one.Name, Version: one.Version, Filter: one})
	}
	return []model.Collection{f, {Name: model.CollectionChains, Resources: []model.Resource{
		{Name: "node", Version: hash, Chain: &model.NodeChain{Chain: model.Chain{Hash: hash}, Generation: 1}},
	}}}
}

func filter(name, version string) *model.RenderedFilter {
	return &model.RenderedFilter{Version: version, FilterSpec: model.FilterSpec{
		Name: name, Phase: model.PhaseAuthn, FailurePolicy: model.FailClosed, Config: []byte(`{"v":"` + version + `"}`),
		Module: &model.Module{Reference: "registry.example/filters/" + name + ":1", Artifact: "sha256:" + strings.Repeat("a", 64), Digest: "sha256:" + strings.Repeat("b", 64)},
	}}
}

func serve(t *testing.T, b backend, settle time.Duration) *grpc.ClientConn {
	t.Helper()
	return servePaced(t, b, settle, paced.New(RequestsPerSecond, RequestBurst))
}

func servePaced(t *testing.T, b backend, settle time.Duration, pace *paced.Nodes) *grpc.ClientConn {
	t.Helper()
	stop, cancel := context.WithCancel(t.Context())
	server := grpc.NewServer()
	s := newServer(stop, b, settle, nil)
	s.pace = pace
	s.Register(server)
	l := bufconn.Listen(1 << 20)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		cancel()
		server.GracefulStop()
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

// istio is a control plane, message by message.
type istio struct {
	t      *testing.T
	stream grpc.BidiStreamingClient[discoveryv3.DiscoveryRequest, discoveryv3.DiscoveryResponse]
}

const pod = "sidecar~10.0.0.1~istiod-1.a.istio-system~istio-system.svc.cluster.local"

func node(id, generator string) *corev3.Node {
	return &corev3.Node{Id: id, Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{
		"GENERATOR": structpb.NewStringValue(generator), "ISTIO_REVISION": structpb.NewStringValue("canary"),
	}}}
}

func dial(t *testing.T, conn *grpc.ClientConn) istio {
	t.Helper()
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return istio{t, stream}
}

func (i istio) send(r *discoveryv3.DiscoveryRequest) {
	i.t.Helper()
	if err := i.stream.Send(r); err != nil {
		i.t.Fatal(err)
	}
}

// first asks for kinds as Istio does: with a nonce of its own making.
func (i istio) first(kinds ...string) {
	i.t.Helper()
	for n, kind := range kinds {
		r := &discoveryv3.DiscoveryRequest{TypeUrl: kind, ResponseNonce: fmt.Sprint("made up ", n)}
		if n == 0 {
			r.Node = node(pod, "api")
		}
		i.send(r)
	}
}

func (i istio) ack(m *discoveryv3.DiscoveryResponse) {
	i.t.Helper()
	i.send(&discoveryv3.DiscoveryRequest{TypeUrl: m.GetTypeUrl(), ResponseNonce: m.GetNonce(), VersionInfo: m.GetVersionInfo()})
}

// want receives one message and compares kind and names.
func (i istio) want(kind string, names ...string) *discoveryv3.DiscoveryResponse {
	i.t.Helper()
	m, err := i.stream.Recv()
	if err != nil {
		i.t.Fatal(err)
	}
	var got []string
	for _, r := range m.GetResources() {
		one := &mcpv1.Resource{}
		if err := r.UnmarshalTo(one); err != nil {
			i.t.Fatal(err)
		}
		got = append(got, one.GetMetadata().GetName())
	}
	if m.GetTypeUrl() != kind || !slices.Equal(got, names) {
		i.t.Fatalf("got %s %v, want %s %v", m.GetTypeUrl(), got, kind, names)
	}
	return m
}

func (i istio) ends(code codes.Code) string {
	i.t.Helper()
	m, err := i.stream.Recv()
	if status.Code(err) != code {
		i.t.Fatalf("got %v, %v; want the stream to end as %s", m, err, code)
	}
	return status.Convert(err).Message()
}

func receiveOnce(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was told")
	}
}

const meshConfig = "core/v1alpha1/MeshConfig"

func TestEveryKindIsAnswered(t *testing.T) {
	b := newTable()
	b.set(chainOf("sha256:one", filter("authz", "1"), filter("headers", "1"))...)
	i := dial(t, serve(t, b, time.Hour))
	i.first(meshConfig, "networking.istio.io/v1/Gateway", kindTrafficExtension, kindWasmPlugin)
	i.ack(i.want(meshConfig))
	i.ack(i.want("networking.istio.io/v1/Gateway"))
	first := i.want(kindTrafficExtension, "istio-system/authz", "istio-system/headers")
	i.ack(i.want(kindWasmPlugin)) // it would make the same filters of it once more
	if got := b.nodes[pod]; got["dialect"] != "istio" || got["namespace"] != "istio-system" || got["revision"] != "canary" {
		t.Errorf("labels %v", got)
	}
	// A change while the answer before is not acknowledged waits for that.
	b.set(chainOf("sha256:two", filter("authz", "2"))...)
	i.send(&discoveryv3.DiscoveryRequest{TypeUrl: kindTrafficExtension, ResponseNonce: "stale"})
	i.ack(first)
	second := i.want(kindTrafficExtension, "istio-system/authz")
	i.ack(second)
	receiveOnce(t, b.told)
	receiveOnce(t, b.told)
	if stored, _ := b.lists(); !slices.Equal(stored, []string{"sha256:one", "sha256:two"}) {
		t.Errorf("accepted %v", stored)
	}
	b.set(chainOf("sha256:none")...)
	i.want(kindTrafficExtension)
}

// A control plane that asks too often is read from later, over all its streams, and is sent what changes meanwhile.
func TestAControlPlaneThatAsksTooOftenWaits(t *testing.T) {
	b := newTable()
	conn := servePaced(t, b, time.Hour, paced.New(1.0/3600, 2))
	i := dial(t, conn)
	i.first(kindTrafficExtension, meshConfig, "networking.istio.io/v1/Gateway", "networking.istio.io/v1/Sidecar")
	i.want(meshConfig)
	i.want("networking.istio.io/v1/Gateway")
	b.set(chainOf("sha256:one", filter("authz", "1"))...)
	i.want(kindTrafficExtension, "istio-system/authz") // and not what it asked for last
}

func TestOldIstioGetsWasmPlugins(t *testing.T) {
	b := newTable()
	b.set(chainOf("sha256:one", filter("authz", "1"))...)
	i := dial(t, serve(t, b, time.Hour))
	i.first(kindWasmPlugin)
	m := i.want(kindWasmPlugin, "istio-system/authz")
	i.ack(m)
	receiveOnce(t, b.told)
	// The kind that is new comes late: the filters go over to it.
	i.first(kindTrafficExtension)
	i.ack(i.want(kindTrafficExtension, "istio-system/authz"))
	i.want(kindWasmPlugin)
}

func TestANewNodeIsNotToldThatItHasNoFilters(t *testing.T) {
	b := newTable()
	i := dial(t, serve(t, b, time.Hour))
	i.first(kindTrafficExtension, kindWasmPlugin, meshConfig)
	i.want(meshConfig) // and nothing of the two before
	b.set(chainOf("sha256:one", filter("authz", "1"))...)
	i.want(kindTrafficExtension, "istio-system/authz")

	// Nobody gives it a chain: then it has none, and Istio may go on.
	i = dial(t, serve(t, newTable(), time.Millisecond))
	i.first(kindTrafficExtension, kindWasmPlugin)
	i.want(kindTrafficExtension)
	i.want(kindWasmPlugin)
}

func TestAChainThatIstioCannotHaveLeavesTheOneBefore(t *testing.T) {
	b := newTable()
	b.set(chainOf("sha256:one", filter("authz", "1"))...)
	i := dial(t, serve(t, b, time.Hour))
	i.first(kindTrafficExtension, kindWasmPlugin)
	i.ack(i.want(kindTrafficExtension, "istio-system/authz"))
	i.ack(i.want(kindWasmPlugin))
	receiveOnce(t, b.told)
	bad := filter("headers", "1")
	bad.Config = []byte(`[1]`)
	b.set(chainOf("sha256:bad", filter("authz", "2"), bad)...)
	receiveOnce(t, b.told)
	if _, refusals := b.lists(); len(refusals) != 1 ||
		refusals[0] != "sha256:bad "+kindTrafficExtension+" filter headers cannot be Istio's: its configuration is no JSON object, and Istio takes no other" {
		t.Errorf("refusals %q", refusals)
	}
	b.set(chainOf("sha256:bad", filter("authz", "2"), bad)...) // said once
	b.set(chainOf("sha256:three", filter("authz", "3"))...)
	i.want(kindTrafficExtension, "istio-system/authz")
	if _, refusals := b.lists(); len(refusals) != 1 {
		t.Errorf("refusals %q", refusals)
	}
}

func TestWhatIsRefusedIsNotSentAgain(t *testing.T) {
	b := newTable()
	b.set(chainOf("sha256:one", filter("authz", "1"))...)
	i := dial(t, serve(t, b, time.Hour))
	i.first(kindTrafficExtension)
	m := i.want(kindTrafficExtension, "istio-system/authz")
	i.send(&discoveryv3.DiscoveryRequest{TypeUrl: kindTrafficExtension, ResponseNonce: m.GetNonce(), ErrorDetail: status.New(codes.InvalidArgument, "no").Proto()})
	receiveOnce(t, b.told)
	if stored, refusals := b.lists(); len(stored) != 0 || !slices.Equal(refusals, []string{"sha256:one " + kindTrafficExtension + " no"}) {
		t.Errorf("accepted %q, refused %q", stored, refusals)
	}
	b.set(chainOf("sha256:one", filter("authz", "1"))...)
	b.set(chainOf("sha256:two", filter("other", "1"))...)
	i.want(kindTrafficExtension, "istio-system/other")
}

func TestWhatEndsAStream(t *testing.T) {
	for name, tc := range map[string]struct {
		request *discoveryv3.DiscoveryRequest
		says    string
	}{
		"an Envoy":        {&discoveryv3.DiscoveryRequest{Node: node("edge-1", ""), TypeUrl: "type.googleapis.com/envoy.config.cluster.v3.Cluster"}, "an Envoy asks"},
		"no node":         {&discoveryv3.DiscoveryRequest{TypeUrl: meshConfig}, "node.metadata.GENERATOR"},
		"another id":      {&discoveryv3.DiscoveryRequest{Node: node("edge-1", "api"), TypeUrl: meshConfig}, "TYPE~IP~POD.NAMESPACE~DOMAIN"},
		"no namespace":    {&discoveryv3.DiscoveryRequest{Node: node("a~b~c~d", "api"), TypeUrl: meshConfig}, "names no namespace"},
		"Envoy's kinds":   {&discoveryv3.DiscoveryRequest{Node: node(pod, "api"), TypeUrl: "type.googleapis.com/envoy.config.cluster.v3.Cluster"}, "is Envoy's"},
		"no kind":         {&discoveryv3.DiscoveryRequest{Node: node(pod, "api")}, "is not GROUP/VERSION/KIND"},
		"a kind too long": {&discoveryv3.DiscoveryRequest{Node: node(pod, "api"), TypeUrl: "a/b/" + strings.Repeat("c", MaxTypeBytes)}, "is not GROUP/VERSION/KIND"},
	} {
		t.Run(name, func(t *testing.T) {
			i := dial(t, serve(t, newTable(), time.Hour))
			i.send(tc.request)
			if said := i.ends(codes.InvalidArgument); !strings.Contains(said, tc.says) {
				t.Errorf("said %q", said)
			}
		})
	}
	t.Run("too many kinds", func(t *testing.T) {
		i := dial(t, serve(t, newTable(), time.Hour))
		for n := range MaxTypes {
			r := &discoveryv3.DiscoveryRequest{Node: node(pod, "api"), TypeUrl: fmt.Sprintf("a/b/%d", n)}
			i.send(r)
			i.want(r.GetTypeUrl())
		}
		i.first("a/b/more")
		i.ends(codes.ResourceExhausted)
	})
	t.Run("another stream of the node", func(t *testing.T) {
		conn := serve(t, newTable(), time.Hour)
		old, young := dial(t, conn), dial(t, conn)
		old.first(meshConfig)
		old.want(meshConfig)
		young.first(meshConfig)
		young.want(meshConfig)
		old.ends(codes.Aborted)
	})
}
