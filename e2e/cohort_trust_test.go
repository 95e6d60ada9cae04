package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waft-project/waft/demo/fleet"
)

// A node with a trust policy runs two chains side by side only where signed releases make both. One that nobody has signed is refused, whichever requests it is
// for: the node serves on the chain that it had, for all of them, and Envoy is offered nothing. Once it is signed the same rollout can be had.
//
// TestJudgeSplit of the agent has what is refused, and TestPain15UnsignedIsRefused a release of all requests.
func TestCohortOfAnUnsignedReleaseIsRefused(t *testing.T) {
	onlyInFull(t)
	t.Parallel()
	f := newFleet(t)
	ctx := t.Context()
	key, public := keyPair(t, f, "release")
	f.AgentFlags = []string{"--trust-policy", putPolicy(t, f, "node", public, signedReleases)}
	for _, start := range []func(context.Context) error{f.StartUpstream, f.StartServe} {
		if err := start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	node, err := f.StartAgent("n1", "env=test")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Connected(ctx); err != nil {
		t.Fatal(err)
	}
	out := buildFilter(t, f, "./e2e/filters/stamp", "1.0.0")
	mustRun(t, f, "push", "--plain-http", f.HTTP(), filepath.Join(out, "stamp.wasm"), moduleRef(f, "stamp"), "--sign-key", key)
	sign := func(release string) {
		t.Helper()
		mustRun(t, f, append([]string{"release", "sign", release, "--key", key, "--registry", f.HTTP(), "--plain-http", f.HTTP()}, f.Server()...)...)
	}
	first := createRelease(t, f, "stamps", "stamp", `{value: old}`)
	sign(first)
	rollOut(t, f, "first", first, `[{percent: 100}]`)
	awaitStamp(t, node, "old")

	load := fleet.StartLoad(ctx, f.Listeners(), []fleet.Visitor{stamped("old")})
	second := createRelease(t, f, "stamps", "stamp", `{value: new}`)
	before, err := f.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	waves := `[{percent: 100, soak: 10m, ` + byCanary + `}, ` + atTheEnd + `]`
	startRollout(t, f, "unsigned", second, waves)
	ended := awaitRollout(t, f, "unsigned", "to be taken back", phaseIs("RolledBack"))
	if text := fmt.Sprintf("%+v", ended); !strings.Contains(text, "policy node, rule all: 1 of the keys release must have signed it") {
		t.Errorf("it does not say who refused what: %s", text)
	}
	after, err := f.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if after["n1"].Attempts() != before["n1"].Attempts() {
		t.Error("Envoy was offered a chain of which the node does not trust a half")
	}
	wantStamps(t, node, "old", "old")
	load.Stop()
	if failures := load.Failures(); len(failures) > 0 {
		t.Errorf("%d requests failed, the first: %v", len(failures), failures[0])
	}

	sign(second)
	startRollout(t, f, "signed", second, waves)
	awaitRollout(t, f, "signed", "to soak", waveIs(1, "Soaking"))
	wantStamps(t, node, "old", "new")
	mustRun(t, f, append([]string{"rollout", "undo", "signed", "--reason", "test"}, f.Server()...)...)
	awaitRollout(t, f, "signed", "to be taken back", phaseIs("RolledBack"))
	wantStamps(t, node, "old", "old")
}
