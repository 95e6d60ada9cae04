package rollout

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// TestProperties runs rollouts of all kinds over fleets that misbehave in every way, from seeds, and checks each step. A
// seed that fails is replayed with -run TestProperties/seed=N, or added below for ever.
func TestProperties(t *testing.T) {
	seeds := 200
	if testing.Short() {
		seeds = 50
	}
	ends := map[model.RolloutPhase]int{}
	for seed := range seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { ends[chaos(t, uint64(seed))]++ })
	}
	for _, phase := range []model.RolloutPhase{model.RolloutDone, model.RolloutRolledBack, model.RolloutAborted} {
		if ends[phase] < seeds/50 {
			t.Errorf("of %d rollouts %d ended %s: the chaos does not try everything", seeds, ends[phase], phase)
		}
	}
}

func FuzzProperties(f *testing.F) {
	f.Add(uint64(1 << 40))
	for _, seed := range []uint64{471, 947, 1330, 1348, 1474} { // they failed
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { chaos(t, seed) })
}

// flaw is what a release does on the nodes that it does not suit.
type flaw int

const (
	flawless flaw = iota
	rejected
	rejectedForNow
	degraded
	restarts
	neverLoads
	goesBack
	failsRequests
	hangs
	traps
	flaws // how many there are
)

// world is a fleet with a mind of its own, a clock that is not to be trusted, and the events so far.
type world struct {
	*fleet
	t    *testing.T
	rand *rand.Rand
	// tests decides about waves with a cohort, so that worlds without one are what they were before there were any.
	tests *rand.Rand
	r     model.Rollout
	// real time passes evenly; shown is what the distributor's clock says.
	real, shown time.Time
	// watches: the distributor knows real time between two steps, too. steppedAt is when the last one was that counted time.
	watches   bool
	steppedAt time.Time
	lostAt    map[string]time.Time
	// most is the fleet's cap.
	most   FleetCap
	flaw   flaw
	flawed map[string]bool
	joined int
	calm   bool
	check  checker
}

// chaos runs one rollout to its end.
func chaos(t *testing.T, seed uint64) model.RolloutPhase {
	w := newWorld(t, rand.New(rand.NewPCG(seed, 7)), rand.New(rand.NewPCG(seed, 11)))
	w.watches = seed%4 == 1
	for range 150 {
		w.turn()
	}
	w.calmDown()
	for range 900 {
		if w.r.Phase.Ended() {
			w.checkEnd()
			return w.r.Phase
		}
		w.turn()
		if w.r.Phase == model.RolloutPaused {
			w.give(Promote{by})
			w.give(Resume{by})
		}
		w.give(Approve{by})
	}
	t.Fatalf("did not end once the faults stopped: %s, wave %d: %s\n%s", w.r.Phase, w.r.Wave, w.r.Message, (&drive{r: w.r}).history())
	return ""
}

func newWorld(t *testing.T, random, tests *rand.Rand) *world {
	w := &world{
		fleet: newFleet(1 + random.IntN(9)), t: t, rand: random, tests: tests, real: epoch, shown: epoch,
		lostAt: map[string]time.Time{}, flawed: map[string]bool{},
	}
	if random.IntN(2) == 0 {
		w.flaw = flaw(random.IntN(int(flaws)))
	}
	everywhere := random.IntN(2) == 0
	for _, id := range w.ids() {
		n := w.nodes[id]
		w.flawed[id] = everywhere || random.IntN(3) == 0
		switch random.IntN(12) {
		case 0:
			n.Reports = false
		case 1:
			w.lose(id)
		case 2:
			*n = NodeView{ID: id, Labels: n.Labels, Connected: true, Reports: true} // never given anything
		case 3:
			n.Unloadable = "it lacks an import"
		case 4:
			n.Labels = map[string]string{"env": "test"}
		case 5:
			n.CannotSplit = "its Envoy is too old"
		}
		if !n.Given {
			n.CannotSplit = "it has no chain yet"
		}
		if w.tests.IntN(10) == 0 {
			n.Assigned, n.Given = after, true // as after a rollout that was aborted
			if w.tests.IntN(2) == 0 {
				w.lose(id)
			}
		}
	}
	spec := model.RolloutSpec{Release: after, Selector: "env=prod", Waves: w.waves(), IncludeUnreported: random.IntN(2) == 0, MaxNotServing: max(0, random.IntN(6)-2)}
	if err := model.ValidateRolloutSpec("rollout/r", model.RolloutSpec{Release: model.ReleaseID{Name: "edge", Hash: model.Digest(nil)}, Selector: spec.Selector, Waves: spec.Waves}); err != nil {
		t.Fatal(err)
	}
	switch w.tests.IntN(6) {
	case 0:
		w.most = FleetCap{Cap: model.Cap{Nodes: 1 + w.tests.IntN(3)}}
	case 1:
		w.most = FleetCap{Cap: model.Cap{Percent: 10 * (1 + w.tests.IntN(5))}, Fleet: len(w.nodes)}
	}
	if random.IntN(5) == 0 {
		w.r = w.undo(spec)
	} else {
		w.r = New(fmt.Sprintf("r%d", random.IntN(100)), model.LayerGlobal, spec, by, epoch)
	}
	w.check = checker{t: t}
	return w
}

