package rollout

import (
	"math"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

func TestErrorRatio(t *testing.T) {
	for _, test := range []struct {
		name    string
		gate    model.ErrorRatioGate
		traffic traffic
		want    model.GateVerdict
	}{
		{"nothing", model.ErrorRatioGate{Max: 0.5}, traffic{nodes: 1}, model.VerdictInconclusive},
		{"one too few", model.ErrorRatioGate{Max: 0.5}, traffic{nodes: 1, requests: model.DefaultMinSamples - 1, errors: model.DefaultMinSamples - 1}, model.VerdictInconclusive},
		{"just enough", model.ErrorRatioGate{Max: 0.5}, traffic{nodes: 1, requests: model.DefaultMinSamples, errors: model.DefaultMinSamples}, model.VerdictFail},
		{"the most allowed", model.ErrorRatioGate{Max: 0.5}, traffic{nodes: 1, requests: 100, errors: 50}, model.VerdictPass},
		{"one more", model.ErrorRatioGate{Max: 0.5}, traffic{nodes: 1, requests: 100, errors: 51}, model.VerdictFail},
		{"none allowed", model.ErrorRatioGate{}, traffic{nodes: 1, requests: 100}, model.VerdictPass},
		{"one where none is allowed", model.ErrorRatioGate{}, traffic{nodes: 1, requests: 1000, errors: 1}, model.VerdictFail},
		{"all allowed", model.ErrorRatioGate{Max: 1}, traffic{nodes: 1, requests: 100, errors: 100}, model.VerdictPass},
		{"own minimum", model.ErrorRatioGate{MinSamples: 1}, traffic{nodes: 1, requests: 1, errors: 1}, model.VerdictFail},
		{"nothing changes", model.ErrorRatioGate{}, traffic{}, model.VerdictPass},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, detail := errorRatio(test.gate, test.traffic); got != test.want || detail == "" {
				t.Errorf("got %s (%s), want %s", got, detail, test.want)
			}
		})
	}
	_, detail := errorRatio(model.ErrorRatioGate{Max: 0.01}, traffic{nodes: 1, requests: 400, errors: 12})
	if want := "12 of 400 requests were answered 5xx (3 %), the most allowed is 1 %"; detail != want {
		t.Errorf("got %s", detail)
	}
}

var gated = model.WaveSpec{Percent: 100, Soak: 20 * time.Second, Gates: []model.GateSpec{{ErrorRatio: &model.ErrorRatioGate{Max: 0.1, MinSamples: 10}}}}

func TestTrafficOfUnchangedNodesDoesNotCount(t *testing.T) {
	d := newDrive(t, newFleet(2), gated)
	d.fleet.nodes["n1"].Assigned = after // it has the release already, from an earlier rollout
	d.fleet.serve("n1")
	d.fleet.nodes["n1"].Stats = model.Statistics{Chain: chainOf(after), Requests: 1000, Errors: 1000}
	d.toSoaking()
	d.look(20*time.Second + SampleGrace)
	d.want(model.RolloutPaused, 0) // n2 has no requests
	d.must(Resume{by})
	d.fleet.nodes["n2"].Stats = model.Statistics{Chain: chainOf(after), Requests: 10, Errors: 1}
	d.look(20 * time.Second)
	d.want(model.RolloutDone, 0)
}

func TestResumeSoaksAgain(t *testing.T) {
	d := newDrive(t, newFleet(1), gated)
	d.toSoaking()
	d.look(20*time.Second + SampleGrace)
	d.want(model.RolloutPaused, 0)
	d.must(Resume{by})
	d.look(19 * time.Second)
	d.want(model.RolloutSoaking, 0)
	d.fleet.nodes["n1"].Stats = model.Statistics{Chain: chainOf(after), Requests: 10}
	d.look(time.Second)
	d.want(model.RolloutDone, 0)
	var verdicts []model.GateVerdict
	for _, r := range d.r.Waves[0].Readings {
		verdicts = append(verdicts, r.Verdict)
	}
	if len(verdicts) != 3 || verdicts[0] != model.VerdictPass || verdicts[1] != model.VerdictInconclusive || verdicts[2] != model.VerdictPass {
		t.Errorf("readings %v", verdicts)
	}
}

