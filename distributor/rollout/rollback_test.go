package rollout

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/waft-project/waft/distributor/model"
)

func TestNodesThatHadNothingKeepTheRelease(t *testing.T) {
	newcomers := func(t *testing.T, n int) *drive {
		d := newDrive(t, newFleet(3), model.WaveSpec{Percent: 100, Soak: time.Minute})
		for _, id := range []string{"n1", "n2", "n3"}[:n] {
			d.fleet.nodes[id] = &NodeView{ID: id, Labels: map[string]string{"env": "prod"}, Connected: true, Reports: true}
		}
		d.toSoaking()
		return d
	}
	t.Run("some", func(t *testing.T) {
		d := newcomers(t, 1)
		d.must(RollBack{By: by})
		d.want(model.RolloutRollingBack, 0)
		d.fleet.serveAll()
		d.look(time.Second)
		d.want(model.RolloutRolledBack, 0)
		p := d.r.Nodes["n1"]
		if p.State != model.NodeServing || p.Reason != "had nothing before, so it keeps the release" || d.fleet.nodes["n1"].Assigned != after {
			t.Errorf("n1 is %+v", p)
		}
		if !strings.Contains(d.r.Message, "keeps the release: n1") {
			t.Errorf("the message is %s", d.r.Message)
		}
	})
	t.Run("all", func(t *testing.T) {
		d := newcomers(t, 3)
		d.fleet.nodes["n2"].Restarts++
		d.look(time.Second)
		d.want(model.RolloutRolledBack, 0)
		if p := d.r.Nodes["n2"]; p.State != model.NodeFailed || !strings.Contains(p.Reason, "restart") || !strings.Contains(p.Reason, "keeps the release") {
			t.Errorf("n2 is %+v", p)
		}
		if d.actions != nil {
			t.Errorf("acts: %v", d.actions)
		}
	})
}

func TestRollbackTakesALayerAway(t *testing.T) {
	d := newDrive(t, newFleet(1), model.WaveSpec{Percent: 100, Soak: time.Minute})
	d.fleet.nodes["n1"].Assigned = model.ReleaseID{} // it has releases of other layers only
	d.fleet.serve("n1")
	d.toSoaking()
	d.must(RollBack{By: by})
	if want := (Assign{Node: "n1", Layer: model.LayerGlobal}); len(d.actions) != 1 || d.actions[0] != want {
		t.Fatalf("got %+v", d.actions)
	}
	d.fleet.serveAll()
	d.look(time.Second)
	d.want(model.RolloutRolledBack, 0)
}

func TestLostNodeIsNamed(t *testing.T) {
	d := newDrive(t, newFleet(2), model.WaveSpec{Percent: 100, Soak: time.Minute})
	d.toSoaking()
	d.fleet.nodes["n1"].Connected, d.fleet.nodes["n1"].Silent = false, time.Hour
	d.look(time.Second)
	d.want(model.RolloutRollingBack, 0)
	if p := d.r.Nodes["n1"]; !strings.HasPrefix(p.Reason, "fell silent") {
		t.Errorf("n1 is %+v", p)
	}
	d.fleet.serveAll()
	d.look(time.Second)
	d.want(model.RolloutRolledBack, 0)
	for _, part := range []string{"gate loaded: n1 fell silent after it was moved", "1 node did not come back", "n1 (fell silent", "takes what it had when it returns"} {
		if !strings.Contains(d.r.Message, part) {
			t.Errorf("%q is not in %s", part, d.r.Message)
		}
	}
	if d.fleet.nodes["n1"].Assigned != before {
		t.Error("it is not assigned what it had")
	}
}

