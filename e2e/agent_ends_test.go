package e2e

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/demo/fleet"
)

// The agent is stopped, upgraded, and killed in the middle of a rollout; as Envoy's parent with --leave-envoy, and beside an Envoy run by
// others. Envoy stays the same process, what comes after reaches it, and no request fails.
func TestAgentEndsWithoutADroppedRequest(t *testing.T) {
	t.Parallel()
	next := filepath.Join(t.TempDir(), "waft-next")
	build := exec.Command("go", "build", "-ldflags", "-s -w -X main.version=next", "-o", next, "./cmd/waft")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f := startFleet(t, 0)
	f.AgentFlags = []string{"--leave-envoy", "--trial", "1s"}
	parent, err := f.StartAgent("parent", "env=test")
	if err != nil {
		t.Fatal(err)
	}
	f.AgentFlags = []string{"--trial", "1s"}
	beside, err := f.StartBeside(t.Context(), "beside", []string{"--disable-hot-restart"}, "env=test")
	if err != nil {
		t.Fatal(err)
	}
	connected := func() {
		t.Helper()
		if err := f.Connected(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	connected()
	publish(t, f, "./e2e/filters/stamp")
	rollOut(t, f, "first", createRelease(t, f, "r1", "stamp", `{value: "1"}`), `[{percent: 100}]`)
	pid := leftEnvoy(t, parent)

	load := fleet.StartLoad(t.Context(), f.Listeners(), []fleet.Visitor{stamped("1", "2", "3", "4", "5")})
	defer load.Stop()
	served := func(while string) {
		t.Helper()
		load.Enter(while)
		for _, n := range f.Nodes() {
			awaitRequests(t, load, n.ID, while)
		}
	}
	restart := func(stop func(*fleet.Node)) {
		t.Helper()
		for _, n := range f.Nodes() {
			stop(n)
		}
		served("without agents, after " + f.Waft)
		for _, n := range f.Nodes() {
			if err := f.RestartAgent(n); err != nil {
				t.Fatal(err)
			}
		}
		connected()
	}
	stamps := func(want string) {
		t.Helper()
		for _, n := range f.Nodes() {
			awaitStamp(t, n, want)
		}
		if now := leftEnvoy(t, parent); now != pid {
			t.Fatalf("Envoy was pid %d and is %d", pid, now)
		}
		if beside.Envoy.Ended() {
			t.Fatal(beside.Envoy.Failure())
		}
	}

	// A restart.
	restart(func(n *fleet.Node) { n.Agent.Stop() })
	rollOut(t, f, "second", createRelease(t, f, "r2", "stamp", `{value: "2"}`), `[{percent: 100}]`)
	stamps("2")

	// An upgrade.
	f.Waft = next
	restart(func(n *fleet.Node) { n.Agent.Stop() })
	if shown := mustRun(t, f, append([]string{"nodes", "show", "parent", "-o", "json"}, f.Server()...)...); !strings.Contains(shown, `"next"`) {
		t.Errorf("the node does not run the new agent: %s", shown)
	}
	rollOut(t, f, "third", createRelease(t, f, "r3", "stamp", `{value: "3"}`), `[{percent: 100}]`)
	stamps("3")

	// A crash, while a rollout soaks; and another while the chain is on its way into Envoy.
	startRollout(t, f, "fourth", createRelease(t, f, "r4", "stamp", `{value: "4"}`), `[{percent: 100, soak: 10m}]`)
	awaitRollout(t, f, "fourth", "to soak", phaseIs("Soaking"))
	restart(func(n *fleet.Node) { n.Agent.Kill() })
	mustRun(t, f, append([]string{"rollout", "promote", "fourth", "--reason", "seen enough"}, f.Server()...)...)
	awaitRollout(t, f, "fourth", "to end", phaseIs("Done"))
	stamps("4")
	startRollout(t, f, "fifth", createRelease(t, f, "r5", "stamp", `{value: "5"}`), `[{percent: 100}]`)
	awaitRollout(t, f, "fifth", "to move the nodes", func(s rolloutStatus) bool { return s.Phase == "Moving" || s.Phase == "Done" })
	restart(func(n *fleet.Node) { n.Agent.Kill() })
	awaitRollout(t, f, "fifth", "to end", phaseIs("Done"))
	stamps("5")

	load.Stop()
	sent, failed := load.Total(fleet.Everything)
	if sent == 0 || failed != 0 {
		t.Errorf("%d of %d requests failed: %q", failed, sent, load.Failures())
	}
	t.Logf("%d requests, none failed", sent)

	// Two agents on one state folder would be two masters of one Envoy.
	state := filepath.Join(f.Dir, "parent")
	twin := []string{"another agent uses this state folder", state, "name another folder"}
	mustFail(t, f, twin, "agent", "--insecure", "--node", "twin", "--server", f.GRPC(), "--modules", f.HTTP(), "--state", state, "--upstream", f.HTTP(), "--", f.Envoy)
	mustFail(t, f, twin, "agent", "stop", "--state", state)

	// Both are ended, one after the other, by who wants that.
	parent.Agent.Stop()
	mustRun(t, f, "agent", "stop", "--state", state)
	if left, err := parent.Envoys(); err != nil || len(left) != 0 {
		t.Errorf("%d Envoys are left, %v", len(left), err)
	}
}

// leftEnvoy is the pid of the one Envoy of a node whose agent leaves it.
func leftEnvoy(t *testing.T, n *fleet.Node) int {
	t.Helper()
	left, err := n.Envoys()
	if err != nil || len(left) != 1 {
		t.Fatalf("%s has %d Envoys, %v", n.ID, len(left), err)
	}
	return left[0].PID()
}

// awaitRequests waits until a node was sent some requests in a period.
func awaitRequests(t *testing.T, load *fleet.Load, node, period string) {
	t.Helper()
	err := fleet.WaitFor(t.Context(), "requests to "+node, time.Minute, func(context.Context) error {
		if sent, _ := load.Total(func(n, p string) bool { return n == node && p == period }); sent < 20 {
			return fleet.NotYetf("%d were sent", sent)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// An Envoy that was left and that the next agent would start otherwise is ended, not doubled: two would share the port.
func TestAgentWithOtherFlagsStartsEnvoyAnew(t *testing.T) {
	onlyInFull(t)
	t.Parallel()
	f := startFleet(t, 0)
	f.AgentFlags = []string{"--leave-envoy", "--trial", "1s"}
	n, err := f.StartAgent("n1", "env=test")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Connected(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, f, "./e2e/filters/stamp")
	rollOut(t, f, "first", createRelease(t, f, "r1", "stamp", `{value: "1"}`), `[{percent: 100}]`)
	before := leftEnvoy(t, n)
	n.Agent.Kill()
	if err := f.RestartAgent(n, "--component-log-level", "wasm:warning"); err != nil {
		t.Fatal(err)
	}
	awaitStamp(t, n, "1")
	err = fleet.WaitFor(t.Context(), "another Envoy", time.Minute, func(context.Context) error {
		left, err := n.Envoys()
		if err != nil {
			return err
		}
		if len(left) != 1 || left[0].PID() == before {
			return fleet.NotYetf("%d Envoys, the one before was %d", len(left), before)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	awaitStamp(t, n, "1")
}
