package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

var hexA = "sha256:" + strings.Repeat("a", 64)

// fieldsOf are the fields that the joined problems name, in order.
func fieldsOf(t *testing.T, err error) []string {
	t.Helper()
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		if _, leaf := err.(*Error); !leaf {
			var fields []string
			for _, e := range joined.Unwrap() {
				fields = append(fields, fieldsOf(t, e)...)
			}
			return fields
		}
	}
	problem, ok := err.(*Error)
	if !ok || !errors.Is(err, ErrInvalid) || problem.Object == "" || problem.Message == "" || problem.Next == "" {
		t.Fatalf("%v is not a whole *Error of kind ErrInvalid", err)
	}
	return []string{problem.Field}
}

func goodFilter(name string) FilterSpec {
	priority := int32(10)
	return FilterSpec{Name: name, Module: &Module{Reference: "localhost:7071/filters/authz:1", Artifact: hexA, Digest: hexA, Size: 1 << 20}, Phase: PhaseAuthn,
		Priority: &priority, FailurePolicy: FailClosed, Config: json.RawMessage(`{"issuer":"https://issuer.example"}`)}
}

func TestValidateRelease(t *testing.T) {
	for _, test := range []struct {
		name   string
		spoil  func(*Release)
		fields []string
	}{
		{"good", func(*Release) {}, nil},
		{"empty on purpose", func(r *Release) { r.Filters = nil }, nil},
		{"a filter that says only its name", func(r *Release) { r.Overrides = []FilterSpec{{Name: "authz"}} }, nil},
		{"name", func(r *Release) { r.ID.Name = "Edge Auth" }, []string{"metadata.name"}},
		{"no layer", func(r *Release) { r.Layer = "" }, []string{"metadata.layer"}},
		{"layer kind", func(r *Release) { r.Layer = "group/a" }, []string{"metadata.layer"}},
		{"layer name", func(r *Release) { r.Layer = "team/" }, []string{"metadata.layer"}},
		{"filter name", func(r *Release) { r.Filters[0].Name = "" }, []string{"spec.filters[0].name"}},
		{"twice", func(r *Release) { r.Filters = append(r.Filters, goodFilter("authz")) }, []string{"spec.filters[1].name"}},
		{"phase", func(r *Release) { r.Filters[0].Phase = "authn" }, []string{"spec.filters[0].phase"}},
		{"policy", func(r *Release) { r.Filters[0].FailurePolicy = "OPEN" }, []string{"spec.filters[0].failurePolicy"}},
		{"fail open authn", func(r *Release) { r.Filters[0].FailurePolicy = FailOpen }, []string{"spec.filters[0].failurePolicy"}},
		{"fail open without phase", func(r *Release) { r.Filters[0].FailurePolicy, r.Filters[0].Phase = FailOpen, PhaseNone }, nil},
		{"config duplicates", func(r *Release) { r.Filters[0].Config = json.RawMessage(`{"rules":[{"a":1,"a":2}]}`) }, []string{"spec.filters[0].config.rules[0].a"}},
		{"config array", func(r *Release) { r.Filters[0].Config = json.RawMessage(`[9007199254740993]`) }, []string{"spec.filters[0].config[0]"}},
		{"config syntax", func(r *Release) { r.Filters[0].Config = json.RawMessage(`{`) }, []string{"spec.filters[0].config"}},
		{"config size", func(r *Release) { r.Filters[0].Config = json.RawMessage(`"` + strings.Repeat("a", MaxConfig) + `"`) }, []string{"spec.filters[0].config"}},
		{"module digests", func(r *Release) { r.Filters[0].Module.Artifact, r.Filters[0].Module.Digest = "sha256:A", "latest" }, []string{"spec.filters[0].module.artifact", "spec.filters[0].module.digest"}},
		{"module size", func(r *Release) { r.Filters[0].Module.Size = 0 }, []string{"spec.filters[0].module.size"}},
		{"module reference", func(r *Release) { r.Filters[0].Module.Reference = strings.Repeat("a", MaxReference+1) }, []string{"spec.filters[0].module.reference"}},
		{"override", func(r *Release) { r.Overrides = []FilterSpec{{Name: "UP"}} }, []string{"spec.overrides[0].name"}},
		{"too many", func(r *Release) {
			for i := range MaxFilters {
				r.Filters = append(r.Filters, FilterSpec{Name: "f" + strings.Repeat("a", i%60) + string(rune('a'+i/60))})
			}
		}, []string{"spec.filters"}},
		{"several at once", func(r *Release) { r.ID.Name, r.Filters[0].Phase = "", "X" }, []string{"metadata.name", "spec.filters[0].phase"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := Release{ID: ReleaseID{Name: "edge-auth"}, Layer: LayerGlobal, Filters: []FilterSpec{goodFilter("authz")}}
			test.spoil(&r)
			if got := fieldsOf(t, ValidateRelease(r)); !slices.Equal(got, test.fields) {
				t.Fatalf("got %q, want %q (%v)", got, test.fields, ValidateRelease(r))
			}
		})
	}
}