func TestPromoteDoesNotOverruleAFailedGate(t *testing.T) {
	d := newDrive(t, newFleet(1), gated)
	d.toSoaking()
	d.must(Promote{by})
	d.fleet.nodes["n1"].Stats = model.Statistics{Chain: chainOf(after), Requests: 10, Errors: 10}
	d.look(time.Second)
	d.want(model.RolloutRollingBack, 0)
}

func TestPromoteOverrulesAnInconclusiveGate(t *testing.T) {
	d := newDrive(t, newFleet(1), gated)
	d.toSoaking()
	d.look(20*time.Second + SampleGrace)
	d.want(model.RolloutPaused, 0)
	d.must(Promote{by})
	d.look(0)
	d.want(model.RolloutDone, 0)
	if !d.r.Waves[0].Overruled {
		t.Error("the wave does not say that it was overruled")
	}
}

func TestStatisticsOfAnotherChainDoNotCount(t *testing.T) {
	d := newDrive(t, newFleet(1), gated)
	d.toSoaking()
	d.fleet.nodes["n1"].Stats = model.Statistics{Chain: chainOf(before), Requests: 100, Errors: 100}
	d.look(time.Second)
	d.want(model.RolloutSoaking, 0)
}

func TestDeniedRatio(t *testing.T) {
	for _, test := range []struct {
		denied, requests int64
		want             model.GateVerdict
	}{{0, 19, model.VerdictInconclusive}, {19, 19, model.VerdictInconclusive}, {10, 100, model.VerdictPass}, {11, 100, model.VerdictFail}} {
		got, detail := deniedRatio(model.DeniedRatioGate{Max: 0.1}, traffic{nodes: 1, requests: test.requests, denied: test.denied, errors: test.requests})
		if got != test.want {
			t.Errorf("%d of %d: %s (%s), want %s", test.denied, test.requests, got, detail, test.want)
		}
	}
}

// A node that counts no 401 and 403 cannot pass for one that has none. What it says is still too much where that is too much.
func TestDeniedThatNobodyCounts(t *testing.T) {
	told, dumb := traffic{}, traffic{}
	for range 2 {
		told.add(&model.Statistics{Requests: 100, DeniedKnown: true})
		dumb.add(&model.Statistics{Requests: 100})
	}
	told.add(&model.Statistics{}) // none to count
	some := told
	some.add(&model.Statistics{Requests: 1})
	denying := dumb
	denying.add(&model.Statistics{Requests: 100, Denied: 100, DeniedKnown: true})
	told.nodes, dumb.nodes, some.nodes, denying.nodes = 3, 2, 4, 3
	for name, test := range map[string]struct {
		moved, others  traffic
		ratio, compare model.GateVerdict
	}{
		"all count":                   {told, told, model.VerdictPass, model.VerdictPass},
		"none counts":                 {dumb, told, model.VerdictInconclusive, model.VerdictInconclusive},
		"one does not":                {some, told, model.VerdictInconclusive, model.VerdictInconclusive},
		"what is counted is too much": {denying, told, model.VerdictFail, model.VerdictFail},
		"those compared with do not":  {told, some, model.VerdictPass, model.VerdictInconclusive},
		"they do not, and these deny": {denying, dumb, model.VerdictFail, model.VerdictInconclusive},
	} {
		t.Run(name, func(t *testing.T) {
			if got, detail := deniedRatio(model.DeniedRatioGate{Max: 0.1}, test.moved); got != test.ratio {
				t.Errorf("deniedRatio: %s (%s), want %s", got, detail, test.ratio)
			}
			if got, detail := comparison(model.ComparisonGate{Of: model.ComparedDenied, MaxIncrease: 0.1}, test.moved, test.others); got != test.compare {
				t.Errorf("comparison: %s (%s), want %s", got, detail, test.compare)
			}
			if got, detail := errorRatio(model.ErrorRatioGate{Max: 0.1}, test.moved); got != model.VerdictPass {
				t.Errorf("errorRatio: %s (%s)", got, detail)
			}
		})
	}
}