// undo is a rollout that gives some nodes what they had before, which is nothing for some.
func (w *world) undo(spec model.RolloutSpec) model.Rollout {
	undone := New("undone", model.LayerGlobal, spec, by, epoch)
	restore := map[string]model.ReleaseID{}
	for i, id := range w.ids() {
		if w.nodes[id].Given {
			restore[id] = []model.ReleaseID{after, {}, {Name: "old", Hash: "sha256:0000"}}[i%3]
		}
	}
	return NewUndo("undo", undone, restore, model.RolloutSpec{Waves: spec.Waves}, by, epoch)
}

func (w *world) waves() []model.WaveSpec {
	waves := w.cohorts()
	tested := len(waves) > 0
	nodes, percent := 0, 0
	for range w.rand.IntN(5) {
		wave := model.WaveSpec{Soak: time.Duration(w.rand.IntN(3)*w.rand.IntN(40)) * time.Second}
		if w.rand.IntN(3) == 0 {
			wave.Deadline = time.Duration(20+w.rand.IntN(100)) * time.Second
		}
		if w.rand.IntN(3) == 0 {
			wave.Gates = w.gates()
		}
		switch w.rand.IntN(3) {
		case 0:
			nodes += 1 + w.rand.IntN(3)
			wave.Nodes = nodes
		case 1:
			if percent == 100 {
				continue
			}
			if tested && percent >= 40 {
				continue // the last wave is to be the one that reaches all
			}
			percent = min(100, percent+1+w.rand.IntN(60))
			wave.Percent = percent
		default:
			wave.Selector = "zone=" + string(rune('a'+w.rand.IntN(3)))
		}
		waves = append(waves, wave)
	}
	if (w.rand.IntN(2) == 0 || tested) && percent < 100 {
		waves = append(waves, model.WaveSpec{Percent: 100})
	}
	return waves
}

// cohorts are waves in which a part of the requests takes the release; in most worlds there are none.
func (w *world) cohorts() []model.WaveSpec {
	if w.tests.IntN(3) > 0 {
		return nil
	}
	var waves []model.WaveSpec
	if w.tests.IntN(2) == 0 {
		waves = append(waves, model.WaveSpec{Nodes: 1 + w.tests.IntN(3), Cohort: model.Cohort{Header: model.CohortHeader{Name: "x-canary", Value: "1"}}})
	}
	for share := 1 + w.tests.IntN(40); share < 100 && len(waves) < 4; share += 1 + w.tests.IntN(60) {
		wave := model.WaveSpec{Percent: 1 + w.tests.IntN(100), Cohort: model.Cohort{Percent: share}, Soak: time.Duration(w.tests.IntN(20)) * time.Second}
		if w.tests.IntN(3) == 0 {
			wave.Gates = slices.DeleteFunc(w.gates(), func(g model.GateSpec) bool { return g.NotByCohort() != "" })
		}
		waves = append(waves, wave)
	}
	return waves
}

