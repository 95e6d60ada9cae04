package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

var (
	byHeader = model.Cohort{Header: model.CohortHeader{Name: "x-canary", Value: "1"}}
	fifth    = model.Cohort{Percent: 20}
)

// goOn has the current wave fetched, served and soaked.
func (d *drive) goOn() {
	d.t.Helper()
	d.fleet.fetchAll()
	d.look(time.Second)
	d.fleet.serveAll()
	d.look(time.Second)
	d.look(time.Minute)
}

// TestCohortsGrow moves one node by header, then by share, then wholly, and the others at the end.
func TestCohortsGrow(t *testing.T) {
	d := newDrive(t, newFleet(3),
		model.WaveSpec{Nodes: 1, Soak: time.Second, Cohort: byHeader},
		model.WaveSpec{Nodes: 2, Soak: time.Second, Cohort: fifth},
		model.WaveSpec{Nodes: 1, Soak: time.Second},
		model.WaveSpec{Percent: 100})
	d.look(0)
	first := d.first()
	counts := func(header, share, whole, none int) {
		t.Helper()
		got := [4]int{}
		for _, n := range d.fleet.nodes {
			switch {
			case n.Split.Cohort == byHeader:
				got[0]++
			case n.Split.Cohort == fifth:
				got[1]++
			case n.Assigned == after:
				got[2]++
			default:
				got[3]++
			}
		}
		if got != [4]int{header, share, whole, none} {
			t.Fatalf("by header, by share, wholly and not: %v; want %v\n%s", got, [4]int{header, share, whole, none}, d.history())
		}
	}
	d.fleet.fetchAll()
	for wave, want := range [][4]int{{1, 0, 0, 2}, {0, 2, 0, 1}, {0, 1, 1, 1}} {
		d.look(time.Second)
		d.want(model.RolloutMoving, wave)
		counts(want[0], want[1], want[2], want[3])
		if p := d.r.Nodes[first]; wave < 2 && (d.fleet.nodes[first].Assigned != before || p.From != before || p.FromChain != chainOf(before)) {
			t.Fatalf("what the rest takes, and what it goes back to, must stay: %+v, %+v", d.fleet.nodes[first], p)
		}
		d.fleet.serveAll()
		d.look(time.Second)
		d.want(model.RolloutSoaking, wave)
		d.look(time.Second)
	}
	// The node that stands by share is moved on with the last wave.
	d.want(model.RolloutMoving, 3)
	d.goOn()
	d.want(model.RolloutDone, 3)
	counts(0, 0, 3, 0)
	if restore, kept := Restore(d.r); len(restore) != 3 || len(kept) != 0 || restore[first] != before {
		t.Errorf("an undo gives back %v, keeps %v", restore, kept)
	}
}

// TestCohortGoesBack fails a wave that moves a node on, in each phase: it goes back to the one chain that it had.
func TestCohortGoesBack(t *testing.T) {
	for _, phase := range []string{"tested", "moving on", "moved on"} {
		t.Run(phase, func(t *testing.T) {
			d := newDrive(t, newFleet(2), model.WaveSpec{Nodes: 1, Cohort: byHeader, Soak: time.Second}, model.WaveSpec{Nodes: 1, Cohort: fifth, Soak: time.Minute}, model.WaveSpec{Percent: 100})
			d.toSoaking()
			if phase != "tested" {
				d.look(time.Second)
				d.look(time.Second)
				d.want(model.RolloutMoving, 1)
			}
			if phase == "moved on" {
				d.fleet.serveAll()
				d.look(time.Second)
				d.want(model.RolloutSoaking, 1)
			}
			n := d.fleet.nodes[d.first()]
			n.Restarts++
			d.look(time.Second)
			d.want(model.RolloutRollingBack, d.r.Wave)
			if n.Assigned != before || n.Split != (model.NodeSplit{}) {
				t.Fatalf("it was given %+v", n)
			}
			d.look(time.Second)
			if d.want(model.RolloutRollingBack, d.r.Wave); n.Serving == chainOf(before) {
				t.Fatal("it serves one chain already")
			}
			d.fleet.serveAll()
			d.look(time.Second)
			d.want(model.RolloutRolledBack, d.r.Wave)
		})
	}
}