func TestCoverage(t *testing.T) {
	for _, test := range []struct {
		seen, requests int64
		want           model.GateVerdict
	}{{0, 19, model.VerdictInconclusive}, {0, 100, model.VerdictFail}, {89, 100, model.VerdictFail}, {90, 100, model.VerdictPass}, {100, 100, model.VerdictPass}} {
		got, detail := coverage(model.CoverageGate{Min: 0.9}, traffic{nodes: 1, requests: test.requests, seen: test.seen})
		if got != test.want {
			t.Errorf("%d of %d: %s (%s), want %s", test.seen, test.requests, got, detail, test.want)
		}
	}
}

func TestComparison(t *testing.T) {
	nodes := func(requests, errors, denied int64) traffic {
		return traffic{nodes: 1, requests: requests, errors: errors, denied: denied}
	}
	for _, test := range []struct {
		name          string
		of            model.Compared
		moved, others traffic
		want          model.GateVerdict
	}{
		{"both well", model.ComparedErrors, nodes(100, 0, 0), nodes(100, 0, 0), model.VerdictPass},
		{"the moved ones fail", model.ComparedErrors, nodes(100, 12, 0), nodes(100, 1, 0), model.VerdictFail},
		{"no more than is allowed", model.ComparedErrors, nodes(100, 11, 0), nodes(100, 1, 0), model.VerdictPass},
		{"all fail alike: it is not the release", model.ComparedErrors, nodes(100, 60, 0), nodes(1000, 600, 0), model.VerdictPass},
		{"the others fail", model.ComparedErrors, nodes(100, 0, 0), nodes(100, 90, 0), model.VerdictPass},
		{"the moved ones deny, which is no error", model.ComparedErrors, nodes(100, 0, 100), nodes(100, 0, 0), model.VerdictPass},
		{"the moved ones deny", model.ComparedDenied, nodes(100, 0, 100), nodes(100, 0, 0), model.VerdictFail},
		{"few of the moved", model.ComparedErrors, nodes(99, 99, 0), nodes(100, 0, 0), model.VerdictInconclusive},
		{"few of the others", model.ComparedErrors, nodes(100, 100, 0), nodes(99, 0, 0), model.VerdictInconclusive},
		{"nobody to compare with", model.ComparedErrors, nodes(100, 100, 0), traffic{}, model.VerdictInconclusive},
		{"nothing changes", model.ComparedErrors, traffic{}, nodes(100, 0, 0), model.VerdictPass},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got, detail := comparison(model.ComparisonGate{Of: test.of, MaxIncrease: 0.1}, test.moved, test.others); got != test.want || detail == "" {
				t.Errorf("got %s (%s), want %s", got, detail, test.want)
			}
		})
	}
}

// compared has a wave of one node out of three, which is compared with the others.
var compared = []model.WaveSpec{
	{Nodes: 1, Soak: 20 * time.Second, Gates: []model.GateSpec{{Comparison: &model.ComparisonGate{Of: model.ComparedErrors, MaxIncrease: 0.1, MinSamples: 10}}}},
	{Percent: 100},
}

