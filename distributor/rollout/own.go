package rollout

import (
	"maps"
	"slices"

	"github.com/waft-project/waft/distributor/model"
)

// own is r for a step to change: what steps change in place is a copy, and what they only add to, or replace, is shared. The nodes are shared
// until one of them changes (machine.ownNodes): most steps of a large fleet change none.
func own(r model.Rollout) model.Rollout {
	r.Waves = slices.Clone(r.Waves)
	for i := range r.Waves {
		r.Waves[i].Readings = slices.Clip(r.Waves[i].Readings)
	}
	r.History = slices.Clip(r.History)
	return r
}

// change makes state.Nodes the step's own, once.
func (m *machine) change() {
	switch {
	case m.ownNodes:
	case m.state.Nodes == nil:
		m.state.Nodes = map[string]model.NodeProgress{}
	default:
		m.state.Nodes = maps.Clone(m.state.Nodes)
	}
	m.ownNodes = true
}

// set stores a node's progress; Since follows State.
func (m *machine) set(id string, p model.NodeProgress) {
	was, known := m.state.Nodes[id]
	if was.State != p.State {
		p.Since = m.now
	}
	at, seated := 0, false
	if known {
		at, seated = find(m.seated, id)
	} else {
		m.newcomers = append(m.newcomers, id)
	}
	if seated {
		m.putSeat(&m.seated[at], p)
		return
	}
	m.change()
	m.state.Nodes[id] = p
	m.judged.changed(nil, moved(was), moved(p))
}

// setSeat is set of a node whose seat is at hand.
func (m *machine) setSeat(s *seat, p model.NodeProgress) {
	if s.p.State != p.State {
		p.Since = m.now
	}
	m.putSeat(s, p)
}

// putSeat stores the progress of a node as it is.
func (m *machine) putSeat(s *seat, p model.NodeProgress) {
	m.change()
	m.state.Nodes[s.id] = p
	m.judged.changed(s, moved(s.p), moved(p))
	s.p = p
}

// forget takes a node out of the state.
func (m *machine) forget(id string) {
	m.change()
	m.judged.changed(nil, true, false)
	delete(m.state.Nodes, id)
	m.seated, m.newcomers = nil, nil
}