// TestCohortPassesOver: nodes that cannot run two chains wait for a wave without a cohort, and a plan names them.
func TestCohortPassesOver(t *testing.T) {
	d := newDrive(t, newFleet(4), model.WaveSpec{Percent: 100, Cohort: fifth, Soak: time.Second}, model.WaveSpec{Percent: 100})
	d.fleet.nodes["n2"].CannotSplit = "it runs Envoy 1.36.4"
	plan, err := Plan(d.r, d.fleet.observe(d.r).Nodes)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.PassedOver) != 1 || plan.PassedOver[0].ID != "n2" || plan.PassedOver[0].Reason != "it runs Envoy 1.36.4" || len(plan.LeftOut) != 0 {
		t.Errorf("it passes over %+v, leaves out %+v", plan.PassedOver, plan.LeftOut)
	}
	if len(plan.Waves[0]) != 3 || len(plan.Waves[1]) != 4 || plan.Cohorts[0] != fifth || plan.Cohorts[1] != (model.Cohort{}) {
		t.Errorf("waves %+v, cohorts %+v", plan.Waves, plan.Cohorts)
	}
	for _, n := range plan.Waves[1] {
		if want := model.SplitHash(chainOf(before), chainOf(after), fifth); n.ID != "n2" && n.From != want || n.ID == "n2" && n.From != chainOf(before) || n.To != chainOf(after) {
			t.Errorf("%+v", n)
		}
	}
	d.toSoaking()
	if len(d.r.Waves[0].Nodes) != 3 || d.fleet.nodes["n2"].Split != (model.NodeSplit{}) {
		t.Fatalf("it took %v", d.r.Waves[0].Nodes)
	}
	d.look(time.Second)
	d.goOn()
	d.want(model.RolloutDone, 1)
	if d.fleet.nodes["n2"].Assigned != after {
		t.Error("the node was left behind")
	}
	// None can: nothing is tested, and nothing pretends to be.
	d = newDrive(t, newFleet(1), model.WaveSpec{Percent: 100, Cohort: fifth}, model.WaveSpec{Percent: 100})
	d.fleet.nodes["n1"].CannotSplit = "it runs Envoy 1.36.4"
	d.look(0)
	if d.want(model.RolloutFetching, 1); !strings.Contains(d.history(), "can run two chains") {
		t.Error(d.history())
	}
}

