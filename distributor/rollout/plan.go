package rollout

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/waft-project/waft/distributor/model"
)

// Planned is what a rollout would do.
type Planned struct {
	// Waves in order, each with the nodes that it would take, in the order in which it takes them.
	Waves [][]PlannedNode
	// Cohorts are those of the waves, in the same order; zero: all requests.
	Cohorts []model.Cohort
	// Notes are what a person should know of the gates of the waves, in the same order: that they have no soak, and what they cannot tell apart by cohort.
	Notes [][]string
	// PassedOver are the nodes that waves with a cohort would pass over, since they cannot run two chains side by side, by id.
	PassedOver []PlannedNode
	// LeftOut are the nodes of the target that no wave would take, by id.
	LeftOut []PlannedNode
}

// PlannedNode is one node of a plan.
type PlannedNode struct {
	ID string
	// Reason is why it is left out, or why its wave would not count it; empty for a node that is counted.
	Reason string
	// From and To are the hashes of the chains that it runs, empty for none, and would run.
	From, To string
	// Less is what is not known of it, or not done for it, since it has no agent, or its Envoy does not tell a cohort's requests apart, or what an application
	// does not take; empty for one that is left out.
	Less string
}

// Plan says what the waves of a rollout that has not begun would take if nothing changed from now on: the same choice that Step makes, of the
// same view. The error is that of a selector that does not parse.
func Plan(r model.Rollout, nodes []NodeView) (Planned, error) {
	m := machine{state: own(r), memo: &Memo{}}
	if err := m.parse(); err != nil {
		return Planned{}, err
	}
	m.see(nodes, nil)
	var plan Planned
	passed := map[string]string{}
	for wave := range m.state.Spec.Waves {
		taken, s := m.planWave(wave)
		for id, reason := range s.passed {
			passed[id] = reason
		}
		plan.Waves, plan.Cohorts = append(plan.Waves, taken), append(plan.Cohorts, m.waveSpec().Cohort)
		plan.Notes = append(plan.Notes, m.waveNotes())
	}
	for _, id := range slices.Sorted(maps.Keys(passed)) {
		plan.PassedOver = append(plan.PassedOver, m.leftOut(id, passed[id]))
	}
	s := m.survey()
	for id, reason := range s.skipped {
		plan.LeftOut = append(plan.LeftOut, m.leftOut(id, reason))
	}
	for _, c := range s.candidates {
		if c.tier == tierAgain {
			continue // a wave has taken it, if with some of its requests only
		}
		plan.LeftOut = append(plan.LeftOut, m.leftOut(c.view.ID, "no wave reaches it"))
	}
	slices.SortFunc(plan.LeftOut, func(a, b PlannedNode) int { return strings.Compare(a.ID, b.ID) })
	return plan, nil
}

// planWave has a wave take its nodes, if nothing changes until it begins.
func (m *machine) planWave(wave int) ([]PlannedNode, survey) {
	m.state.Wave = wave
	s := m.survey()
	taken := []PlannedNode{}
	for _, c := range choose(m.waveSpec(), m.waveSelectors[wave], s.candidates, s.reached, s.total) {
		p := m.atWaveStart(c.view)
		from := p.FromChain
		if c.tier == tierAgain {
			from = m.state.Nodes[c.view.ID].Chain
		}
		m.set(c.view.ID, p)
		one := PlannedNode{ID: c.view.ID, Reason: p.Reason, From: from, To: p.Chain}
		if one.Less = cmp.Or(c.view.Partly, m.cohortLess(c.view)); c.view.Unproved {
			one.Less = m.less()
		}
		taken = append(taken, one)
	}
	return taken, s
}

func (m *machine) leftOut(id, reason string) PlannedNode {
	return PlannedNode{ID: id, Reason: reason, From: m.view(id).CurrentChain, To: m.view(id).TargetChain}
}
