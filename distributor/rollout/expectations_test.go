package rollout

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/waft-project/waft/distributor/model"
)

// expectations is testdata/expectations.yaml.
type expectations struct {
	States map[string]string            `json:"states"`
	Pairs  map[string]map[string]string `json:"pairs"`
	// Leads are, for each phase, the phases that may follow whatever is observed.
	Leads        map[model.RolloutPhase][]model.RolloutPhase `json:"leads"`
	Observations []struct {
		From string             `json:"from"`
		Seen string             `json:"seen"`
		Next model.RolloutPhase `json:"next"`
		Node model.NodeState    `json:"node"`
		On   int                `json:"on"`
		Back int                `json:"back"`
		// Isolated is how many nodes are isolated in that step.
		Isolated int `json:"isolated"`
	} `json:"observations"`
}

func readExpectations(t *testing.T) expectations {
	t.Helper()
	data, err := os.ReadFile("testdata/expectations.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var e expectations
	if err := yaml.UnmarshalStrict(data, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

// begin has the rollout of the expectations.
func begin(t *testing.T) *drive {
	return newDrive(t, newFleet(4),
		model.WaveSpec{Nodes: 2, Soak: 20 * time.Second, Gates: []model.GateSpec{{ErrorRatio: &model.ErrorRatioGate{Max: 0.1, MinSamples: 10}}}},
		model.WaveSpec{Percent: 100})
}

// traffic has every node of the first wave report requests and errors, together.
func (d *drive) traffic(requests, errors int64) {
	if len(d.r.Waves) == 0 {
		return // there is nobody yet
	}
	nodes := d.r.Waves[0].Nodes
	for i, id := range nodes {
		n := d.fleet.nodes[id]
		n.Stats = model.Statistics{Chain: chainOf(after)}
		if i == 0 {
			n.Stats.Requests, n.Stats.Errors = requests, errors
		}
	}
}

func toFetchingSecond(d *drive) {
	d.look(0)
	for _, id := range d.r.Waves[0].Nodes {
		d.fleet.nodes[id].Fetched = true
	}
	d.look(time.Second)
	d.fleet.serveAll()
	d.traffic(100, 0)
	d.look(time.Second)
	d.look(20 * time.Second)
}

func toSoaking(d *drive) {
	d.toSoaking()
	d.unfetch()
}

func toRollingBack(d *drive) {
	toSoaking(d)
	d.must(RollBack{By: by})
}

// passDeadline lets the time of a wave or a rollback go by, but for the last moment.
func passDeadline(d *drive, _ *NodeView) {
	for range int(model.DefaultWaveDeadline/MaxGap) - 1 {
		d.now = d.now.Add(MaxGap)
		d.must(d.fleet.observe(d.r))
	}
	d.now = d.now.Add(MaxGap)
}

// toUnapproved is at the end of a soak in which everything went well, and asks for an approval.
func toUnapproved(d *drive) {
	d.r.Spec.Waves[0].Gates = append(d.r.Spec.Waves[0].Gates, model.GateSpec{Approval: &model.ApprovalGate{Note: "look at the dashboard"}})
	toSoaking(d)
	d.traffic(10, 1)
	d.look(20 * time.Second)
}

// toCapped is in a wave of two nodes of which only one may move at a time.
func toCapped(d *drive) {
	d.r.Spec.MaxNotServing = 1
	d.look(0)
	d.fleet.fetchAll()
	d.look(time.Second)
}

// toTested soaks a first wave that gave the release to some of its nodes' requests.
func toTested(d *drive) {
	d.r.Spec.Waves[0] = model.WaveSpec{Nodes: 2, Soak: 20 * time.Second, Cohort: model.Cohort{Percent: 10}}
	d.toSoaking()
}

// states bring a drive to each state of the expectations.
var states = map[string]func(*drive){
	"Pending":        func(*drive) {},
	"Fetching":       func(d *drive) { d.look(0) },
	"FetchingSecond": toFetchingSecond,
	"Moving":         func(d *drive) { d.toMoving(); d.unfetch() },
	"Soaking":        toSoaking,
	"Promoted": func(d *drive) {
		toSoaking(d)
		d.must(Promote{by})
	},
	"Unapproved": toUnapproved,
	"Approved": func(d *drive) {
		toUnapproved(d)
		d.must(Approve{by})
	},
	"PausedUnapproved": func(d *drive) {
		toUnapproved(d)
		d.must(Pause{by})
	},
	"Capped": toCapped,
	"Paused": func(d *drive) {
		toSoaking(d)
		d.must(Pause{by})
	},
	"Emergency": func(d *drive) {
		toSoaking(d)
		d.fleet.without = " without x"
		d.look(time.Second)
	},
	"PausedPending": func(d *drive) { d.must(Pause{by}) },
	"PausedFetching": func(d *drive) {
		d.look(0)
		d.must(Pause{by})
	},
	"PausedFetchingSecond": func(d *drive) {
		toFetchingSecond(d)
		d.must(Pause{by})
	},
	"PausedMoving": func(d *drive) {
		d.toMoving()
		d.unfetch()
		d.must(Pause{by})
	},
	"PausedCapped": func(d *drive) {
		toCapped(d)
		d.must(Pause{by})
	},
	"Inconclusive": func(d *drive) {
		toSoaking(d)
		d.look(20*time.Second + SampleGrace)
	},
	"InconclusiveFetching": func(d *drive) {
		d.r.Spec.IncludeUnreported = true
		for _, n := range d.fleet.nodes {
			n.Reports = false
		}
		d.look(0)
	},
	"RollingBack": toRollingBack,
	"RolledBack": func(d *drive) {
		toRollingBack(d)
		d.fleet.serveAll()
		d.look(time.Second)
	},
	"Aborted": func(d *drive) {
		toSoaking(d)
		d.must(Abort{by})
	},
	"Tested": toTested,
	"MovingOn": func(d *drive) {
		toTested(d)
		d.look(20 * time.Second)
	},
	"Done": func(d *drive) {
		toFetchingSecond(d)
		d.fleet.fetchAll()
		d.look(time.Second)
		d.fleet.serveAll()
		d.look(time.Second)
	},
}

// unfetch takes the modules from the nodes of later waves, so that these wait in Fetching.
func (d *drive) unfetch() {
	for id, n := range d.fleet.nodes {
		n.Fetched = slices.Contains(d.r.Waves[0].Nodes, id)
	}
}

// events are one of each kind; the node that joins is new.
func events(d *drive) map[string]Event {
	joins := NodeView{ID: "new", Labels: map[string]string{"env": "prod"}, Connected: true, Reports: true, TargetChain: chainOf(after)}
	return map[string]Event{
		"Observe": d.fleet.observe(d.r), "Join": Join{Node: joins, From: before, FromGiven: true, FromChain: chainOf(before)},
		"Pause": Pause{by}, "Resume": Resume{by}, "Promote": Promote{by}, "Approve": Approve{by}, "Abort": Abort{by}, "RollBack": RollBack{By: by},
	}
}

func TestEveryPairOfStateAndEvent(t *testing.T) {
	want := readExpectations(t)
	phases := map[model.RolloutPhase]bool{}
	for state, reach := range states {
		if want.States[state] == "" || len(want.Pairs[state]) != len(events(begin(t))) {
			t.Errorf("the expectations lack %s", state)
			continue
		}
		for kind, outcome := range want.Pairs[state] {
			t.Run(state+"/"+kind, func(t *testing.T) {
				d := begin(t)
				reach(d)
				phases[d.r.Phase] = true
				was := d.r
				d.now = d.now.Add(time.Second)
				event, known := events(d)[kind]
				if !known {
					t.Fatalf("there is no event %s", kind)
				}
				err := d.do(event)
				checkOutcome(t, outcome, was, d, err)
				if err == nil && kind != "Observe" {
					checkIdempotent(t, d, event)
				}
			})
		}
	}
	for state := range want.Pairs {
		if states[state] == nil {
			t.Errorf("the expectations have %s, which is not tested", state)
		}
	}
	for _, phase := range []model.RolloutPhase{model.RolloutPending, model.RolloutFetching, model.RolloutMoving, model.RolloutSoaking, model.RolloutPaused,
		model.RolloutRollingBack, model.RolloutRolledBack, model.RolloutAborted, model.RolloutDone} {
		if !phases[phase] {
			t.Errorf("no state is in phase %s", phase)
		}
	}
}

func checkOutcome(t *testing.T, outcome string, was model.Rollout, d *drive, err error) {
	t.Helper()
	switch outcome {
	case "refused":
		if !errors.Is(err, model.ErrPrecondition) || asJSON(d.r) != asJSON(was) || d.actions != nil {
			t.Errorf("got %v and %v, phase %s; want ErrPrecondition and no change", err, d.actions, d.r.Phase)
		}
	case "same":
		if err != nil || asJSON(d.r) != asJSON(was) || d.actions != nil {
			t.Errorf("got %v and %v, phase %s; want no change", err, d.actions, d.r.Phase)
		}
	default:
		phase, on, back := "", 0, 0
		if n, _ := fmt.Sscanf(outcome, "%s on %d", &phase, &on); n < 2 {
			_, _ = fmt.Sscanf(outcome, "%s back %d", &phase, &back)
		}
		gotOn, gotBack, isolated := assigned(d.actions)
		if err != nil || d.r.Phase != model.RolloutPhase(phase) || gotOn != on || gotBack != back || isolated != 0 {
			t.Errorf("got %v, phase %s: %s; on %d, back %d, isolated %d; want %s", err, d.r.Phase, d.r.Message, gotOn, gotBack, isolated, outcome)
		}
	}
}

// assigned is how many nodes are given the new release by some actions, how many what they had, and how many are isolated.
func assigned(actions []Action) (on, back, isolated int) {
	for _, action := range actions {
		switch action := action.(type) {
		case Assign:
			if action.Release == after {
				on++
			} else {
				back++
			}
		case Isolate:
			isolated++
		}
	}
	return on, back, isolated
}

// checkIdempotent gives a command again: it must change nothing. Resume is left out where it led to a phase that has
// another meaning for it.
func checkIdempotent(t *testing.T, d *drive, event Event) {
	t.Helper()
	was := d.r
	if err := d.do(event); err != nil && !errors.Is(err, model.ErrPrecondition) {
		t.Errorf("again: %v", err)
	}
	if asJSON(d.r) != asJSON(was) || d.actions != nil {
		t.Errorf("giving it again changes the state or acts: %v", d.actions)
	}
}

// seen are the observations by name. Each changes the fleet or lets time pass; the step that judges it follows.
var seen = map[string]func(d *drive, node *NodeView){
	"nothing special":                 func(*drive, *NodeView) {},
	"the target is empty":             func(d *drive, _ *NodeView) { d.each(func(n *NodeView) { n.Labels = nil }) },
	"no Envoy can load it":            func(d *drive, _ *NodeView) { d.each(func(n *NodeView) { n.Unloadable = "it lacks an import" }) },
	"another rollout holds all nodes": func(d *drive, _ *NodeView) { d.each(func(n *NodeView) { n.HeldBy = "other" }) },
	"the node has fetched":            func(_ *drive, n *NodeView) { n.Fetched = true },
	"all have fetched":                func(d *drive, _ *NodeView) { d.fleet.fetchAll() },
	"the node is silent for a moment": func(_ *drive, n *NodeView) { n.Connected, n.Silent = false, SilenceGrace },
	"the node is silent":              func(_ *drive, n *NodeView) { n.Connected, n.Silent = false, SilenceGrace+1 },
	"all are silent": func(d *drive, _ *NodeView) {
		d.each(func(n *NodeView) { n.Connected, n.Silent = false, SilenceGrace+1 })
	},
	"the node cannot load it any more":        func(_ *drive, n *NodeView) { n.Unloadable = "it lacks an import" },
	"the node cannot run two chains any more": func(_ *drive, n *NodeView) { n.CannotSplit = "its agent is older now" },
	"the node's Envoy restarts":               func(_ *drive, n *NodeView) { n.Restarts++ },
	"the node serves":                         func(d *drive, n *NodeView) { d.fleet.serve(n.ID) },
	"all serve":                               func(d *drive, _ *NodeView) { d.fleet.serveAll() },
	"the node is gone from the rows":          func(d *drive, n *NodeView) { delete(d.fleet.nodes, n.ID) },
	"the node leaves the target":              func(_ *drive, n *NodeView) { n.Labels = nil },
	"the node's count of restarts begins anew": func(d *drive, n *NodeView) {
		n.Restarts = 0
	},
	"the node is silent and the others have fetched": func(d *drive, n *NodeView) {
		d.fleet.fetchAll()
		n.Connected, n.Silent, n.Fetched = false, SilenceGrace+1, false
	},
	"the deadline has passed": passDeadline,
	"an assignment was lost":  func(d *drive, n *NodeView) { d.lose(n) },
	"all serve but one assignment was lost": func(d *drive, n *NodeView) {
		d.fleet.serveAll()
		d.lose(n)
	},
	"the node rejects it for good": func(_ *drive, n *NodeView) {
		n.Ledger = model.LedgerEntry{Chain: chainOf(after), State: model.ChainRejected, Step: "probe", Reason: "no such import", Final: true}
	},
	"the node rejects it for now": func(_ *drive, n *NodeView) {
		n.Ledger = model.LedgerEntry{Chain: chainOf(after), State: model.ChainRejected, Step: "fetch", Reason: "no space left"}
	},
	"the node has rejected another chain for good": func(_ *drive, n *NodeView) {
		n.Ledger = model.LedgerEntry{Chain: chainOf(before), State: model.ChainRejected, Final: true}
	},
	"the node rejects it for now and the deadline has passed": func(d *drive, n *NodeView) {
		n.Ledger = model.LedgerEntry{Chain: chainOf(after), State: model.ChainRejected, Step: "fetch", Reason: "no space left"}
		passDeadline(d, n)
	},
	"the node serves it degraded": func(_ *drive, n *NodeView) {
		n.Serving = chainOf(after)
		n.Ledger = model.LedgerEntry{Chain: chainOf(after), State: model.ChainDegraded, Reason: "without headers"}
	},
	"it is frozen and all have fetched": func(d *drive, _ *NodeView) { d.fleet.fetchAll() },
	"it is frozen for longer than the deadline": func(d *drive, _ *NodeView) {
		for range 2 * int(model.DefaultWaveDeadline/MaxGap) {
			d.now = d.now.Add(MaxGap)
			event := d.fleet.observe(d.r)
			frozen(&event)
			d.must(event)
		}
	},
	"it is frozen and many requests fail":            func(d *drive, _ *NodeView) { d.traffic(10, 2) },
	"the node serves and it is frozen":               func(d *drive, n *NodeView) { d.fleet.serve(n.ID) },
	"the node serves and another elsewhere does not": func(d *drive, n *NodeView) { d.fleet.serve(n.ID) },
	"the node serves and one not yet moved serves nothing": func(d *drive, n *NodeView) {
		d.fleet.serve(n.ID)
		d.fleet.nodes[d.last()].Serving = ""
	},
	"a day passes": func(d *drive, _ *NodeView) {
		for range 24 * 60 {
			d.look(MaxGap)
			d.now = d.now.Add(time.Minute - MaxGap)
		}
	},
	"many requests fail": func(d *drive, _ *NodeView) { d.traffic(10, 2) },
	"few requests fail":  func(d *drive, _ *NodeView) { d.traffic(9, 9) },
	"many requests failed before it moved": func(_ *drive, n *NodeView) {
		n.Stats = model.Statistics{Chain: chainOf(before), Requests: 100, Errors: 100}
	},
	"the soak is over without requests": func(d *drive, _ *NodeView) { d.look(20 * time.Second) },
	"the soak and the grace are over without requests": func(d *drive, _ *NodeView) {
		d.look(20*time.Second + SampleGrace - time.Second)
		d.now = d.now.Add(time.Second)
	},
	"the soak is over with good requests": func(d *drive, _ *NodeView) {
		d.look(10 * time.Second)
		d.traffic(10, 1)
		d.now = d.now.Add(9999 * time.Millisecond)
	},
	"the soak is over and the node is silent for a moment": func(d *drive, n *NodeView) {
		d.look(10 * time.Second)
		d.traffic(10, 1)
		n.Connected, n.Silent = false, time.Second
		d.now = d.now.Add(9999 * time.Millisecond)
	},
	"the node goes back to its old chain": func(_ *drive, n *NodeView) { n.Serving = chainOf(before) },
	"the node serves nothing":             func(_ *drive, n *NodeView) { n.Serving = "" },
	"the node serves nothing for too long": func(d *drive, n *NodeView) {
		n.Serving = ""
		d.traffic(10, 0)
		d.look(0)
		d.look(SilenceGrace)
	},
	"the node rejects the chain without the filter for good": func(d *drive, n *NodeView) {
		n.Ledger = model.LedgerEntry{Chain: d.fleet.chain(after), State: model.ChainRejected, Step: "probe", Reason: "no such import", Final: true}
	},
	"the node's Envoy restarts, and then it serves": func(d *drive, n *NodeView) {
		n.Restarts++
		d.look(time.Second)
		d.fleet.serve(n.ID)
	},
	"the node's Envoy restarts after all serve": func(d *drive, n *NodeView) {
		d.fleet.serveAll()
		d.look(time.Second)
		n.Restarts++
	},
	"a filter is disabled": func(d *drive, _ *NodeView) { d.fleet.without = " without x" },
	"a filter is disabled and all serve without it": func(d *drive, _ *NodeView) {
		d.fleet.without = " without x"
		d.fleet.serveAll()
	},
	"all serve but the node is silent": func(d *drive, n *NodeView) {
		d.fleet.serveAll()
		n.Serving, n.Connected, n.Silent = chainOf(after), false, SilenceGrace+1
	},
	"all serve but the node rejects what it had": func(d *drive, n *NodeView) {
		d.fleet.serveAll()
		n.Serving = chainOf(after)
		n.Ledger = model.LedgerEntry{Chain: chainOf(before), State: model.ChainRejected, Reason: "no such import", Final: true}
	},
	"all serve but the node, which is isolated, rejects what it had": func(d *drive, n *NodeView) {
		d.fleet.serveAll()
		n.Serving, n.Isolated = chainOf(after), "on the way back it rejected it"
		n.Ledger = model.LedgerEntry{Chain: chainOf(before), State: model.ChainRejected, Reason: "no such import", Final: true}
	},
	"all nodes are isolated": func(d *drive, _ *NodeView) { d.each(func(n *NodeView) { n.Isolated = "rejected it" }) },
	"all serve but the node is gone from the rows": func(d *drive, n *NodeView) {
		d.fleet.serveAll()
		delete(d.fleet.nodes, n.ID)
	},
}

// said are what observations say besides the nodes.
var said = map[string]func(*Observe){
	"blocked by another rollout":                     func(o *Observe) { o.Blocked = "other" },
	"it is frozen":                                   frozen,
	"it is frozen and all have fetched":              frozen,
	"it is frozen for longer than the deadline":      frozen,
	"it is frozen and many requests fail":            frozen,
	"the node serves and it is frozen":               frozen,
	"the node serves and another elsewhere does not": func(o *Observe) { o.Unsettled = 1 },
}

func frozen(o *Observe) { o.Frozen = "frozen until Monday" }

// last is a node of the target that the first wave has not taken.
func (d *drive) last() string {
	for _, id := range slices.Backward(slices.Sorted(maps.Keys(d.fleet.nodes))) {
		if len(d.r.Waves) == 0 || !slices.Contains(d.r.Waves[0].Nodes, id) {
			return id
		}
	}
	d.t.Fatal("the first wave has taken all nodes")
	return ""
}

// lose undoes the assignment of a node, as a crash before it was written does.
func (d *drive) lose(n *NodeView) {
	if n.Split != (model.NodeSplit{}) {
		n.Split = model.NodeSplit{}
		return
	}
	if n.Assigned == after {
		n.Assigned = before
	} else {
		n.Assigned = after
	}
}

func (d *drive) each(f func(*NodeView)) {
	for _, n := range d.fleet.nodes {
		f(n)
	}
}

// subject is the first node of the first wave, or any node before there is one.
func (d *drive) subject() string {
	if len(d.r.Waves) > 0 && len(d.r.Waves[0].Nodes) > 0 {
		return d.first()
	}
	return "n1"
}

func TestObservations(t *testing.T) {
	tested := map[string]bool{}
	for _, want := range readExpectations(t).Observations {
		tested[want.Seen] = true
		t.Run(want.From+"/"+want.Seen, func(t *testing.T) {
			d := begin(t)
			if states[want.From] == nil || (seen[want.Seen] == nil && said[want.Seen] == nil) {
				t.Fatalf("there is no such state or observation")
			}
			states[want.From](d)
			subject := d.subject()
			if change := seen[want.Seen]; change != nil {
				change(d, d.fleet.nodes[subject])
			}
			d.now = d.now.Add(time.Millisecond)
			event := d.fleet.observe(d.r)
			if say := said[want.Seen]; say != nil {
				say(&event)
			}
			d.must(event)
			on, back, isolated := assigned(d.actions)
			if d.r.Phase != want.Next || on != want.On || back != want.Back || isolated != want.Isolated {
				t.Errorf("phase %s, on %d, back %d, isolated %d; want %s, %d, %d, %d\n%s", d.r.Phase, on, back, isolated, want.Next, want.On, want.Back, want.Isolated, d.history())
			}
			if got := d.r.Nodes[d.subject()].State; want.Node != "" && got != want.Node {
				t.Errorf("the node is %s (%s), want %s", got, d.r.Nodes[d.subject()].Reason, want.Node)
			}
		})
	}
	for _, name := range append(slices.Collect(maps.Keys(seen)), slices.Collect(maps.Keys(said))...) {
		if !tested[name] {
			t.Errorf("%q is in no expectation", name)
		}
	}
}

// Whatever is observed in whatever state: no phase follows but those that the expectations have for it, an end stays an end, nothing is done while it is paused, nobody is moved beyond
// the wave, and the same events give the same once more.
func TestEveryObservationInEveryState(t *testing.T) {
	leads := readExpectations(t).Leads
	observed := map[string]bool{}
	for _, name := range append(slices.Collect(maps.Keys(seen)), slices.Collect(maps.Keys(said))...) {
		observed[name] = name != "a day passes" // thousands of steps; observations have it
	}
	found := map[model.RolloutPhase]map[model.RolloutPhase]bool{}
	for state, reach := range states {
		for name, tried := range observed {
			if !tried {
				continue
			}
			t.Run(state+"/"+name, func(t *testing.T) {
				step := func() (model.Rollout, *drive) {
					d := begin(t)
					reach(d)
					if change := seen[name]; change != nil {
						change(d, d.fleet.nodes[d.subject()])
					}
					d.now = d.now.Add(time.Millisecond)
					event := d.fleet.observe(d.r)
					if say := said[name]; say != nil {
						say(&event)
					}
					was := d.r
					d.must(event)
					return was, d
				}
				was, d := step()
				if found[was.Phase] == nil {
					found[was.Phase] = map[model.RolloutPhase]bool{}
				}
				found[was.Phase][d.r.Phase] = true
				if !slices.Contains(leads[was.Phase], d.r.Phase) {
					t.Errorf("%s leads to %s: %s", was.Phase, d.r.Phase, d.r.Message)
				}
				on, back, isolated := assigned(d.actions)
				switch {
				case was.Phase.Ended():
					if asJSON(d.r) != asJSON(was) || d.actions != nil {
						t.Errorf("it had ended as %s, and changes or does something: %v", was.Phase, d.actions)
					}
				case d.r.Phase == model.RolloutPaused && on+back+isolated > 0:
					t.Errorf("it is paused, and does %v", d.actions)
				case d.r.Phase == model.RolloutRollingBack && on > 0:
					t.Errorf("on its way back it moves nodes on: %v", d.actions)
				}
				moved := 0
				for _, p := range d.r.Nodes {
					if !p.MovedAt.IsZero() {
						moved++
					}
				}
				if most := map[bool]int{true: 2, false: 4}[d.r.Wave < 1]; moved > most {
					t.Errorf("%d nodes were moved by wave %d", moved, d.r.Wave+1)
				}
				if _, again := step(); asJSON(again.r) != asJSON(d.r) || fmt.Sprint(again.actions) != fmt.Sprint(d.actions) {
					t.Errorf("the same events lead to %s and %v, and then to %s and %v", d.r.Phase, d.actions, again.r.Phase, again.actions)
				}
			})
		}
	}
	for from, to := range leads {
		for _, phase := range to {
			if !found[from][phase] {
				t.Errorf("the expectations say that %s leads to %s, and nothing that was tried does", from, phase)
			}
		}
	}
}
