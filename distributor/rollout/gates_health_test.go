package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

func TestStuck(t *testing.T) {
	for _, test := range []struct {
		name    string
		traffic traffic
		want    model.GateVerdict
	}{
		{"nothing changes", traffic{}, model.VerdictPass},
		{"too few, and all of them", traffic{nodes: 1, stuck: 19}, model.VerdictInconclusive},
		{"nothing is answered", traffic{nodes: 1, stuck: 20}, model.VerdictFail},
		{"the most allowed", traffic{nodes: 1, requests: 90, measured: 90, stuck: 10}, model.VerdictPass},
		{"one more", traffic{nodes: 1, requests: 90, measured: 90, stuck: 11}, model.VerdictFail},
		{"a node says nothing", traffic{nodes: 2, unmeasured: 1, requests: 900, measured: 90, stuck: 1}, model.VerdictInconclusive},
		{"another hangs", traffic{nodes: 2, unmeasured: 1, requests: 900, measured: 20, stuck: 10}, model.VerdictFail},
		{"who says nothing does not thin it out", traffic{nodes: 2, unmeasured: 1, requests: 9000, measured: 10, stuck: 10}, model.VerdictFail},
	} {
		if got, detail := stuck(model.StuckGate{Max: 0.1}, test.traffic); got != test.want || detail == "" {
			t.Errorf("%s: %s (%s), want %s", test.name, got, detail, test.want)
		}
	}
}

func TestIncidents(t *testing.T) {
	node := func(id string, h model.Health) patient {
		h.Known = true
		return patient{node: id, health: h, release: h}
	}
	for _, test := range []struct {
		name              string
		patients          []patient
		watchdog, reloads model.GateVerdict
	}{
		{"nothing changes", nil, model.VerdictPass, model.VerdictPass},
		{"all is well", []patient{node("a", model.Health{}), node("b", model.Health{})}, model.VerdictPass, model.VerdictPass},
		{"as many as may be", []patient{node("a", model.Health{Misses: 2, Reloads: 1, Panics: 1})}, model.VerdictPass, model.VerdictPass},
		{"late workers", []patient{node("a", model.Health{Misses: 1}), node("b", model.Health{Misses: 2})}, model.VerdictFail, model.VerdictPass},
		{"reloads", []patient{node("a", model.Health{Reloads: 3})}, model.VerdictPass, model.VerdictFail},
		{"panics", []patient{node("a", model.Health{Panics: 1}), node("b", model.Health{Reloads: 2})}, model.VerdictPass, model.VerdictFail},
		{"one says nothing", []patient{node("a", model.Health{}), {node: "b"}}, model.VerdictInconclusive, model.VerdictInconclusive},
		{"one says nothing, another too much", []patient{node("a", model.Health{Misses: 9, Reloads: 9}), {node: "b"}}, model.VerdictFail, model.VerdictFail},
	} {
		if got, detail := watchdog(model.WatchdogGate{Max: 2}, test.patients); got != test.watchdog || detail == "" {
			t.Errorf("%s: watchdog: %s (%s), want %s", test.name, got, detail, test.watchdog)
		}
		if got, detail := reloads(model.ReloadsGate{Max: 2}, test.patients); got != test.reloads || detail == "" {
			t.Errorf("%s: reloads: %s (%s), want %s", test.name, got, detail, test.reloads)
		}
	}
	_, detail := reloads(model.ReloadsGate{}, []patient{node("a", model.Health{Reloads: 1, Panics: 2}), node("b", model.Health{})})
	if want := "VMs were loaded again, or a panic was caught in one, 3 times, the most allowed is 0: a 3"; detail != want {
		t.Errorf("got %s", detail)
	}
	_, detail = reloads(model.ReloadsGate{}, []patient{node("a", model.Health{Panics: 1})})
	if want := "VMs were loaded again, or a panic was caught in one, 1 time, the most allowed is 0: a 1"; detail != want {
		t.Errorf("got %s", detail)
	}
	_, detail = watchdog(model.WatchdogGate{}, []patient{node("a", model.Health{Misses: 1})})
	if want := "workers were late 1 time (watchdog_miss), the most allowed is 0: a 1"; detail != want {
		t.Errorf("got %s", detail)
	}
}