// TestCohortIsJudgedByItsRequests: the other requests of a node neither hide what the release does, nor count against it.
func TestCohortIsJudgedByItsRequests(t *testing.T) {
	gates := []model.GateSpec{
		{ErrorRatio: &model.ErrorRatioGate{Max: 0.1, MinSamples: 10}}, {DeniedRatio: &model.DeniedRatioGate{Max: 0.1, MinSamples: 10}},
		{Coverage: &model.CoverageGate{Min: 0.9, MinSamples: 10}}, {Stuck: &model.StuckGate{Max: 0.1, MinSamples: 10}}, {Reloads: &model.ReloadsGate{Max: 1}},
		{Watchdog: &model.WatchdogGate{Max: 1}}, {Growth: &model.GrowthGate{MaxVMs: new(int64)}},
		{Comparison: &model.ComparisonGate{Of: model.ComparedStuck, MaxIncrease: 1, MinSamples: 1}},
		{Comparison: &model.ComparisonGate{Of: model.ComparedLatency, MinSamples: 10}},
	}
	const stuck, reloads, watchdog, growth, comparedStuck, comparedLatency = 3, 4, 5, 6, 7, 8
	with := func(s model.CohortStatistics, h model.Health) model.CohortStatistics {
		h.Known = true
		s.Health = h
		return s
	}
	slow, fast := model.Latency{9: 20}, model.Latency{2: 10000}
	known := func(requests, errors, denied, seen int64) model.CohortStatistics {
		return model.CohortStatistics{Known: true, Requests: requests, Errors: errors, Denied: denied, Seen: seen}
	}
	for _, test := range []struct {
		name  string
		stats model.Statistics
		gate  int
		want  model.GateVerdict
	}{
		{"the rest hides nothing", model.Statistics{Requests: 10000, Errors: 10, Seen: 10000, Cohort: known(20, 10, 0, 20)}, 0, model.VerdictFail},
		{"what fails elsewhere does not count", model.Statistics{Requests: 10000, Errors: 5000, Seen: 10000, Cohort: known(20, 0, 0, 20)}, 0, model.VerdictPass},
		{"denied", model.Statistics{Requests: 10000, Denied: 10, Seen: 10000, Cohort: known(20, 0, 10, 20)}, 1, model.VerdictFail},
		{"none denied", model.Statistics{Requests: 10000, Denied: 5000, Seen: 10000, Cohort: known(20, 0, 0, 20)}, 1, model.VerdictPass},
		{"a filter that is skipped", model.Statistics{Requests: 10000, Seen: 10000, Cohort: known(20, 0, 0, 3)}, 2, model.VerdictFail},
		{"a filter that sees all of its share", model.Statistics{Requests: 10000, Seen: 20, Cohort: known(20, 0, 0, 20)}, 2, model.VerdictPass},
		{"too few of the cohort", model.Statistics{Requests: 10000, Seen: 10000, Cohort: known(9, 0, 0, 9)}, 0, model.VerdictInconclusive},
		{"it cannot tell: errors", model.Statistics{Requests: 10000, Seen: 10000}, 0, model.VerdictInconclusive},
		{"it cannot tell: denied", model.Statistics{Requests: 10000, Seen: 10000}, 1, model.VerdictInconclusive},
		{"it cannot tell: coverage", model.Statistics{Requests: 10000, Seen: 10000}, 2, model.VerdictInconclusive},
		{"the cohort waits", model.Statistics{Requests: 10000, Health: model.Health{Known: true}, Cohort: with(known(10, 0, 0, 10), model.Health{Stuck: 10})}, stuck, model.VerdictFail},
		{"the others wait", model.Statistics{Requests: 10000, Health: model.Health{Known: true, Stuck: 9000}, Cohort: with(known(20, 0, 0, 20), model.Health{})}, stuck, model.VerdictPass},
		{"too few of the cohort to wait", model.Statistics{Requests: 10000, Health: model.Health{Known: true}, Cohort: with(known(9, 0, 0, 9), model.Health{})}, stuck, model.VerdictInconclusive},
		{"it cannot tell who waits", model.Statistics{Requests: 10000, Health: model.Health{Known: true}, Cohort: known(20, 0, 0, 20)}, stuck, model.VerdictInconclusive},
		{"it cannot tell: stuck", model.Statistics{Requests: 10000, Health: model.Health{Known: true}}, stuck, model.VerdictInconclusive},
		{"the cohort's filters trap", model.Statistics{Health: model.Health{Known: true}, Cohort: with(known(1, 0, 0, 1), model.Health{Reloads: 1, Panics: 1})}, reloads, model.VerdictFail},
		{"the others' filters trap", model.Statistics{Health: model.Health{Known: true, Reloads: 5}, Cohort: with(known(1, 0, 0, 1), model.Health{})}, reloads, model.VerdictPass},
		{"it cannot tell: reloads", model.Statistics{Health: model.Health{Known: true}}, reloads, model.VerdictInconclusive},
		{"workers are all of Envoy's", model.Statistics{Health: model.Health{Known: true, Misses: 2}}, watchdog, model.VerdictFail},
		{"workers are in time", model.Statistics{Health: model.Health{Known: true}}, watchdog, model.VerdictPass},
		{"memory is of both chains", model.Statistics{Health: model.Health{Known: true, VMs: 1, VMsBefore: 1}}, growth, model.VerdictInconclusive},
		{"what waits is counted otherwise", model.Statistics{Requests: 100, Health: model.Health{Known: true}, Cohort: with(known(20, 0, 0, 20), model.Health{})}, comparedStuck, model.VerdictInconclusive},
		{"the cohort is slow", model.Statistics{Requests: 10000, Health: model.Health{Known: true, Latency: fast}, Cohort: with(known(20, 0, 0, 20), model.Health{Latency: slow})}, comparedLatency, model.VerdictFail},
		{"the others are slow", model.Statistics{Requests: 10000, Health: model.Health{Known: true, Latency: slow}, Cohort: with(known(20, 0, 0, 20), model.Health{Latency: model.Latency{2: 20}})}, comparedLatency, model.VerdictPass},
		{"it cannot tell: latency", model.Statistics{Requests: 10000, Health: model.Health{Known: true, Latency: slow}}, comparedLatency, model.VerdictInconclusive},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDrive(t, newFleet(2), model.WaveSpec{Nodes: 1, Cohort: fifth, Soak: time.Minute, Gates: gates[test.gate : test.gate+1]}, model.WaveSpec{Percent: 100})
			d.toSoaking()
			n := d.fleet.nodes[d.first()]
			test.stats.Chain = n.Serving
			n.Stats = test.stats
			for id, other := range d.fleet.nodes {
				if id != d.first() {
					other.Lately = model.Statistics{Requests: 10000, Health: model.Health{Known: true, Latency: fast}}
				}
			}
			d.look(time.Minute)
			switch d.look(SampleGrace); test.want {
			case model.VerdictFail:
				d.want(model.RolloutRollingBack, 0)
			case model.VerdictInconclusive:
				d.want(model.RolloutPaused, 0)
			default:
				d.want(model.RolloutMoving, 1)
			}
			if readings := d.r.Waves[0].Readings; readings[len(readings)-1].Verdict != test.want {
				t.Errorf("the last reading is %+v", readings)
			}
		})
	}
}