func TestLostNodeThatReturnsInTime(t *testing.T) {
	d := newDrive(t, newFleet(2), model.WaveSpec{Percent: 100, Soak: time.Minute})
	d.toSoaking()
	lost := d.fleet.nodes["n1"]
	lost.Connected, lost.Silent = false, time.Hour
	d.look(time.Second)
	d.look(time.Second)
	if p := d.r.Nodes["n1"]; p.State != model.NodeFailed {
		t.Fatalf("n1 is %+v", p)
	}
	d.want(model.RolloutRollingBack, 0) // n2 is on its way
	lost.Connected, lost.Silent = true, 0
	d.look(time.Second)
	if p := d.r.Nodes["n1"]; p.State != model.NodeRollingBack {
		t.Errorf("n1 is %+v", p)
	}
	d.fleet.serveAll()
	d.look(time.Second)
	d.want(model.RolloutRolledBack, 0)
	if p := d.r.Nodes["n1"]; p.State != model.NodeRolledBack || strings.Contains(d.r.Message, "did not come back") {
		t.Errorf("n1 is %+v: %s", p, d.r.Message)
	}
}

func TestNodeStillMovingWhenTheWaveFails(t *testing.T) {
	d := newDrive(t, newFleet(3), model.WaveSpec{Percent: 100})
	d.toMoving()
	// n1 rejects, n2 serves already, n3 was never told: its assignment is lost.
	d.fleet.nodes["n1"].Ledger = model.LedgerEntry{Chain: chainOf(after), State: model.ChainRejected, Step: "probe", Reason: "no such import", Final: true}
	d.fleet.serve("n2")
	d.fleet.nodes["n3"].Assigned = before
	d.look(time.Second)
	d.want(model.RolloutRollingBack, 0)
	for id, n := range d.fleet.nodes {
		if n.Assigned != before {
			t.Errorf("%s has %v", id, n.Assigned)
		}
	}
	d.fleet.serveAll()
	d.look(time.Second)
	d.want(model.RolloutRolledBack, 0)
	if want := "rolled back: wave 1 of 1 failed its gate loaded: n1 rejected it at probe: no such import"; d.r.Message != want {
		t.Errorf("got %s\nwant %s", d.r.Message, want)
	}
	if last := d.r.Waves[0].Readings; len(last) != 1 || last[0].Verdict != model.VerdictFail {
		t.Errorf("readings %+v", last)
	}
}

func TestUnmovedNodesAreLetGo(t *testing.T) {
	for name, command := range map[string]Event{"abort": Abort{by}, "rollback": RollBack{By: by}} {
		t.Run(name, func(t *testing.T) {
			d := newDrive(t, newFleet(4), oneThenAll...)
			d.toSoaking()
			d.unfetch()
			d.look(20 * time.Second)
			d.want(model.RolloutFetching, 1)
			d.must(command)
			if d.states()[model.NodeWaiting] != 3 || d.r.Nodes[d.r.Waves[1].Nodes[0]].Reason != "was chosen but not moved" {
				t.Errorf("got %v", d.states())
			}
		})
	}
}

func TestFetchTooLate(t *testing.T) {
	d := newDrive(t, newFleet(4), model.WaveSpec{Percent: 50, Deadline: 15 * time.Second})
	d.look(0)
	slow := d.r.Waves[0].Nodes[1]
	d.fleet.nodes[d.first()].Fetched = true
	d.look(15 * time.Second)
	d.want(model.RolloutRolledBack, 0)
	if p := d.r.Nodes[slow]; p.State != model.NodeFailed || p.Reason != "did not fetch the modules in time" {
		t.Errorf("%s is %+v", slow, p)
	}
	if d.r.Nodes[d.first()].State != model.NodeWaiting || !strings.Contains(d.r.Message, "deadline of 15s: "+slow) {
		t.Errorf("%v: %s", d.states(), d.r.Message)
	}
}

