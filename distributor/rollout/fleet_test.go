package rollout

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

var (
	epoch  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	before = model.ReleaseID{Name: "edge", Hash: "sha256:1111"}
	after  = model.ReleaseID{Name: "edge", Hash: "sha256:2222"}
	by     = By{Actor: "mo", Reason: "because"}
)

// chainOf is the chain that a release renders to in these tests. Taking the layer away leaves the other layers.
func chainOf(id model.ReleaseID) string {
	if id == (model.ReleaseID{}) {
		return "chain of the other layers"
	}
	return "chain of " + id.Hash
}

// fleet is nodes that do as they are told: each call of serveAll has them take what they are assigned.
type fleet struct {
	nodes map[string]*NodeView
	// without is what an emergency has made of every chain.
	without string
}

// chain is what a release renders to now.
func (f *fleet) chain(id model.ReleaseID) string { return chainOf(id) + f.without }

// newFleet has n nodes, n1 to nN, which serve the release before.
func newFleet(n int) *fleet {
	f := &fleet{nodes: map[string]*NodeView{}}
	for i := range n {
		id := fmt.Sprintf("n%d", i+1)
		f.nodes[id] = &NodeView{
			ID: id, Labels: map[string]string{"env": "prod", "zone": string(rune('a' + i%2))}, Connected: true, Reports: true,
			Assigned: before, Given: true, Serving: chainOf(before),
			Ledger: model.LedgerEntry{Chain: chainOf(before), State: model.ChainServing},
		}
	}
	return f
}

// observe is the event that the service would make for r.
func (f *fleet) observe(r model.Rollout) Observe {
	var ev Observe
	for _, id := range slices.Sorted(maps.Keys(f.nodes)) {
		ev.Nodes = append(ev.Nodes, f.view(r, id))
	}
	return ev
}

func (f *fleet) view(r model.Rollout, id string) NodeView {
	v := *f.nodes[id]
	if release, ok := ReleaseFor(r, id); ok {
		v.TargetChain = f.chain(release)
	}
	if v.Given {
		v.CurrentChain = f.chain(v.Assigned)
	}
	if v.Split != (model.NodeSplit{}) {
		v.RowChain = f.chainOn(&v)
	}
	if p, ok := r.Nodes[id]; ok && p.FromGiven {
		v.FromChain = f.chain(p.From)
	}
	return v
}

// carryOut does what the service would do.
func (f *fleet) carryOut(actions []Action) {
	for _, action := range actions {
		if isolate, ok := action.(Isolate); ok {
			f.nodes[isolate.Node].Isolated = isolate.Reason
			continue
		}
		assign := action.(Assign)
		n := f.nodes[assign.Node]
		if n == nil {
			continue
		}
		had := f.chainOn(n)
		if assign.Cohort != (model.Cohort{}) {
			n.Split = model.NodeSplit{Layer: assign.Layer, Release: assign.Release, Cohort: assign.Cohort}
		} else {
			n.Assigned, n.Given = assign.Release, true
			if n.Split.Layer == assign.Layer {
				n.Split = model.NodeSplit{}
			}
		}
		if chain := f.chainOn(n); chain != had || n.Ledger.Chain == "" {
			n.Ledger = model.LedgerEntry{Chain: chain, State: model.ChainOffered}
		}
	}
}

// chainOn is the chain that a node is to run.
func (f *fleet) chainOn(n *NodeView) string {
	if n.Split == (model.NodeSplit{}) {
		return f.chain(n.Assigned)
	}
	return model.SplitHash(f.chain(n.Assigned), f.chain(n.Split.Release), n.Split.Cohort)
}

// serve has a node take what it is assigned.
func (f *fleet) serve(id string) {
	n := f.nodes[id]
	n.Serving = f.chainOn(n)
	n.Ledger = model.LedgerEntry{Chain: n.Serving, State: model.ChainServing}
}

func (f *fleet) fetchAll() {
	for _, n := range f.nodes {
		n.Fetched = true
	}
}

// serveAll has every node that is there take what it is assigned.
func (f *fleet) serveAll() {
	for id, n := range f.nodes {
		if n.Connected && n.Given {
			f.serve(id)
		}
	}
}

// drive is a rollout, its fleet, and the clock.
type drive struct {
	t     *testing.T
	fleet *fleet
	r     model.Rollout
	now   time.Time
	// actions of the last step, and what gates said in it.
	actions []Action
	latest  []model.GateReading
}

func newDrive(t *testing.T, f *fleet, waves ...model.WaveSpec) *drive {
	spec := model.RolloutSpec{Release: after, Selector: "env=prod", Waves: waves}
	return &drive{t: t, fleet: f, r: New("r", model.LayerGlobal, spec, by, epoch), now: epoch}
}

// do steps with one event, through JSON before and after as a store does, and carries the actions out.
func (d *drive) do(ev Event) error {
	d.t.Helper()
	d.r = throughJSON(d.t, d.r)
	next, actions, err := Step(d.r, ev, d.now)
	d.r, d.actions, d.latest = throughJSON(d.t, next), actions, next.Latest
	d.fleet.carryOut(actions)
	return err
}

// must is do for an event that must be taken.
func (d *drive) must(ev Event) {
	d.t.Helper()
	if err := d.do(ev); err != nil {
		d.t.Fatalf("%T: %v", ev, err)
	}
}

// look observes the fleet after a while, which is watched as closely as it must be.
func (d *drive) look(after time.Duration) {
	d.t.Helper()
	for {
		step := min(after, MaxGap)
		d.now = d.now.Add(step)
		d.must(d.fleet.observe(d.r))
		if after -= step; after <= 0 {
			return
		}
	}
}

// want checks where the rollout stands.
func (d *drive) want(phase model.RolloutPhase, wave int) {
	d.t.Helper()
	if d.r.Phase != phase || d.r.Wave != wave {
		d.t.Fatalf("in phase %s, wave %d; want %s, wave %d: %s\n%s", d.r.Phase, d.r.Wave, phase, wave, d.r.Message, d.history())
	}
}

func (d *drive) history() string {
	text := ""
	for _, t := range d.r.History {
		text += fmt.Sprintf("%s %s wave %d %s: %s\n", t.At.Format(time.TimeOnly), t.Phase, t.Wave, t.Actor, t.Message)
	}
	return text
}

// states are the nodes by state.
func (d *drive) states() map[model.NodeState]int {
	counts := map[model.NodeState]int{}
	for _, p := range d.r.Nodes {
		counts[p.State]++
	}
	return counts
}

// first is the node that the first wave of 1 took.
func (d *drive) first() string { return d.r.Waves[0].Nodes[0] }

// toMoving begins the rollout and has the first wave fetched.
func (d *drive) toMoving() {
	d.t.Helper()
	d.look(0)
	d.want(model.RolloutFetching, 0)
	d.fleet.fetchAll()
	d.look(time.Second)
	d.want(model.RolloutMoving, 0)
}

// toSoaking has the first wave serve.
func (d *drive) toSoaking() {
	d.t.Helper()
	d.toMoving()
	d.fleet.serveAll()
	d.look(time.Second)
	d.want(model.RolloutSoaking, 0)
}

func throughJSON(t *testing.T, r model.Rollout) model.Rollout {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var out model.Rollout
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func asJSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
