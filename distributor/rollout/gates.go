package rollout

import (
	"fmt"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// gateLoaded is the gate of every wave: each counted node serves, in time, and goes on serving.
const gateLoaded = "loaded"

// readGates reads the gates of the current wave, except for "loaded", which the nodes' progress decides.
func (m *machine) readGates() []model.GateReading {
	specs := m.waveSpec().Gates
	readings := make([]model.GateReading, 0, len(specs))
	var moved, lately, others traffic
	var patients []patient
	for i, g := range specs {
		if i == 0 {
			moved = m.traffic()
		}
		if g.Compares() && lately.nodes+others.nodes == 0 {
			lately, others = m.trafficLately(), m.trafficOfOthers()
		}
		if patients == nil && (g.Watchdog != nil || g.Reloads != nil || g.Growth != nil) {
			patients = m.patients()
		}
		reading := model.GateReading{Gate: g.Name(), At: m.now}
		notByCohort := m.notByCohort(g)
		switch {
		case notByCohort != "":
			reading.Verdict, reading.Detail = model.VerdictInconclusive, "it cannot judge a cohort: "+notByCohort
		case g.ErrorRatio != nil:
			reading.Verdict, reading.Detail = errorRatio(*g.ErrorRatio, moved)
		case g.DeniedRatio != nil:
			reading.Verdict, reading.Detail = deniedRatio(*g.DeniedRatio, moved)
		case g.Coverage != nil:
			reading.Verdict, reading.Detail = coverage(*g.Coverage, moved)
		case g.Comparison != nil:
			reading.Verdict, reading.Detail = comparison(*g.Comparison, lately, others)
		case g.Stuck != nil:
			reading.Verdict, reading.Detail = stuck(*g.Stuck, moved)
		case g.Watchdog != nil:
			reading.Verdict, reading.Detail = watchdog(*g.Watchdog, patients)
		case g.Reloads != nil:
			reading.Verdict, reading.Detail = reloads(*g.Reloads, patients)
		case g.Growth != nil:
			reading.Verdict, reading.Detail = growth(*g.Growth, patients, m.soaked())
		case g.Approval != nil:
			reading.Verdict, reading.Detail = approval(m.wave().Approval, *g.Approval)
		case g.Given():
			reading = m.readElsewhere(i, reading)
		}
		readings = append(readings, reading)
	}
	return readings
}

// undecidedOf are the readings that could not decide; an approval that is missing is not one of them: a person is waited for, not samples.
func undecidedOf(specs []model.GateSpec, readings []model.GateReading) []model.GateReading {
	var undecided []model.GateReading
	for i, r := range readings {
		if r.Verdict == model.VerdictInconclusive && specs[i].Approval == nil {
			undecided = append(undecided, r)
		}
	}
	return undecided
}

// unapproved is the gate of the current wave that waits for a person; nil for none.
func (m *machine) unapproved() *model.ApprovalGate {
	if m.wave().Approval != nil {
		return nil
	}
	for _, g := range m.waveSpec().Gates {
		if g.Approval != nil {
			return g.Approval
		}
	}
	return nil
}

// readElsewhere takes what was read of a gate elsewhere, if it is about the wave: a reading from before one of its nodes served says nothing
// of the release.
func (m *machine) readElsewhere(gate int, none model.GateReading) model.GateReading {
	r, ok := m.elsewhere[gate]
	since := ServedSince(m.state)
	if !ok || since.IsZero() || r.At.Before(since) || r.At.After(m.now) { // after now: by a clock that has gone back since
		none.Verdict, none.Detail = model.VerdictInconclusive, "there is no answer yet"
		return none
	}
	if m.soaked() && r.At.Before(m.wave().SoakUntil) && r.Verdict == model.VerdictPass {
		none.Verdict, none.Detail = model.VerdictInconclusive, "the last answer is from before the end of the soak: "+r.Detail
		return none
	}
	r.Gate = none.Gate
	return r
}

// grace is for how long after the soak it is waited for a gate that cannot tell yet.
func (m *machine) grace() time.Duration {
	for i, g := range m.waveSpec().Gates {
		if r, ok := m.elsewhere[i]; g.Elsewhere() && (!ok || r.At.Before(m.wave().SoakUntil) || r.At.After(m.now)) {
			return AnswerGrace
		}
	}
	return SampleGrace
}

// soaked says whether the soak of the current wave is over, or was when it was paused.
func (m *machine) soaked() bool {
	if m.state.Phase == model.RolloutPaused {
		return m.state.Resume == model.RolloutSoaking && !m.state.PausedAt.Before(m.wave().SoakUntil)
	}
	return m.state.Phase == model.RolloutSoaking && !m.now.Before(m.wave().SoakUntil)
}

// ServedSince is since when the first of the current wave's counted nodes serves the release; where none can be counted, when they were moved.
// Zero: none does yet. What is read elsewhere counts from then on, and need not be asked before.
func ServedSince(r model.Rollout) time.Time {
	first, _, _ := served(r)
	return first
}

// AllServeSince is since when all of the current wave's counted nodes serve the release; where none can be counted, when they were moved. Zero: one does
// not yet. What nodes do since then they do with the release.
func AllServeSince(r model.Rollout) time.Time {
	_, last, all := served(r)
	if !all {
		return time.Time{}
	}
	return last
}

// served is since when the first and the last of those of the current wave's counted nodes serve that do, and whether all of them do.
func served(r model.Rollout) (first, last time.Time, all bool) {
	if r.Wave < 0 || r.Wave >= len(r.Waves) {
		return first, last, false
	}
	counted := 0
	all = true
	for _, id := range r.Waves[r.Wave].Nodes {
		p := r.Nodes[id]
		if p.State == model.NodeSkipped || p.Uncounted {
			continue
		}
		counted++
		if p.State != model.NodeServing {
			all = false
			continue
		}
		if first.IsZero() || p.Since.Before(first) {
			first = p.Since
		}
		if p.Since.After(last) {
			last = p.Since
		}
	}
	if counted == 0 {
		at := r.Waves[r.Wave].MovedAt
		return at, at, !at.IsZero()
	}
	return first, last, all
}

// traffic is what some nodes have served.
type traffic struct {
	// nodes that are looked at.
	nodes int
	// unmeasured are those of them that say nothing of stuck and latency.
	unmeasured                     int
	requests, errors, denied, seen int64
	// measured are the requests of the nodes whose health is known; only those have a part in stuck and latency.
	measured, stuck int64
	latency         model.Latency
	// untimed of the nodes have answered requests and say of none how long it took.
	untimed int
	// mute of them have two chains and cannot tell which requests took the one under test.
	mute int
	// undenied of them have answered requests and do not count which of those got 401 or 403: denied may be too low.
	undenied int
}

func (t *traffic) add(s *model.Statistics) {
	t.requests += max(s.Requests, 0)
	t.errors += max(s.Errors, 0)
	t.denied += max(s.Denied, 0)
	t.seen += max(s.Seen, 0)
	if s.Requests > 0 && !s.DeniedKnown {
		t.undenied++
	}
	if !s.Health.Known {
		t.unmeasured++
		return
	}
	t.measured += max(s.Requests, 0)
	t.stuck += max(s.Health.Stuck, 0)
	for bucket, n := range &s.Health.Latency {
		t.latency[bucket] += n
	}
	if s.Requests > 0 && s.Health.Latency.Count() == 0 {
		t.untimed++
	}
}

// traffic adds up the statistics of the moved nodes.
func (m *machine) traffic() traffic {
	m.trafficOf(&m.judged.traffic, &m.judged.counted, func(_ *model.NodeProgress, v *NodeView) *model.Statistics { return &v.Stats })
	m.judged.counted = m.seen()
	return m.judged.traffic
}

// trafficLately is traffic since the nodes of the current wave were moved: what earlier waves have served before is from another time than
// what the nodes that have not moved are asked about.
func (m *machine) trafficLately() traffic {
	var t traffic
	m.trafficOf(&t, &look{}, func(p *model.NodeProgress, v *NodeView) *model.Statistics {
		if p.MovedAt.Before(m.wave().MovedAt) {
			return &v.Lately
		}
		return &v.Stats
	})
	return t
}

// trafficOf adds up those statistics of the moved nodes that were not looked at. A node whose chain stays the same proves nothing about the release:
// its counts are from before.
func (m *machine) trafficOf(t *traffic, looked *look, statistics func(*model.NodeProgress, *NodeView) *model.Statistics) {
	for s := range m.unseen(looked) {
		p := &s.p
		if !moved(*p) || p.Chain == p.FromChain {
			continue
		}
		t.nodes++
		stats := statistics(p, s.view)
		if stats.Chain != p.Chain {
			if !p.Uncounted {
				t.unmeasured++
			}
			continue
		}
		if counts, known := told(p, stats); known {
			t.add(counts)
		} else {
			t.mute++
		}
	}
}

// trafficOfOthers adds up what the nodes of the target that have not moved have served since the wave's nodes did.
func (m *machine) trafficOfOthers() traffic {
	var t traffic
	for i := range m.picture {
		v := &m.picture[i]
		if moved(m.state.Nodes[v.ID]) || !m.targets(v) || !v.Reports {
			continue
		}
		t.nodes++
		t.add(&v.Lately)
	}
	return t
}

const unchanged = "the release changes nothing on the moved nodes"

// tooFew says that there are fewer requests than a verdict needs; empty where there are enough.
func tooFew(requests, wanted, otherwise int64) string {
	if wanted == 0 {
		wanted = otherwise
	}
	if requests >= wanted {
		return ""
	}
	return fmt.Sprintf("%d requests are fewer than the %d that a verdict needs", requests, wanted)
}

// ratio compares the share of some of the requests with the most allowed.
func ratio(of model.Compared, t traffic, most float64, samples int64) (model.GateVerdict, string) {
	if t.nodes == 0 {
		return model.VerdictPass, unchanged
	}
	if untold := t.untold(); untold != "" {
		return model.VerdictInconclusive, untold
	}
	p := partOf(of, t)
	if few := tooFew(p.whole, samples, model.DefaultMinSamples); few != "" {
		return model.VerdictInconclusive, fmt.Sprintf("%s; so far %d %s, the most allowed is %.4g %%", few, p.some, p.what, 100*most)
	}
	detail := fmt.Sprintf("%d of %d requests %s (%.4g %%), the most allowed is %.4g %%", p.some, p.whole, p.what, 100*p.ratio(), 100*most)
	if p.ratio() > most {
		return model.VerdictFail, detail
	}
	return t.passes(of, detail)
}

// passes passes what all the nodes have counted.
func (t traffic) passes(of model.Compared, detail string) (model.GateVerdict, string) {
	switch of {
	case model.ComparedStuck:
		return t.measuredAll(detail)
	case model.ComparedDenied:
		return t.countedDenied(detail)
	}
	return model.VerdictPass, detail
}

const (
	answered5xx    = "were answered 5xx"
	answeredDenied = "were answered 401 or 403"
)

// errorRatio compares the share of 5xx answers with the gate's bound.
func errorRatio(g model.ErrorRatioGate, t traffic) (model.GateVerdict, string) {
	return ratio(model.ComparedErrors, t, g.Max, g.MinSamples)
}

// deniedRatio compares the share of 401 and 403 with the gate's bound.
func deniedRatio(g model.DeniedRatioGate, t traffic) (model.GateVerdict, string) {
	return ratio(model.ComparedDenied, t, g.Max, g.MinSamples)
}

// countedDenied passes what all the nodes have counted: where one counts no 401 and 403, that it says of none is no sign that there were none.
func (t traffic) countedDenied(detail string) (model.GateVerdict, string) {
	if t.undenied > 0 {
		return model.VerdictInconclusive, fmt.Sprintf("%s of %d answered requests and do not count which got 401 or 403: their Envoy is older than 1.40, its connection manager "+
			"is not the agent's and has no access log for it, or the agent is older than the distributor", plural(t.undenied, "node"), t.nodes)
	}
	return model.VerdictPass, detail
}

// coverage compares the share of requests that the filters counted with the gate's bound.
func coverage(g model.CoverageGate, t traffic) (model.GateVerdict, string) {
	if t.nodes == 0 {
		return model.VerdictPass, unchanged
	}
	if untold := t.untold(); untold != "" {
		return model.VerdictInconclusive, untold
	}
	if few := tooFew(t.requests, g.MinSamples, model.DefaultMinSamples); few != "" {
		return model.VerdictInconclusive, fmt.Sprintf("%s; so far the filters counted %d, the least allowed is %.4g %%", few, t.seen, 100*g.Min)
	}
	share := float64(t.seen) / float64(t.requests)
	detail := fmt.Sprintf("the filters counted %d of %d requests (%.4g %%), the least allowed is %.4g %%", t.seen, t.requests, 100*share, 100*g.Min)
	if share < g.Min {
		return model.VerdictFail, detail
	}
	return model.VerdictPass, detail
}

// comparison compares the moved nodes with the others.
func comparison(g model.ComparisonGate, moved, others traffic) (model.GateVerdict, string) {
	if moved.nodes == 0 {
		return model.VerdictPass, unchanged
	}
	if others.nodes == 0 {
		return model.VerdictInconclusive, "no node of the target is left to compare with: leave the gate out of the last wave"
	}
	if untold := moved.untold(); untold != "" {
		return model.VerdictInconclusive, "of the moved nodes: " + untold
	}
	if g.Of == model.ComparedLatency {
		return latency(g, moved, others)
	}
	ours, theirs := partOf(g.Of, moved), partOf(g.Of, others)
	soFar := fmt.Sprintf("; so far %d of %d of the moved nodes %s, and %d of %d of the others; the most allowed is %.4g %% more",
		ours.some, ours.whole, ours.what, theirs.some, theirs.whole, 100*g.MaxIncrease)
	if few := tooFew(ours.whole, g.MinSamples, model.DefaultComparisonSamples); few != "" {
		return model.VerdictInconclusive, "of the moved nodes: " + few + soFar
	}
	if few := tooFew(theirs.whole, g.MinSamples, model.DefaultComparisonSamples); few != "" {
		return model.VerdictInconclusive, "of the nodes not yet moved: " + few + soFar
	}
	if g.Of == model.ComparedDenied {
		// Those that are compared with may have been refused more than is known.
		if verdict, why := others.countedDenied(""); verdict != model.VerdictPass {
			return verdict, "of the nodes not yet moved: " + why
		}
	}
	detail := fmt.Sprintf("%d of %d requests of the moved nodes %s (%.4g %%), and %d of %d of the others (%.4g %%); the most allowed is %.4g %% more",
		ours.some, ours.whole, ours.what, 100*ours.ratio(), theirs.some, theirs.whole, 100*theirs.ratio(), 100*g.MaxIncrease)
	if ours.ratio() > theirs.ratio()+g.MaxIncrease {
		return model.VerdictFail, detail
	}
	return moved.passes(g.Of, detail)
}

// part is some of the requests, out of those that can be compared.
type part struct {
	some, whole int64
	what        string
}

// partOf is what a comparison looks at, of some nodes.
func partOf(of model.Compared, t traffic) part {
	switch of {
	case model.ComparedDenied:
		return part{t.denied, t.requests, answeredDenied}
	case model.ComparedStuck:
		return part{t.stuck, t.begun(), unanswered}
	}
	return part{t.errors, t.requests, answered5xx}
}

func (p part) ratio() float64 { return float64(p.some) / float64(p.whole) }

// approval is whether a person has said that the rollout may go on.
func approval(given *model.Approval, g model.ApprovalGate) (model.GateVerdict, string) {
	if given == nil {
		return model.VerdictInconclusive, because("nobody has approved it", g.Note)
	}
	return model.VerdictPass, because("approved by "+given.Actor, given.Reason)
}