// Why a node has not fetched is shown while it is waited for, by the last that it said, without a write for each time that it tries; and is kept when the wave fails.
func TestWhyItIsNotFetchedIsTold(t *testing.T) {
	d := newDrive(t, newFleet(2), model.WaveSpec{Percent: 100, Deadline: 15 * time.Second})
	d.look(0)
	d.fleet.nodes["n2"].Fetched = true
	d.look(time.Second)
	was := d.r
	if len(d.latest) != 0 {
		t.Errorf("nobody says why, and it says %v", d.latest)
	}
	for _, why := range []string{"the registry is away", "the registry has it no more"} {
		d.fleet.nodes["n1"].FetchTrouble = why
		d.look(time.Second)
		d.want(model.RolloutFetching, 0)
		if len(d.latest) != 1 || d.latest[0].Gate != gateLoaded || d.latest[0].Detail != "not fetched so far: n1: "+why {
			t.Errorf("of %q it says %+v", why, d.latest)
		}
		if Changed(was, d.r) {
			t.Errorf("it is written that %q", why)
		}
	}
	d.look(13 * time.Second)
	d.want(model.RolloutRolledBack, 0)
	if p := d.r.Nodes["n1"]; p.State != model.NodeFailed || p.Reason != "did not fetch the modules in time: the registry has it no more" {
		t.Errorf("n1 is %+v", p)
	}
	if !strings.HasSuffix(d.r.Message, "not fetched by the deadline of 15s: n1: the registry has it no more") {
		t.Errorf("it ends with %q", d.r.Message)
	}
}

// A rollout may have thousands of nodes that all say at length why: with each node the beginning is kept, and the whole once, in the message.
func TestALongReasonIsKeptOnce(t *testing.T) {
	d := newDrive(t, newFleet(3), model.WaveSpec{Percent: 100, Deadline: 15 * time.Second})
	d.look(0)
	why := "no such module: " + strings.Repeat("é", 500)
	for _, n := range d.fleet.nodes {
		n.FetchTrouble = why
	}
	d.look(15 * time.Second)
	d.want(model.RolloutRolledBack, 0)
	for id, p := range d.r.Nodes {
		kept, of := strings.CutPrefix(p.Reason, "did not fetch the modules in time: ")
		if !of || len(kept) > MaxFetchTrouble || len(kept) < MaxFetchTrouble-4 || !utf8.ValidString(kept) || !strings.HasPrefix(kept, "no such module: é") || !strings.HasSuffix(kept, "é…") {
			t.Errorf("%s has %q", id, p.Reason)
		}
	}
	if strings.Count(d.r.Message, why) != 1 {
		t.Errorf("it ends with %q", d.r.Message)
	}
}

func TestRestartsThatBeginAnew(t *testing.T) {
	d := newDrive(t, newFleet(1), model.WaveSpec{Percent: 100, Soak: time.Minute})
	d.fleet.nodes["n1"].Restarts = 5
	d.toSoaking()
	d.fleet.nodes["n1"].Restarts = 0 // the distributor restarted
	d.look(time.Second)
	d.want(model.RolloutSoaking, 0)
	d.fleet.nodes["n1"].Restarts = 1
	d.look(time.Second)
	d.want(model.RolloutRollingBack, 0)
}

func TestSoakEndsOnlyWhileAllServe(t *testing.T) {
	d := newDrive(t, newFleet(2), oneThenAll...)
	d.toSoaking()
	d.look(15 * time.Second)
	d.fleet.nodes[d.first()].Serving = ""
	d.look(10 * time.Second)
	d.want(model.RolloutSoaking, 0)
	d.fleet.serveAll()
	d.look(time.Second)
	d.want(model.RolloutMoving, 1)
}

// backing are the nodes that were sent back and have not come back.
func (d *drive) backing() (ids []string) {
	for id, p := range d.r.Nodes {
		if p.State == model.NodeRollingBack && !p.BackAt.IsZero() {
			ids = append(ids, id)
		}
	}
	return ids
}