func TestGrowth(t *testing.T) {
	const mib = 1 << 20
	gate := model.GrowthGate{MaxMemory: new(int64(64 * mib)), MaxVMs: new(int64(2))}
	well := model.Health{Known: true, Memory: 164 * mib, MemoryBefore: 100 * mib, VMs: 5, VMsBefore: 3, Resident: true}
	with := func(change func(*model.Health)) []patient {
		h := well
		change(&h)
		return []patient{{node: "a", health: well}, {node: "b", health: h}}
	}
	for _, test := range []struct {
		name     string
		gate     model.GrowthGate
		patients []patient
		want     model.GateVerdict
		words    string
	}{
		{"nothing changes", gate, nil, model.VerdictPass, "changes nothing"},
		{"as much as may be", gate, []patient{{node: "a", health: well}}, model.VerdictPass, "a has 64 MiB more memory (164 MiB, before it was 100 MiB), the most allowed is 64 MiB, a has 5 VMs"},
		{"one node with a byte more", gate, with(func(h *model.Health) { h.Memory++ }), model.VerdictFail, "b has 64 MiB more"},
		{"one node with a VM more", gate, with(func(h *model.Health) { h.VMs++ }), model.VerdictFail, "b has 6 VMs, before it had 3"},
		{"less is no growth", gate, with(func(h *model.Health) { h.Memory, h.VMs = mib, 0 }), model.VerdictPass, ""},
		{"memory that is not known", gate, with(func(h *model.Health) { h.MemoryBefore = 0 }), model.VerdictInconclusive, "the memory of b is not known"},
		{"nothing of the time before", gate, with(func(h *model.Health) { h.MemoryBefore, h.VMsBefore, h.VMs = 0, 0, 99 }), model.VerdictInconclusive, "what b took before the chain is not known"},
		{"VMs alone, and nothing of the time before", model.GrowthGate{MaxVMs: new(int64(2))}, with(func(h *model.Health) { h.MemoryBefore, h.VMsBefore, h.VMs = 0, 0, 1 }), model.VerdictInconclusive, "what b took before"},
		{"an Envoy that had no VMs", gate, with(func(h *model.Health) { h.VMsBefore, h.VMs = 0, 2 }), model.VerdictPass, ""},
		{"and VMs that are", gate, with(func(h *model.Health) { h.MemoryBefore, h.VMs = 0, 9 }), model.VerdictFail, "9 VMs"},
		{"memory that nobody asks for", model.GrowthGate{MaxVMs: new(int64(2))}, with(func(h *model.Health) { h.Memory, h.MemoryBefore = 0, 0 }), model.VerdictPass, ""},
		{"a node says nothing", gate, with(func(h *model.Health) { *h = model.Health{} }), model.VerdictInconclusive, "nothing is known of b"},
		{"of the allocator", gate, with(func(h *model.Health) { h.Memory, h.Resident = 900*mib, false }), model.VerdictFail, "memory in Envoy's allocator"},
	} {
		got, detail := growth(test.gate, test.patients, true)
		if got != test.want || !strings.Contains(detail, test.words) {
			t.Errorf("%s: %s (%s), want %s (%s)", test.name, got, detail, test.want, test.words)
		}
	}
	if got, detail := growth(gate, with(func(h *model.Health) { h.VMs = 99 }), false); got != model.VerdictInconclusive {
		t.Errorf("while the VMs of the chain before may be held: %s (%s)", got, detail)
	}
}

// A node that says of no request how long it took is not a fast one.
func TestComparisonOfLatencyThatIsNotKnown(t *testing.T) {
	known := model.Statistics{Requests: 200, Health: model.Health{Known: true, Latency: model.Latency{3: 200}}}
	var one, both traffic
	for _, s := range []model.Statistics{known, {Health: model.Health{Known: true}}} { // the second had no requests
		one.add(&s)
		both.add(&s)
	}
	both.add(&model.Statistics{Requests: 200, Health: model.Health{Known: true}})
	one.nodes, both.nodes = 2, 3
	gate := model.ComparisonGate{Of: model.ComparedLatency, MaxIncrease: 0.5}
	if got, detail := comparison(gate, one, one); got != model.VerdictPass {
		t.Errorf("%s (%s)", got, detail)
	}
	if got, detail := comparison(gate, both, one); got != model.VerdictInconclusive || !strings.Contains(detail, "1 node of 3 did not say") {
		t.Errorf("%s (%s)", got, detail)
	}
}

