package distributor_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	metricsv3 "github.com/envoyproxy/go-control-plane/envoy/service/metrics/v3"
	prom "github.com/prometheus/client_model/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/waft-project/waft/distributor"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/store"
	"github.com/waft-project/waft/distributor/store/etcdtest"
	"github.com/waft-project/waft/envoy"
)

// flushEvery is how often the Envoys of these tests push.
const flushEvery = 50 * time.Millisecond

// bare is an Envoy without an agent that takes whatever it is offered, has had more requests at each flush, and answers a part of them 5xx. It asks one replica, and
// pushes its statistics to another, or to the same.
type bare struct {
	id string

	mu sync.Mutex
	// version is what its slot has; of every request since then, failing are answered 5xx.
	version          string
	failing          float64
	requests, errors float64
}

func dialPlain(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// startBareAt starts one, which has to fetch a module before it takes the first offer.
func startBareAt(t *testing.T, id string, asks, pushes *replicaServer, module string) *bare {
	t.Helper()
	fetch, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+asks.HTTP+"/v2/waft/modules/blobs/"+module, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	fetch.Header.Set(envoy.NodeHeader, id)
	b := &bare{id: id}
	labels, err := structpb.NewStruct(map[string]any{envoy.MetadataLabels: map[string]any{"env": id}})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(dialPlain(t, asks.GRPC)).StreamAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slots := []string{envoy.SlotName, envoy.PreloadSlotName}
	if err := stream.Send(&discoveryv3.DiscoveryRequest{Node: &corev3.Node{Id: id, Metadata: labels}, TypeUrl: envoy.ExtensionConfigURL, ResourceNames: slots}); err != nil {
		t.Fatal(err)
	}
	pushing, err := metricsv3.NewMetricsServiceClient(dialPlain(t, pushes.GRPC)).StreamMetrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(running.Wait) // both end with the test's context
	running.Go(func() {
		for fetched := false; ; fetched = true {
			offered, err := stream.Recv()
			if err != nil {
				return
			}
			if !fetched {
				answer, err := http.DefaultClient.Do(fetch)
				if err != nil {
					t.Errorf("fetch the module: %v", err)
					return
				}
				if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
					t.Errorf("fetch the module: %s, %v", answer.Status, err)
				}
				_ = answer.Body.Close() // only read
			}
			if err := stream.Send(&discoveryv3.DiscoveryRequest{TypeUrl: offered.GetTypeUrl(), ResourceNames: slots, VersionInfo: offered.GetVersionInfo(), ResponseNonce: offered.GetNonce()}); err != nil {
				return
			}
			for _, resource := range offered.GetResources() {
				var slot corev3.TypedExtensionConfig
				if resource.UnmarshalTo(&slot) == nil && slot.GetName() == envoy.SlotName {
					b.mu.Lock()
					b.version = offered.GetVersionInfo()
					b.mu.Unlock()
				}
			}
		}
	})
	running.Go(func() {
		tick := time.NewTicker(flushEvery)
		defer tick.Stop()
		for {
			select {
			case <-t.Context().Done():
				return
			case <-tick.C:
				if pushing.Send(b.flush()) != nil {
					return
				}
			}
		}
	})
	return b
}

// fails has it answer this part of all requests 5xx from now on.
func (b *bare) fails(part float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failing = part
}

// flush is what it has counted by now.
func (b *bare) flush() *metricsv3.StreamMetricsMessage {
	b.mu.Lock()
	defer b.mu.Unlock()
	const more = 100
	b.requests += more
	b.errors += more * b.failing
	requests, errors := b.requests, b.errors
	one, hash, at := 1.0, float64(xxhash.Sum64String(b.version)), time.Now().UnixMilli()
	m := &metricsv3.StreamMetricsMessage{Identifier: &metricsv3.StreamMetricsMessage_Identifier{Node: &corev3.Node{Id: b.id}}}
	add := func(name string, metric *prom.Metric) {
		metric.TimestampMs = &at
		m.EnvoyMetrics = append(m.EnvoyMetrics, &prom.MetricFamily{Name: &name, Metric: []*prom.Metric{metric}})
	}
	add("http.edge.downstream_rq_completed", &prom.Metric{Counter: &prom.Counter{Value: &requests}})
	add("http.edge.downstream_rq_5xx", &prom.Metric{Counter: &prom.Counter{Value: &errors}})
	add("extension_config_discovery.http_filter.waft.config_reload", &prom.Metric{Counter: &prom.Counter{Value: &one}})
	add("extension_config_discovery.http_filter.waft.version", &prom.Metric{Gauge: &prom.Gauge{Value: &hash}})
	return m
}

