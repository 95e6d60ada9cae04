package model

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestValidateCohorts(t *testing.T) {
	header := func(name, value string) Cohort { return Cohort{Header: CohortHeader{Name: name, Value: value}} }
	all := WaveSpec{Percent: 100}
	for _, test := range []struct {
		name  string
		waves []WaveSpec
		// field of the error; empty: it is right.
		field string
	}{
		{"no cohort", []WaveSpec{{Nodes: 1}, all}, ""},
		{"a header, then all", []WaveSpec{{Nodes: 1, Cohort: header("x-canary", "1")}, all}, ""},
		{"shares grow on the same nodes", []WaveSpec{{Nodes: 1, Cohort: Cohort{Percent: 1}}, {Nodes: 1, Cohort: Cohort{Percent: 50}}, all}, ""},
		{"a header, then a share", []WaveSpec{{Nodes: 2, Cohort: header("x-canary", "1")}, {Nodes: 1, Cohort: Cohort{Percent: 5}}, {Nodes: 1}, all}, ""},
		{"the same cohort on more nodes", []WaveSpec{{Nodes: 1, Cohort: Cohort{Percent: 5}}, {Percent: 50, Cohort: Cohort{Percent: 5}}, all}, ""},
		{"the same cohort on as many", []WaveSpec{{Nodes: 1, Cohort: Cohort{Percent: 5}}, {Nodes: 1, Cohort: Cohort{Percent: 5}}, all}, "spec.waves[1].nodes"},
		{"both", []WaveSpec{{Nodes: 1, Cohort: Cohort{Percent: 5, Header: CohortHeader{"x-canary", "1"}}}, all}, "spec.waves[0].cohort"},
		{"all requests", []WaveSpec{{Nodes: 1, Cohort: Cohort{Percent: 100}}, all}, "spec.waves[0].cohort.percent"},
		{"less than none", []WaveSpec{{Nodes: 1, Cohort: Cohort{Percent: -1}}, all}, "spec.waves[0].cohort.percent"},
		{"a name in upper case", []WaveSpec{{Nodes: 1, Cohort: header("X-Canary", "1")}, all}, "spec.waves[0].cohort.header.name"},
		{"a pseudo header", []WaveSpec{{Nodes: 1, Cohort: header(":path", "/")}, all}, "spec.waves[0].cohort.header.name"},
		{"no value", []WaveSpec{{Nodes: 1, Cohort: header("x-canary", "")}, all}, "spec.waves[0].cohort.header.value"},
		{"a value that no header has", []WaveSpec{{Nodes: 1, Cohort: header("x-canary", "a\nb")}, all}, "spec.waves[0].cohort.header.value"},
		{"shares fall", []WaveSpec{{Nodes: 1, Cohort: Cohort{Percent: 10}}, {Nodes: 1, Cohort: Cohort{Percent: 5}}, all}, "spec.waves[1].cohort"},
		{"a header after a share", []WaveSpec{{Nodes: 1, Cohort: Cohort{Percent: 10}}, {Nodes: 1, Cohort: header("x-canary", "1")}, all}, "spec.waves[1].cohort"},
		{"a cohort after whole nodes", []WaveSpec{{Nodes: 1}, {Nodes: 2, Cohort: Cohort{Percent: 10}}, all}, "spec.waves[1].cohort"},
		{"it ends in a cohort", []WaveSpec{{Percent: 100, Cohort: Cohort{Percent: 10}}}, "spec.waves[0]"},
		{"it does not reach all", []WaveSpec{{Nodes: 1, Cohort: Cohort{Percent: 10}}, {Percent: 50}}, "spec.waves[1]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := ValidateWaves("rollout/r", "spec.waves", test.waves)
			switch {
			case test.field == "" && err != nil:
				t.Error(err)
			case test.field != "" && (err == nil || !strings.Contains(err.Error(), test.field+":") && !strings.Contains(err.Error(), test.field+" ")):
				t.Errorf("%v does not name %s", err, test.field)
			}
		})
	}
}

