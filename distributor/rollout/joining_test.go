package rollout

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

func TestJoining(t *testing.T) {
	ended := []model.WaveState{{Nodes: []string{"n1"}, EndedAt: epoch}}
	open := []model.WaveState{{Nodes: []string{"n1"}}}
	release := func(name string) model.ReleaseID { return model.ReleaseID{Name: name, Hash: "sha256:" + name} }
	// rollout gives release NAME to env=prod; options change that.
	rollout := func(name string, phase model.RolloutPhase, waves []model.WaveState, options ...func(*model.Rollout)) model.Rollout {
		r := model.Rollout{Name: name, Phase: phase, Waves: waves, Layer: model.LayerGlobal, Spec: model.RolloutSpec{Release: release(name), Selector: "env=prod"}}
		for _, option := range options {
			option(&r)
		}
		return r
	}
	layer := func(l model.Layer) func(*model.Rollout) { return func(r *model.Rollout) { r.Layer = l } }
	target := func(s string) func(*model.Rollout) { return func(r *model.Rollout) { r.Spec.Selector = s } }
	undoes := func(name string) func(*model.Rollout) { return func(r *model.Rollout) { r.Undoes = name } }

	for _, test := range []struct {
		name     string
		rollouts []model.Rollout
		want     map[model.Layer]string
	}{
		{"no rollouts", nil, nil},
		{"the newest", []model.Rollout{rollout("b", model.RolloutDone, ended), rollout("a", model.RolloutDone, ended)}, map[model.Layer]string{"global": "b"}},
		{"a wave is complete, another runs", []model.Rollout{rollout("b", model.RolloutMoving, append(ended, open...)), rollout("a", model.RolloutDone, ended)}, map[model.Layer]string{"global": "b"}},
		{"no wave is complete", []model.Rollout{rollout("b", model.RolloutMoving, open), rollout("a", model.RolloutDone, ended)}, map[model.Layer]string{"global": "a"}},
		{"waves without nodes prove nothing", []model.Rollout{rollout("b", model.RolloutMoving, []model.WaveState{{EndedAt: epoch}, {Nodes: []string{"n1"}}})}, nil},
		{"pending", []model.Rollout{rollout("b", model.RolloutPending, nil)}, nil},
		{"paused after a wave", []model.Rollout{rollout("b", model.RolloutPaused, ended)}, map[model.Layer]string{"global": "b"}},
		{"aborted after a wave", []model.Rollout{rollout("b", model.RolloutAborted, ended)}, map[model.Layer]string{"global": "b"}},
		{"aborted in the first wave", []model.Rollout{rollout("b", model.RolloutAborted, open)}, nil},
		{"rolling back", []model.Rollout{rollout("b", model.RolloutRollingBack, ended), rollout("a", model.RolloutDone, ended)}, map[model.Layer]string{"global": "a"}},
		{"rolled back", []model.Rollout{rollout("b", model.RolloutRolledBack, ended), rollout("a", model.RolloutDone, ended)}, map[model.Layer]string{"global": "a"}},
		{"another target", []model.Rollout{rollout("b", model.RolloutDone, ended, target("env=test")), rollout("a", model.RolloutDone, ended)}, map[model.Layer]string{"global": "a"}},
		{"a target that does not parse", []model.Rollout{rollout("b", model.RolloutDone, ended, target("=="))}, nil},
		{"layers apart", []model.Rollout{rollout("c", model.RolloutDone, ended, layer("team/shop")), rollout("b", model.RolloutDone, ended), rollout("a", model.RolloutDone, ended, layer("team/shop"))},
			map[model.Layer]string{"global": "b", "team/shop": "c"}},
		{"undone", []model.Rollout{rollout("u", model.RolloutDone, ended, undoes("b")), rollout("b", model.RolloutDone, ended), rollout("a", model.RolloutDone, ended)}, map[model.Layer]string{"global": "a"}},
		{"the first was undone", []model.Rollout{rollout("u", model.RolloutDone, ended, undoes("b")), rollout("b", model.RolloutDone, ended)}, nil},
		{"an undo that has not completed a wave", []model.Rollout{rollout("u", model.RolloutMoving, open, undoes("b")), rollout("b", model.RolloutDone, ended)}, map[model.Layer]string{"global": "b"}},
		{"an undo that was rolled back", []model.Rollout{rollout("u", model.RolloutRolledBack, ended, undoes("b")), rollout("b", model.RolloutDone, ended)}, map[model.Layer]string{"global": "b"}},
		{"an undo that was undone", []model.Rollout{rollout("v", model.RolloutDone, ended, undoes("u")), rollout("u", model.RolloutDone, ended, undoes("b")), rollout("b", model.RolloutDone, ended), rollout("a", model.RolloutDone, ended)},
			map[model.Layer]string{"global": "b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := map[model.Layer]model.ReleaseID{}
			for l, name := range test.want {
				want[l] = release(name)
			}
			labels := map[string]string{"env": "prod"}
			if got := Joining(labels, true, test.rollouts); !reflect.DeepEqual(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			for l, grant := range Grants(labels, true, test.rollouts) {
				if grant.Rollout != test.want[l] || grant.Release != want[l] {
					t.Errorf("layer %s: got %+v", l, grant)
				}
			}
		})
	}
}

func TestJoin(t *testing.T) {
	d := newDrive(t, newFleet(3), oneThenAll...)
	d.toSoaking()
	d.unfetch()
	d.look(20 * time.Second)
	d.want(model.RolloutFetching, 1)
	join := func(id string, given bool) error {
		d.fleet.nodes[id] = &NodeView{ID: id, Labels: map[string]string{"env": "prod"}, Connected: true, Reports: true}
		return d.do(Join{Node: d.fleet.view(d.r, id), From: before, FromGiven: given, FromChain: chainOf(before)})
	}
	if err := join("new1", true); err != nil {
		t.Fatal(err)
	}
	if err := join("new2", false); err != nil {
		t.Fatal(err)
	}
	if p := d.r.Nodes["new1"]; d.fleet.nodes["new1"].Assigned != after || !p.Uncounted || p.Wave != -1 || p.State != model.NodeMoving || p.Reason != reasonJoined {
		t.Fatalf("got %+v", p)
	}
	// It is shown and not waited for, and no wave takes it again.
	d.fleet.fetchAll()
	d.look(time.Second)
	d.want(model.RolloutMoving, 1)
	if got := d.r.Waves[1].Nodes; len(got) != 2 {
		t.Errorf("wave 2 is %v", got)
	}
	d.fleet.serve("new1")
	d.look(time.Second)
	if d.r.Nodes["new1"].State != model.NodeServing {
		t.Errorf("got %+v", d.r.Nodes["new1"])
	}
	d.must(RollBack{By: by})
	if d.fleet.nodes["new1"].Assigned != before || d.fleet.nodes["new2"].Assigned != after {
		t.Error("who joined must go to what it would have had, and keep the release where that is nothing")
	}
	d.fleet.serveAll()
	d.look(time.Second)
	d.want(model.RolloutRolledBack, 1)
}

func TestJoinRefusesWhoDoesNotBelong(t *testing.T) {
	d := newDrive(t, newFleet(3), oneThenAll...)
	d.toSoaking()
	d.unfetch()
	d.look(20 * time.Second)
	for name, v := range map[string]NodeView{
		"outside the target": {ID: "new", Labels: map[string]string{"env": "test"}},
		"unloadable":         {ID: "new", Labels: map[string]string{"env": "prod"}, Unloadable: "it lacks an import"},
	} {
		if err := d.do(Join{Node: v}); err == nil {
			t.Errorf("%s: was taken", name)
		}
	}
}

// A fleet that grows while a rollout runs leaves a line a minute in its history, not one for each node, and none is left untold.
func TestManyJoinInFewLines(t *testing.T) {
	d := newDrive(t, newFleet(2), oneThenAll...)
	d.toSoaking()
	d.unfetch()
	d.look(time.Minute)
	d.want(model.RolloutFetching, 1)
	lines := len(d.r.History)
	for i := range 50 {
		id := fmt.Sprintf("new%d", i)
		d.fleet.nodes[id] = &NodeView{ID: id, Labels: map[string]string{"env": "prod"}, Connected: true, Reports: true}
		d.must(Join{Node: d.fleet.view(d.r, id)})
		if i == 20 {
			d.look(JoinedEvery)
		}
	}
	d.must(Abort{by})
	told := 0
	for _, line := range d.r.History[lines:] {
		switch {
		case strings.HasPrefix(line.Message, "new0 joined"):
			told++
		case strings.Contains(line.Message, " more joined"):
			var n int
			if _, err := fmt.Sscanf(line.Message, "%d node", &n); err != nil {
				t.Fatal(err)
			}
			told += n
		}
	}
	if got := len(d.r.History) - lines; told != 50 || got > 5 {
		t.Errorf("%d of 50 are told of, in %d lines:\n%s", told, got, d.history())
	}
	for i := range 50 {
		if p := d.r.Nodes[fmt.Sprintf("new%d", i)]; p.Wave != -1 || p.MovedAt.IsZero() {
			t.Errorf("new%d is %+v", i, p)
		}
	}
}
