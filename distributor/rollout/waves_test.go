package rollout

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

func TestShare(t *testing.T) {
	for _, test := range []struct {
		wave  model.WaveSpec
		total int
		want  int
	}{
		{model.WaveSpec{Nodes: 1}, 4, 1}, {model.WaveSpec{Nodes: 9}, 4, 4}, {model.WaveSpec{Nodes: 3}, 0, 0},
		{model.WaveSpec{Percent: 1}, 1, 1}, {model.WaveSpec{Percent: 1}, 100, 1}, {model.WaveSpec{Percent: 1}, 101, 2}, {model.WaveSpec{Percent: 25}, 4, 1},
		{model.WaveSpec{Percent: 50}, 3, 2}, {model.WaveSpec{Percent: 33}, 3, 1}, {model.WaveSpec{Percent: 34}, 3, 2}, {model.WaveSpec{Percent: 100}, 10000, 10000}, {model.WaveSpec{Percent: 50}, 0, 0},
	} {
		if got := share(test.wave, test.total); got != test.want {
			t.Errorf("%+v of %d: got %d, want %d", test.wave, test.total, got, test.want)
		}
	}
}

func TestOrderIsStable(t *testing.T) {
	// A golden value, worked out apart from this code: a distributor of another version must choose the same nodes.
	if got, want := order("edge-auth-1-2", "edge-1"), uint64(0xd79132b417ae0ed7); got != want {
		t.Errorf("order is %#x, want %#x", got, want)
	}
	firsts := map[string]bool{}
	for i := range 40 {
		d := newDrive(t, newFleet(4), model.WaveSpec{Nodes: 1})
		d.r.Name = fmt.Sprintf("r%d", i)
		event := d.fleet.observe(d.r)
		one, _, err := Step(d.r, event, d.now)
		if err != nil {
			t.Fatal(err)
		}
		rand.Shuffle(len(event.Nodes), func(i, j int) { event.Nodes[i], event.Nodes[j] = event.Nodes[j], event.Nodes[i] })
		other, _, err := Step(d.r, event, d.now)
		if err != nil || !slices.Equal(one.Waves[0].Nodes, other.Waves[0].Nodes) {
			t.Fatalf("%v and %v, %v", one.Waves[0].Nodes, other.Waves[0].Nodes, err)
		}
		firsts[one.Waves[0].Nodes[0]] = true
	}
	if len(firsts) != 4 {
		t.Errorf("over 40 rollouts only %v went first", firsts)
	}
}

func TestWaveTakesWhoCanProveItFirst(t *testing.T) {
	for i := range 20 {
		d := newDrive(t, newFleet(4), model.WaveSpec{Nodes: 1}, model.WaveSpec{Nodes: 2}, model.WaveSpec{Nodes: 3}, model.WaveSpec{Nodes: 4})
		d.r.Name = fmt.Sprintf("r%d", i)
		d.r.Spec.IncludeUnreported = true
		d.fleet.nodes["n1"].Reports = false
		d.fleet.nodes["n2"].Connected, d.fleet.nodes["n2"].Silent = false, time.Hour
		d.fleet.nodes["n3"].Connected, d.fleet.nodes["n3"].Silent = false, time.Second
		d.fleet.fetchAll()
		d.look(0)
		d.fleet.serve("n4")
		d.look(time.Second)
		d.fleet.nodes["n3"].Connected = true
		d.fleet.serve("n3")
		d.look(time.Second)
		d.look(time.Second)
		d.look(time.Second)
		if got := fmt.Sprint(d.r.Waves[0].Nodes, d.r.Waves[1].Nodes, d.r.Waves[2].Nodes, d.r.Waves[3].Nodes); got != "[n4] [n3] [n2] [n1]" {
			t.Fatalf("got %s", got)
		}
		d.want(model.RolloutDone, 3)
	}
}

