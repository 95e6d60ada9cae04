package rollout

import (
	"fmt"
	"strings"

	"github.com/waft-project/waft/distributor/model"
)

// beginRollback assigns every moved node what it had before.
func (m *machine) beginRollback(actor, cause string) {
	m.state.RollbackDeadline = m.now.Add(RollbackDeadline)
	m.releaseUnmoved()
	var back, kept []string
	for _, id := range m.nodes() {
		p := m.state.Nodes[id]
		switch {
		case !moved(p):
		case !p.FromGiven:
			m.set(id, keepsWhatItHas(p))
			kept = append(kept, id)
		default:
			p.State = model.NodeRollingBack
			m.set(id, p)
			m.assign(id, p.From)
			back = append(back, id)
		}
	}
	if len(kept) > 0 {
		cause += fmt.Sprintf("; had nothing before and keeps the release: %s", list(kept))
	}
	if len(back) == 0 {
		m.enter(model.RolloutRolledBack, actor, "rolled back, with nothing to take back: %s", cause)
		return
	}
	m.enter(model.RolloutRollingBack, actor, "rolling %s back: %s; because %s", plural(len(back), "node"), list(back), cause)
	// The end repeats the cause, not the list.
	m.state.Message = cause
}

// keepsWhatItHas is a node that had nothing before: to take the release away would leave it with no chain at all.
func keepsWhatItHas(p model.NodeProgress) model.NodeProgress {
	if p.State != model.NodeServing {
		p.State = model.NodeFailed
	}
	p.Reason = also(p.Reason, "had nothing before, so it keeps the release")
	return p
}

// rollingBack waits for each node to have come back, or to be given up.
func (m *machine) rollingBack() {
	open := 0
	var lost []string
	for _, id := range m.nodes() {
		p := m.state.Nodes[id]
		if !moved(p) || !p.FromGiven {
			continue
		}
		v, known := m.views[id]
		if known && v.Assigned != p.From {
			m.assign(id, p.From)
		}
		next, why := m.cameBack(p, v, known)
		if next != p.State {
			p.State = next
			p.Reason = also(p.Reason, why)
			m.set(id, p)
		}
		switch next {
		case model.NodeRollingBack:
			open++
		case model.NodeFailed:
			lost = append(lost, id)
		}
	}
	if open > 0 {
		return
	}
	message := "rolled back: " + m.state.Message
	if len(lost) > 0 {
		message += fmt.Sprintf("; %s did not come back and needs a look: %s", plural(len(lost), "node"), list(m.reasonsOf(lost)))
	}
	m.enter(model.RolloutRolledBack, Actor, "%s", message)
}

func (m *machine) reasonsOf(ids []string) []string {
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		out = append(out, fmt.Sprintf("%s (%s)", id, m.state.Nodes[id].Reason))
	}
	return out
}

// cameBack says where a node is on its way back, and why where it is lost. A node that was given up and comes back before
// the end is taken.
func (m *machine) cameBack(p model.NodeProgress, v NodeView, known bool) (model.NodeState, string) {
	over := !m.now.Before(m.state.RollbackDeadline)
	switch {
	case !known:
		return model.NodeFailed, "is not known any more"
	case v.Assigned != p.From && over:
		return model.NodeFailed, "could not be assigned what it had"
	case v.Assigned != p.From:
		return model.NodeRollingBack, ""
	case p.FromChain == "" || serves(v, p.FromChain) || v.Serving == p.FromChain:
		// Degraded counts: that is how the node was before.
		return model.NodeRolledBack, ""
	case p.Uncounted && (!v.Reports || !Present(v)):
		return model.NodeAway, "takes what it had when it returns"
	case says(v, p.FromChain, model.ChainRejected) && v.Ledger.Final:
		return model.NodeFailed, "on the way back it " + refusal(v)
	case !Present(v):
		return model.NodeFailed, "is silent; it takes what it had when it returns"
	case over:
		return model.NodeFailed, fmt.Sprintf("does not serve what it had after %s: %s", RollbackDeadline, m.standing(v.ID, p.FromChain))
	}
	return model.NodeRollingBack, ""
}

// also adds to a reason what it does not say yet.
func also(reason, more string) string {
	switch {
	case more == "" || strings.Contains(reason, more):
		return reason
	case reason == "":
		return more
	}
	return reason + "; " + more
}
