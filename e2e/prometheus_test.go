package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/demo/fleet"
	"github.com/waft-project/waft/distributor/gates/prometheustest"
)

// failing is the share of requests that moved nodes answered with 5xx, as docs/roll-out.md asks for it, and answering how many they answer in a second.
const (
	failing = `sum(rate(envoy_http_downstream_rq_xx{envoy_http_conn_manager_prefix="edge",envoy_response_code_class="5",node=~"$moved"}[$served]))` +
		` / sum(rate(envoy_http_downstream_rq_completed{envoy_http_conn_manager_prefix="edge",node=~"$moved"}[$served]))`
	answering = `sum(rate(envoy_http_downstream_rq_completed{envoy_http_conn_manager_prefix="edge",node=~"$moved"}[$served]))`
)

// A Prometheus that scrapes the Envoys judges what they serve: it lets a good release pass, and has one that answers 5xx taken back from the first wave. One
// that is away leaves the rollout to a person. Without the program it is skipped: `make interop-prometheus`.
func TestPrometheusJudges(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(root, "docs", "roll-out.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(strings.Fields(string(page)), " "), failing) {
		t.Errorf("docs/roll-out.md does not have the query %s", failing)
	}
	prometheustest.Program(t) // before a fleet is started for nothing
	f := newFleet(t)
	started(t, f, 2)
	targets := make([]prometheustest.Target, 0, len(f.Nodes()))
	for _, n := range f.Nodes() {
		targets = append(targets, prometheustest.Target{Address: n.Admin.Address(), Path: "/stats/prometheus", Labels: map[string]string{"node": n.ID}})
	}
	server := prometheustest.Start(t, 500*time.Millisecond, targets...)
	f.ServeFlags = []string{"--gate-host", strings.TrimPrefix(server.URL, "http://")}
	f.Serve().Stop() // it is told whom it may ask when it starts
	if err := f.StartServe(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, f, "./e2e/filters/stamp")
	rollOut(t, f, "first", createRelease(t, f, "one", "stamp", `{value: "1"}`), `[{percent: 100}]`)
	for _, n := range f.Nodes() {
		awaitStamp(t, n, "1")
	}
	load := fleet.StartLoad(t.Context(), f.Listeners(), []fleet.Visitor{stamped("1", "2")})
	defer load.Stop()
	gates := fmt.Sprintf(`gates: [{prometheus: {name: failing, server: %q, query: %q, max: 0.05, every: 1s}}, {prometheus: {name: answering, server: %[1]q, query: %[3]q, min: 5, every: 1s}}]`,
		server.URL, failing, answering)
	waves := func(soak string) string {
		return fmt.Sprintf("[{nodes: 1, soak: %s, %s}, {percent: 100, soak: 3s, %[2]s}]", soak, gates)
	}

	rollOut(t, f, "good", createRelease(t, f, "two", "stamp", `{value: "2"}`), waves("10s"))
	wantHistory(t, f, "good", `prometheus/failing +pass: 0 is within at most 0.05`, `prometheus/answering +pass: [0-9.]+ is within at least 5`)
	if failures := load.Failures(); len(failures) > 0 {
		t.Errorf("requests failed meanwhile: %q", failures)
	}

	startRollout(t, f, "bad", createRelease(t, f, "bad", "stamp", `{value: "2", failEvery: 3}`), waves("10m"))
	ended := awaitRollout(t, f, "bad", "to be rolled back", phaseIs("RolledBack"))
	if ended.Wave != 1 || len(ended.Nodes) != 1 || !strings.Contains(ended.Message, "prometheus/failing") {
		t.Errorf("it got to wave %d, and to %+v: %s", ended.Wave, ended.Nodes, ended.Message)
	}
	wantHistory(t, f, "bad", `prometheus/failing +fail: 0\.[0-9]+ is more than 0.05`)

	// Without a gate it gets everywhere. What mends it is judged by itself.
	rollOut(t, f, "everywhere", createRelease(t, f, "bad", "stamp", `{value: "2", failEvery: 3}`), `[{percent: 100, soak: 5s}]`)
	rollOut(t, f, "mended", createRelease(t, f, "two", "stamp", `{value: "2"}`), waves("6s"))

	server.Kill()
	startRollout(t, f, "unseen", createRelease(t, f, "three", "stamp", `{value: "1"}`), waves("1s"))
	waits := awaitRollout(t, f, "unseen", "to pause", phaseIs("Paused"))
	for _, want := range []string{"prometheus/failing", "did not answer", "connection refused"} {
		if !strings.Contains(waits.Message, want) {
			t.Errorf("it does not say %q: %s", want, waits.Message)
		}
	}
}
