package e2e

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/waft-project/waft/demo/fleet"
	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
)

// rolloutLimit is how long a rollout of the tests may take, on a busy machine.
const rolloutLimit = 3 * time.Minute

// The distributor is killed between two waves and started again: the rollout goes on from where it was, no node goes back,
// and traffic never stops.
func TestKillServeBetweenTwoWaves(t *testing.T) {
	t.Parallel()
	f := startFleet(t, 3)
	publish(t, f, "./e2e/filters/stamp")
	rollOut(t, f, "first", createRelease(t, f, "one", "stamp", `{value: "1"}`), `[{percent: 100}]`)
	for _, n := range f.Nodes() {
		if got := stampOf(t, n); got != "1" {
			t.Fatalf("%s answers with stamp %q", n.ID, got)
		}
	}

	load := fleet.StartLoad(t.Context(), f.Listeners(), []fleet.Visitor{stamped("1", "2")})
	defer load.Stop()
	second := createRelease(t, f, "two", "stamp", `{value: "2"}`)
	// The soak of the first wave is long enough to be killed in, and is not waited out: the rollout is promoted.
	startRollout(t, f, "second", second, `[{nodes: 1, soak: 10m}, {percent: 100}]`)
	before := awaitRollout(t, f, "second", "to soak in its first wave", phaseIs("Soaking"))
	if before.Wave != 1 || len(before.Nodes) != 1 {
		t.Fatalf("the first wave is %+v", before)
	}
	moved := before.Nodes[0].Node

	f.Serve().Kill()
	// Without a distributor the fleet serves what it served.
	for _, n := range f.Nodes() {
		want := "1"
		if n.ID == moved {
			want = "2"
		}
		if got := stampOf(t, n); got != want {
			t.Errorf("with the distributor dead, %s answers with stamp %q instead of %q", n.ID, got, want)
		}
	}
	if err := f.StartServe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.Connected(t.Context()); err != nil {
		t.Fatal(err)
	}
	after, err := statusOf(t.Context(), f, "second")
	if err != nil {
		t.Fatal(err)
	}
	if after.Phase != "Soaking" || after.Wave != 1 || len(after.Nodes) != 1 || after.Nodes[0].Node != moved {
		t.Errorf("after the restart the rollout is %+v; before it was %+v", after, before)
	}

	mustRun(t, f, append([]string{"rollout", "promote", "second", "--reason", "seen enough"}, f.Server()...)...)
	done := awaitRollout(t, f, "second", "to end", phaseIs("Done"))
	if len(done.Waves) != 2 {
		t.Errorf("the rollout had %d waves: %+v", len(done.Waves), done)
	}
	for _, n := range f.Nodes() {
		if got := stampOf(t, n); got != "2" {
			t.Errorf("at the end %s answers with stamp %q", n.ID, got)
		}
	}
	load.Stop()
	sent, failed := load.Total(fleet.Everything)
	if sent == 0 || failed != 0 {
		t.Errorf("%d of %d requests failed: %q", failed, sent, load.Failures())
	}
	t.Logf("%d requests, none failed", sent)
}

// An agent and its Envoy that start while the distributor is away serve what they served before, within the time that Envoy takes. In the pain
// Pain04ModuleInUseIsNotPurged they do so, too.
func TestNodeStartsWithoutDistributor(t *testing.T) {
	onlyInFull(t)
	t.Parallel()
	f := startFleet(t, 1)
	publish(t, f, "./e2e/filters/stamp")
	rollOut(t, f, "first", createRelease(t, f, "one", "stamp", `{value: "1"}`), `[{percent: 100}]`)
	n := f.Nodes()[0]
	f.Serve().Kill()
	envoytest.AsSoonAsEnvoy(t, func() time.Duration {
		n.Agent.Stop()
		began := time.Now()
		// On the same bootstrap and files.
		alone, err := envoy.Start(t.Context(), envoy.Binary{Path: envoyBinary}, envoy.ProcessConfig{Dir: t.TempDir(), BootstrapPath: filepath.Join(f.Dir, n.ID, "envoy", "bootstrap.json")})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = alone.Kill() }()
		awaitStamp(t, n, "1")
		return time.Since(began)
	}, func() time.Duration {
		began := time.Now()
		if err := f.RestartAgent(n); err != nil {
			t.Fatal(err)
		}
		awaitStamp(t, n, "1")
		return time.Since(began)
	})
}

// awaitStamp waits until a node answers with a stamp.
func awaitStamp(t *testing.T, n *fleet.Node, want ...string) {
	t.Helper()
	err := fleet.WaitFor(t.Context(), n.ID+" to answer", time.Minute, func(ctx context.Context) error {
		a, err := fleet.Ask(ctx, n.Listen, fleet.Visitor{Name: "a client", Path: "/", Status: 200})
		if err != nil {
			return fleet.NotYetf("%v", err)
		}
		if got := a.Header.Get("X-Stamp"); !slices.Contains(want, got) {
			return fleet.NotYetf("the stamp is %q", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
