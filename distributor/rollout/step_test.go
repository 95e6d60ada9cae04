package rollout

import (
	"errors"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

var oneThenAll = []model.WaveSpec{{Nodes: 1, Soak: 20 * time.Second}, {Percent: 100}}

func TestGoodRelease(t *testing.T) {
	d := newDrive(t, newFleet(4), model.WaveSpec{Nodes: 1, Soak: 20 * time.Second}, model.WaveSpec{Percent: 50, Soak: 5 * time.Second}, model.WaveSpec{Percent: 100})
	d.toSoaking()
	d.look(19 * time.Second)
	d.want(model.RolloutSoaking, 0)
	d.look(time.Second)
	// Everything was fetched, so the next wave moves at once.
	d.want(model.RolloutMoving, 1)
	if len(d.actions) != 1 {
		t.Fatalf("wave 2 of 50 %% moves %v", d.actions)
	}
	d.fleet.serveAll()
	d.look(time.Second)
	d.want(model.RolloutSoaking, 1)
	d.look(5 * time.Second)
	d.want(model.RolloutMoving, 2)
	d.fleet.serveAll()
	d.look(time.Second)
	d.want(model.RolloutDone, 2)
	if d.r.EndedAt.IsZero() || d.states()[model.NodeServing] != 4 || d.r.Message != "done: 4 nodes moved" {
		t.Errorf("ended at %v with %v: %s", d.r.EndedAt, d.states(), d.r.Message)
	}
	for id, n := range d.fleet.nodes {
		if n.Assigned != after {
			t.Errorf("%s has %v", id, n.Assigned)
		}
	}
}

func TestStepRefusesBrokenStates(t *testing.T) {
	good := New("r", "global", model.RolloutSpec{Release: after, Selector: "env=prod"}, by, epoch)
	for name, spoil := range map[string]func(*model.Rollout){
		"a wave that is not there": func(r *model.Rollout) { r.Phase, r.Wave = model.RolloutMoving, 0 },
		"a negative wave":          func(r *model.Rollout) { r.Phase = model.RolloutSoaking },
		"paused in such a wave":    func(r *model.Rollout) { r.Phase, r.Resume, r.Wave = model.RolloutPaused, model.RolloutSoaking, 3 },
		"pending in a wave":        func(r *model.Rollout) { r.Wave = 2 },
		"pending without waves":    func(r *model.Rollout) { r.Spec.Waves = nil },
		"no phase":                 func(r *model.Rollout) { r.Phase = "" },
		"selector":                 func(r *model.Rollout) { r.Spec.Selector = "==" },
		"wave selector":            func(r *model.Rollout) { r.Spec.Waves[0] = model.WaveSpec{Selector: "=="} },
	} {
		r := good.Clone()
		spoil(&r)
		got, actions, err := Step(r, Observe{Nodes: []NodeView{{ID: "n1"}}}, epoch)
		if err == nil || actions != nil || asJSON(got) != asJSON(r) {
			t.Errorf("%s: got %+v, %v, %v", name, got, actions, err)
		}
	}
	if _, _, err := Step(good, nil, epoch); err == nil {
		t.Error("a nil event was taken")
	}
}

func TestNewFillsIn(t *testing.T) {
	r := New("r", "team/a", model.RolloutSpec{Release: after}, by, epoch)
	if len(r.Spec.Waves) != 1 || r.Spec.Waves[0].Percent != 100 || r.Phase != model.RolloutPending || r.Wave != -1 || r.StartedBy != "mo" || r.Reason != "because" || len(r.History) != 1 {
		t.Errorf("got %+v", r)
	}
}

func TestChanged(t *testing.T) {
	d := newDrive(t, newFleet(2), oneThenAll...)
	d.toSoaking()
	was := d.r
	d.look(time.Second)
	if d.r.SeenAt.Equal(was.SeenAt) || Changed(was, d.r) {
		t.Error("a step in which only time passed must not be written")
	}
	later := d.r.Clone()
	later.SeenAt = later.SeenAt.Add(SeenEvery)
	if !Changed(d.r, later) {
		t.Error("SeenAt must be written once in SeenEvery")
	}
	later = d.r.Clone()
	later.Message = "x"
	if !Changed(d.r, later) {
		t.Error("a change was not seen")
	}
	later = d.r.Clone()
	if Changed(d.r, later) {
		t.Error("a copy is no change")
	}
	for id, p := range later.Nodes {
		p.Reason = "x"
		later.Nodes[id] = p
		break
	}
	if !Changed(d.r, later) {
		t.Error("a change of a node was not seen")
	}
}

func TestPreconditionsNameTheRollout(t *testing.T) {
	d := newDrive(t, newFleet(2), oneThenAll...)
	err := d.do(Promote{by})
	problem, ok := errors.AsType[*model.Error](err)
	if !ok || !errors.Is(err, model.ErrPrecondition) || problem.Object != "rollout/r" || problem.Next == "" {
		t.Errorf("got %v", err)
	}
}