func TestComparisonOfLatency(t *testing.T) {
	// Buckets: 3 is 5 to 10 ms, 4 to 25 ms, 5 to 50 ms.
	times := func(counts map[int]int64) traffic {
		t := traffic{nodes: 1}
		for bucket, n := range counts {
			t.latency[bucket] = n
		}
		return t
	}
	base := model.ComparisonGate{Of: model.ComparedLatency, MaxIncrease: 0.5}
	for _, test := range []struct {
		name          string
		change        func(*model.ComparisonGate)
		moved, others traffic
		want          model.GateVerdict
	}{
		{"alike", nil, times(map[int]int64{4: 100}), times(map[int]int64{4: 1000}), model.VerdictPass},
		{"faster", nil, times(map[int]int64{3: 100}), times(map[int]int64{5: 1000}), model.VerdictPass},
		{"slower", nil, times(map[int]int64{5: 100}), times(map[int]int64{4: 1000}), model.VerdictFail},
		{"slower by less than is allowed", func(g *model.ComparisonGate) { g.MaxIncrease = 1.1 }, times(map[int]int64{5: 100}), times(map[int]int64{4: 1000}), model.VerdictPass},
		{"slower by less than the slack", func(g *model.ComparisonGate) { g.Slack = 30 * time.Millisecond }, times(map[int]int64{5: 100}), times(map[int]int64{4: 1000}), model.VerdictPass},
		{"twice nothing is nothing", nil, times(map[int]int64{1: 100}), times(map[int]int64{0: 1000}), model.VerdictPass},
		{"a slow tail", nil, times(map[int]int64{3: 98, 9: 2}), times(map[int]int64{3: 1000}), model.VerdictFail},
		{"whose percentile is lower", func(g *model.ComparisonGate) { g.Percentile = 95 }, times(map[int]int64{3: 98, 9: 2}), times(map[int]int64{3: 1000}), model.VerdictPass},
		{"few of the moved", nil, times(map[int]int64{9: 99}), times(map[int]int64{3: 1000}), model.VerdictInconclusive},
		{"few of the others", nil, times(map[int]int64{9: 100}), times(map[int]int64{3: 99}), model.VerdictInconclusive},
		{"own minimum", func(g *model.ComparisonGate) { g.MinSamples = 10 }, times(map[int]int64{9: 10}), times(map[int]int64{3: 10}), model.VerdictFail},
		{"nobody to compare with", nil, times(map[int]int64{9: 100}), traffic{}, model.VerdictInconclusive},
		{"nothing changes", nil, traffic{}, times(map[int]int64{3: 100}), model.VerdictPass},
		{"a moved node says nothing", nil, func() traffic { t := times(map[int]int64{4: 100}); t.nodes, t.unmeasured = 2, 1; return t }(), times(map[int]int64{4: 1000}), model.VerdictInconclusive},
	} {
		g := base
		if test.change != nil {
			test.change(&g)
		}
		if got, detail := comparison(g, test.moved, test.others); got != test.want || detail == "" {
			t.Errorf("%s: %s (%s), want %s", test.name, got, detail, test.want)
		}
	}
	_, detail := comparison(base, times(map[int]int64{5: 100}), times(map[int]int64{4: 1000}))
	if want := "99 % of 100 requests of the moved nodes were answered within 49.8ms, and of 1000 of the others within 24.9ms; the most allowed is 37.3ms"; detail != want {
		t.Errorf("got %s", detail)
	}
}

func TestComparisonOfStuck(t *testing.T) {
	nodes := func(measured, stuck int64) traffic {
		return traffic{nodes: 1, requests: 5000, measured: measured, stuck: stuck}
	}
	for _, test := range []struct {
		name          string
		moved, others traffic
		want          model.GateVerdict
	}{
		{"both well", nodes(100, 0), nodes(100, 0), model.VerdictPass},
		{"the moved ones hang", nodes(80, 20), nodes(100, 1), model.VerdictFail},
		{"all hang alike", nodes(80, 20), nodes(80, 20), model.VerdictPass},
		{"few of the others are measured", nodes(80, 20), nodes(99, 0), model.VerdictInconclusive},
	} {
		if got, detail := comparison(model.ComparisonGate{Of: model.ComparedStuck, MaxIncrease: 0.1}, test.moved, test.others); got != test.want {
			t.Errorf("%s: %s (%s), want %s", test.name, got, detail, test.want)
		}
	}
}

// What no chain may do fails a wave that has no gate at all.
func TestAilingNodeFailsEveryWave(t *testing.T) {
	for name, test := range map[string]struct {
		chain  string
		health model.Health
		want   model.RolloutPhase
		words  string
	}{
		"a worker hangs":              {chainOf(after), model.Health{Hangs: 1}, model.RolloutRollingBack, "watchdog_mega_miss"},
		"a VM cannot be loaded again": {chainOf(after), model.Health{ReloadFailures: 1}, model.RolloutRollingBack, "vm_reload_failure"},
		"a worker is late":            {chainOf(after), model.Health{Misses: 1, Reloads: 1, Panics: 1, Stuck: 1}, model.RolloutSoaking, ""},
		"it hung with another chain":  {chainOf(before), model.Health{Hangs: 1}, model.RolloutSoaking, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDrive(t, newFleet(2), model.WaveSpec{Nodes: 1, Soak: time.Minute}, model.WaveSpec{Percent: 100})
			d.toSoaking()
			test.health.Known = true
			d.fleet.nodes[d.first()].Stats = model.Statistics{Chain: test.chain, Health: test.health}
			d.look(time.Second)
			d.want(test.want, 0)
			if !strings.Contains(d.r.Message, test.words) {
				t.Errorf("message %q", d.r.Message)
			}
		})
	}
}

