package rollout

import (
	"fmt"

	"github.com/waft-project/waft/distributor/model"
)

// Names of gates, as readings have them.
const (
	// gateLoaded is on every wave: each counted node serves, in time, and goes on serving.
	gateLoaded     = "loaded"
	gateErrorRatio = "errorRatio"
)

// readGates reads the gates of the current wave, except for "loaded", which the nodes' progress decides.
func (m *machine) readGates() []model.GateReading {
	var readings []model.GateReading
	for _, g := range m.waveSpec().Gates {
		if g.ErrorRatio != nil {
			verdict, detail := errorRatio(*g.ErrorRatio, m.traffic())
			readings = append(readings, model.GateReading{Gate: gateErrorRatio, Verdict: verdict, Detail: detail, At: m.now})
		}
	}
	return readings
}

func undecidedOf(readings []model.GateReading) []model.GateReading {
	var undecided []model.GateReading
	for _, r := range readings {
		if r.Verdict == model.VerdictInconclusive {
			undecided = append(undecided, r)
		}
	}
	return undecided
}

// traffic is what the moved nodes have served with the release.
type traffic struct {
	// nodes whose chain the release changes.
	nodes            int
	requests, errors int64
}

// traffic adds up the statistics of the moved nodes. A node whose chain stays the same proves nothing about the release:
// its counts are from before.
func (m *machine) traffic() traffic {
	var t traffic
	for id, p := range m.state.Nodes {
		if !moved(p) || p.Chain == p.FromChain {
			continue
		}
		t.nodes++
		if stats := m.view(id).Stats; stats.Chain == p.Chain {
			t.requests += max(stats.Requests, 0)
			t.errors += max(stats.Errors, 0)
		}
	}
	return t
}

// errorRatio compares the share of 5xx answers with the gate's bound.
func errorRatio(g model.ErrorRatioGate, t traffic) (model.GateVerdict, string) {
	samples := g.MinSamples
	if samples == 0 {
		samples = model.DefaultMinSamples
	}
	if t.nodes == 0 {
		return model.VerdictPass, "the release changes nothing on the moved nodes"
	}
	if t.requests < samples {
		return model.VerdictInconclusive, fmt.Sprintf("%d requests are fewer than the %d that a verdict needs", t.requests, samples)
	}
	ratio := float64(t.errors) / float64(t.requests)
	detail := fmt.Sprintf("%d of %d requests were answered 5xx (%.4g %%), the most allowed is %.4g %%", t.errors, t.requests, 100*ratio, 100*g.Max)
	if ratio > g.Max {
		return model.VerdictFail, detail
	}
	return model.VerdictPass, detail
}