func TestComparisonTakesTheNodesThatHaveNotMoved(t *testing.T) {
	for name, test := range map[string]struct {
		lately model.Statistics
		want   model.RolloutPhase
	}{
		"they do well":      {model.Statistics{Requests: 10}, model.RolloutRollingBack},
		"they fail as much": {model.Statistics{Requests: 10, Errors: 5}, model.RolloutMoving},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDrive(t, newFleet(3), compared...)
			d.toSoaking()
			for id, n := range d.fleet.nodes {
				n.Stats = model.Statistics{Chain: n.Serving, Requests: 1000} // since yesterday
				if n.Lately = test.lately; id == d.first() {
					n.Stats = model.Statistics{Chain: chainOf(after), Requests: 20, Errors: 10}
				}
			}
			d.look(20 * time.Second)
			d.want(test.want, map[bool]int{true: 1}[test.want == model.RolloutMoving])
		})
	}
}

func TestGateThatIsReadElsewhere(t *testing.T) {
	asked := model.WaveSpec{Percent: 100, Soak: 20 * time.Second, Gates: []model.GateSpec{{Approval: &model.ApprovalGate{}}, {Webhook: &model.WebhookGate{Name: "orders", URL: "https://orders.example"}}}}
	soaking := func(t *testing.T) *drive {
		d := newDrive(t, newFleet(1), asked)
		d.toSoaking()
		d.must(Approve{by})
		d.look(MaxGap)
		return d
	}
	give := func(d *drive, verdict model.GateVerdict, at time.Time) {
		event := d.fleet.observe(d.r)
		event.Elsewhere = map[int]model.GateReading{1: {Verdict: verdict, Detail: "they say so", At: at}}
		d.must(event)
	}
	t.Run("fails at once", func(t *testing.T) {
		d := soaking(t)
		give(d, model.VerdictFail, d.now)
		d.want(model.RolloutRollingBack, 0)
		if readings := d.r.Waves[0].Readings; readings[len(readings)-1].Gate != "webhook/orders" {
			t.Errorf("readings %v", readings)
		}
	})
	t.Run("an answer from before the node served is none", func(t *testing.T) {
		d := soaking(t)
		if served := d.r.Nodes["n1"].Since; !served.After(d.r.Waves[0].MovedAt) {
			t.Fatalf("served at %s, moved at %s", served, d.r.Waves[0].MovedAt)
		}
		give(d, model.VerdictFail, d.r.Nodes["n1"].Since.Add(-time.Millisecond))
		d.want(model.RolloutSoaking, 0)
	})
	t.Run("an answer while the node moves is none", func(t *testing.T) {
		d := newDrive(t, newFleet(1), asked)
		d.toMoving()
		give(d, model.VerdictFail, d.now)
		d.want(model.RolloutMoving, 0)
	})
	t.Run("passes", func(t *testing.T) {
		d := soaking(t)
		d.now = d.now.Add(MaxGap)
		give(d, model.VerdictPass, d.now)
		d.want(model.RolloutDone, 0)
	})
	t.Run("no answer pauses", func(t *testing.T) {
		d := soaking(t)
		d.look(20*time.Second + AnswerGrace)
		d.want(model.RolloutPaused, 0)
	})
	// over is soaking, when the soak is over, and what was answered last was asked before.
	over := func(t *testing.T) (d *drive, asked time.Time) {
		d = soaking(t)
		asked = d.now
		d.now = d.now.Add(MaxGap)
		give(d, model.VerdictPass, asked)
		d.want(model.RolloutSoaking, 0)
		return d, asked
	}
	for name, takes := range map[string]time.Duration{"at once": 0, "as long as it may": 10 * time.Second} {
		t.Run("it answers "+name+" what was asked when the soak ended, and after it", func(t *testing.T) {
			d, asked := over(t)
			asked = asked.Add(MaxGap - time.Second)
			d.now = d.now.Add(takes)
			give(d, model.VerdictPass, asked)
			d.want(model.RolloutSoaking, 0)
			asked = d.now.Add(time.Second)
			d.now = asked.Add(takes)
			give(d, model.VerdictPass, asked)
			d.want(model.RolloutDone, 0)
		})
	}
	t.Run("an answer that cannot tell, to what was asked after the soak, is not waited for as long", func(t *testing.T) {
		d, _ := over(t)
		d.now = d.now.Add(SampleGrace)
		give(d, model.VerdictInconclusive, d.now)
		d.want(model.RolloutPaused, 0)
	})
}

