package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// capped is a rollout of one wave in which so many nodes may be on their way.
func capped(t *testing.T, f *fleet, limit int, waves ...model.WaveSpec) *drive {
	d := newDrive(t, f, waves...)
	d.r.Spec.MaxNotServing = limit
	return d
}

func (d *drive) onTheirWay() int {
	return d.states()[model.NodeMoving]
}

func TestCapLetsNodesBeMended(t *testing.T) {
	f := newFleet(3)
	f.nodes["n2"].Serving = "" // what is there now does it no good
	f.fetchAll()
	d := capped(t, f, 1, model.WaveSpec{Percent: 100})
	for range 10 {
		d.look(time.Second)
		f.serveAll()
	}
	d.want(model.RolloutDone, 0)
}

func TestCapHoldsForNodesThatReturn(t *testing.T) {
	f := newFleet(10)
	f.fetchAll()
	for id, n := range f.nodes {
		if id != "n1" && id != "n2" {
			n.Connected, n.Silent = false, SilenceGrace+1
		}
	}
	for _, n := range f.nodes {
		n.Fetched = false
	}
	d := capped(t, f, 1, model.WaveSpec{Percent: 100})
	d.look(0)
	d.want(model.RolloutFetching, 0)
	for _, n := range f.nodes {
		n.Connected, n.Silent, n.Fetched = true, 0, true
	}
	for range 30 {
		d.look(time.Second)
		if d.onTheirWay() > 1 || len(d.actions) > 1 {
			t.Fatalf("%d are on their way, and %v were moved in one step", d.onTheirWay(), d.actions)
		}
		if d.r.Phase != model.RolloutMoving {
			break
		}
		f.serveAll()
	}
	d.look(time.Second)
	d.want(model.RolloutDone, 0)
	for id, n := range f.nodes {
		if n.Assigned != after {
			t.Errorf("%s was left behind", id)
		}
	}
}

func TestWaveThatFallsSilentWhileItWaitsProvesNothing(t *testing.T) {
	f := newFleet(2)
	f.fetchAll()
	d := capped(t, f, 1, model.WaveSpec{Nodes: 1}, model.WaveSpec{Percent: 100})
	event := f.observe(d.r)
	event.Unsettled = 1
	d.must(event)
	event = f.observe(d.r)
	event.Unsettled = 1
	d.must(event)
	d.want(model.RolloutMoving, 0)
	first := f.nodes[d.first()]
	first.Connected, first.Silent = false, SilenceGrace+1
	d.look(time.Second)
	d.look(time.Second) // the assignment is in its row
	d.want(model.RolloutPaused, 0)
	if !d.r.Inconclusive {
		t.Error("it was not paused for a person to decide")
	}
}

func TestStandingByIsNoReasonToWrite(t *testing.T) {
	for _, phase := range []model.RolloutPhase{model.RolloutFetching, model.RolloutMoving} {
		d := capped(t, newFleet(3), 1, model.WaveSpec{Percent: 100})
		d.look(0)
		look := func() {
			d.now = d.now.Add(time.Second)
			event := d.fleet.observe(d.r)
			event.Frozen = "until Monday"
			d.must(event)
		}
		if phase == model.RolloutMoving {
			d.fleet.fetchAll()
			d.look(time.Second)
			d.fleet.serveAll()
		}
		look()
		look()
		d.want(phase, 0)
		was := d.r
		look()
		if Changed(was, d.r) {
			t.Errorf("%s: a step in which it only stood by would be written", phase)
		}
		if left := d.r.Waves[0].Deadline.Sub(d.now); left != was.Waves[0].Deadline.Sub(d.now.Add(-time.Second)) {
			t.Errorf("%s: the deadline came nearer, or went away: %s are left", phase, left)
		}
	}
}

func TestFreezeDoesNotHideAMovedNodeThatFails(t *testing.T) {
	d := capped(t, newFleet(3), 1, model.WaveSpec{Percent: 100})
	d.fleet.fetchAll()
	d.look(0)
	d.want(model.RolloutMoving, 0)
	for range int(model.DefaultWaveDeadline/MaxGap) + 1 {
		d.now = d.now.Add(MaxGap)
		event := d.fleet.observe(d.r)
		event.Frozen = "until Monday"
		d.must(event)
	}
	d.want(model.RolloutRolledBack, 0)
	if strings.Count(d.r.Message, "is late") != 1 {
		t.Errorf("one node was moved, and is at fault: %s", d.r.Message)
	}
}

