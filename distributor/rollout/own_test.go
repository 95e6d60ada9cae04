package rollout

import (
	"reflect"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// A step that changes no node keeps the nodes as they are, so that what stands before and after it need not be compared one by one; one that
// changes a node leaves the state before alone.
func TestStepSharesWhatItDoesNotChange(t *testing.T) {
	const count = 1000
	f := newFleet(count)
	f.fetchAll()
	r := New("r", model.LayerGlobal, model.RolloutSpec{Release: after, Selector: "env=prod", Waves: []model.WaveSpec{{Percent: 100, Soak: time.Hour}}}, by, epoch)
	now := epoch
	step := func() model.Rollout {
		t.Helper()
		now = now.Add(time.Second)
		next, actions, err := Step(r, f.observe(r), now)
		if err != nil {
			t.Fatal(err)
		}
		f.carryOut(actions)
		return next
	}
	for r.Phase != model.RolloutSoaking {
		r = step()
		f.serveAll()
	}
	nodes := func(r model.Rollout) any { return reflect.ValueOf(r.Nodes).UnsafePointer() }
	if next := step(); nodes(next) != nodes(r) {
		t.Error("nothing has changed, and there is another map of nodes")
	}
	event := f.observe(r)
	if allocations := testing.AllocsPerRun(10, func() { _, _, _ = Step(r, event, now) }); allocations > count/10 {
		t.Errorf("a step that changes nothing made %.0f allocations", allocations)
	}
	f.nodes["n1"].Serving = ""
	next := step()
	if next.Nodes["n1"].State != model.NodeMoving || r.Nodes["n1"].State != model.NodeServing {
		t.Errorf("n1 serves nothing any more: it is %s, and was %s", next.Nodes["n1"].State, r.Nodes["n1"].State)
	}
}
