package rollout

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// What a Memo remembers of the nodes is forgotten when something else than a step with it has changed them, such as a person's command.
func TestMemoForgets(t *testing.T) {
	f := newFleet(6)
	f.fetchAll()
	var memo Memo
	memory := make([]NodeView, 6)
	now := epoch
	r := New("r", model.LayerGlobal, model.RolloutSpec{Release: after, Selector: "env=prod", Waves: []model.WaveSpec{{Percent: 50, Soak: time.Hour}, {Percent: 100}}}, by, now)
	step := func() {
		t.Helper()
		now = now.Add(time.Second)
		event := f.observe(r)
		without, _, err := Step(r, event, now)
		if err != nil {
			t.Fatal(err)
		}
		copy(memory, event.Nodes)
		event.Nodes, event.Memo = memory, &memo
		next, actions, err := Step(r, event, now)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(next, without) {
			t.Fatalf("with what is remembered: %+v\nwithout: %+v", next, without)
		}
		r = next
		f.carryOut(actions)
		f.serveAll()
	}
	for r.Phase != model.RolloutSoaking {
		step()
	}
	if step(); memo.seated == nil {
		t.Fatal("it remembers nothing")
	}
	var err error
	var actions []Action
	if r, actions, err = Step(r, RollBack{By: by}, now); err != nil || r.Phase != model.RolloutRollingBack {
		t.Fatalf("%s: %v", r.Phase, err)
	}
	f.carryOut(actions)
	f.serveAll()
	if step(); r.Phase != model.RolloutRolledBack {
		t.Errorf("it is %s", r.Phase)
	}
}

// Which nodes a wave takes does not depend on the order in which the picture names them.
func TestOrderOfThePictureDoesNotMatter(t *testing.T) {
	f := newFleet(12)
	f.fetchAll()
	now := epoch
	spec := model.RolloutSpec{Release: after, Selector: "env=prod", Waves: []model.WaveSpec{{Percent: 25}, {Percent: 50}, {Percent: 75}, {Percent: 100}}}
	r := New("r", model.LayerGlobal, spec, by, now)
	for r.Phase != model.RolloutDone {
		now = now.Add(time.Second)
		event := f.observe(r)
		next, actions, err := Step(r, event, now)
		if err != nil || next.Phase.Ended() && next.Phase != model.RolloutDone {
			t.Fatalf("%s: %v", next.Message, err)
		}
		for by := range event.Nodes {
			other := event
			other.Nodes = slices.Concat(event.Nodes[by:], event.Nodes[:by])
			slices.Reverse(other.Nodes[:by])
			if got, _, err := Step(r, other, now); err != nil || !reflect.DeepEqual(got, next) {
				t.Fatalf("in another order: %+v\nsorted: %+v; %v", got, next, err)
			}
		}
		r = next
		f.carryOut(actions)
		f.serveAll()
	}
}