func TestValidateRolloutSpec(t *testing.T) {
	good := RolloutSpec{Release: ReleaseID{Name: "edge-auth", Hash: hexA}, Selector: "env=prod", Waves: []WaveSpec{
		{Nodes: 1, Soak: 30 * time.Second},
		{Selector: "zone=a"},
		{Percent: 25, Gates: []GateSpec{{ErrorRatio: &ErrorRatioGate{Max: 0.01}}}},
		{Percent: 100},
	}}
	for _, test := range []struct {
		name   string
		spoil  func(*RolloutSpec)
		fields []string
	}{
		{"good", func(*RolloutSpec) {}, nil},
		{"no waves", func(s *RolloutSpec) { s.Waves = nil }, nil},
		{"no release", func(s *RolloutSpec) { s.Release = ReleaseID{} }, []string{"spec.release", "spec.release"}},
		{"selector", func(s *RolloutSpec) { s.Selector = "env==" + "=" }, []string{"spec.target.selector"}},
		{"empty wave", func(s *RolloutSpec) { s.Waves[0].Nodes = 0 }, []string{"spec.waves[0]"}},
		{"two shares", func(s *RolloutSpec) { s.Waves[0].Percent = 3 }, []string{"spec.waves[0]"}},
		{"negative nodes", func(s *RolloutSpec) { s.Waves[0].Nodes = -1 }, []string{"spec.waves[0].nodes"}},
		{"percent", func(s *RolloutSpec) { s.Waves[3].Percent = 101 }, []string{"spec.waves[3].percent"}},
		{"percent that does not grow", func(s *RolloutSpec) { s.Waves[3].Percent = 25 }, []string{"spec.waves[3].percent"}},
		{"a count that does not grow", func(s *RolloutSpec) { s.Waves[3] = WaveSpec{Nodes: 1} }, []string{"spec.waves[3].nodes"}},
		{"over a selector", func(s *RolloutSpec) { s.Waves[2], s.Waves[1] = s.Waves[1], s.Waves[2]; s.Waves[3].Percent = 20 }, []string{"spec.waves[3].percent"}},
		{"wave selector", func(s *RolloutSpec) { s.Waves[1].Selector = "a in" }, []string{"spec.waves[1].selector"}},
		{"soak", func(s *RolloutSpec) { s.Waves[0].Soak = -1 }, []string{"spec.waves[0].soak"}},
		{"deadline", func(s *RolloutSpec) { s.Waves[0].Deadline = MaxDeadline + 1 }, []string{"spec.waves[0].deadline"}},
		{"empty gate", func(s *RolloutSpec) { s.Waves[0].Gates = []GateSpec{{}} }, []string{"spec.waves[0].gates[0]"}},
		{"cap", func(s *RolloutSpec) { s.MaxNotServing = -1 }, []string{"spec.maxNotServing"}},
		{"no gate", func(s *RolloutSpec) { s.Waves[2].Gates[0] = GateSpec{} }, []string{"spec.waves[2].gates[0]"}},
		{"two gates in one", func(s *RolloutSpec) { s.Waves[2].Gates[0].Approval = &ApprovalGate{} }, []string{"spec.waves[2].gates[0]"}},
		{"the same gate twice", func(s *RolloutSpec) { s.Waves[2].Gates = append(s.Waves[2].Gates, s.Waves[2].Gates[0]) }, []string{"spec.waves[2].gates[1]"}},
		{"denied", func(s *RolloutSpec) { s.Waves[2].Gates[0] = GateSpec{DeniedRatio: &DeniedRatioGate{Max: -1}} }, []string{"spec.waves[2].gates[0].deniedRatio.max"}},
		{"coverage without a bound", func(s *RolloutSpec) { s.Waves[2].Gates[0] = GateSpec{Coverage: &CoverageGate{MinSamples: 50}} }, []string{"spec.waves[2].gates[0].coverage.min"}},
		{"coverage", func(s *RolloutSpec) { s.Waves[2].Gates[0] = GateSpec{Coverage: &CoverageGate{Min: 2}} }, []string{"spec.waves[2].gates[0].coverage.min"}},
		{"comparison", func(s *RolloutSpec) { s.Waves[2].Gates[0] = GateSpec{Comparison: &ComparisonGate{Of: "luck"}} }, []string{"spec.waves[2].gates[0].comparison.of"}},
		{"increase", func(s *RolloutSpec) {
			s.Waves[2].Gates[0] = GateSpec{Comparison: &ComparisonGate{Of: ComparedErrors, MaxIncrease: 2}}
		}, []string{"spec.waves[2].gates[0].comparison.maxIncrease"}},
		{"comparison of latency", func(s *RolloutSpec) {
			s.Waves[2].Gates[0] = GateSpec{Comparison: &ComparisonGate{Of: ComparedLatency, MaxIncrease: 2, Percentile: 99.9, Slack: time.Millisecond}}
		}, nil},
		{"its bounds", func(s *RolloutSpec) {
			s.Waves[2].Gates[0] = GateSpec{Comparison: &ComparisonGate{Of: ComparedLatency, MaxIncrease: -1, Percentile: 100, Slack: -1, MinSamples: -1}}
		}, []string{"spec.waves[2].gates[0].comparison.maxIncrease", "spec.waves[2].gates[0].comparison.percentile",
			"spec.waves[2].gates[0].comparison.slack", "spec.waves[2].gates[0].comparison.minSamples"}},
		{"a percentile of errors", func(s *RolloutSpec) {
			s.Waves[2].Gates[0] = GateSpec{Comparison: &ComparisonGate{Of: ComparedErrors, Percentile: 99}}
		}, []string{"spec.waves[2].gates[0].comparison"}},
		{"stuck", func(s *RolloutSpec) { s.Waves[2].Gates[0] = GateSpec{Stuck: &StuckGate{Max: 1.1}} }, []string{"spec.waves[2].gates[0].stuck.max"}},
		{"watchdog", func(s *RolloutSpec) { s.Waves[2].Gates[0] = GateSpec{Watchdog: &WatchdogGate{Max: -1}} }, []string{"spec.waves[2].gates[0].watchdog.max"}},
		{"reloads", func(s *RolloutSpec) { s.Waves[2].Gates[0] = GateSpec{Reloads: &ReloadsGate{Max: -1}} }, []string{"spec.waves[2].gates[0].reloads.max"}},
		{"growth", func(s *RolloutSpec) {
			s.Waves[2].Gates[0] = GateSpec{Growth: &GrowthGate{MaxMemory: new(int64(-1)), MaxVMs: new(int64(-1))}}
		}, []string{"spec.waves[2].gates[0].growth.maxMemory", "spec.waves[2].gates[0].growth.maxVms"}},
		{"growth without a bound", func(s *RolloutSpec) { s.Waves[2].Gates[0] = GateSpec{Growth: &GrowthGate{}} }, []string{"spec.waves[2].gates[0].growth"}},
		{"statistic", func(s *RolloutSpec) {
			s.Waves[2].Gates[0] = GateSpec{Statistic: &StatisticGate{Statistics: map[string]string{"orders_2": "wasmcustom.orders"}, Expression: "increase.orders_2 > 0.0"}}
		}, nil},
		{"statistic without anything", func(s *RolloutSpec) { s.Waves[2].Gates[0] = GateSpec{Statistic: &StatisticGate{}} },
			[]string{"spec.waves[2].gates[0].statistic.statistics", "spec.waves[2].gates[0].statistic.expression"}},
		{"statistic whose names are none", func(s *RolloutSpec) {
			s.Waves[2].Gates[0] = GateSpec{Statistic: &StatisticGate{Statistics: map[string]string{"2x": "a b"}, Expression: "true", Once: strings.Repeat("x", MaxExpression+1)}}
		}, []string{"spec.waves[2].gates[0].statistic.statistics", "spec.waves[2].gates[0].statistic.statistics.2x", "spec.waves[2].gates[0].statistic.once"}},
		{"too many statistics", func(s *RolloutSpec) {
			for i := range s.Waves[:2] {
				g := StatisticGate{Statistics: map[string]string{}, Expression: "true"}
				for j := range MaxStatistics {
					g.Statistics[fmt.Sprintf("s%d", j)] = fmt.Sprintf("wave%d.s%d", i, j)
				}
				s.Waves[i].Gates = []GateSpec{{Statistic: &g}}
			}
		}, []string{"spec.waves"}},
		{"each of them, all at once", func(s *RolloutSpec) {
			s.Waves[2].Gates = []GateSpec{{Stuck: &StuckGate{}}, {Watchdog: &WatchdogGate{}}, {Reloads: &ReloadsGate{}}, {Growth: &GrowthGate{MaxVMs: new(int64(0))}},
				{Comparison: &ComparisonGate{Of: ComparedStuck}}, {Comparison: &ComparisonGate{Of: ComparedLatency}}}
		}, nil},
		{"note", func(s *RolloutSpec) {
			s.Waves[2].Gates[0] = GateSpec{Approval: &ApprovalGate{Note: strings.Repeat("x", MaxGateText+1)}}
		}, []string{"spec.waves[2].gates[0].approval.note"}},
		{"prometheus", func(s *RolloutSpec) {
			s.Waves[2].Gates[0] = GateSpec{Prometheus: &PrometheusGate{Server: "prometheus:9090"}}
		},
			[]string{"spec.waves[2].gates[0].prometheus.server", "spec.waves[2].gates[0].prometheus.query", "spec.waves[2].gates[0].prometheus"}},
		{"bounds", func(s *RolloutSpec) {
			s.Waves[2].Gates[0] = GateSpec{Prometheus: &PrometheusGate{Server: "http://p", Query: "up", Max: new(1.0), Min: new(2.0)}}
		}, []string{"spec.waves[2].gates[0].prometheus"}},
		{"webhook", func(s *RolloutSpec) {
			s.Waves[2].Gates[0] = GateSpec{Webhook: &WebhookGate{URL: "https://me:secret@hook.example", Every: time.Millisecond}}
		}, []string{"spec.waves[2].gates[0].webhook.url", "spec.waves[2].gates[0].webhook.every"}},
		{"ratio", func(s *RolloutSpec) { s.Waves[2].Gates[0].ErrorRatio.Max = 1.5 }, []string{"spec.waves[2].gates[0].errorRatio.max"}},
		{"ratio not a number", func(s *RolloutSpec) { s.Waves[2].Gates[0].ErrorRatio.Max = math.NaN() }, []string{"spec.waves[2].gates[0].errorRatio.max"}},
		{"samples", func(s *RolloutSpec) { s.Waves[2].Gates[0].ErrorRatio.MinSamples = -1 }, []string{"spec.waves[2].gates[0].errorRatio.minSamples"}},
		{"too many gates", func(s *RolloutSpec) { s.Waves[0].Gates = make([]GateSpec, MaxGates+1) }, []string{"spec.waves[0].gates"}},
		{"too many waves", func(s *RolloutSpec) { s.Waves = make([]WaveSpec, MaxWaves+1) }, []string{"spec.waves"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := good.Clone()
			test.spoil(&s)
			if got := fieldsOf(t, ValidateRolloutSpec("rollout/r", s)); !slices.Equal(got, test.fields) {
				t.Fatalf("got %q, want %q", got, test.fields)
			}
		})
	}
}