// The cap holds on the way back, too, but for nodes that serve nothing, which can only become better.
func TestRollbackIsLimited(t *testing.T) {
	f := newFleet(7)
	f.fetchAll()
	d := capped(t, f, 2, model.WaveSpec{Percent: 100, Soak: time.Hour})
	for range 10 {
		d.look(time.Second)
		f.serveAll()
	}
	d.look(time.Second)
	d.want(model.RolloutSoaking, 0)
	f.nodes["n5"].Serving = "" // hurt by the release
	d.must(RollBack{By: by})
	if len(d.actions) > 0 {
		t.Errorf("nobody has looked at the fleet yet, and %v", d.actions)
	}
	d.look(time.Second)
	if got := d.backing(); len(got) != 3 || f.nodes["n5"].Assigned != before {
		t.Fatalf("%v are on their way back, want n5 and two more", got)
	}
	for range 10 {
		for _, id := range d.backing() {
			f.serve(id)
		}
		d.look(time.Second)
		if got := d.backing(); len(got) > 2 {
			t.Fatalf("%v are on their way back at once", got)
		}
	}
	d.want(model.RolloutRolledBack, 0)
	if d.states()[model.NodeRolledBack] != 7 {
		t.Error(d.states())
	}
}

// What others do does not keep a bad release in place: one at a time goes back whatever takes the room. Each has its time for it.
func TestRollbackGoesOnWithoutRoom(t *testing.T) {
	f := newFleet(3)
	d := newDrive(t, f, model.WaveSpec{Percent: 100, Soak: time.Hour})
	d.toSoaking()
	d.r.Spec.MaxNotServing = 1
	look := func(after time.Duration) {
		t.Helper()
		d.now = d.now.Add(after)
		event := f.observe(d.r)
		event.Unsettled = 5
		d.must(event)
	}
	d.must(RollBack{By: by})
	for range 3 {
		look(time.Second)
		got := d.backing()
		if len(got) != 1 {
			t.Fatalf("%v are on their way back, want one", got)
		}
		for range RollbackDeadline/MaxGap - 1 {
			look(MaxGap)
		}
		d.want(model.RolloutRollingBack, 0)
		f.serve(got[0])
	}
	look(time.Second)
	d.want(model.RolloutRolledBack, 0)
}

// A node that does not take what it had is isolated, and no wave takes it until somebody has released it; one that is away is not.
func TestNodeWhoseWayBackFailsIsIsolated(t *testing.T) {
	f := newFleet(3)
	d := newDrive(t, f, model.WaveSpec{Percent: 100, Soak: time.Minute})
	d.toSoaking()
	d.must(RollBack{By: by})
	f.serveAll()
	f.nodes["n1"].Serving = chainOf(after)
	f.nodes["n1"].Ledger = model.LedgerEntry{Chain: chainOf(before), State: model.ChainRejected, Step: "probe", Reason: "no such import", Final: true}
	f.nodes["n2"].Serving, f.nodes["n2"].Connected, f.nodes["n2"].Silent = chainOf(after), false, SilenceGrace+1
	d.look(time.Second)
	d.want(model.RolloutRollingBack, 0)
	if want := (Isolate{Node: "n1", Reason: "on the way back it rejected it at probe: no such import"}); len(d.actions) != 1 || d.actions[0] != want {
		t.Fatalf("did %v, want %v", d.actions, want)
	}
	d.look(time.Second)
	d.want(model.RolloutRolledBack, 0)
	if !strings.Contains(d.r.Message, "2 nodes did not come back and need a look: n1 (on the way back it rejected it at probe: no such import), n2 (is silent") {
		t.Error(d.r.Message)
	}

	next := newDrive(t, f, model.WaveSpec{Percent: 100})
	next.look(0)
	if p := next.r.Nodes["n1"]; p.State != model.NodeSkipped || !strings.Contains(p.Reason, "waft nodes release") || next.r.Nodes["n2"].State == model.NodeSkipped {
		t.Errorf("n1 is %+v, n2 %+v", p, next.r.Nodes["n2"])
	}
	f.nodes["n1"].Isolated = ""
	next = newDrive(t, f, model.WaveSpec{Percent: 100})
	next.look(0)
	if p := next.r.Nodes["n1"]; p.State == model.NodeSkipped {
		t.Errorf("released, n1 is %+v", p)
	}
}
