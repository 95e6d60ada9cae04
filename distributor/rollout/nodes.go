package rollout

import (
	"fmt"
	"math"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// moved says whether the rollout has assigned the release to the node.
func moved(p model.NodeProgress) bool { return !p.MovedAt.IsZero() }

// Present says whether a node is there, or was a moment ago.
func Present(v *NodeView) bool { return v.Connected || v.Silent <= SilenceGrace }

// serves says whether a node has proved that it serves the whole chain.
func serves(v *NodeView, chain string) bool {
	return chain != "" && v.Serving == chain && !says(v, chain, model.ChainRejected) && !says(v, chain, model.ChainDegraded) && confirms(v, chain)
}

// confirms says whether a node that names a chain as what it serves does so with its latest word on it. An agent proves what it serves. Of an Envoy without one that
// is what it had accepted when it was asked last, and it may since have been sent parts of another chain; so it is to have said of this one that all of it is accepted.
func confirms(v *NodeView, chain string) bool {
	return !v.Unproved || says(v, chain, model.ChainLoaded) || says(v, chain, model.ChainServing)
}

// says tells whether the latest word of a node on a chain is state.
func says(v *NodeView, chain string, state model.ChainState) bool {
	return v.Ledger.Chain == chain && v.Ledger.State == state
}

// refusal is a node's rejection of a chain in its own words.
func refusal(v *NodeView) string {
	text := "rejected it"
	if v.Ledger.Step != "" {
		text += " at " + v.Ledger.Step
	}
	return because(text, v.Ledger.Reason)
}

// view is a node as it is now. One that the caller does not know any more has been silent for ever.
func (m *machine) view(id string) *NodeView {
	if v, known := m.lookUp(id); known {
		return v
	}
	return &NodeView{ID: id, Reports: true, Silent: math.MaxInt64}
}

// lookUp is a node as the picture has it; false for one that is not in it.
func (m *machine) lookUp(id string) (*NodeView, bool) {
	if i, known := m.memo.index[id]; known {
		return &m.picture[i], true
	}
	return nil, false
}

// see takes a picture of the fleet, which is not changed, with what is remembered of an earlier one; nil: nothing is.
func (m *machine) see(picture []NodeView, memo *Memo) {
	if memo != nil {
		m.memo = memo
	}
	m.memo.see(picture)
	m.picture, m.looked, m.seated, m.newcomers, m.judged = picture, true, nil, nil, judged{}
}

// follow takes the nodes' progress from what they say, without judging it.
func (m *machine) follow() {
	for s := range m.unseen(&m.judged.followed) {
		p, v := &s.p, s.view
		if !s.known || !moved(*p) {
			continue
		}
		if p.Restarts <= v.Restarts && !p.Uncounted && p.State == model.NodeServing && !(v.Connected && v.Serving == "") {
			continue // as most are, in a large fleet
		}
		next := s.p
		// The caller's count may have begun again from zero.
		next.Restarts = min(p.Restarts, v.Restarts)
		if m.anew(p) {
			next.Restarts = v.Restarts // an Envoy that hangs is started again on the way
		}
		if p.Uncounted {
			next = followUncounted(next, v, m.inRow(p, v))
		} else {
			next = followCounted(next, v, m.inRow(p, v))
		}
		if v.Unproved && next.Reason == reasonUnproved {
			next.Reason = m.accepted()
		}
		if next != s.p {
			m.setSeat(s, next)
		}
	}
	m.judged.followed = m.seen()
}

func followCounted(p model.NodeProgress, v *NodeView, assigned bool) model.NodeProgress {
	switch {
	case p.State == model.NodeMoving && assigned && serves(v, p.Chain):
		p.State, p.Reason = model.NodeServing, ""
		if v.Unproved {
			p.Reason = reasonUnproved
		}
	case p.State == model.NodeServing && v.Connected && v.Serving == "":
		p.State, p.Reason = model.NodeMoving, "says that it serves nothing any more"
	}
	return p
}

// followUncounted shows where a node is that nobody waits for.
func followUncounted(p model.NodeProgress, v *NodeView, assigned bool) model.NodeProgress {
	if p.State == model.NodeSkipped || !v.Reports || !assigned {
		return p
	}
	switch {
	case serves(v, p.Chain):
		p.State = model.NodeServing
	case says(v, p.Chain, model.ChainRejected) && v.Ledger.Final, says(v, p.Chain, model.ChainDegraded):
		p.State, p.Reason = model.NodeFailed, refusal(v)
	case !Present(v):
		p.State = model.NodeAway
	default:
		p.State = model.NodeMoving
	}
	return p
}

// failure says why a node fails the wave; empty when it does not.
func (m *machine) failure(s *seat) string {
	p, v := &s.p, s.view
	if p.Uncounted || !moved(*p) || (p.State != model.NodeMoving && p.State != model.NodeServing) {
		return ""
	}
	if m.anew(p) {
		return ""
	}
	switch {
	case !s.known:
		return "is not known any more"
	case !Present(v):
		return fmt.Sprintf("fell silent after it was moved (%s ago)", v.Silent.Round(time.Second))
	case says(v, p.Chain, model.ChainRejected) && v.Ledger.Final:
		return refusal(v)
	case says(v, p.Chain, model.ChainDegraded):
		return because("serves it degraded", v.Ledger.Reason)
	case v.Restarts > p.Restarts && v.Application:
		return "ended and was started again after it was moved"
	case v.Restarts > p.Restarts:
		return "had its Envoy restart after it was moved"
	case p.Chain != p.FromChain && v.Stats.Chain == p.Chain && ailing(&v.Stats.Health) != "":
		return ailing(&v.Stats.Health)
	case p.State == model.NodeServing && v.Serving != "" && v.Serving != p.Chain:
		return because(fmt.Sprintf("went back to the chain %s", short(v.Serving)), v.Ledger.Reason)
	case p.State == model.NodeMoving && m.overdue(p):
		return fmt.Sprintf("has not served it for %s", SilenceGrace)
	}
	return ""
}

// overdue says whether a node that served once, and does not now, has had its grace. A node that has not served yet has
// the wave's deadline instead; in a pause no time passes.
func (m *machine) overdue(p *model.NodeProgress) bool {
	if m.state.Phase == model.RolloutPaused || p.Wave == m.state.Wave && m.state.Phase == model.RolloutMoving {
		return false
	}
	return m.now.Sub(p.Since) > SilenceGrace
}

// allServe says whether every counted node that was moved is there and serves now.
func (m *machine) allServe() bool {
	for i := range m.seats() {
		p, v := &m.seated[i].p, m.seated[i].view
		if p.Uncounted || !moved(*p) {
			continue
		}
		if p.State != model.NodeServing || !v.Connected || !serves(v, p.Chain) {
			return false
		}
	}
	return true
}

// standing says how far a node has come with a chain.
func (m *machine) standing(id, chain string) string {
	v, known := m.lookUp(id)
	switch {
	case !known:
		return "is not known any more"
	case !v.Connected:
		return "is not connected"
	case v.Ledger.Chain != chain:
		return "has said nothing of it"
	case v.Ledger.State == model.ChainRejected:
		return refusal(v)
	}
	return because("stands at "+string(v.Ledger.State), v.Ledger.Reason)
}

// reasons are the nodes with what is kept about each.
func (m *machine) reasons(ids []string) []string {
	out := make([]string, 0, len(ids))
	for _, id := range ids {
		out = append(out, id+" "+m.state.Nodes[id].Reason)
	}
	return out
}