func TestWavesWithoutNodes(t *testing.T) {
	d := newDrive(t, newFleet(4),
		model.WaveSpec{Selector: "zone=x"}, model.WaveSpec{Nodes: 2}, model.WaveSpec{Percent: 25}, model.WaveSpec{Selector: "zone in (a,b)"}, model.WaveSpec{Percent: 100})
	d.look(0)
	d.want(model.RolloutFetching, 1)
	d.fleet.fetchAll()
	d.look(time.Second)
	d.fleet.serveAll()
	d.look(time.Second)
	d.want(model.RolloutMoving, 3)
	d.fleet.serveAll()
	d.look(time.Second)
	d.want(model.RolloutDone, 4)
	history := d.history()
	for _, note := range []string{
		"wave 1 of 5 has no nodes: no further node of the target matches zone=x",
		"wave 3 of 5 has no nodes: its share, 1 of 4 nodes, is reached already",
		"wave 5 of 5 has no nodes: its share, 4 of 4 nodes, is reached already",
	} {
		if !strings.Contains(history, note) {
			t.Errorf("%q is not in the history:\n%s", note, history)
		}
	}
}

func TestTargetThatBecomesEmpty(t *testing.T) {
	d := newDrive(t, newFleet(3), oneThenAll...)
	d.toSoaking()
	d.each(func(n *NodeView) {
		if n.ID != d.first() {
			n.Labels = nil
		}
	})
	d.look(20 * time.Second)
	d.want(model.RolloutDone, 1)
	if len(d.r.Nodes) != 1 || !strings.Contains(d.history(), "reached already") {
		t.Errorf("nodes %v\n%s", d.states(), d.history())
	}
}

func TestSkippedNodes(t *testing.T) {
	d := newDrive(t, newFleet(4), oneThenAll...)
	d.fleet.nodes["n1"].Unloadable = "it lacks env.proxy_call_foreign_function"
	d.fleet.nodes["n2"].HeldBy = "other"
	d.toSoaking()
	if p := d.r.Nodes["n1"]; p.State != model.NodeSkipped || p.Wave != -1 || p.Reason != "its Envoy cannot load the release: it lacks env.proxy_call_foreign_function" {
		t.Errorf("n1 is %+v", p)
	}
	if p := d.r.Nodes["n2"]; p.State != model.NodeSkipped || p.Reason != "rollout/other holds it" {
		t.Errorf("n2 is %+v", p)
	}
	if Holds(d.r, "n1") || Holds(d.r, "absent") || !Holds(d.r, d.first()) {
		t.Error("only the first node is held")
	}
	// A node that can load it after all goes with the next wave; one that left the target is forgotten.
	d.fleet.nodes["n1"].Unloadable, d.fleet.nodes["n1"].Fetched = "", true
	d.fleet.nodes["n2"].Labels = nil
	d.look(20 * time.Second)
	d.want(model.RolloutMoving, 1)
	if d.r.Nodes["n1"].State != model.NodeMoving {
		t.Errorf("n1 is %+v", d.r.Nodes["n1"])
	}
	if p, still := d.r.Nodes["n2"]; still {
		t.Errorf("n2 is still there: %+v", p)
	}
}

func TestUncountedNodes(t *testing.T) {
	later := []model.WaveSpec{{Percent: 50}, {Percent: 100, Soak: time.Minute}}
	start := func(t *testing.T) (*drive, *NodeView) {
		d := newDrive(t, newFleet(4), later...)
		away := d.fleet.nodes["n1"]
		away.Connected, away.Silent = false, time.Hour
		d.toMoving()
		d.fleet.serveAll()
		d.look(time.Second)
		d.want(model.RolloutMoving, 1)
		if away.Assigned != after {
			t.Fatal("the node that is away was not assigned with its wave")
		}
		d.fleet.serveAll()
		d.look(time.Second)
		d.want(model.RolloutSoaking, 1)
		if p := d.r.Nodes["n1"]; p.State != model.NodeAway || !p.Uncounted || p.Reason != reasonAway {
			t.Fatalf("n1 is %+v", p)
		}
		return d, away
	}
	t.Run("converges", func(t *testing.T) {
		d, away := start(t)
		away.Connected, away.Silent = true, 0
		d.look(time.Second)
		if d.r.Nodes["n1"].State != model.NodeMoving {
			t.Errorf("back: %+v", d.r.Nodes["n1"])
		}
		d.fleet.serve("n1")
		d.look(time.Second)
		if d.r.Nodes["n1"].State != model.NodeServing {
			t.Errorf("serves: %+v", d.r.Nodes["n1"])
		}
		// What happens to it fails no wave.
		away.Restarts++
		d.look(time.Second)
		away.Connected, away.Silent, away.Serving = false, time.Hour, ""
		d.look(time.Second)
		if d.r.Nodes["n1"].State != model.NodeAway {
			t.Errorf("gone again: %+v", d.r.Nodes["n1"])
		}
		d.look(time.Minute)
		d.want(model.RolloutDone, 1)
		if want := "done: 3 nodes moved; 1 node not counted, assigned for when they return"; d.r.Message != want {
			t.Errorf("it says %q, want %q", d.r.Message, want)
		}
	})
	for name, word := range map[string]model.LedgerEntry{
		"rejects": {Chain: chainOf(after), State: model.ChainRejected, Final: true, Reason: "no"}, "degraded": {Chain: chainOf(after), State: model.ChainDegraded, Reason: "no"},
	} {
		t.Run(name, func(t *testing.T) {
			d, away := start(t)
			away.Connected, away.Serving, away.Ledger = true, chainOf(after), word
			d.look(time.Second)
			d.want(model.RolloutSoaking, 1)
			if d.r.Nodes["n1"].State != model.NodeFailed {
				t.Errorf("got %+v", d.r.Nodes["n1"])
			}
		})
	}
	t.Run("goes back with the others", func(t *testing.T) {
		d, away := start(t)
		away.Serving = ""
		d.must(RollBack{By: by})
		if away.Assigned != before {
			t.Error("it was not assigned what it had")
		}
		d.fleet.serveAll()
		d.look(time.Second)
		d.want(model.RolloutRolledBack, 1)
		if p := d.r.Nodes["n1"]; p.State != model.NodeAway || !strings.Contains(p.Reason, "takes what it had when it returns") {
			t.Errorf("got %+v", p)
		}
	})
}

