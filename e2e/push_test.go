package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/waft-project/waft/demo/fleet"
	"github.com/waft-project/waft/distributor/store/etcdtest"
	"github.com/waft-project/waft/envoy"
)

// everyGate are the gates that what an Envoy without an agent pushes is enough for, but deniedRatio, for which it takes Envoy 1.40.
const everyGate = `{errorRatio: {max: 0.01}}, {coverage: {min: 0.9}}, {stuck: {max: 0.01}}, {watchdog: {max: 1000}}, {reloads: {max: 0}},
  {statistic: {statistics: {answered: http.edge.downstream_rq_completed}, once: "increase.answered > 20.0", expression: "value.answered >= increase.answered"}}`

// Envoys without an agent push their statistics, and rollouts are judged by them alone: a good release passes every gate but that on growth, and one that
// answers 5xx, which such an Envoy has loaded and accepted, is rolled back by its first wave. All by TLS: they show their certificates where they push, too.
func TestEnvoysWithoutAgentAreJudged(t *testing.T) { judged(t, startSecureFleet(t, 0)) }

// They are so, too, where all that they reach is a replica that does not lead.
func TestEnvoysWithoutAgentAreJudgedByAnotherReplica(t *testing.T) {
	onlyInFull(t)
	etcd := etcdtest.Start(t, 1)
	first := startReplica(t, etcd.Endpoints, "first")
	f := newFleet(t)
	f.ServeFlags = []string{"--etcd", etcd.Endpoints[0], "--peer", "127.0.0.1:0", "--name", replicasName}
	for _, start := range []func(context.Context) error{f.StartUpstream, f.StartServe} {
		if err := start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	judged(t, f)
	if !first.leads() {
		t.Error("the replica that all was to be passed on to does not lead any more")
	}
}

func judged(t *testing.T, f *fleet.Fleet) {
	t.Helper()
	publish(t, f, "./e2e/filters/stamp")
	nodes := []*bareEnvoy{
		newBare(t, f, "bare", f.Upstream(), "--statistics-interval", "500ms"),
		newBare(t, f, "other", f.Upstream(), "--statistics-interval", "500ms", "--delta", "--only-gate-statistics"),
	}
	// As somebody else may have set it up.
	nodes[1].edit(t, func(bootstrap map[string]any) {
		sink := bootstrap["stats_sinks"].([]any)[0].(map[string]any)["typed_config"].(map[string]any)
		sink["report_counters_as_deltas"], sink["emit_tags_as_labels"], sink["histogram_emit_mode"], sink["batch_size"] = true, true, "SUMMARY_AND_HISTOGRAM", 20
	})
	address := map[string]string{}
	for _, b := range nodes {
		b.start(t)
		address[b.ID] = b.Listen
		awaitNode(t, f, b.ID, "to connect", func(n bareNode) bool { return n.Presence == "connected" })
	}
	rollOut(t, f, "first", createRelease(t, f, "one", "stamp", `{value: "1"}`), `[{percent: 100}]`)
	for _, b := range nodes {
		awaitStamp(t, b.Node, "1")
	}

	gates := everyGate
	version, err := envoy.Binary{Path: envoyBinary}.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if version.Number.CountsDenied() {
		gates += ", {deniedRatio: {max: 0.01}}"
	}
	load := fleet.StartLoad(t.Context(), address, []fleet.Visitor{stamped("1", "2", "3")})
	defer load.Stop()
	rollOut(t, f, "good", createRelease(t, f, "two", "stamp", `{value: "2"}`), `[{nodes: 1, soak: 10s, gates: [`+gates+`]}, {percent: 100, soak: 10s, gates: [`+gates+`]}]`)
	for _, b := range nodes {
		awaitStamp(t, b.Node, "2")
	}
	if failures := load.Failures(); len(failures) > 0 {
		t.Errorf("requests failed meanwhile: %q", failures)
	}

	startRollout(t, f, "bad", createRelease(t, f, "three", "stamp", `{value: "3", failEvery: 3}`), `[{nodes: 1, soak: 5m, gates: [{errorRatio: {max: 0.01}}]}, {percent: 100}]`)
	ended := awaitRollout(t, f, "bad", "to be rolled back", phaseIs("RolledBack"))
	if said := fmt.Sprint(ended); !strings.Contains(said, "errorRatio") || !strings.Contains(said, "were answered 5xx") {
		t.Errorf("the reason is not the gate: %s", said)
	}
	if len(ended.Waves) != 1 || len(ended.Waves[0].Nodes) != 1 {
		t.Errorf("the bad release went further than one node: %+v", ended.Waves)
	}
	for _, b := range nodes {
		awaitStamp(t, b.Node, "2")
	}
}