func TestNodesThatWaitForRoomAreNotLate(t *testing.T) {
	f := newFleet(3)
	f.fetchAll()
	d := capped(t, f, 1, model.WaveSpec{Percent: 100})
	d.look(0)
	for range int(model.DefaultWaveDeadline/MaxGap) + 1 {
		d.look(MaxGap)
	}
	d.want(model.RolloutRolledBack, 0)
	failed := 0
	for _, p := range d.r.Nodes {
		if strings.Contains(p.Reason, "late") {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%d nodes are called late, and one was moved", failed)
	}
}

func TestWaitingForAPersonIsNotPausedByAGate(t *testing.T) {
	gates := []model.GateSpec{{Approval: &model.ApprovalGate{}}, {Webhook: &model.WebhookGate{URL: "https://hook.example"}}}
	d := newDrive(t, newFleet(2), model.WaveSpec{Nodes: 1, Soak: 20 * time.Second, Gates: gates}, model.WaveSpec{Percent: 100})
	d.toSoaking()
	answer := func(verdict model.GateVerdict, at time.Time) {
		event := d.fleet.observe(d.r)
		event.Elsewhere = map[int]model.GateReading{1: {Verdict: verdict, At: at}}
		d.must(event)
	}
	d.look(time.Hour) // no answer at all
	d.want(model.RolloutSoaking, 0)
	d.must(Approve{by})
	answer(model.VerdictInconclusive, d.now)
	d.want(model.RolloutSoaking, 0) // it has its grace from now on
	answer(model.VerdictPass, d.r.Waves[0].SoakUntil.Add(-time.Millisecond))
	d.want(model.RolloutSoaking, 0) // an answer from before the end of the soak does not decide
	d.now = d.now.Add(time.Second)
	answer(model.VerdictPass, d.now)
	if d.r.Wave != 1 {
		t.Errorf("approved and answered, it is %s in wave %d: %s", d.r.Phase, d.r.Wave, d.r.Message)
	}

	d = newDrive(t, newFleet(2), model.WaveSpec{Nodes: 1, Soak: 20 * time.Second, Gates: gates}, model.WaveSpec{Percent: 100})
	d.toSoaking()
	d.look(time.Hour)
	d.must(Approve{by})
	d.look(0)
	d.look(AnswerGrace)
	d.want(model.RolloutPaused, 0)
}

func TestComparisonIsOverTheSameTime(t *testing.T) {
	gate := []model.GateSpec{{Comparison: &model.ComparisonGate{Of: model.ComparedErrors, MaxIncrease: 0.1, MinSamples: 10}}}
	d := newDrive(t, newFleet(3), model.WaveSpec{Nodes: 1}, model.WaveSpec{Nodes: 2, Soak: 20 * time.Second, Gates: gate}, model.WaveSpec{Percent: 100})
	d.fleet.fetchAll()
	d.look(0)
	d.fleet.serveAll()
	d.look(time.Second)
	d.fleet.serveAll()
	d.look(time.Second)
	d.want(model.RolloutSoaking, 1)
	for id, n := range d.fleet.nodes {
		switch d.r.Nodes[id].Wave {
		case 0: // an outage of everything, while the first wave soaked
			n.Stats = model.Statistics{Chain: chainOf(after), Requests: 1000, Errors: 900}
			n.Lately = model.Statistics{Chain: chainOf(after), Requests: 20}
		case 1:
			n.Stats = model.Statistics{Chain: chainOf(after), Requests: 20}
		}
		if !moved(d.r.Nodes[id]) {
			n.Lately = model.Statistics{Chain: chainOf(before), Requests: 20}
		}
	}
	d.look(20 * time.Second)
	d.want(model.RolloutMoving, 2)
}

func TestEmptyWaveStillAsksForItsApproval(t *testing.T) {
	d := newDrive(t, newFleet(2), model.WaveSpec{Selector: "canary", Gates: []model.GateSpec{{Approval: &model.ApprovalGate{}}}}, model.WaveSpec{Percent: 100})
	d.fleet.fetchAll()
	d.look(time.Minute)
	d.want(model.RolloutSoaking, 0)
	d.must(Approve{by})
	d.look(time.Second)
	d.want(model.RolloutMoving, 1)
}

// Nodes that another rollout has left on their way, since it was aborted or gave them up, take room until they have arrived or have refused for good.
func TestCapSeesWhatOthersLeftBehind(t *testing.T) {
	v := NodeView{Connected: true, Reports: true, Given: true, Serving: "old", CurrentChain: "new", Ledger: model.LedgerEntry{Chain: "new"}}
	for name, test := range map[string]struct {
		change func(*NodeView)
		want   bool
	}{
		"on its way":              {func(*NodeView) {}, true},
		"arrived":                 {func(v *NodeView) { v.Serving = "new" }, false},
		"serves nothing":          {func(v *NodeView) { v.Serving = "" }, true},
		"away":                    {func(v *NodeView) { v.Connected, v.Silent = false, SilenceGrace+1 }, false},
		"cannot report":           {func(v *NodeView) { v.Reports = false }, false},
		"never given anything":    {func(v *NodeView) { v.Given, v.CurrentChain, v.Serving = false, "", "" }, false},
		"rejected for good":       {func(v *NodeView) { v.Ledger.State, v.Ledger.Final = model.ChainRejected, true }, false},
		"rejected for now":        {func(v *NodeView) { v.Ledger.State = model.ChainRejected }, true},
		"serves without a filter": {func(v *NodeView) { v.Ledger.State, v.Serving = model.ChainDegraded, "less" }, false},
		"rejected another, before": {func(v *NodeView) {
			v.Ledger = model.LedgerEntry{Chain: "older", State: model.ChainRejected, Final: true}
		}, true},
	} {
		v := v
		test.change(&v)
		if got := Unsettled(&v); got != test.want {
			t.Errorf("%s: unsettled is %v, want %v", name, got, test.want)
		}
	}

	f := newFleet(3)
	f.nodes["n3"].Labels = nil // of another target, and on its way
	d := capped(t, f, 1, model.WaveSpec{Percent: 100})
	d.look(0)
	f.fetchAll()
	for range 3 {
		d.now = d.now.Add(time.Second)
		event := f.observe(d.r)
		for i := range event.Nodes {
			if event.Nodes[i].ID == "n3" {
				event.Nodes[i].CurrentChain = "another"
			}
		}
		d.must(event)
		if f.nodes["n1"].Assigned == after || f.nodes["n2"].Assigned == after {
			t.Fatalf("moved beside one that is on its way: %v", d.states())
		}
	}
}