// gates are some of those that the fleet's reports decide, and at times a person's.
func (w *world) gates() []model.GateSpec {
	all := []model.GateSpec{
		{ErrorRatio: &model.ErrorRatioGate{Max: 0.1, MinSamples: 10}},
		{DeniedRatio: &model.DeniedRatioGate{Max: 0.1, MinSamples: 10}},
		{Coverage: &model.CoverageGate{Min: 0.5, MinSamples: 10}},
		{Comparison: &model.ComparisonGate{Of: model.ComparedErrors, MaxIncrease: 0.1, MinSamples: 10}},
		{Comparison: &model.ComparisonGate{Of: model.ComparedLatency, MaxIncrease: 0.1, MinSamples: 10}},
		{Comparison: &model.ComparisonGate{Of: model.ComparedStuck, MaxIncrease: 0.1, MinSamples: 10}},
		{Stuck: &model.StuckGate{Max: 0.1, MinSamples: 10}},
		{Watchdog: &model.WatchdogGate{}},
		{Reloads: &model.ReloadsGate{}},
		{Growth: &model.GrowthGate{MaxMemory: new(int64(1 << 20)), MaxVMs: new(int64(1))}},
		{Approval: &model.ApprovalGate{}},
		{Webhook: &model.WebhookGate{URL: "https://hook.example"}},
	}
	w.rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+w.rand.IntN(2)]
}

func (w *world) ids() []string { return slices.Sorted(maps.Keys(w.nodes)) }

func (w *world) lose(id string) {
	w.nodes[id].Connected = false
	w.lostAt[id] = w.real
}

// turn lets time pass and the fleet live, and gives one event.
func (w *world) turn() {
	w.pass()
	for _, id := range w.ids() {
		w.live(id)
	}
	if !w.calm && w.rand.IntN(25) == 0 {
		w.faults()
	}
	if w.calm || w.rand.IntN(12) != 0 {
		event := w.observe(w.r)
		if !w.calm && w.rand.IntN(10) == 0 {
			event.Blocked = "other"
		}
		if !w.calm && w.rand.IntN(8) == 0 {
			event.Frozen = "until Monday"
		}
		if !w.calm && w.rand.IntN(8) == 0 {
			event.Unsettled = w.rand.IntN(3)
		}
		event.Cap = w.most
		event.Elsewhere = w.elsewhere()
		w.give(event)
		return
	}
	w.give([]Event{Pause{by}, Resume{by}, Resume{by}, Promote{by}, Promote{by}, Approve{by}, w.newcomer(), w.newcomer(), Abort{by}, RollBack{By: by, Cap: w.most}}[w.rand.IntN(10)])
}

// elsewhere are readings of gates that are read elsewhere; once the faults stop, good ones.
func (w *world) elsewhere() map[int]model.GateReading {
	readings := map[int]model.GateReading{}
	for i := range model.MaxGates {
		verdict := model.VerdictPass
		if !w.calm {
			switch w.rand.IntN(40) {
			case 0:
				verdict = model.VerdictFail
			case 1, 2, 3:
				verdict = model.VerdictInconclusive
			case 4, 5, 6:
				continue
			}
		}
		readings[i] = model.GateReading{Verdict: verdict, Detail: "as it is", At: w.shown}
	}
	return readings
}

func (w *world) pass() {
	step := time.Duration(w.rand.IntN(8000)) * time.Millisecond
	w.real, w.shown = w.real.Add(step), w.shown.Add(step)
	if !w.calm && w.rand.IntN(30) == 0 {
		w.shown = w.shown.Add([]time.Duration{time.Hour, -time.Hour, -time.Second, 30 * 24 * time.Hour, time.Minute}[w.rand.IntN(5)])
	}
	for id, n := range w.nodes {
		n.Silent = 0
		if !n.Connected {
			n.Silent = w.real.Sub(w.lostAt[id])
		}
	}
}

// live has a node get on with what it is assigned.
func (w *world) live(id string) {
	n := w.nodes[id]
	if !n.Connected || !n.Reports {
		return
	}
	n.Fetched = n.Fetched || w.rand.IntN(3) == 0
	if (n.Assigned == after || n.Split != model.NodeSplit{}) && w.flawed[id] && w.flaw != flawless {
		w.misbehave(n)
		return
	}
	if n.Given && w.rand.IntN(2) == 0 {
		w.serve(id)
	}
	w.requests(n, 0)
}