func TestNobodyToCount(t *testing.T) {
	t.Run("a node returns and is counted", func(t *testing.T) {
		d := newDrive(t, newFleet(2), oneThenAll...)
		d.each(func(n *NodeView) { n.Connected, n.Silent = false, time.Hour })
		d.look(0)
		d.want(model.RolloutPaused, 0)
		if !d.r.Inconclusive || !strings.Contains(d.r.Message, "none of the nodes can be counted") || d.actions != nil {
			t.Fatalf("%+v", d.r)
		}
		d.each(func(n *NodeView) { n.Connected, n.Silent = true, 0 })
		d.look(10 * time.Second)
		d.must(Resume{by})
		if got := d.r.Waves[0].Deadline; !got.Equal(d.now.Add(model.DefaultWaveDeadline)) {
			t.Errorf("the deadline is %s", got)
		}
		d.look(time.Second)
		d.want(model.RolloutFetching, 0)
		if p := d.r.Nodes[d.first()]; p.State != model.NodeFetching || p.Uncounted {
			t.Errorf("got %+v", p)
		}
		d.fleet.fetchAll()
		d.look(time.Second)
		d.want(model.RolloutMoving, 0)
		d.look(10 * time.Second)
		d.want(model.RolloutMoving, 0)
	})
	t.Run("resumed too early", func(t *testing.T) {
		d := newDrive(t, newFleet(2), oneThenAll...)
		d.each(func(n *NodeView) { n.Connected, n.Silent = false, time.Hour })
		d.look(0)
		d.must(Resume{by})
		d.look(time.Second)
		d.want(model.RolloutPaused, 0)
	})
	t.Run("sinks that cannot report go on when a person says so", func(t *testing.T) {
		d := newDrive(t, newFleet(2), model.WaveSpec{Nodes: 1, Gates: []model.GateSpec{{ErrorRatio: &model.ErrorRatioGate{}}}}, model.WaveSpec{Percent: 100})
		d.r.Spec.IncludeUnreported = true
		d.each(func(n *NodeView) { n.Reports = false })
		d.look(0)
		d.want(model.RolloutPaused, 0)
		d.must(Promote{by})
		d.look(time.Second)
		d.look(time.Second)
		d.want(model.RolloutPaused, 1)
		first := d.first()
		if p := d.r.Nodes[first]; d.fleet.nodes[first].Assigned != after || p.State != model.NodeAway || p.Reason != reasonCannotReport {
			t.Errorf("got %+v", p)
		}
		d.must(Promote{by})
		d.look(time.Second)
		d.look(time.Second)
		d.want(model.RolloutDone, 1)
	})
	t.Run("a proof of an earlier wave is enough", func(t *testing.T) {
		d := newDrive(t, newFleet(2), oneThenAll...)
		d.r.Spec.IncludeUnreported = true
		d.fleet.nodes["n2"].Reports = false
		d.toSoaking()
		d.look(20 * time.Second)
		d.want(model.RolloutMoving, 1)
		d.look(time.Second)
		d.want(model.RolloutDone, 1)
	})
}