// TestValidateCohortGates: a gate in a wave with a cohort judges the cohort, or is refused.
func TestValidateCohortGates(t *testing.T) {
	of := func(whole bool, names ...string) GateSpec {
		g := StatisticGate{Statistics: map[string]string{}, Expression: "nodes > 0", WholeNode: whole}
		for i, name := range names {
			g.Statistics[string(rune('a'+i))] = name
		}
		return GateSpec{Statistic: &g}
	}
	for _, test := range []struct {
		name  string
		gate  GateSpec
		field string
	}{
		{"errors", GateSpec{ErrorRatio: &ErrorRatioGate{}}, ""},
		{"stuck", GateSpec{Stuck: &StuckGate{}}, ""},
		{"reloads", GateSpec{Reloads: &ReloadsGate{}}, ""},
		{"watchdog", GateSpec{Watchdog: &WatchdogGate{}}, ""},
		{"latency against others", GateSpec{Comparison: &ComparisonGate{Of: ComparedLatency}}, ""},
		{"errors against others", GateSpec{Comparison: &ComparisonGate{Of: ComparedErrors}}, ""},
		{"stuck against others", GateSpec{Comparison: &ComparisonGate{Of: ComparedStuck}}, "comparison/stuck"},
		{"growth", GateSpec{Growth: &GrowthGate{MaxVMs: new(int64)}}, "growth"},
		{"statistics of the cohort", of(false, "waft.errors.cohort.in", "wasmcustom.waft.requests.authz.cohort", "wasm.authz.cohort.vm_reload_success"), ""},
		{"the others' requests", of(false, "waft.errors.cohort."), "statistic"},
		{"all requests", of(false, "waft.errors.cohort.in", "http.edge.downstream_rq_5xx"), "statistic"},
		{"a filter outside of the cohort", of(false, "wasmcustom.waft.requests.authz"), "statistic"},
		{"a metric of a filter, which both chains may have", of(false, "wasmcustom.orders_total"), "statistic"},
		{"all requests, on purpose", of(true, "http.edge.downstream_rq_5xx"), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			waves := []WaveSpec{{Nodes: 1, Cohort: Cohort{Percent: 5}, Gates: []GateSpec{test.gate}}, {Percent: 100}}
			err := ValidateWaves("rollout/r", "spec.waves", waves)
			if want := "spec.waves[0].gates[0]." + test.field; test.field == "" && err != nil || test.field != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%v, want %q", err, test.field)
			}
			waves[0].Cohort = Cohort{}
			if err := ValidateWaves("rollout/r", "spec.waves", waves); err != nil {
				t.Errorf("without a cohort: %v", err)
			}
		})
	}
}

func TestSplitHash(t *testing.T) {
	seen := map[string]string{}
	for name, hash := range map[string]string{
		"a share":          SplitHash("a", "b", Cohort{Percent: 5}),
		"a larger one":     SplitHash("a", "b", Cohort{Percent: 6}),
		"the other way":    SplitHash("b", "a", Cohort{Percent: 5}),
		"a header":         SplitHash("a", "b", Cohort{Header: CohortHeader{"x", "1"}}),
		"another value":    SplitHash("a", "b", Cohort{Header: CohortHeader{"x", "2"}}),
		"words that run":   SplitHash("a", "b", Cohort{Header: CohortHeader{"x", "1\"\n\"2"}}),
		"no cohort at all": SplitHash("a", "b", Cohort{}),
	} {
		if other, twice := seen[hash]; twice {
			t.Errorf("%s and %s have one hash", name, other)
		}
		seen[hash] = name
	}
	if SplitHash("a", "b", Cohort{}) != "b" || SplitHash("b", "b", Cohort{Percent: 5}) != "b" {
		t.Error("what is one chain must have its own hash")
	}
}

// TestCohortIsLeftOut holds that what was stored before there were cohorts reads and is written as it was.
func TestCohortIsLeftOut(t *testing.T) {
	for _, value := range []any{Node{ID: "n"}, WaveSpec{Nodes: 1}, NodeProgress{State: NodeServing}, Statistics{Requests: 1}, Chain{Hash: "h"}} {
		data, err := json.Marshal(value)
		if err != nil || strings.Contains(strings.ToLower(string(data)), "cohort") || strings.Contains(string(data), "split") {
			t.Errorf("%T: %s, %v", value, data, err)
		}
	}
}
