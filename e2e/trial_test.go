package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/waft-project/waft/demo/fleet"
)

// Agents are killed while a chain is on trial, and the release fails its gate afterwards. The next agents go on with the trial, Envoys stay the
// processes that they were, and the nodes go back to the chain that was the last good one all the time. TestTrialGoesOnWithTheNextAgent of the
// agent has the same of one node.
func TestAgentKilledOnTrialAndTheGateFails(t *testing.T) {
	onlyInFull(t)
	t.Parallel()
	f := startFleet(t, 0)
	f.AgentFlags = []string{"--leave-envoy", "--trial", "10m"}
	parent, err := f.StartAgent("parent", "env=test")
	if err != nil {
		t.Fatal(err)
	}
	f.AgentFlags = []string{"--trial", "10m"}
	beside, err := f.StartBeside(t.Context(), "beside", []string{"--disable-hot-restart"}, "env=test")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Connected(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, f, "./e2e/filters/stamp")
	// The first chain is good at once, since there is none before.
	rollOut(t, f, "first", createRelease(t, f, "good", "stamp", `{value: good}`), `[{percent: 100}]`)
	pid := leftEnvoy(t, parent)
	waves := `[{percent: 100, soak: 10m, gates: [{errorRatio: {max: 0.05, minSamples: 10}}]}]`
	startRollout(t, f, "second", createRelease(t, f, "bad", "stamp", `{value: bad, failEvery: 3}`), waves)
	awaitRollout(t, f, "second", "to soak", phaseIs("Soaking"))
	for _, n := range f.Nodes() {
		n.Agent.Kill()
	}
	for _, n := range f.Nodes() {
		if err := f.RestartAgent(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Connected(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, err := statusOf(t.Context(), f, "second"); err != nil || status.Phase != "Soaking" {
		t.Fatalf("the rollout is %+v, %v", status, err)
	}
	load := fleet.StartLoad(t.Context(), f.Listeners(), []fleet.Visitor{{Name: "a client", Path: "/", Status: 200}})
	defer load.Stop()
	awaitRollout(t, f, "second", "to be rolled back", phaseIs("RolledBack"))
	load.Stop()
	for _, n := range f.Nodes() {
		awaitStamp(t, n, "good")
	}
	if now := leftEnvoy(t, parent); now != pid {
		t.Errorf("Envoy was pid %d and is %d", pid, now)
	}
	if beside.Envoy.Ended() {
		t.Error(beside.Envoy.Failure())
	}
}

// awaitGood waits until no chain is on trial on a node: what it starts on is what it serves.
func awaitGood(t *testing.T, f *fleet.Fleet, n *fleet.Node) {
	t.Helper()
	err := fleet.WaitFor(t.Context(), n.ID+" to have nothing on trial", time.Minute, func(context.Context) error {
		text, err := os.ReadFile(filepath.Join(f.Dir, n.ID, "state.json"))
		if err != nil {
			return err
		}
		var state struct {
			Content struct{ Good, Trial json.RawMessage }
		}
		if err := json.Unmarshal(text, &state); err != nil {
			return err
		}
		if state.Content.Good == nil || state.Content.Trial != nil {
			return fleet.NotYetf("the trial is not over")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