// What a gate elsewhere looks back at is the release's from when the last node of the wave serves it; until then there is nothing that it could look at.
func TestAllServeSince(t *testing.T) {
	d := newDrive(t, newFleet(2), model.WaveSpec{Percent: 100, Soak: time.Minute})
	want := func(first, all time.Time) {
		t.Helper()
		if got := ServedSince(d.r); !got.Equal(first) {
			t.Errorf("the first serves since %s, want %s", got, first)
		}
		if got := AllServeSince(d.r); !got.Equal(all) {
			t.Errorf("all serve since %s, want %s", got, all)
		}
	}
	want(time.Time{}, time.Time{})
	d.toMoving()
	want(time.Time{}, time.Time{})
	d.fleet.serve("n2")
	d.look(time.Second)
	first := d.now
	want(first, time.Time{})
	d.look(time.Second)
	d.fleet.serve("n1")
	d.look(time.Second)
	d.want(model.RolloutSoaking, 0)
	all := d.now
	d.look(time.Second)
	want(first, all)

	d = newDrive(t, newFleet(2), model.WaveSpec{Nodes: 1}, model.WaveSpec{Percent: 100, Soak: time.Minute})
	away := d.fleet.nodes["n2"]
	away.Connected, away.Silent = false, time.Hour
	d.toMoving()
	d.fleet.serveAll()
	d.look(time.Second)
	d.look(time.Second)
	d.want(model.RolloutSoaking, 1)
	if moved := d.r.Waves[1].MovedAt; moved.IsZero() {
		t.Error("the wave whose node is away has not moved it")
	} else {
		want(moved, moved) // there is nobody to be waited for
	}
}

func TestApprovalIsKept(t *testing.T) {
	d := newDrive(t, newFleet(1), model.WaveSpec{Percent: 100, Gates: []model.GateSpec{{Approval: &model.ApprovalGate{Note: "see the dashboard"}}}})
	if err := d.do(Approve{by}); err == nil {
		t.Fatal("a rollout that has not begun was approved")
	}
	d.toSoaking()
	d.look(time.Hour)
	d.want(model.RolloutSoaking, 0)
	d.must(Promote{by})
	d.look(time.Second)
	d.want(model.RolloutSoaking, 0) // promote does not stand for an approval
	d.must(Approve{By{Actor: "ann", Reason: "looks good"}})
	d.look(time.Second)
	d.want(model.RolloutDone, 0)
	if got := d.r.Waves[0].Approval; got == nil || got.Actor != "ann" || got.Reason != "looks good" || got.At.IsZero() {
		t.Errorf("kept %+v", got)
	}
	readings := d.r.Waves[0].Readings
	if last := readings[len(readings)-1]; last.Gate != "approval" || last.Detail != "approved by ann: looks good" {
		t.Errorf("reading %+v", last)
	}
}

// The counts of a large fleet add up, whatever its nodes say that they have counted.
func TestTrafficOfManyWhoSayTooMuch(t *testing.T) {
	const most = math.MaxInt64
	said := model.Statistics{Requests: most, Errors: most, Denied: most, Seen: most, Health: model.Health{Known: true, Stuck: most}}
	for bucket := range said.Health.Latency {
		said.Health.Latency[bucket] = most
	}
	taken := said.Bounded()
	var all traffic
	for range 30_000 {
		before := all
		all.add(&taken)
		if all.requests < before.requests || all.errors < before.errors || all.denied < before.denied || all.seen < before.seen || all.stuck < before.stuck || all.begun() < before.begun() || all.latency.Count() < before.latency.Count() {
			t.Fatalf("%+v, and one node more is %+v", before, all)
		}
	}
}