// Statistics that an Envoy without an agent pushes reach the gates of the replica that leads, whichever replica it pushes them to, and whichever it asks for its chain.
func TestStatisticsComeByAnyReplica(t *testing.T) {
	etcd := etcdtest.Start(t, 1)
	startOne := func(name string) *replicaServer {
		return &replicaServer{server: start(t, distributor.Config{
			Data: t.TempDir(), Insecure: true, Etcd: store.External{Endpoints: etcd.Endpoints}, Peer: "127.0.0.1:0", Replica: name, StatisticsInterval: flushEvery,
		})}
	}
	leader, follower := startOne("first"), startOne("second")
	if !leads(t, leader) || leads(t, follower) {
		t.Fatal("the first replica does not lead, or not alone")
	}
	wasm := module("statistics")
	push(t, leader.HTTP+"/filters/f:1.0.0", wasm, schema)
	c := leader.client(t)
	for _, name := range []string{"good", "bad"} {
		if _, err := c.Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{
			Release: release(t, document(name, leader.HTTP+"/filters/f:1.0.0", "{issuer: "+name+"}")), Reason: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	for name, at := range map[string]struct{ asks, pushes *replicaServer }{
		"both-at-a-follower": {follower, follower}, "pushes-to-a-follower": {leader, follower}, "pushes-to-the-leader": {follower, leader},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBareAt(t, name, at.asks, at.pushes, digestOf(wasm))
			eventually(t, "the node is there", func() bool {
				_, err := c.Nodes.GetNode(t.Context(), &waftv1.GetNodeRequest{Id: name})
				return err == nil
			})
			roll := func(release string) *waftv1.Rollout {
				t.Helper()
				if _, err := c.Rollouts.StartRollout(t.Context(), &waftv1.StartRolloutRequest{Reason: "test", Rollout: &waftv1.Rollout{
					Metadata: &waftv1.RolloutMetadata{Name: name + "-" + release},
					Spec: &waftv1.RolloutSpec{Release: release, Target: &waftv1.Target{Selector: "env=" + name},
						Waves: []*waftv1.Wave{{Percent: 100, Soak: "1s", Gates: []*waftv1.Gate{{ErrorRatio: &waftv1.ErrorRatioGate{Max: 0.01}}}}}},
				}}); err != nil {
					t.Fatal(err)
				}
				var last *waftv1.Rollout
				eventually(t, "the rollout ends", func() bool {
					r, err := c.Rollouts.GetRollout(t.Context(), &waftv1.GetRolloutRequest{Name: name + "-" + release})
					if err == nil {
						last = r
					}
					return err == nil && model.RolloutPhase(r.GetStatus().GetPhase()).Ended()
				})
				return last
			}
			if ended := roll("good"); ended.GetStatus().GetPhase() != string(model.RolloutDone) {
				t.Fatalf("one whose requests are answered well ended as %s: %s", ended.GetStatus().GetPhase(), ended.GetStatus().GetMessage())
			}
			b.fails(0.5)
			if ended := roll("bad"); ended.GetStatus().GetPhase() != string(model.RolloutRolledBack) || !strings.Contains(ended.GetStatus().GetMessage(), "were answered 5xx") {
				t.Errorf("one of whose requests half are answered 5xx ended as %s: %s", ended.GetStatus().GetPhase(), ended.GetStatus().GetMessage())
			}
		})
	}
}
