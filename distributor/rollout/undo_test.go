package rollout

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

func TestUndo(t *testing.T) {
	// n1 had another release before, n2 nothing of this layer, n3 nothing at all, n4 is not in the target.
	d := newDrive(t, newFleet(4), model.WaveSpec{Percent: 100})
	old := model.ReleaseID{Name: "old", Hash: "sha256:0000"}
	d.fleet.nodes["n1"].Assigned = old
	d.fleet.nodes["n2"].Assigned = model.ReleaseID{}
	d.fleet.nodes["n3"] = &NodeView{ID: "n3", Labels: map[string]string{"env": "prod"}, Connected: true, Reports: true}
	d.fleet.nodes["n4"].Labels = nil
	d.fleet.serveAll()
	d.fleet.nodes["n3"].Serving = ""
	d.toMoving()
	d.fleet.serveAll()
	d.look(time.Second)
	d.want(model.RolloutDone, 0)

	restore, kept := Restore(d.r)
	if want := map[string]model.ReleaseID{"n1": old, "n2": {}}; !reflect.DeepEqual(restore, want) || !slices.Equal(kept, []string{"n3"}) {
		t.Fatalf("got %v and %v", restore, kept)
	}
	undone := d.r
	d.r = NewUndo("u", undone, restore, model.RolloutSpec{Release: old}, by, d.now)
	if d.r.Undoes != "r" || d.r.Spec.Selector != "env=prod" || d.r.Layer != undone.Layer {
		t.Fatalf("got %+v", d.r)
	}
	if _, ok := ReleaseFor(d.r, "n3"); ok {
		t.Error("the undo gives something to n3")
	}
	d.look(time.Second)
	d.look(time.Second)
	d.want(model.RolloutMoving, 0)
	d.fleet.serveAll()
	d.look(time.Second)
	d.want(model.RolloutDone, 0)
	for id, want := range map[string]model.ReleaseID{"n1": old, "n2": {}, "n3": after, "n4": before} {
		if got := d.fleet.nodes[id].Assigned; got != want {
			t.Errorf("%s has %v, want %v", id, got, want)
		}
	}
	// What was taken back can be taken back.
	again, _ := Restore(d.r)
	if want := map[string]model.ReleaseID{"n1": after, "n2": after}; !reflect.DeepEqual(again, want) {
		t.Errorf("the undo of the undo restores %v", again)
	}
}

func TestUndoThatFailsRollsBack(t *testing.T) {
	d := newDrive(t, newFleet(1), model.WaveSpec{Percent: 100})
	d.toMoving()
	d.fleet.serveAll()
	d.look(time.Second)
	restore, _ := Restore(d.r)
	d.r = NewUndo("u", d.r, restore, model.RolloutSpec{}, by, d.now)
	d.look(time.Second)
	d.want(model.RolloutMoving, 0)
	d.fleet.nodes["n1"].Restarts++
	d.look(time.Second)
	d.want(model.RolloutRollingBack, 0)
	if d.fleet.nodes["n1"].Assigned != after {
		t.Error("the node does not go back to the release that the undo took away")
	}
}

func TestUndoWithoutNodes(t *testing.T) {
	d := newDrive(t, newFleet(1), model.WaveSpec{Percent: 100})
	d.r = throughJSON(t, NewUndo("u", d.r, nil, model.RolloutSpec{}, by, d.now))
	d.look(time.Second)
	d.want(model.RolloutAborted, 0)
}

func TestRestoreLeavesUnmovedNodesOut(t *testing.T) {
	d := newDrive(t, newFleet(4), oneThenAll...)
	d.toSoaking()
	d.unfetch()
	d.look(20 * time.Second)
	d.want(model.RolloutFetching, 1)
	d.must(Abort{by})
	if restore, kept := Restore(d.r); len(restore) != 1 || len(kept) != 0 {
		t.Errorf("got %v and %v", restore, kept)
	}
}

func TestPrefetch(t *testing.T) {
	d := newDrive(t, newFleet(4), oneThenAll...)
	d.fleet.nodes["n4"].Unloadable = "it lacks an import"
	asked := func() (ids []string) {
		for _, id := range []string{"n1", "n2", "n3", "n4"} {
			release, ok := Prefetch(d.r, id)
			if ok {
				ids = append(ids, id)
			}
			if ok && release != after {
				t.Errorf("%s is to fetch %v", id, release)
			}
		}
		return ids
	}
	if got := asked(); got != nil {
		t.Errorf("pending: %v", got)
	}
	d.look(0)
	first := []string{d.first()}
	if got := asked(); !slices.Equal(got, first) {
		t.Errorf("fetching: %v", got)
	}
	d.must(Pause{by})
	if got := asked(); !slices.Equal(got, first) {
		t.Errorf("paused: %v", got)
	}
	d.must(Resume{by})
	d.fleet.fetchAll()
	d.look(time.Second)
	if got := asked(); got != nil {
		t.Errorf("moving: %v", got)
	}
}

func TestConflicts(t *testing.T) {
	nodes := []model.Node{{ID: "n3", Labels: map[string]string{"env": "prod", "zone": "b"}}, {ID: "n1", Labels: map[string]string{"env": "prod", "zone": "a"}}, {ID: "n2", Labels: map[string]string{"env": "test"}}}
	target := func(selector string) model.Rollout {
		return model.Rollout{Name: selector, Spec: model.RolloutSpec{Selector: selector}}
	}
	holds := target("env=none")
	holds.Nodes = map[string]model.NodeProgress{"n2": {State: model.NodeServing}, "n1": {State: model.NodeSkipped, Wave: -1}}
	undo := target("")
	undo.Undoes, undo.Restore = "r", map[string]model.ReleaseID{"n2": {}}
	for _, test := range []struct {
		name string
		a, b model.Rollout
		want []string
	}{
		{"everything", target(""), target(""), []string{"n1", "n2", "n3"}},
		{"overlap", target("env=prod"), target("zone=a"), []string{"n1"}},
		{"none", target("env=test"), target("zone=a"), []string{}},
		{"taken, whatever its labels are now", holds, target("env=test"), []string{"n2"}},
		{"skipped is not taken", holds, target("zone=a"), []string{}},
		{"an undo reaches only what it restores", undo, target(""), []string{"n2"}},
		{"an undo and another", undo, target("env=prod"), []string{}},
		{"a selector that does not parse", target("=="), target(""), []string{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Conflicts(test.a, test.b, nodes); !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
			if got := Conflicts(test.b, test.a, nodes); !slices.Equal(got, test.want) {
				t.Errorf("the other way round: got %v, want %v", got, test.want)
			}
		})
	}
}
