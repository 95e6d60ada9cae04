package e2e

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waft-project/waft/demo/fleet"
	"github.com/waft-project/waft/envoy"
)

// rogues are the ways in which a filter that loads well does wrong, each with the gate that is to find it.
var rogues = []struct {
	name, config, policy, gates string
	// found are what may say so, one of them at least: the agent may be quicker than the gate.
	found []string
	// soak is the first wave's; empty: rogueSoak.
	soak string
	// restarts: Envoy does not survive it.
	restarts bool
	// pauses: the gates cannot tell, so that it waits for a person, who takes it back.
	pauses func(envoy.Number) bool
	// always: it is tried in each run of the tests; the others by `make e2e` and `make rogues` only.
	always bool
}{
	{always: true, name: "traps", config: `{value: bad, does: trap, every: 10}`, gates: `[{reloads: {max: 0}}]`, found: []string{"gate reloads"}},
	// So does the bad release of TestEnvoysWithoutAgentAreJudged, of each run.
	{name: "fails", config: `{value: bad, does: fail, every: 3}`, gates: `[{errorRatio: {max: 0.05}}]`, found: []string{"gate errorRatio"}},
	{
		always: true, name: "skipped", config: `{value: bad, does: trap}`, policy: "FAIL_OPEN", gates: `[{coverage: {min: 0.9}}]`,
		found: []string{"gate coverage", "counted none of them"},
	},
	// The clients wait, and few requests come. TestCohortThatHangsIsTakenBack, of each run, finds as much.
	{name: "hangs", config: `{value: bad, does: hang, every: 2}`, gates: `[{stuck: {max: 0.1, minSamples: 2}}]`, found: []string{"gate stuck"}},
	// Growth is judged at the end of the soak.
	{always: true, name: "leaks", config: `{value: bad, does: leak}`, gates: `[{growth: {maxMemory: 16MiB}}]`, found: []string{"gate growth"}, soak: "4s"},
	{name: "slow", config: `{value: bad, does: slow}`, gates: `[{comparison: {of: latency, maxIncrease: 1, minSamples: 20}}]`, found: []string{"gate comparison/latency"}},
	// Against the node that was not moved, in place of a bound of its own.
	{name: "fails-more", config: `{value: bad, does: fail, every: 3}`, gates: `[{comparison: {of: errors, maxIncrease: 0.05, minSamples: 20}}]`, found: []string{"gate comparison/errors"}},
	{name: "hangs-more", config: `{value: bad, does: hang, every: 2}`, gates: `[{comparison: {of: stuck, maxIncrease: 0.1, minSamples: 2}}]`, found: []string{"gate comparison/stuck"}},
	// Older Envoys do not count what was denied, so nobody can say.
	{name: "denies", config: `{value: bad, does: deny, every: 3}`, gates: `[{deniedRatio: {max: 0.05}}]`, found: []string{"gate deniedRatio", "do not count"}, pauses: countsNoDenied, soak: "5s"},
	{
		name: "denies-more", config: `{value: bad, does: deny, every: 3}`, gates: `[{comparison: {of: denied, maxIncrease: 0.05, minSamples: 20}}]`,
		found: []string{"gate comparison/denied", "do not count"}, pauses: countsNoDenied, soak: "5s",
	},
	// Whatever it does, of a few requests nothing is said.
	{
		name: "fails-few", config: `{value: bad, does: fail, every: 3}`, found: []string{"comparison/errors"}, pauses: always, soak: "2s",
		gates: `[{comparison: {of: errors, maxIncrease: 0.05, minSamples: 1000000}}, {errorRatio: {max: 0.05, minSamples: 1000000}}, {comparison: {of: latency, minSamples: 1000000}}]`,
	},
	// The worker is late, and comes back before it counts as one that hangs. It takes a few times: the watchdog looks once a second.
	{name: "stalls", config: `{value: bad, does: stall, every: 5}`, gates: `[{watchdog: {max: 0}}]`, found: []string{"gate watchdog"}, soak: "40s"},
	{
		name: "counts", config: `{value: bad, does: count, every: 4}`, found: []string{"gate statistic/wrong"},
		gates: `[{statistic: {name: wrong, statistics: {wrong: wasmcustom.rogue_wrong, all: http.edge.downstream_rq_completed}, once: "increase.all >= 20.0", expression: "increase.wrong / increase.all < 0.1"}}]`,
	},
	{
		// Nothing but what every wave has. So is the crash of the pain Pain12ModuleUpgradeCrashesNoProxy.
		name: "loops", config: `{value: bad, does: loop, every: 20}`, gates: `[]`,
		found: []string{"hangs", "Envoy restart", "went back", "serve"}, restarts: true,
	},
}

