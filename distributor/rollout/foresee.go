package rollout

import (
	"slices"

	"github.com/waft-project/waft/distributor/model"
)

// Foreseen is what a rollout would do with a node next.
type Foreseen struct {
	// Wave takes it, counted from 0; -1: none does, for Reason, or it goes back.
	Wave int
	// Cohort is that of the wave.
	Cohort model.Cohort
	// Back: it goes back to what it had before.
	Back bool
	// Reason is why no wave takes it, or why its wave would not count it; empty for one that is counted.
	Reason string
	// From and To are the hashes of the chain that it has, empty for none, and of the one that it would be given, empty where it is given none.
	From, To string
}

// Foresee says what a rollout that has not ended would do next with the nodes of its target if nothing else changed: the choice that Step makes, of the same view. A node
// with which it is through is not in the map. For one that waits for another rollout, those that the other holds count as free, since they are once its turn comes. The error is that
// of a selector that does not parse.
func Foresee(r model.Rollout, nodes []NodeView) (map[string]Foreseen, error) {
	out := map[string]Foreseen{}
	phase := r.Stage()
	m := machine{state: own(r), memo: &Memo{}, unheld: phase == model.RolloutPending}
	if err := m.parse(); err != nil {
		return nil, err
	}
	m.see(nodes, nil)
	if phase == model.RolloutRollingBack {
		for _, s := range m.seats() {
			if s.p.State == model.NodeRollingBack {
				out[s.id] = Foreseen{Wave: -1, Back: true, From: s.view.CurrentChain, To: s.p.FromChain}
			}
		}
		return out, nil
	}
	if m.state.Wave >= 0 {
		for _, id := range slices.Clone(m.wave().Nodes) {
			if p := m.state.Nodes[id]; p.State != model.NodeSkipped && !m.movedWithWave(p) {
				out[id] = m.foreseen(PlannedNode{ID: id, Reason: p.Reason, From: m.view(id).CurrentChain, To: m.splitHash(p.FromChain, m.view(id).TargetChain, m.waveSpec().Cohort)})
			}
		}
	}
	waves := len(m.state.Spec.Waves)
	passed := map[string]string{}
	for wave := m.state.Wave + 1; wave < waves; wave++ {
		taken, s := m.planWave(wave)
		for _, one := range taken {
			if _, sooner := out[one.ID]; !sooner {
				out[one.ID] = m.foreseen(one)
			}
		}
		for id, reason := range s.passed {
			passed[id] = reason
		}
	}
	m.state.Wave = waves - 1
	last := m.survey()
	never := func(id, reason string) {
		if _, taken := out[id]; !taken {
			out[id] = Foreseen{Wave: -1, Reason: reason, From: m.view(id).CurrentChain}
		}
	}
	for id, reason := range last.skipped {
		never(id, reason)
	}
	for id, reason := range passed {
		never(id, reason)
	}
	for _, c := range last.candidates {
		if c.tier != tierAgain {
			never(c.view.ID, "no wave reaches it")
		}
	}
	return out, nil
}

// foreseen is a node that the current wave takes.
func (m *machine) foreseen(one PlannedNode) Foreseen {
	return Foreseen{Wave: m.state.Wave, Cohort: m.waveSpec().Cohort, Reason: one.Reason, From: one.From, To: one.To}
}
