package rollout

import (
	"fmt"

	"github.com/waft-project/waft/distributor/model"
)

// reasonAnew is why a node is on its way that was there, or may have been.
const reasonAnew = "takes its chain anew, which was changed in an emergency"

// anew says whether a node is on its way to a chain that an emergency made, and the rollout is paused for a person to look: what fails on that way is
// the emergency's, so that it is no reason to take the release back, which would go on in the middle of it.
func (m *machine) anew(p *model.NodeProgress) bool {
	return m.state.Phase == model.RolloutPaused && p.State == model.NodeMoving && p.Reason == reasonAnew
}

// rebase follows a change of nodes' chains that this rollout did not make: a filter was disabled, or is put back, while the rollout runs. What
// its nodes are measured by are then the chains as they are rendered now, and a node that served the old one has to prove the new one. It is
// no failure of the release. But what the waves proved so far they proved of other chains, so the rollout pauses and asks for a person; one
// that takes back goes on, since what it goes back to is rendered anew, too. It says whether anything changed.
func (m *machine) rebase() bool {
	changed, counted := false, []string(nil)
	for i := range m.seats() {
		s := &m.seated[i]
		p, v := &s.p, s.view
		if !taken(*p) {
			continue
		}
		from, chain := p.FromChain, p.Chain
		// A chain that cannot be rendered is empty, and is no chain to go by.
		if from != "" && v.FromChain != "" {
			from = v.FromChain
		}
		if chain != "" && v.TargetChain != "" {
			chain = m.splitHash(from, v.TargetChain, p.Cohort)
		}
		if from == p.FromChain && chain == p.Chain {
			continue
		}
		next := s.p
		next.FromChain, next.Chain = from, chain
		if (p.State == model.NodeServing || p.State == model.NodeMoving) && next.Chain != p.Chain {
			next.State, next.Reason = model.NodeMoving, reasonAnew
		}
		m.setSeat(s, next)
		changed = true
		if !next.Uncounted {
			counted = append(counted, s.id)
		}
	}
	if len(counted) == 0 {
		return changed
	}
	why := fmt.Sprintf("the chains of %s were changed past this rollout: %s", plural(len(counted), "node"), because(list(counted), m.emergency))
	if !m.active() {
		m.note("%s", why)
		return changed
	}
	m.enterPaused(false, Actor, why+"; look at them, then resume")
	return changed
}
