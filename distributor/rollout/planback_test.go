package rollout

import (
	"slices"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// What a rollout would take back is what it then takes back: the nodes that it has moved, but for those that had nothing before; the others stay where they are.
func TestPlanBackIsWhatRollBackDoes(t *testing.T) {
	d := newDrive(t, newFleet(4), model.WaveSpec{Percent: 100, Soak: time.Minute}, model.WaveSpec{Percent: 100})
	new := d.fleet.nodes["n1"]
	new.Assigned, new.Given, new.Serving, new.Ledger = model.ReleaseID{}, false, "", model.LedgerEntry{}
	d.toSoaking()
	planned, err := PlanBack(d.r, d.fleet.observe(d.r).Nodes)
	if err != nil {
		t.Fatal(err)
	}
	var back, kept []string
	for _, n := range planned.Waves[0] {
		if n.From != chainOf(after) || n.To != chainOf(before) || n.Reason != "" {
			t.Errorf("%+v", n)
		}
		back = append(back, n.ID)
	}
	for _, n := range planned.LeftOut {
		kept = append(kept, n.ID)
	}
	d.must(RollBack{By: by})
	var went []string
	for _, a := range d.actions {
		if assign, is := a.(Assign); is {
			went = append(went, assign.Node)
		}
	}
	slices.Sort(went)
	if len(planned.Waves) != 1 || !slices.Equal(back, went) || !slices.Equal(kept, []string{"n1"}) || len(back) != 3 {
		t.Errorf("planned are %v, and %v keep it; back go %v", back, kept, went)
	}
	gone := d.fleet.nodes[back[0]]
	gone.Connected, gone.Silent = false, 2*SilenceGrace
	d.look(time.Second)
	again, err := PlanBack(d.r, d.fleet.observe(d.r).Nodes)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range again.Waves[0] {
		if (n.Reason != "") != (n.ID == gone.ID) {
			t.Errorf("%+v", n)
		}
	}
}

// Nodes that were chosen and not moved stay where they are.
func TestPlanBackLeavesWhatWasNotMoved(t *testing.T) {
	d := newDrive(t, newFleet(4), oneThenAll...)
	d.toSoaking()
	d.unfetch()
	d.look(20 * time.Second)
	d.want(model.RolloutFetching, 1)
	planned, err := PlanBack(d.r, d.fleet.observe(d.r).Nodes)
	if err != nil || len(planned.Waves[0]) != 1 || planned.Waves[0][0].ID != d.first() || len(planned.LeftOut) != 0 {
		t.Errorf("it is planned to %+v, %v", planned, err)
	}
}
