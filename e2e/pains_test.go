package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waft-project/waft/demo/fleet"
	"github.com/waft-project/waft/registry"
)

// What users of other systems complain of, and a fleet shows; docs/pains.md has the whole list. One distributor, its registry and two Envoys
// go through all of it under load, and every answer is checked: but where a pain's own test says otherwise, no request fails or misses its
// filters from the first to the last.
func TestPainsOfAFleet(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	ctx := t.Context()
	// Nothing stays on a node's disk that nothing holds there.
	f.AgentFlags = []string{"--cache-size", "1"}
	for _, start := range []func(context.Context) error{f.StartUpstream, f.StartServe} {
		if err := start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"n1", "n2"} {
		if _, err := f.StartAgent(id, "env=test"); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Connected(ctx); err != nil {
		t.Fatal(err)
	}
	publish(t, f, "./e2e/filters/stamp")
	stamp, err := os.ReadFile(filepath.Join(f.Dir, "dist", "stamp.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	// The same filter in other bytes: with one more custom section, which nobody reads.
	pushBare(t, f, "stamp2", append(slices.Clone(stamp), 0, 4, 3, 'n', 'e', 'w'))
	pushBare(t, f, "strange", strangeModule())
	pain := pains{f: f, excused: map[string]string{}}
	rollOut(t, f, "first", pain.release(t, "first", "stamp", `{value: "1"}`), `[{percent: 100}]`)
	for _, n := range f.Nodes() {
		awaitStamp(t, n, "1")
	}
	pain.load = fleet.StartLoad(ctx, f.Listeners(), []fleet.Visitor{{Name: "a client", Path: "/", Status: 200, Check: func(a fleet.Answer) error {
		if a.Header.Get("X-Stamp") == "" {
			return errors.New("no filter has seen it")
		}
		return nil
	}}})
	defer pain.load.Stop()
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"Pain02NewFilterAnswersNo500", pain.newFilter},
		{"Pain12ModuleUpgradeCrashesNoProxy", pain.moduleUpgrade},
		{"Pain01StagedRolloutStopsOnRejection", pain.stagedRollout},
		{"Pain13ThereIsAWayBack", pain.wayBack},
		{"Pain11MissingImportHurtsNoListener", pain.missingImport},
		{"Pain07RejectionIsInTheStatusAndNewNodesStart", pain.rejectionShows},
		{"Pain14NodesReconnectToARestartedServer", pain.reconnect},
		{"Pain04ModuleInUseIsNotPurged", pain.purge},
	} {
		if !t.Run(test.name, func(t *testing.T) {
			pain.load.Enter(t.Name())
			test.run(t)
			pain.noneFailed(t)
		}) {
			return // the next ones begin where this one was to end
		}
	}
	pain.load.Stop()
	pain.noneFailed(t) // of the last requests either
}

// pains is the fleet that they share.
type pains struct {
	f    *fleet.Fleet
	load *fleet.Load
	// excused is a node that clients may fail on in a period, by the period.
	excused map[string]string
	// rejected is a rollout that ended with a rejection.
	rejected rolloutStatus
}

// noneFailed checks the answers so far, those that need not be good apart.
func (p *pains) noneFailed(t *testing.T) {
	t.Helper()
	sent, failed := p.load.Total(func(node, period string) bool { return p.excused[period] != node })
	if sent == 0 || failed != 0 {
		t.Errorf("%d of %d requests failed: %q", failed, sent, p.load.Failures())
		return
	}
	t.Logf("%d requests, none failed", sent)
}

// pushBare publishes a module as other tools do: no check, no manifest.
func pushBare(t *testing.T, f *fleet.Fleet, name string, wasm []byte) {
	t.Helper()
	client, err := registry.NewClient(registry.Config{PlainHTTP: []string{f.HTTP()}})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := registry.ParseReference(moduleRef(f, name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Push(t.Context(), ref, registry.ModuleBytes(wasm), nil); err != nil {
		t.Fatal(err)
	}
}

// release creates a release of filters. Each is its name, followed by its module's where that is another (NAME:MODULE), and its configuration.
func (p *pains) release(t *testing.T, name string, filters ...string) string {
	t.Helper()
	var list strings.Builder
	for filter := range slices.Chunk(filters, 2) {
		own, module, other := strings.Cut(filter[0], ":")
		if !other {
			module = own
		}
		policy := "FAIL_RELOAD"
		if own == "strange" {
			policy = "FAIL_OPEN"
		}
		fmt.Fprintf(&list, "  - {name: %s, module: %q, failurePolicy: %s, config: %s}\n", own, moduleRef(p.f, module), policy, filter[1])
	}
	path := write(t, p.f, name+".yaml", fmt.Sprintf("apiVersion: waft.dev/v1\nkind: Release\nmetadata: {name: %s}\nspec:\n  filters:\n%s", name, &list))
	var created struct {
		Status struct{ Hash string }
	}
	if err := p.f.JSON(t.Context(), &created, "release", "create", "-f", path); err != nil {
		t.Fatal(err)
	}
	return name + "@" + created.Status.Hash
}

func (p *pains) read(t *testing.T) map[string]fleet.Reading {
	t.Helper()
	readings, err := p.f.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return readings
}

// serve checks that each node answers with a stamp.
func (p *pains) serve(t *testing.T, want string) {
	t.Helper()
	for _, n := range p.f.Nodes() {
		awaitStamp(t, n, want)
	}
}

// neverOffered checks that no Envoy was offered a chain, or made a VM, since before.
func (p *pains) neverOffered(t *testing.T, before map[string]fleet.Reading) {
	t.Helper()
	for id, r := range p.read(t) {
		if r.Attempts() != before[id].Attempts() || r.Created() != before[id].Created() {
			t.Errorf("%s has seen the release: %d chains offered, %d before; %d VMs made, %d before", id,
				r.Attempts(), before[id].Attempts(), r.Created(), before[id].Created())
		}
	}
}

// startAgain stops a node whole, when its trial is over, and starts it again. Its first answer must have the stamp: a listener that is there before
// its filters would be seen.
func (p *pains) startAgain(t *testing.T, n *fleet.Node, want string) {
	t.Helper()
	awaitGood(t, p.f, n)
	period := t.Name() + ": " + n.ID + " starts again"
	p.excused[period] = n.ID
	p.load.Enter(period)
	n.Agent.Stop()
	if err := p.f.RestartAgent(n); err != nil {
		t.Fatal(err)
	}
	firstStamp(t, n, want)
	p.load.Enter(t.Name())
}

// firstStamp waits until a node takes connections, and looks at the first answer.
func firstStamp(t *testing.T, n *fleet.Node, want string) {
	t.Helper()
	err := fleet.WaitFor(t.Context(), n.ID+" to listen", time.Minute, func(ctx context.Context) error {
		_, err := fleet.Ask(ctx, n.Listen, stamped(want))
		if errors.Is(err, syscall.ECONNREFUSED) {
			return fleet.NotYetf("%v", err)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A filter that the nodes did not have before: no request is answered before it is there, and none fails.
func (p *pains) newFilter(t *testing.T) {
	rollOut(t, p.f, "new-filter", p.release(t, "two-filters", "stamp", `{value: "1"}`, "also:stamp2", `{value: "2"}`), `[{nodes: 1}, {percent: 100}]`)
	p.serve(t, "2") // also is the last that a response passes
	p.startAgain(t, p.f.Nodes()[1], "2")
	if err := p.f.Connected(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Other modules under load crash no Envoy; one that does crash it does so on the first wave's node alone.
func (p *pains) moduleUpgrade(t *testing.T) {
	before, envoys := p.read(t), envoysOf(t, p.f)
	rollOut(t, p.f, "upgrade", p.release(t, "upgrade", "stamp:stamp2", `{value: "3"}`), `[{nodes: 1}, {percent: 100}]`)
	p.serve(t, "3")
	after := envoysOf(t, p.f)
	for id, r := range p.read(t) {
		if after[id] != envoys[id] { // its uptime may have been as low before
			t.Errorf("the Envoy of %s was started anew: it was process %d and is %d", id, envoys[id], after[id])
		}
		if r.Created() == before[id].Created() {
			t.Errorf("%s has loaded no module", id)
		}
	}
	crash := "Pain12: a crash"
	p.excused[crash] = "n1" // until it is known which
	p.load.Enter(crash)
	startRollout(t, p.f, "crash", p.release(t, "crash", "stamp", `{value: "bad", hang: true}`), `[{nodes: 1, soak: 10m}, {percent: 100}]`)
	ended := awaitRollout(t, p.f, "crash", "to be rolled back", phaseIs("RolledBack"))
	if len(ended.Nodes) != 1 {
		t.Fatalf("it reached %+v", ended.Nodes)
	}
	hit := ended.Nodes[0].Node
	p.excused[crash] = hit
	p.serve(t, "3")
	if _, failed := p.load.Total(func(node, period string) bool { return period == crash && node == hit }); failed == 0 {
		t.Errorf("no request failed on %s: the release did no harm, and this shows nothing", hit)
	}
	for id, pid := range envoysOf(t, p.f) {
		if pid != after[id] && id != hit {
			t.Errorf("the Envoy of %s was started anew, and the first wave was %s", id, hit)
		}
	}
	p.load.Enter(t.Name())
}

// One node takes a release first, and the others only when a person or its gates say so; one that is rejected gets no further, and no Envoy
// is given it.
func (p *pains) stagedRollout(t *testing.T) {
	before := p.read(t)
	startRollout(t, p.f, "rejected", p.release(t, "rejected", "stamp", `{value: "bad", refuse: true}`), `[{nodes: 1}, {percent: 100}]`)
	p.rejected = awaitRollout(t, p.f, "rejected", "to be rolled back", phaseIs("RolledBack"))
	if len(p.rejected.Nodes) != 1 {
		t.Errorf("it reached %+v", p.rejected.Nodes)
	}
	p.neverOffered(t, before)
	p.serve(t, "3")

	startRollout(t, p.f, "canary", p.release(t, "canary", "stamp:stamp2", `{value: "4"}`), `[{nodes: 1, soak: 10m}, {percent: 100}]`)
	canary := awaitRollout(t, p.f, "canary", "to soak", phaseIs("Soaking"))
	if len(canary.Nodes) != 1 {
		t.Fatalf("it reached %+v", canary.Nodes)
	}
	for _, n := range p.f.Nodes() {
		want := "3"
		if n.ID == canary.Nodes[0].Node {
			want = "4"
		}
		if got := stampOf(t, n); got != want {
			t.Errorf("%s answers with stamp %q instead of %q", n.ID, got, want)
		}
	}
}

// A rollout that runs is taken back with one command, and so is one that has ended.
func (p *pains) wayBack(t *testing.T) {
	undo := func(name string) string {
		t.Helper()
		var undone struct{ Metadata struct{ Name string } }
		if err := p.f.JSON(t.Context(), &undone, "rollout", "undo", name, "--reason", "test"); err != nil {
			t.Fatal(err)
		}
		return undone.Metadata.Name
	}
	undo("canary")
	awaitRollout(t, p.f, "canary", "to be rolled back", phaseIs("RolledBack"))
	p.serve(t, "3")
	rollOut(t, p.f, "over", p.release(t, "over", "stamp:stamp2", `{value: "5"}`), `[{percent: 100}]`)
	p.serve(t, "5")
	awaitRollout(t, p.f, undo("over"), "to end", phaseIs("Done"))
	p.serve(t, "3")
}

// A module that asks for what no Envoy has is found out before Envoy sees it, though it says FAIL_OPEN; the reason names the import.
func (p *pains) missingImport(t *testing.T) {
	before := p.read(t)
	startRollout(t, p.f, "strange", p.release(t, "strange", "strange", `{}`), `[{nodes: 1}, {percent: 100}]`)
	ended := awaitRollout(t, p.f, "strange", "to be rolled back", phaseIs("RolledBack"))
	if len(ended.Nodes) != 1 || !strings.Contains(fmt.Sprintf("%+v", ended), "launch_rockets") {
		t.Errorf("it reached more than one node, or does not name the import: %+v", ended)
	}
	p.neverOffered(t, before)
	p.serve(t, "3")
}

// A rejection is to be read where the rollout is, in Envoy's own words, and nodes that start afterwards get what is good.
func (p *pains) rejectionShows(t *testing.T) {
	for _, command := range []string{"status", "history"} {
		text := mustRun(t, p.f, append([]string{"rollout", command, "rejected"}, p.f.Server()...)...)
		if !strings.Contains(text, "told to refuse") || !strings.Contains(text, p.rejected.Nodes[0].Node) {
			t.Errorf("waft rollout %s does not say who refused what:\n%s", command, text)
		}
	}
	n, err := p.f.StartAgent("n3", "env=test")
	if err != nil {
		t.Fatal(err)
	}
	firstStamp(t, n, "3")
	if err := p.f.Connected(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// The server is killed and comes back: the nodes find it by themselves, and take what it has next.
func (p *pains) reconnect(t *testing.T) {
	p.f.Serve().Kill()
	p.serve(t, "3")
	if err := p.f.StartServe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.f.Connected(t.Context()); err != nil { // and no agent has ended
		t.Fatal(err)
	}
	rollOut(t, p.f, "reconnected", p.release(t, "reconnected", "stamp:stamp2", `{value: "6"}`), `[{percent: 100}]`)
	p.serve(t, "6")
}

// A node's disk is full of what it may keep, and whatever nothing holds is purged; what is in use is not, so the node starts, and takes the
// next change, with nobody to fetch from.
func (p *pains) purge(t *testing.T) {
	n := p.f.Nodes()[0]
	blobs := func() []string {
		t.Helper()
		list, err := filepath.Glob(filepath.Join(p.f.Dir, n.ID, "modules", "blobs", "sha256", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	err := fleet.WaitFor(t.Context(), "the modules that nothing holds to be purged", time.Minute, func(context.Context) error {
		if list := blobs(); len(list) != 1 { // of stamp, stamp2 and strange
			return fleet.NotYetf("%s has the modules %q", n.ID, list)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p.f.Serve().Kill()
	p.startAgain(t, n, "6")
	if list := blobs(); len(list) != 1 {
		t.Errorf("%s has the modules %q", n.ID, list)
	}
	if err := p.f.StartServe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.f.Connected(t.Context()); err != nil {
		t.Fatal(err)
	}
	rollOut(t, p.f, "next", p.release(t, "next", "stamp:stamp2", `{value: "7"}`), `[{percent: 100}]`)
	p.serve(t, "7")
}
