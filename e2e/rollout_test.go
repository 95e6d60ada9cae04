package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/waft-project/waft/demo/fleet"
)

const errorGate = `[{nodes: 1, soak: 3s, gates: [{errorRatio: {max: 0.05, minSamples: 10}}]}, {percent: 100}]`

// A release that loads and then fails requests is taken back from the one node of its first wave. The demo, which TestDemo runs, has one of them,
// too, on four nodes.
func TestErrorRatioTakesBack(t *testing.T) {
	onlyInFull(t)
	f := startFleet(t, 2)
	publish(t, f, "./e2e/filters/stamp")
	first := createRelease(t, f, "good", "stamp", `{value: good}`)
	rollOut(t, f, "first", first, `[{percent: 100}]`)
	load := fleet.StartLoad(t.Context(), f.Listeners(), []fleet.Visitor{{Name: "a client", Path: "/", Status: 200}})
	defer load.Stop()
	before, err := f.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	startRollout(t, f, "second", createRelease(t, f, "bad", "stamp", `{value: bad, failEvery: 3}`), errorGate)
	ended := awaitRollout(t, f, "second", "to be rolled back", phaseIs("RolledBack"))
	if len(ended.Nodes) != 1 {
		t.Errorf("it reached %+v", ended.Nodes)
	}
	if !strings.Contains(ended.Message, "error") {
		t.Errorf("its message does not say why: %q", ended.Message)
	}
	for _, n := range f.Nodes() {
		awaitStamp(t, n, "good")
	}
	after, err := f.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bad := fleet.NodesWhere(after, func(id string, r fleet.Reading) bool {
		return r.ServerErrors() > before[id].ServerErrors() || r.Attempts() > before[id].Attempts()
	})
	if len(bad) != 1 || bad[0] != ended.Nodes[0].Node {
		t.Errorf("by Envoy's statistics it ran on %q, by waft's records on %+v", bad, ended.Nodes)
	}
}

// A release whose filter refuses its configuration is stopped by the probe; no Envoy is offered it. So is that of the pain
// Pain01StagedRolloutStopsOnRejection.
func TestProbeStops(t *testing.T) {
	onlyInFull(t)
	t.Parallel()
	f := startFleet(t, 2)
	publish(t, f, "./e2e/filters/stamp")
	rollOut(t, f, "first", createRelease(t, f, "good", "stamp", `{value: good}`), `[{percent: 100}]`)
	before, err := f.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	startRollout(t, f, "second", createRelease(t, f, "bad", "stamp", `{value: bad, refuse: true}`), `[{nodes: 1}, {percent: 100}]`)
	ended := awaitRollout(t, f, "second", "to be rolled back", phaseIs("RolledBack"))
	var reasons []string
	for _, n := range ended.Nodes {
		reasons = append(reasons, n.Reason)
	}
	for _, h := range ended.History {
		reasons = append(reasons, h.Message)
	}
	if !strings.Contains(strings.Join(reasons, "\n"), "told to refuse") {
		t.Errorf("the filter's own reason is nowhere: %q", reasons)
	}
	after, err := f.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for id, r := range after {
		if r.Attempts() != before[id].Attempts() || r.Created() != before[id].Created() {
			t.Errorf("%s has seen the release: %d chains offered, %d before; %d VMs made, %d before", id,
				r.Attempts(), before[id].Attempts(), r.Created(), before[id].Created())
		}
	}
}

// Undo gives every node the release that it had before, without a new upload. Agents, commands and the registry's client do all of it by TLS.
func TestUndo(t *testing.T) {
	t.Parallel()
	f := startSecureFleet(t, 2)
	publish(t, f, "./e2e/filters/stamp")
	rollOut(t, f, "first", createRelease(t, f, "one", "stamp", `{value: "1"}`), `[{percent: 100}]`)
	rollOut(t, f, "second", createRelease(t, f, "two", "stamp", `{value: "2"}`), `[{percent: 100}]`)
	for _, n := range f.Nodes() {
		awaitStamp(t, n, "2")
	}
	var undo struct{ Metadata struct{ Name string } }
	if err := f.JSON(t.Context(), &undo, "rollout", "undo", "second", "--reason", "test"); err != nil {
		t.Fatal(err)
	}
	awaitRollout(t, f, undo.Metadata.Name, "to end", phaseIs("Done"))
	for _, n := range f.Nodes() {
		awaitStamp(t, n, "1")
	}
	audit := mustRun(t, f, append([]string{"audit"}, f.Server()...)...)
	for _, want := range []string{"release.create", "rollout.start", "rollout.undo", "test"} {
		if !strings.Contains(audit, want) {
			t.Errorf("the audit log does not say %q:\n%s", want, audit)
		}
	}

	// Nothing of it can be changed in silence, and a copy of it says as much to who has no distributor.
	var verified struct {
		Entries int
		Head    string
	}
	if err := f.JSON(t.Context(), &verified, "audit", "verify"); err != nil || verified.Entries < 4 {
		t.Fatalf("%+v, %v", verified, err)
	}
	saved := write(t, f, "audit.json", mustRun(t, f, append([]string{"audit", "-o", "json"}, f.Server()...)...))
	mustRun(t, f, "audit", "verify", "--file", saved, "--head", verified.Head)
	text, err := os.ReadFile(saved)
	if err != nil {
		t.Fatal(err)
	}
	forged := write(t, f, "forged.json", strings.Replace(string(text), `"reason": "test"`, `"reason": "tost"`, 1))
	mustFail(t, f, []string{"the audit log", "was changed"}, "audit", "verify", "--file", forged)
	head := fmt.Sprintf("%d:sha256:%064x", verified.Entries, 0)
	mustFail(t, f, []string{"another than before"}, append([]string{"audit", "verify", "--head", head}, f.Server()...)...)
}

// A filter written on proxy-wasm-go-sdk is built, checked, published and rolled out like any other.
func TestRawModule(t *testing.T) {
	t.Parallel()
	f := startFleet(t, 1)
	publish(t, f, "./e2e/filters/raw")
	checked := mustRun(t, f, "check", f.Dir+"/dist/raw.wasm")
	for _, want := range []string{"envoy-1.36", "envoy-1.40"} {
		if !strings.Contains(checked, want) {
			t.Errorf("waft check does not name %s:\n%s", want, checked)
		}
	}
	rollOut(t, f, "raw", createRelease(t, f, "raw", "raw", `raw`), `[{percent: 100}]`)
	awaitStamp(t, f.Nodes()[0], "raw", `"raw"`)
}
