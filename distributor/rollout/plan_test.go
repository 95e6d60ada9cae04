package rollout

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// TestPlanIsWhatHappens plans a rollout, then runs it over the same fleet: each wave takes the nodes that were planned.
func TestPlanIsWhatHappens(t *testing.T) {
	f := newFleet(9)
	f.nodes["n1"].Unloadable = "it lacks an import"
	f.nodes["n2"].HeldBy = "other"
	f.nodes["n3"].Reports = false
	f.nodes["n4"].Connected, f.nodes["n4"].Silent = false, SilenceGrace+1
	d := newDrive(t, f, model.WaveSpec{Nodes: 1}, model.WaveSpec{Selector: "zone=b"}, model.WaveSpec{Percent: 80})
	plan, err := Plan(d.r, f.observe(d.r).Nodes)
	if err != nil {
		t.Fatal(err)
	}
	f.fetchAll()
	for range 20 {
		if d.r.Phase.Ended() {
			break
		}
		d.look(MaxGap)
		f.serveAll()
	}
	d.want(model.RolloutDone, 2)
	if len(plan.Waves) != len(d.r.Waves) {
		t.Fatalf("%d waves were planned, %d ran", len(plan.Waves), len(d.r.Waves))
	}
	for i, w := range d.r.Waves {
		var planned []string
		for _, n := range plan.Waves[i] {
			planned = append(planned, n.ID)
			if n.To != chainOf(after) || n.From != chainOf(before) {
				t.Errorf("%s goes from %q to %q", n.ID, n.From, n.To)
			}
			if away := n.ID == "n4"; away != (n.Reason == reasonAway) {
				t.Errorf("%s: %q", n.ID, n.Reason)
			}
		}
		if !slices.Equal(planned, w.Nodes) {
			t.Errorf("wave %d took %v, planned were %v", i+1, w.Nodes, planned)
		}
	}
	left := map[string]string{}
	for _, n := range plan.LeftOut {
		left[n.ID] = n.Reason
	}
	if left["n1"] != "its Envoy cannot load the release: it lacks an import" || left["n2"] != "rollout/other holds it" || left["n3"] != reasonLeftOut {
		t.Errorf("left out: %v", left)
	}
	unreached := 0
	for id := range f.nodes {
		if !Holds(d.r, id) {
			unreached++
		}
	}
	if unreached != len(left) || !slices.ContainsFunc(plan.LeftOut, func(n PlannedNode) bool { return n.Reason == "no wave reaches it" }) {
		t.Errorf("%d nodes were not reached, and %v were left out", unreached, left)
	}
}

func TestPlanChangesNothing(t *testing.T) {
	d := newDrive(t, newFleet(3), oneThenAll...)
	was := asJSON(d.r)
	if _, err := Plan(d.r, d.fleet.observe(d.r).Nodes); err != nil || asJSON(d.r) != was {
		t.Errorf("the rollout changed, or %v", err)
	}
	d.r.Spec.Selector = "=="
	if _, err := Plan(d.r, nil); err == nil {
		t.Error("a selector that does not parse was planned")
	}
}

// A wave that has gates and no soak is warned of: its gates judge by what others have been asked.
func TestPlanWarnsOfGatesWithoutASoak(t *testing.T) {
	errors := []model.GateSpec{{ErrorRatio: &model.ErrorRatioGate{Max: 0.1, MinSamples: 10}}}
	d := newDrive(t, newFleet(4), model.WaveSpec{Nodes: 1, Soak: 20 * time.Second, Gates: errors}, model.WaveSpec{Percent: 100, Gates: errors})
	plan, err := Plan(d.r, d.fleet.observe(d.r).Nodes)
	if err != nil || len(plan.Notes[0]) != 0 || len(plan.Notes[1]) != 1 || !strings.Contains(plan.Notes[1][0], "no soak") {
		t.Fatalf("the notes are %q, %v", plan.Notes, err)
	}
	// That is why.
	d.toSoaking()
	d.says(d.first(), 100, 0, 0)
	d.look(20 * time.Second)
	d.fleet.serveAll()
	d.look(time.Second)
	d.want(model.RolloutDone, 1)
}