// A gate on health reads the moved nodes, and growth waits for the end of the soak.
func TestGatesOnHealthAreRead(t *testing.T) {
	for name, test := range map[string]struct {
		gate   model.GateSpec
		health model.Health
		fails  bool
		atOnce bool
	}{
		"stuck":             {model.GateSpec{Stuck: &model.StuckGate{MinSamples: 1}}, model.Health{Stuck: 1}, true, true},
		"stuck, all well":   {model.GateSpec{Stuck: &model.StuckGate{MinSamples: 1}}, model.Health{}, false, false},
		"watchdog":          {model.GateSpec{Watchdog: &model.WatchdogGate{}}, model.Health{Misses: 1}, true, true},
		"reloads":           {model.GateSpec{Reloads: &model.ReloadsGate{}}, model.Health{Reloads: 1}, true, true},
		"panics":            {model.GateSpec{Reloads: &model.ReloadsGate{}}, model.Health{Panics: 1}, true, true},
		"growth":            {model.GateSpec{Growth: &model.GrowthGate{MaxVMs: new(int64(1))}}, model.Health{VMs: 5, VMsBefore: 3}, true, false},
		"growth, all well":  {model.GateSpec{Growth: &model.GrowthGate{MaxVMs: new(int64(2))}}, model.Health{VMs: 5, VMsBefore: 3}, false, false},
		"reloads, all well": {model.GateSpec{Reloads: &model.ReloadsGate{}}, model.Health{Stuck: 1, Misses: 1}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDrive(t, newFleet(2), model.WaveSpec{Nodes: 1, Soak: 20 * time.Second, Gates: []model.GateSpec{test.gate}})
			d.toSoaking()
			test.health.Known = true
			d.fleet.nodes[d.first()].Stats = model.Statistics{Chain: chainOf(after), Requests: 10, Health: test.health}
			d.look(5 * time.Second)
			if got := d.r.Phase == model.RolloutRollingBack; got != test.atOnce {
				t.Fatalf("in the soak it is %s: %s", d.r.Phase, d.r.Message)
			}
			d.look(20 * time.Second)
			if want := map[bool]model.RolloutPhase{true: model.RolloutRollingBack, false: model.RolloutDone}[test.fails]; d.r.Phase != want {
				t.Fatalf("after it it is %s: %s", d.r.Phase, d.r.Message)
			}
			if readings := d.r.Waves[0].Readings; readings[len(readings)-1].Gate != test.gate.Name() {
				t.Errorf("readings %v", readings)
			}
		})
	}
}

// An agent that does not measure it is not taken for one whose Envoy does well.
func TestUnmeasuredHealthPauses(t *testing.T) {
	for _, gate := range []model.GateSpec{
		{Stuck: &model.StuckGate{MinSamples: 1}}, {Watchdog: &model.WatchdogGate{}}, {Reloads: &model.ReloadsGate{}}, {Growth: &model.GrowthGate{MaxVMs: new(int64(2))}},
	} {
		d := newDrive(t, newFleet(1), model.WaveSpec{Percent: 100, Soak: 20 * time.Second, Gates: []model.GateSpec{gate}})
		d.toSoaking()
		d.fleet.nodes["n1"].Stats = model.Statistics{Chain: chainOf(after), Requests: 1000, Seen: 1000}
		d.look(20*time.Second + SampleGrace)
		if d.r.Phase != model.RolloutPaused {
			t.Errorf("%s: %s: %s", gate.Name(), d.r.Phase, d.r.Message)
		}
	}
}

// One node that says all is well does not speak for another that says nothing, or has an older agent.
func TestUnmeasuredNodeBesideAMeasuredOne(t *testing.T) {
	for name, silent := range map[string]model.Statistics{"nothing": {}, "an older agent": {Chain: chainOf(after), Requests: 1000}} {
		d := newDrive(t, newFleet(2), model.WaveSpec{Percent: 100, Soak: 20 * time.Second, Gates: []model.GateSpec{{Stuck: &model.StuckGate{}}}})
		d.toSoaking()
		d.fleet.nodes["n1"].Stats = model.Statistics{Chain: chainOf(after), Requests: 1000, Health: model.Health{Known: true}}
		d.fleet.nodes["n2"].Stats = silent
		d.look(20*time.Second + SampleGrace)
		if d.r.Phase != model.RolloutPaused {
			t.Errorf("%s: %s: %s", name, d.r.Phase, d.r.Message)
		}
	}
}