// TestCohortIsNotGivenToWhoJoins until a wave has moved all requests of a node.
func TestCohortIsNotGivenToWhoJoins(t *testing.T) {
	d := newDrive(t, newFleet(2), model.WaveSpec{Nodes: 1, Cohort: fifth, Soak: time.Second}, model.WaveSpec{Nodes: 1, Soak: time.Second}, model.WaveSpec{Percent: 100})
	granted := func() bool {
		_, ok := Grants(map[string]string{"env": "prod"}, true, []model.Rollout{d.r})[model.LayerGlobal]
		return ok
	}
	d.toSoaking()
	d.look(time.Second)
	if d.want(model.RolloutMoving, 1); granted() {
		t.Error("what is under test was granted")
	}
	d.fleet.serveAll()
	d.look(time.Second)
	d.look(time.Second)
	if d.want(model.RolloutMoving, 2); !granted() {
		t.Error("what has been proved was not granted")
	}
}

// TestCohortPassesOverWhoForgets: a node that took the release with one cohort, and whose agent is an older one since, is not taken with another; the wave for
// all requests takes it.
func TestCohortPassesOverWhoForgets(t *testing.T) {
	d := newDrive(t, newFleet(2), model.WaveSpec{Nodes: 1, Cohort: byHeader, Soak: time.Second}, model.WaveSpec{Nodes: 1, Cohort: fifth, Soak: time.Second}, model.WaveSpec{Percent: 100})
	d.toSoaking()
	first := d.first()
	d.fleet.nodes[first].CannotSplit = "its agent, v1, does not say that it can run two chains side by side"
	d.look(time.Second)
	d.want(model.RolloutMoving, 1)
	if taken := d.r.Waves[1].Nodes; len(taken) != 1 || taken[0] == first {
		t.Fatalf("the wave takes %v, and %s cannot", taken, first)
	}
	d.goOn()
	d.goOn()
	d.want(model.RolloutDone, 2)
	for id, n := range d.fleet.nodes {
		if n.Assigned != after || n.Split != (model.NodeSplit{}) {
			t.Errorf("%s has %v beside %v", id, n.Assigned, n.Split)
		}
	}
}

// TestPlanSaysWhatACohortHides: what the gates of a wave with a cohort cannot tell apart, and on which nodes they can tell nothing, is in the plan.
func TestPlanSaysWhatACohortHides(t *testing.T) {
	gates := []model.GateSpec{
		{ErrorRatio: &model.ErrorRatioGate{Max: 0.1}}, {Watchdog: &model.WatchdogGate{}},
		{Statistic: &model.StatisticGate{Statistics: map[string]string{"a": "server.total_connections"}, WholeNode: true}},
	}
	d := newDrive(t, newFleet(2), model.WaveSpec{Percent: 100, Soak: time.Minute, Cohort: fifth, Gates: gates},
		model.WaveSpec{Percent: 100, Soak: time.Minute, Gates: gates})
	d.fleet.nodes["n1"].CannotTell = "it runs Envoy 1.39.3"
	plan, err := Plan(d.r, d.fleet.observe(d.r).Nodes)
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Notes) != 2 || len(plan.Notes[0]) != 2 || !strings.Contains(plan.Notes[0][0], "watchdog") || !strings.Contains(plan.Notes[0][1], "both chains") || len(plan.Notes[1]) != 0 {
		t.Errorf("the notes are %q", plan.Notes)
	}
	for wave, nodes := range plan.Waves {
		for _, n := range nodes {
			if want := wave == 0 && n.ID == "n1"; strings.Contains(n.Less, "it runs Envoy 1.39.3") != want || !want && n.Less != "" {
				t.Errorf("wave %d, %s: %q", wave, n.ID, n.Less)
			}
		}
	}
}
