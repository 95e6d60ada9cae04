package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// A node without an agent is taken after those with one, is waited for, and its rejection fails the wave; the rollout says that it gets less.
func TestNodeWithoutAgent(t *testing.T) {
	bare := func(t *testing.T) *drive {
		d := newDrive(t, newFleet(2), oneThenAll...)
		d.fleet.nodes["n1"].Unproved = true
		d.fleet.fetchAll()
		d.look(0)
		d.fleet.serve("n2")
		d.look(time.Second)
		d.look(20 * time.Second)
		d.want(model.RolloutMoving, 1)
		if p := d.r.Nodes["n2"]; p.Reason != "" || p.State != model.NodeServing {
			t.Errorf("the node with an agent stands as %+v", p)
		}
		return d
	}
	d := bare(t)
	d.fleet.serve("n1")
	d.look(time.Second)
	d.want(model.RolloutDone, 1)
	if p := d.r.Nodes["n1"]; p.State != model.NodeServing || p.Reason != reasonUnproved {
		t.Errorf("the node without one stands as %+v", p)
	}

	d = bare(t)
	n := d.fleet.nodes["n1"]
	n.Ledger = model.LedgerEntry{Chain: d.fleet.chainOn(n), State: model.ChainRejected, Final: true, Reason: "Unable to create Wasm plugin"}
	d.look(time.Second)
	d.want(model.RolloutRollingBack, 1)
	if !strings.Contains(d.r.Message, "Unable to create") {
		t.Errorf("the message is %q", d.r.Message)
	}
}

// What an Envoy without an agent says that it serves is what it had accepted before it was sent anything else. So it has come back, or come to what an undo gives it, when
// it says of that chain itself that it has accepted all of it.
func TestWithoutAgentServesWhatItConfirms(t *testing.T) {
	const chain = "chain"
	for name, test := range map[string]struct {
		view NodeView
		want bool
	}{
		"accepted":                    {NodeView{Unproved: true, Serving: chain, Ledger: model.LedgerEntry{Chain: chain, State: model.ChainLoaded}}, true},
		"nothing said yet":            {NodeView{Unproved: true, Serving: chain, Ledger: model.LedgerEntry{Chain: chain}}, false},
		"on the way":                  {NodeView{Unproved: true, Serving: chain, Ledger: model.LedgerEntry{Chain: chain, State: model.ChainFetched}}, false},
		"loaded, another serves":      {NodeView{Unproved: true, Serving: "other", Ledger: model.LedgerEntry{Chain: chain, State: model.ChainLoaded}}, false},
		"said of another":             {NodeView{Unproved: true, Serving: chain, Ledger: model.LedgerEntry{Chain: "other", State: model.ChainLoaded}}, false},
		"an agent, nothing said yet":  {NodeView{Serving: chain, Ledger: model.LedgerEntry{Chain: chain}}, true},
		"an agent, a lesser one says": {NodeView{Serving: chain, Ledger: model.LedgerEntry{Chain: chain, State: model.ChainDegraded}}, false},
	} {
		if got := serves(&test.view, chain); got != test.want {
			t.Errorf("%s: serves is %v", name, got)
		}
	}
}

// A rollback waits for the word of the Envoy, whatever its row says that it serves.
func TestWithoutAgentComesBack(t *testing.T) {
	for name, test := range map[string]struct {
		entry  model.LedgerEntry
		silent bool
		want   model.NodeState
	}{
		"sent it":             {entry: model.LedgerEntry{State: model.ChainFetched}, want: model.NodeRollingBack},
		"has said nothing":    {want: model.NodeRollingBack},
		"has accepted it":     {entry: model.LedgerEntry{State: model.ChainLoaded}, want: model.NodeRolledBack},
		"has rejected it":     {entry: model.LedgerEntry{State: model.ChainRejected, Final: true}, want: model.NodeFailed},
		"never left, is away": {silent: true, want: model.NodeRolledBack},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDrive(t, newFleet(1), model.WaveSpec{Percent: 100, Soak: time.Minute})
			n := d.fleet.nodes["n1"]
			n.Unproved = true
			d.toMoving()
			d.must(RollBack{By: by})
			n.Serving, test.entry.Chain = chainOf(before), chainOf(before)
			n.Ledger = test.entry
			if test.silent {
				n.Connected, n.Silent = false, time.Hour
			}
			d.look(time.Second)
			if p := d.r.Nodes["n1"]; p.State != test.want {
				t.Errorf("the node stands as %+v", p)
			}
		})
	}
}

// A plan names the nodes that get less, and which gates can tell nothing of them.
func TestPlanSaysWhatIsLess(t *testing.T) {
	fleet := newFleet(2)
	d := newDrive(t, fleet, model.WaveSpec{Nodes: 1, Gates: []model.GateSpec{{ErrorRatio: &model.ErrorRatioGate{}}}}, model.WaveSpec{Percent: 100, Gates: []model.GateSpec{{Growth: &model.GrowthGate{}}}})
	fleet.nodes["n1"].Unproved = true
	plan, err := Plan(d.r, fleet.observe(d.r).Nodes)
	if err != nil {
		t.Fatal(err)
	}
	with, without := plan.Waves[0][0], plan.Waves[1][0]
	if with.ID != "n2" || with.Less != "" || with.Reason != "" {
		t.Errorf("the node with an agent is planned as %+v", with)
	}
	if without.ID != "n1" || without.Reason != "" || !strings.Contains(without.Less, "no probe") || !strings.Contains(without.Less, "the gate growth cannot tell") {
		t.Errorf("the node without one is planned as %+v", without)
	}
	fleet.nodes["n2"].Unproved = true
	if plan, err = Plan(d.r, fleet.observe(d.r).Nodes); err != nil {
		t.Fatal(err)
	}
	if first := plan.Waves[0][0]; first.Less != lessUnproved {
		t.Errorf("without a gate that cannot tell: %+v", first)
	}
}