func (w *world) misbehave(n *NodeView) {
	chain := w.chainOn(n)
	switch w.flaw {
	case rejected:
		n.Ledger = model.LedgerEntry{Chain: chain, State: model.ChainRejected, Step: "probe", Reason: "no such import", Final: true}
	case rejectedForNow:
		n.Ledger = model.LedgerEntry{Chain: chain, State: model.ChainRejected, Step: "fetch", Reason: "no space left"}
	case degraded:
		n.Serving, n.Ledger = chain, model.LedgerEntry{Chain: chain, State: model.ChainDegraded, Reason: "without headers"}
	case restarts:
		w.serve(n.ID)
		n.Restarts++
	case goesBack:
		if n.Serving == chain {
			n.Serving = w.chain(before)
		} else {
			w.serve(n.ID)
		}
	case failsRequests:
		w.serve(n.ID)
		w.requests(n, 100)
	case hangs:
		w.serve(n.ID)
		w.requests(n, 0)
		n.Stats.Health.Hangs++
	case traps:
		w.serve(n.ID)
		w.requests(n, 0)
		n.Stats.Health.Reloads++
		n.Stats.Health.Stuck++
	}
}

// requests are counted from when the chain began to serve.
func (w *world) requests(n *NodeView, percentFailed int64) {
	if n.Stats.Chain != n.Serving {
		n.Stats = model.Statistics{Chain: n.Serving, DeniedKnown: true, Health: model.Health{Known: true, Memory: 1 << 20, MemoryBefore: 1 << 20}}
	}
	more := w.rand.Int64N(5)
	n.Stats.Requests += more
	n.Stats.Errors += more * percentFailed / 100
	n.Stats.Seen += more
	n.Stats.Health.Latency[2] += more
	if n.Split != (model.NodeSplit{}) && w.rand.IntN(8) > 0 {
		n.Stats.Cohort = model.CohortStatistics{Known: true, Requests: n.Stats.Requests, Errors: n.Stats.Errors, Seen: n.Stats.Seen, Health: n.Stats.Health}
	}
	n.Lately.Requests += more
	n.Lately.Health.Known = true
	n.Lately.Health.Latency[2] += more
}

// faults happen to the fleet.
func (w *world) faults() {
	id := w.ids()[w.rand.IntN(len(w.nodes))]
	n := w.nodes[id]
	switch w.rand.IntN(8) {
	case 0:
		w.lose(id)
	case 1:
		n.Connected = true
	case 2:
		n.Restarts++
	case 3:
		for _, n := range w.nodes { // the distributor restarts
			n.Restarts, n.Stats, n.Connected = 0, model.Statistics{}, false
			w.lostAt[n.ID] = w.real
		}
	case 4:
		n.Labels = map[string]string{"env": []string{"prod", "test"}[w.rand.IntN(2)], "zone": "a"}
	case 5:
		n.Serving = ""
	case 6:
		n.Unloadable = []string{"", "it lacks an import"}[w.rand.IntN(2)]
	case 7: // a filter is disabled, or put back
		w.without = []string{"", " without x"}[w.rand.IntN(2)]
	}
	for _, n := range w.nodes { // most come back soon
		if !n.Connected && w.rand.IntN(3) > 0 {
			n.Connected = true
		}
	}
}

// newcomer joins the fleet.
func (w *world) newcomer() Event {
	w.joined++
	id := fmt.Sprintf("new%d", w.joined)
	w.nodes[id] = &NodeView{ID: id, Labels: map[string]string{"env": "prod", "zone": "b"}, Connected: true, Reports: true, CannotSplit: "it has no chain yet"}
	return Join{Node: w.view(w.r, id), From: before, FromGiven: w.rand.IntN(2) == 0, FromChain: w.chain(before)}
}

// calmDown ends all faults; the release stays what it is.
func (w *world) calmDown() {
	w.calm = true
	for _, n := range w.nodes {
		n.Connected = true
	}
}

// give takes one step, checks it, and carries the actions out, not always all of them.
func (w *world) give(event Event) {
	w.t.Helper()
	was := w.r
	if w.watches && !w.steppedAt.IsZero() {
		event = Watched{event, w.real.Sub(w.steppedAt)}
	}
	w.r = w.check.step(was, event, w.shown, w.real)
	if !w.r.SeenAt.Equal(was.SeenAt) {
		w.steppedAt = w.real
	}
	actions := w.check.actions
	for _, action := range actions {
		if w.calm || w.rand.IntN(10) > 0 {
			w.carryOut([]Action{action})
		}
	}
}