func always(envoy.Number) bool                 { return true }
func countsNoDenied(version envoy.Number) bool { return !version.CountsDenied() }

// rogueSoak is within which a rogue is found.
const rogueSoak = "12s"

// TestRogues: a filter that loads well and then does wrong is found within one soak, on the first wave, whatever it does. The node goes back to
// the chain that it had, and no other has run it.
func TestRogues(t *testing.T) {
	f := startFleet(t, 2)
	publish(t, f, "./e2e/filters/rogue")
	rollOut(t, f, "first", rogueRelease(t, f, "good", `{value: good}`, ""), `[{percent: 100}]`)
	for _, n := range f.Nodes() {
		awaitStamp(t, n, "good")
	}
	version, err := envoy.Binary{Path: envoyBinary}.Version(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	load := fleet.StartLoad(t.Context(), f.Listeners(), []fleet.Visitor{{Name: "a client", Path: "/", Status: 200}})
	defer load.Stop()
	for _, rogue := range rogues {
		t.Run(rogue.name, func(t *testing.T) {
			if !rogue.always {
				onlyInFull(t)
			}
			before, err := f.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			envoys := envoysOf(t, f)
			release := rogueRelease(t, f, rogue.name, rogue.config, rogue.policy)
			startRollout(t, f, rogue.name, release, fmt.Sprintf(`[{nodes: 1, soak: %s, gates: %s}, {percent: 100}]`, cmp.Or(rogue.soak, rogueSoak), rogue.gates))
			end := "RolledBack"
			if rogue.pauses != nil && rogue.pauses(version.Number) {
				end = "Paused"
			}
			ended := awaitRollout(t, f, rogue.name, "to be "+end, func(s rolloutStatus) bool {
				return slices.Contains([]string{"RolledBack", "Paused", "Done", "Aborted"}, s.Phase)
			})
			if ended.Phase != end {
				t.Fatalf("it is %s: %s", ended.Phase, ended.Message)
			}
			if ended.Wave != 1 || len(ended.Nodes) != 1 {
				t.Fatalf("it got to wave %d, and to %+v", ended.Wave, ended.Nodes)
			}
			if !containsAny(ended.Message, rogue.found) {
				t.Errorf("it was found by something else: %s", ended.Message)
			}
			t.Log(ended.Message)
			if end == "Paused" {
				mustRun(t, f, append([]string{"rollout", "undo", rogue.name, "--reason", "test"}, f.Server()...)...)
				awaitRollout(t, f, rogue.name, "to be rolled back", phaseIs("RolledBack"))
			}
			bad := ended.Nodes[0].Node
			for _, n := range f.Nodes() {
				awaitStamp(t, n, "good")
			}
			after, err := f.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			now := envoysOf(t, f)
			for id, r := range after {
				restarted := now[id] != envoys[id] // its uptime moves every 5 s only, and may have been as low before
				switch {
				case id == bad && restarted != rogue.restarts:
					t.Errorf("%s, which ran it, has restarted: %v, want %v", id, restarted, rogue.restarts)
				case id != bad && (restarted || r.Attempts() != before[id].Attempts() || r.Created() != before[id].Created()):
					t.Errorf("%s has seen the release: %d chains offered, %d before; %d VMs made, %d before; restarted: %v", id,
						r.Attempts(), before[id].Attempts(), r.Created(), before[id].Created(), restarted)
				}
			}
		})
	}
}

// An Envoy whose main thread hangs answers nobody that asks how it is; as one that is stopped does. Its agent starts it again, on what it served.
// It takes a minute and more.
func TestEnvoyThatDoesNotAnswerIsStartedAgain(t *testing.T) {
	onlyInFull(t)
	f := startFleet(t, 1)
	publish(t, f, "./e2e/filters/rogue")
	rollOut(t, f, "first", rogueRelease(t, f, "good", `{value: good}`, ""), `[{percent: 100}]`)
	n := f.Nodes()[0]
	awaitStamp(t, n, "good")
	pid := envoyOf(t, n)
	stopProcess(t, pid)
	err := fleet.WaitFor(t.Context(), "another Envoy to answer", rolloutLimit, func(ctx context.Context) error {
		a, err := fleet.Ask(ctx, n.Listen, fleet.Visitor{Name: "a client", Path: "/", Status: 200})
		if err != nil {
			return fleet.NotYetf("%v", err)
		}
		if got := a.Header.Get("X-Stamp"); got != "good" {
			return fmt.Errorf("the stamp is %q", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if again := envoyOf(t, n); again == pid {
		t.Errorf("it is the same process, %d", again)
	}
}

// stopProcess stops a process, and waits until it has: on a busy machine the signal takes a while to reach all its threads, which go on meanwhile.
func stopProcess(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	wait(t, "all threads have stopped", time.Minute, func() bool {
		stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil || len(stats) == 0 {
			return false
		}
		return !slices.ContainsFunc(stats, func(path string) bool {
			stat, err := os.ReadFile(path)
			// The name, in parentheses, may hold anything; the state follows it (proc_pid_stat(5)).
			_, state, found := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " ")
			return err == nil && !(found && strings.HasPrefix(state, "T"))
		})
	})
}

// envoysOf are the processes of all Envoys, by the id of the node.
func envoysOf(t *testing.T, f *fleet.Fleet) map[string]int {
	t.Helper()
	pids := map[string]int{}
	for _, n := range f.Nodes() {
		pids[n.ID] = envoyOf(t, n)
	}
	return pids
}

// envoyOf is the process of the Envoy that a node's agent has started.
func envoyOf(t *testing.T, n *fleet.Node) int {
	t.Helper()
	binary, err := filepath.EvalSymlinks(envoyBinary)
	if err != nil {
		t.Fatal(err)
	}
	var text []byte
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", n.Agent.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		children, _ := os.ReadFile(path) // a thread may have ended
		text = append(append(text, ' '), children...)
	}
	for _, field := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		if path, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && path == binary {
			return pid
		}
	}
	t.Fatalf("the agent %d has no child that is %s: %s", n.Agent.PID(), binary, text)
	return 0
}

func containsAny(text string, words []string) bool {
	for _, word := range words {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// rogueRelease is a release of the filter rogue.
func rogueRelease(t *testing.T, f *fleet.Fleet, name, config, policy string) string {
	t.Helper()
	if policy == "" {
		policy = "FAIL_RELOAD"
	}
	path := write(t, f, name+".yaml", fmt.Sprintf(`apiVersion: waft.dev/v1
kind: Release
metadata: {name: %s}
spec:
  filters:
  - {name: rogue, module: "%s", failurePolicy: %s, config: %s}
`, name, moduleRef(f, "rogue"), policy, config))
	var created struct {
		Status struct{ Hash string }
	}
	if err := f.JSON(t.Context(), &created, "release", "create", "-f", path); err != nil {
		t.Fatal(err)
	}
	return name + "@" + created.Status.Hash
}
