package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/demo/fleet"
)

// A release that leaves requests of its cohort without an answer is taken back by them, although all others are answered: neither a status nor the connection
// manager's counters show it.
func TestCohortThatHangsIsTakenBack(t *testing.T) {
	t.Parallel()
	f := startFleet(t, 1)
	publish(t, f, "./e2e/filters/stamp")
	rollOut(t, f, "first", createRelease(t, f, "old", "stamp", `{value: old}`), `[{percent: 100}]`)
	release := createRelease(t, f, "bad", "stamp", `{value: bad, pauseEvery: 2}`)
	waves := `[{nodes: 1, soak: 10m, ` + byCanary + `, gates: [{stuck: {max: 0.2, minSamples: 10}}, {watchdog: {max: 1000}}]}, ` + atTheEnd + `]`
	plan := mustRun(t, f, append([]string{"rollout", "start", "-f", rolloutDocument(t, f, "second", release, waves), "--dry-run"}, f.Server()...)...)
	if want := "the gate watchdog sees workers that are late, whichever chain makes them so"; !strings.Contains(plan, want) {
		t.Errorf("the plan does not say %q:\n%s", want, plan)
	}
	mustFail(t, f, []string{"spec.waves[0].gates[0].growth", "both"}, append([]string{"rollout", "start", "-f",
		rolloutDocument(t, f, "grows", release, `[{nodes: 1, `+byCanary+`, gates: [{growth: {maxVms: 1}}]}, `+atTheEnd+`]`)}, f.Server()...)...)
	startRollout(t, f, "second", release, waves)
	awaitRollout(t, f, "second", "to soak", waveIs(1, "Soaking"))
	n := f.Nodes()[0]
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 20 {
		go func() { _, _, _ = askCohort(ctx, n, true) }() // half of them wait until the node goes back
	}
	ended := awaitRollout(t, f, "second", "to be rolled back", func(s rolloutStatus) bool {
		for range 60 {
			if stamp, status, err := askCohort(t.Context(), n, false); err != nil || status != http.StatusOK || stamp != "old" {
				t.Fatalf("a request outside of the cohort was answered %d with the stamp %q, %v", status, stamp, err)
			}
		}
		return s.Phase == "RolledBack"
	})
	if !strings.Contains(ended.Message, "stuck") {
		t.Error(ended.Message)
	}
	cancel()
	wantStamps(t, n, "old", "old")
}

// A filter that traps for its cohort's requests is counted by its own name; the filter outside of it does nothing of the kind.
func TestCohortThatTrapsIsTakenBack(t *testing.T) {
	onlyInFull(t)
	t.Parallel()
	f := startFleet(t, 1)
	publish(t, f, "./e2e/filters/stamp")
	rollOut(t, f, "first", createRelease(t, f, "old", "stamp", `{value: old}`), `[{percent: 100}]`)
	startRollout(t, f, "second", createRelease(t, f, "bad", "stamp", `{value: bad, trap: true}`),
		`[{nodes: 1, soak: 10m, `+byCanary+`, gates: [{reloads: {max: 0}}]}, `+atTheEnd+`]`)
	awaitRollout(t, f, "second", "to soak", waveIs(1, "Soaking"))
	n := f.Nodes()[0]
	err := fleet.WaitFor(t.Context(), "the rollout to be taken back", 2*time.Minute, func(ctx context.Context) error {
		_, _, _ = askCohort(ctx, n, true) // it traps
		if stamp, status, err := askCohort(ctx, n, false); err != nil || status != http.StatusOK || stamp != "old" {
			t.Fatalf("a request outside of the cohort was answered %d with the stamp %q, %v", status, stamp, err)
		}
		if s, err := statusOf(ctx, f, "second"); err != nil {
			return err
		} else if s.Phase != "RolledBack" || !strings.Contains(s.Message, "reloads") {
			return fleet.NotYetf("it is %s: %s", s.Phase, s.Message)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