// checkEnd looks at where the fleet has ended.
func (w *world) checkEnd() {
	w.t.Helper()
	for id, p := range w.r.Nodes {
		n := w.nodes[id]
		release, _ := ReleaseFor(w.r, id)
		switch {
		case w.r.Phase == model.RolloutDone && moved(p) && n.Split != model.NodeSplit{}:
			w.t.Errorf("done, but %s has two chains, %+v %+v\n%s", id, n.Split, p, (&drive{r: w.r}).history())
		case w.r.Phase == model.RolloutDone && moved(p) && !p.Uncounted && (p.State != model.NodeServing || n.Assigned != release):
			w.t.Errorf("done, but %s is %s and has %v", id, p.State, n.Assigned)
		case w.r.Phase == model.RolloutRolledBack && moved(p) && p.FromGiven && (n.Assigned != p.From || n.Split != model.NodeSplit{}) && p.State != model.NodeFailed:
			w.t.Errorf("rolled back, but %s is %s and has %v", id, p.State, n.Assigned)
		case w.r.Phase == model.RolloutRolledBack && p.State == model.NodeFailed && p.Reason == "":
			w.t.Errorf("%s failed without a reason", id)
		}
	}
}

// checker checks one step after the other, by rules of its own.
type checker struct {
	t       *testing.T
	actions []Action
	// last is when the last step was, by the clock that the distributor shows and really; soaked is the time that may count for the current soak.
	last, lastReal time.Time
	soaked         time.Duration
	// memo is of all the steps, and memory where their pictures are.
	memo   Memo
	memory []NodeView
}

// remembered is an event as a caller gives it that keeps a Memo: the picture is in the memory of the one before for as long as it is of the same nodes.
func (c *checker) remembered(event Event) Event {
	switch event := event.(type) {
	case Watched:
		return Watched{Event: c.remembered(event.Event), For: event.For}
	case Observe:
		if !slices.EqualFunc(c.memory, event.Nodes, func(a, b NodeView) bool { return a.ID == b.ID }) {
			c.memory = make([]NodeView, len(event.Nodes))
		}
		copy(c.memory, event.Nodes)
		event.Nodes, event.Memo = c.memory, &c.memo
		return event
	}
	return event
}

func (c *checker) step(was model.Rollout, event Event, now, real time.Time) model.Rollout {
	c.t.Helper()
	input := was.Clone()
	// Whoever asks who is next, and lets the answer use the memo, changes nothing of what is decided.
	if len(c.memory) > 0 && now.Unix()%2 == 0 {
		if _, err := Ahead(was, c.memory, &c.memo); err != nil {
			c.t.Fatal(err)
		}
	}
	next, actions, err := Step(was, c.remembered(event), now)
	if !reflect.DeepEqual(was, input) {
		c.t.Fatalf("%T changed the state that it was given", event)
	}
	c.replay(was, next, event, now, actions)
	c.actions = actions
	if err != nil {
		if actions != nil || !reflect.DeepEqual(next, input) {
			c.t.Fatalf("%T failed and still did something: %v", event, err)
		}
		return next
	}
	told := event
	watched, watches := event.(Watched)
	if watches {
		told = watched.Event
	}
	c.command(next, told, now)
	if observe, ok := told.(Observe); ok {
		c.stillness(was, next, actions)
		c.share(was, next, observe)
		c.evidence(was, next, observe)
		c.restraint(was, next, observe)
	}
	if watches {
		now = c.last.Add(real.Sub(c.lastReal)) // no more than that may count
	}
	c.soak(was, next, now)
	c.lastReal = real
	c.explained(next, actions)
	c.history(was, next)
	return next
}