func TestErrorNamesTheField(t *testing.T) {
	err := ValidateWaves("rollout/r", "spec.waves", []WaveSpec{{Nodes: 1}, {Percent: 200}})
	if got, want := err.Error(), "rollout/r: spec.waves[1].percent: 200 is no share of the target; use 1 to 100"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestNames(t *testing.T) {
	for name, good := range map[string]bool{"a": true, "edge-auth": true, "1": true, strings.Repeat("a", 63): true, "": false, strings.Repeat("a", 64): false, "A": false, "-a": false, "a-": false, "a.b": false, "é": false} {
		if err := ValidateName("o", "f", name); (err == nil) != good {
			t.Errorf("name %q: %v", name, err)
		}
	}
	for id, good := range map[string]bool{"edge-1": true, "sidecar~10.1.1.1~pod.ns~ns.svc.cluster.local": true, "Host_1:8080": true, "": false, "a/b": false, "..": false, ".": false, "a b": false, "é": false, strings.Repeat("a", 254): false} {
		if err := ValidateNodeID("o", "f", id); (err == nil) != good {
			t.Errorf("node id %q: %v", id, err)
		}
	}
	for layer, good := range map[Layer]bool{"global": true, "team/a": true, "service/a-b": true, "": false, "team": false, "team/": false, "team/A": false, "global/a": false, "x/a": false, "team/a/b": false} {
		if err := ValidateLayer("o", "f", layer); (err == nil) != good {
			t.Errorf("layer %q: %v", layer, err)
		}
	}
	for digest, good := range map[string]bool{hexA: true, "": false, "sha256:": false, hexA + "a": false, strings.ToUpper(hexA): false, "sha512" + hexA[6:]: false} {
		if err := ValidateDigest("o", "f", digest); (err == nil) != good {
			t.Errorf("digest %q: %v", digest, err)
		}
	}
	for _, test := range []struct {
		key, value string
		good       bool
	}{{"env", "prod", true}, {"waft.dev/zone", "", true}, {"A_b.c", "X.y_z-1", true}, {"", "x", false}, {"/a", "x", false}, {"a/", "x", false}, {"env", "a b", false}, {"env", "-a", false}, {"-env", "a", false}, {"env", strings.Repeat("a", 64), false}} {
		if err := ValidateLabels("o", "f", map[string]string{test.key: test.value}); (err == nil) != test.good {
			t.Errorf("label %q=%q: %v", test.key, test.value, err)
		}
	}
	many := map[string]string{}
	for i := range MaxLabels + 1 {
		many["k"+strings.Repeat("a", i%50)+string(rune('a'+i/50))] = ""
	}
	if ValidateLabels("o", "f", many) == nil {
		t.Error("too many labels were taken")
	}
}

func TestLayerOrder(t *testing.T) {
	layers := []Layer{"service/a", "team/b", "service/b", "global", "team/a"}
	slices.SortFunc(layers, CompareLayers)
	if want := []Layer{"global", "team/a", "team/b", "service/a", "service/b"}; !slices.Equal(layers, want) {
		t.Errorf("got %v", layers)
	}
}
