package rollout

import (
	"fmt"
	"math"
	"strings"

	"github.com/waft-project/waft/distributor/model"
)

// beginRollback begins to assign every moved node what it had before.
func (m *machine) beginRollback(actor, cause string) {
	m.state.RollbackDeadline = m.now.Add(RollbackDeadline)
	m.releaseUnmoved()
	var back, kept []string
	for i := range m.seats() {
		id, p := m.seated[i].id, m.seated[i].p
		switch {
		case !moved(p):
		case !p.FromGiven:
			m.setSeat(&m.seated[i], keepsWhatItHas(p))
			kept = append(kept, id)
		default:
			p.State = model.NodeRollingBack
			m.setSeat(&m.seated[i], p)
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
	few := ""
	if m.limit() > 0 {
		few = fmt.Sprintf(", no more than %s on their way at once", m.mostAllowed())
	}
	m.enter(model.RolloutRollingBack, actor, "rolling %s back%s: %s; because %s", plural(len(back), "node"), few, list(back), cause)
	// The end repeats the cause, not the list.
	m.state.Message = cause
	m.sendBack()
}

// sendBack assigns what they had to nodes that are to go back: all at once, or where there is a cap as many as may be on their way. Those that
// serve nothing, are away, or never left what they had take no room, so what fails goes back first. One node is always on its way: what others do
// must not keep a bad release in place.
func (m *machine) sendBack() {
	limit := m.limit()
	if limit > 0 && !m.looked {
		return // a person asked, and nobody has looked at the fleet; the next look sends them
	}
	room := math.MaxInt
	if limit > 0 {
		onTheirWay := m.goingBack()
		room = limit - m.unsettled - onTheirWay - m.servingNothing()
		if onTheirWay == 0 {
			room = max(room, 1)
		}
	}
	sent := false
	for i := range m.seats() {
		id, p := m.seated[i].id, m.seated[i].p
		if p.State != model.NodeRollingBack || !p.BackAt.IsZero() {
			continue
		}
		if v := m.seated[i].view; limit > 0 && takesRoom(v) && v.Serving != p.FromChain {
			if room <= 0 {
				continue
			}
			room--
		}
		p.BackAt = m.now
		m.setSeat(&m.seated[i], p)
		m.assign(id, p.From, model.Cohort{})
		sent = true
	}
	if sent {
		m.state.RollbackDeadline = m.now.Add(RollbackDeadline)
	}
}

// goingBack are the nodes that were sent back, are there, and have not proved what they had.
func (m *machine) goingBack() int {
	n := 0
	for i := range m.seats() {
		if p := &m.seated[i].p; p.State == model.NodeRollingBack && !p.BackAt.IsZero() && Present(m.seated[i].view) {
			n++
		}
	}
	return n
}

// reasonKeeps is why a node does not go back.
const reasonKeeps = "had nothing before, so it keeps the release"

// keepsWhatItHas is a node that had nothing before: to take the release away would leave it with no chain at all.
func keepsWhatItHas(p model.NodeProgress) model.NodeProgress {
	if p.State != model.NodeServing {
		p.State = model.NodeFailed
	}
	p.Reason = also(p.Reason, reasonKeeps)
	return p
}

// rollingBack waits for each node to have come back, or to be given up.
func (m *machine) rollingBack() {
	open := 0
	var lost []string
	for i := range m.seats() {
		id, p, v, known := m.seated[i].id, m.seated[i].p, m.seated[i].view, m.seated[i].known
		if !moved(p) || !p.FromGiven {
			continue
		}
		if p.State == model.NodeRollingBack && p.BackAt.IsZero() && known {
			open++ // its turn comes
			continue
		}
		if known && !m.backInRow(&p, v) {
			m.assign(id, p.From, model.Cohort{})
		}
		next, why, isolate := m.cameBack(&p, v, known)
		if next != p.State {
			p.State = next
			p.Reason = also(p.Reason, why)
			m.setSeat(&m.seated[i], p)
		}
		if isolate && v.Isolated == "" {
			m.actions = append(m.actions, Isolate{Node: id, Reason: why})
			open++ // until its row says so
		}
		switch next {
		case model.NodeRollingBack:
			open++
		case model.NodeFailed:
			lost = append(lost, id)
		}
	}
	m.sendBack()
	if open > 0 {
		return
	}
	message := "rolled back: " + m.state.Message
	if len(lost) > 0 {
		needs := "need"
		if len(lost) == 1 {
			needs = "needs"
		}
		message += fmt.Sprintf("; %s did not come back and %s a look: %s", plural(len(lost), "node"), needs, list(m.reasonsOf(lost)))
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

// cameBack says where a node is on its way back, and why where it is lost; isolate says that what it had does not work there any more, so that a
// person has to look. A node that is only silent has failed at nothing: it takes what it had when it returns. A node that was given up and comes
// back before the end is taken.
func (m *machine) cameBack(p *model.NodeProgress, v *NodeView, known bool) (state model.NodeState, why string, isolate bool) {
	over := !m.now.Before(m.state.RollbackDeadline)
	switch {
	case !known:
		return model.NodeFailed, "is not known any more", false
	case !m.backInRow(p, v) && over:
		return model.NodeFailed, "could not be assigned what it had", true
	case !m.backInRow(p, v):
		return model.NodeRollingBack, "", false
	case p.FromChain == "" || v.Serving == p.FromChain && (!Present(v) || confirms(v, p.FromChain)):
		// Degraded counts: that is how the node was before.
		return model.NodeRolledBack, "", false
	case p.Uncounted && (!v.Reports || !Present(v)):
		return model.NodeAway, "takes what it had when it returns", false
	case says(v, p.FromChain, model.ChainRejected) && v.Ledger.Final:
		return model.NodeFailed, "on the way back it " + refusal(v), true
	case !Present(v):
		return model.NodeFailed, "is silent; it takes what it had when it returns", false
	case over:
		return model.NodeFailed, fmt.Sprintf("does not serve what it had after %s: %s", RollbackDeadline, m.standing(v.ID, p.FromChain)), true
	}
	return model.NodeRollingBack, "", false
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