// restraint: nothing moves on while it is frozen, and no more nodes are on their way than may be.
func (c *checker) restraint(was, next model.Rollout, observe Observe) {
	views := map[string]NodeView{}
	for _, v := range observe.Nodes {
		views[v.ID] = v
	}
	fresh, unsettled, underway := 0, observe.Unsettled, 0
	for id, p := range next.Nodes {
		if !moved(was.Nodes[id]) && moved(p) && next.Phase != model.RolloutRollingBack && next.Phase != model.RolloutRolledBack {
			if observe.Frozen != "" {
				c.t.Fatalf("%s was moved while it is frozen", id)
			}
			// One that is on its way already, or serves nothing, is counted before and after.
			if v := views[id]; v.Reports && (v.Connected || v.Silent <= SilenceGrace) && !Unsettled(&v) {
				fresh++
			}
		}
		if v, known := views[id]; known && moved(p) && p.State == model.NodeMoving && (v.Connected || v.Silent <= SilenceGrace) {
			unsettled++
			underway++
		}
	}
	for id, v := range views {
		if !moved(next.Nodes[id]) && v.Reports && v.Given && v.Serving == "" && (v.Connected || v.Silent <= SilenceGrace) {
			unsettled++
		}
	}
	if len(next.Waves) > len(was.Waves) && observe.Frozen != "" && was.Phase != model.RolloutFetching {
		c.t.Fatalf("a wave began while it is frozen")
	}
	limit := next.Spec.MaxNotServing
	if all := observe.Cap.Of(observe.Cap.Fleet); limit == 0 || all > 0 && all < limit {
		limit = all
	}
	if next.TakesBack() && underway == 1 {
		return // one is always on its way
	}
	if fresh > 0 && limit > 0 && unsettled > limit {
		c.t.Fatalf("%d nodes were moved, and %d are now on their way or not serving, of at most %d\n%s", fresh, unsettled, limit, (&drive{r: next}).history())
	}
}

// replay: the same again, from what a store would give back and with nothing remembered, has the same outcome.
func (c *checker) replay(was, next model.Rollout, event Event, now time.Time, actions []Action) {
	again, actionsAgain, _ := Step(throughJSON(c.t, was), event, now.In(time.FixedZone("elsewhere", 3600)))
	if asJSON(again) != asJSON(next) || fmt.Sprint(actionsAgain) != fmt.Sprint(actions) {
		c.t.Fatalf("%T replayed differs:\n%s\n%s\n%v\n%v", event, asJSON(next), asJSON(again), actions, actionsAgain)
	}
}

// command: giving it again changes nothing.
func (c *checker) command(next model.Rollout, event Event, now time.Time) {
	if _, observe := event.(Observe); observe {
		return
	}
	again, actions, _ := Step(next, event, now)
	if !reflect.DeepEqual(again, next) || actions != nil {
		c.t.Fatalf("%T given twice acts twice: %v", event, actions)
	}
}

// stillness: ended rollouts do nothing; paused ones watch, and go back where a gate fails.
func (c *checker) stillness(was, next model.Rollout, actions []Action) {
	if was.Phase == model.RolloutPaused && (next.Phase == model.RolloutRollingBack || next.Phase == model.RolloutRolledBack) {
		kept := next.Waves[next.Wave].Readings[len(was.Waves[was.Wave].Readings):]
		if next.Wave != was.Wave || !slices.ContainsFunc(kept, func(r model.GateReading) bool { return r.Verdict == model.VerdictFail }) {
			c.t.Fatalf("paused, it goes back without a gate that failed: %v", kept)
		}
		return
	}
	if was.Phase == model.RolloutPaused && next.Phase == was.Phase && actions == nil {
		// What nodes say is followed, and what they are measured by may be changed past it; then it says so. What it did with them stays.
		was.History, was.Latest, was.Nodes = next.History, next.Latest, maps.Clone(was.Nodes)
		for id, p := range next.Nodes {
			old := was.Nodes[id]
			if p.Wave != old.Wave || !p.MovedAt.Equal(old.MovedAt) || !p.BackAt.Equal(old.BackAt) || p.Uncounted != old.Uncounted || p.Cohort != old.Cohort ||
				p.From != old.From || p.FromGiven != old.FromGiven {
				c.t.Fatalf("paused, it does something with %s: it was %+v and is %+v", id, old, p)
			}
			was.Nodes[id] = p
		}
	}
	if (was.Phase.Ended() || was.Phase == model.RolloutPaused) && (actions != nil || !reflect.DeepEqual(next, was)) {
		c.t.Fatalf("%s, and yet it acts: %v", was.Phase, actions)
	}
}