// A sink that cannot report is taken only by a rollout that was told so, and by the undo of one.
func TestSinksThatCannotReport(t *testing.T) {
	mixed := func(include bool) *drive {
		d := newDrive(t, newFleet(4), model.WaveSpec{Percent: 50}, model.WaveSpec{Percent: 100})
		d.r.Spec.IncludeUnreported = include
		d.fleet.nodes["n2"].Reports, d.fleet.nodes["n3"].Reports = false, false
		d.fleet.fetchAll()
		for range 12 {
			d.look(time.Second)
			d.fleet.serveAll()
		}
		return d
	}
	t.Run("left out", func(t *testing.T) {
		d := mixed(false)
		d.want(model.RolloutDone, 1)
		if n := len(d.r.Waves[0].Nodes); n != 1 {
			t.Errorf("half of the two nodes that can be taken are %d", n)
		}
		for _, id := range []string{"n2", "n3"} {
			if p := d.r.Nodes[id]; p.State != model.NodeSkipped || p.Reason != reasonLeftOut || d.fleet.nodes[id].Assigned != before {
				t.Errorf("%s: got %+v, assigned %s", id, p, d.fleet.nodes[id].Assigned)
			}
		}
		if want := "2 nodes left out: n2, n3"; !strings.Contains(d.r.Message, want) {
			t.Errorf("the end is %q, and does not say %q", d.r.Message, want)
		}
	})
	t.Run("included", func(t *testing.T) {
		d := mixed(true)
		d.want(model.RolloutDone, 1)
		for id, n := range d.fleet.nodes {
			if n.Assigned != after {
				t.Errorf("%s has %s", id, n.Assigned)
			}
		}
		restore, _ := Restore(d.r)
		undo := &drive{t: t, fleet: d.fleet, now: d.now, r: NewUndo("u", d.r, restore, model.RolloutSpec{Release: before, Waves: []model.WaveSpec{{Percent: 100}}}, by, d.now)}
		for range 6 {
			undo.look(time.Second)
			d.fleet.serveAll()
		}
		undo.want(model.RolloutDone, 0)
		for id, n := range d.fleet.nodes {
			if n.Assigned != before {
				t.Errorf("after the undo %s has %s", id, n.Assigned)
			}
		}
	})
	t.Run("only such nodes", func(t *testing.T) {
		d := newDrive(t, newFleet(2), model.WaveSpec{Percent: 100})
		d.each(func(n *NodeView) { n.Reports = false })
		d.look(0)
		d.want(model.RolloutAborted, 0)
		if want := "2 nodes left out: n1, n2"; !strings.Contains(d.r.Message, want) {
			t.Errorf("the end is %q, and does not say %q", d.r.Message, want)
		}
	})
	t.Run("one that begins to report is taken by the next wave", func(t *testing.T) {
		d := newDrive(t, newFleet(2), oneThenAll...)
		d.fleet.nodes["n2"].Reports = false
		d.toSoaking()
		d.fleet.nodes["n2"].Reports = true
		d.look(20 * time.Second)
		d.fleet.serveAll()
		d.look(time.Second)
		d.fleet.serveAll()
		d.look(time.Second)
		d.want(model.RolloutDone, 1)
		if n := d.fleet.nodes["n2"]; n.Assigned != after || d.r.Nodes["n2"].State != model.NodeServing {
			t.Errorf("n2 has %s and is %+v", n.Assigned, d.r.Nodes["n2"])
		}
	})
	t.Run("one that joins", func(t *testing.T) {
		d := newDrive(t, newFleet(1), model.WaveSpec{Percent: 100})
		d.fleet.fetchAll()
		for range 4 {
			d.look(time.Second)
			d.fleet.serveAll()
		}
		d.want(model.RolloutDone, 0)
		labels, rollouts := map[string]string{"env": "prod"}, []model.Rollout{d.r}
		if got := Joining(labels, false, rollouts); len(got) != 0 {
			t.Errorf("it is given %v", got)
		}
		if got := Joining(labels, true, rollouts); len(got) != 1 {
			t.Errorf("one that reports is given %v", got)
		}
		rollouts[0].Spec.IncludeUnreported = true
		if got := Joining(labels, false, rollouts); len(got) != 1 {
			t.Errorf("included, it is given %v", got)
		}
	})
}