// share: no wave is wider than it may be.
func (c *checker) share(was, next model.Rollout, observe Observe) {
	for i := len(was.Waves); i < len(next.Waves); i++ {
		spec, chosen := next.Spec.Waves[i], next.Waves[i].Nodes
		// all are those that were taken; reached have what the wave gives.
		all, reached := map[string]bool{}, map[string]bool{}
		for id, p := range was.Nodes {
			if p.Wave >= 0 || moved(p) {
				all[id], reached[id] = true, p.Cohort == spec.Cohort || p.State == model.NodeSkipped
			}
		}
		for j, w := range next.Waves[len(was.Waves):i] {
			for _, id := range w.Nodes {
				all[id], reached[id] = true, next.Spec.Waves[len(was.Waves)+j].Cohort == spec.Cohort
			}
		}
		maps.DeleteFunc(reached, func(_ string, is bool) bool { return !is })
		total := len(all)
		for _, v := range observe.Nodes {
			member := v.Labels["env"] == "prod"
			if next.Undoes != "" {
				_, member = next.Restore[v.ID]
			} else if !v.Reports && !next.Spec.IncludeUnreported {
				member = false
			}
			if member && !all[v.ID] && v.Unloadable == "" {
				total++
			}
			split := spec.Cohort != model.Cohort{} && v.CannotSplit != ""
			if slices.Contains(chosen, v.ID) && (reached[v.ID] || !all[v.ID] && (!member || v.Unloadable != "" || split) || (spec.Selector != "" && "zone="+v.Labels["zone"] != spec.Selector)) {
				c.t.Fatalf("wave %d takes %s, which it may not", i, v.ID)
			}
		}
		most := total
		switch {
		case spec.Nodes > 0:
			most = spec.Nodes
		case spec.Percent > 0:
			most = (total*spec.Percent + 99) / 100
		}
		if len(chosen) > 0 && len(reached)+len(chosen) > most {
			c.t.Fatalf("wave %d reaches %d of %d nodes, more than %d", i, len(reached)+len(chosen), total, most)
		}
	}
}

// evidence: a wave is complete only where every counted node serves and the gate does not object.
func (c *checker) evidence(was, next model.Rollout, observe Observe) {
	for i, w := range next.Waves {
		if w.EndedAt.IsZero() || (i < len(was.Waves) && !was.Waves[i].EndedAt.IsZero()) {
			continue
		}
		views := map[string]NodeView{}
		for _, v := range observe.Nodes {
			views[v.ID] = v
		}
		var requests, errors, incidents int64
		counted := 0
		for id, p := range next.Nodes {
			if !moved(p) || p.MovedAt.Equal(next.SeenAt) && p.Wave > i {
				continue // of a later wave that began in the same step
			}
			v := views[id]
			if !p.Uncounted && p.Wave >= 0 {
				counted++
				if !v.Connected || v.Serving != p.Chain {
					c.t.Fatalf("wave %d is complete, and %s serves %q", i, id, v.Serving)
				}
			}
			if !p.Uncounted && v.Stats.Chain == p.Chain && p.Chain != p.FromChain && v.Stats.Health.Hangs > 0 {
				c.t.Fatalf("wave %d is complete, and a worker hangs on %s", i, id)
			}
			if of, _ := told(&p, &v.Stats); v.Stats.Chain == p.Chain && p.Chain != p.FromChain {
				incidents += of.Health.Reloads
			}
			if stats, known := told(&p, &v.Stats); known && v.Stats.Chain == p.Chain && p.Chain != p.FromChain {
				requests += stats.Requests
				errors += stats.Errors
			}
		}
		if len(w.Nodes) == 0 {
			continue
		}
		for j, gate := range next.Spec.Waves[i].Gates {
			if gate.Reloads != nil && counted > 0 && incidents > gate.Reloads.Max {
				c.t.Fatalf("wave %d is complete with %d reloads", i, incidents)
			}
			c.gate(i, j, gate, w, observe, counted, requests, errors)
		}
	}
}

// gate: what a complete wave's gate must have seen. A wave that lost all its nodes is complete without.
func (c *checker) gate(wave, place int, gate model.GateSpec, w model.WaveState, observe Observe, counted int, requests, errors int64) {
	soaked := !w.SoakUntil.IsZero()
	switch {
	case gate.ErrorRatio != nil && counted > 0:
		if requests >= gate.ErrorRatio.MinSamples && float64(errors) > gate.ErrorRatio.Max*float64(requests) {
			c.t.Fatalf("wave %d is complete with %d of %d requests failed", wave, errors, requests)
		}
	case gate.Approval != nil && soaked && w.Approval == nil:
		c.t.Fatalf("wave %d is complete, and nobody has approved it", wave)
	case gate.Webhook != nil && soaked && !w.Overruled:
		if verdict := observe.Elsewhere[place].Verdict; verdict != model.VerdictPass {
			c.t.Fatalf("wave %d is complete, and its gate said %q", wave, verdict)
		}
	}
}

// soak: a wave is complete only after its soak, by a clock that counts no more than was watched.
func (c *checker) soak(was, next model.Rollout, now time.Time) {
	gap := min(max(now.Sub(c.last), 0), MaxGap)
	c.last = now
	if was.Phase == model.RolloutSoaking {
		c.soaked += gap
	}
	if was.Wave >= 0 && was.Phase == model.RolloutSoaking && !next.Waves[was.Wave].EndedAt.IsZero() {
		// A wave that found no nodes has nothing to soak.
		if soak := next.Spec.Waves[was.Wave].Soak; c.soaked < soak && len(next.Waves[was.Wave].Nodes) > 0 && !next.Waves[was.Wave].Overruled {
			c.t.Fatalf("wave %d soaked for %s of %s\n%s", was.Wave, c.soaked, soak, (&drive{r: next}).history())
		}
	}
	if next.Wave != was.Wave || next.Phase == model.RolloutMoving {
		c.soaked = 0
	}
}

// explained: each assignment is one that the state and its history account for.
func (c *checker) explained(next model.Rollout, actions []Action) {
	seen := map[string]bool{}
	for _, action := range actions {
		if i, ok := action.(Isolate); ok {
			p := next.Nodes[i.Node]
			if next.Phase != model.RolloutRollingBack || p.State != model.NodeFailed || p.BackAt.IsZero() || i.Reason == "" {
				c.t.Fatalf("in phase %s nothing explains %+v (%+v)", next.Phase, i, p)
			}
			continue
		}
		a := action.(Assign)
		p, known := next.Nodes[a.Node]
		release, ok := ReleaseFor(next, a.Node)
		inWave := known && p.Wave >= 0 && slices.Contains(next.Waves[p.Wave].Nodes, a.Node)
		joined := known && p.Wave == -1 && p.Uncounted && slices.ContainsFunc(next.History, func(t model.Transition) bool { return strings.Contains(t.Message, reasonJoined) })
		on := ok && a.Release == release && (next.Phase == model.RolloutMoving || next.Phase == model.RolloutSoaking || next.Phase == model.RolloutFetching)
		// A node of a wave gets what that wave gives, and no more of its requests than that; the way back is whole.
		on = on && a.Cohort == p.Cohort && (!inWave || a.Cohort == next.Spec.Waves[p.Wave].Cohort)
		back := p.FromGiven && a.Release == p.From && a.Cohort == (model.Cohort{}) && (next.Phase == model.RolloutRollingBack || next.Phase == model.RolloutRolledBack)
		if seen[a.Node] || !moved(p) || !(inWave || joined) || !(on || back) || a.Layer != next.Layer || a.Given != (a.Release != model.ReleaseID{}) {
			c.t.Fatalf("in phase %s nothing explains %+v (%+v)\n%s", next.Phase, a, p, (&drive{r: next}).history())
		}
		seen[a.Node] = true
	}
}

// history: it only grows, and every change of phase is in it.
func (c *checker) history(was, next model.Rollout) {
	if len(next.History) < len(was.History) || !slices.Equal(next.History[:len(was.History)], was.History) {
		c.t.Fatal("history was rewritten")
	}
	if was.Phase != next.Phase && next.History[len(next.History)-1].Phase != next.Phase {
		c.t.Fatalf("the way to %s is not in the history", next.Phase)
	}
	if next.Phase.Ended() != !next.EndedAt.IsZero() {
		c.t.Fatalf("phase %s, ended at %s", next.Phase, next.EndedAt)
	}
}
