package rollout

import (
	"fmt"
	"math"
	"slices"

	"github.com/waft-project/waft/distributor/model"
)

// move begins to assign the release to the nodes of the wave.
func (m *machine) move() {
	nodes := m.assignable()
	m.wave().MovedAt = m.now
	m.enter(model.RolloutMoving, Actor, "%s moves %s: %s", m.waveName(), plural(len(nodes), "node"), list(ids(nodes)))
	m.advance()
}

// advance moves as many nodes of the wave as may be on their way at once, and says how many are left. A wave that can move nobody, since
// others take the room, or it is frozen, does not come nearer to its deadline, unless nodes that it has moved are late.
func (m *machine) advance() int {
	waiting := slices.DeleteFunc(m.assignable(), func(s *seat) bool { return m.movedWithWave(s.p) })
	if len(waiting) == 0 {
		return 0
	}
	if m.frozen != "" {
		m.hold(model.WaitsForFreeze, fmt.Sprintf("%s has %s left to move, which waits: %s", m.waveName(), plural(len(waiting), "node"), m.frozen))
		return len(waiting)
	}
	room, left := m.room(), 0
	for _, s := range waiting {
		p, v := s.p, s.view
		// One that was moved before leaves what it serves, and counts already if it is on its way.
		again := moved(p) && p.State != model.NodeMoving && v.Reports && Present(v)
		if !moved(p) && takesRoom(v) || again {
			if room <= 0 {
				left++
				continue
			}
			room--
		}
		m.moveNode(s)
	}
	switch {
	case m.limit() == 0:
	case left < len(waiting): // each group has the time of a wave
		m.wave().Deadline = m.now.Add(deadline(m.waveSpec()))
	default:
		waits := model.WaitsForRoom
		if m.onTheirWay() > 0 {
			waits = model.WaitsForNothing // but for its own nodes: it goes on, group by group
		}
		m.hold(waits, fmt.Sprintf("%s waits: of the fleet's nodes no more than %s may be on their way or not serving", m.waveName(), m.mostAllowed()))
	}
	return left
}

// hold says what the wave waits for. Its deadline stands still, unless a counted node that it has moved has yet to serve.
func (m *machine) hold(waits model.RolloutWait, what string) {
	for _, s := range m.waveNodes() {
		if m.movedWithWave(s.p) && s.p.State != model.NodeServing {
			m.wait(waits, what)
			return
		}
	}
	m.standBy(waits, what)
}

// takesRoom says whether a node that is moved is one more on its way: not one that is away, of which nothing is known, or that serves
// nothing, which can only become better.
func takesRoom(v *NodeView) bool { return v.Reports && Present(v) && !Unsettled(v) }

// moveNode assigns the release to a node of the wave, one that is away too.
func (m *machine) moveNode(s *seat) {
	p, v := s.p, s.view
	p.MovedAt, p.Restarts = m.now, v.Restarts
	if p.Cohort != m.waveSpec().Cohort { // it was moved before, with another one
		p.Cohort = m.waveSpec().Cohort
		p.Chain = m.splitHash(p.FromChain, v.TargetChain, p.Cohort)
	}
	if p.Uncounted {
		p.State = model.NodeAway // until its row says otherwise: one that an earlier wave moved may have served
	} else {
		p.State, p.Reason = model.NodeMoving, ""
	}
	m.setSeat(s, p)
	if release, ok := m.gives(s.id); ok && !m.inRow(&p, v) {
		m.assign(s.id, release, p.Cohort)
	}
}

// room is how many nodes may be moved now. Of an undo one is always on its way, as on the way back: what others do must not keep a bad release in
// place.
func (m *machine) room() int {
	limit := m.limit()
	if limit == 0 {
		return math.MaxInt
	}
	onTheirWay := m.onTheirWay()
	room := limit - m.unsettled - onTheirWay - m.servingNothing()
	if onTheirWay == 0 && m.state.TakesBack() {
		room = max(room, 1)
	}
	return room
}

// onTheirWay are the moved nodes of this rollout that are there and have not proved the release.
func (m *machine) onTheirWay() int {
	n := 0
	for i := range m.seats() {
		if p := &m.seated[i].p; moved(*p) && p.State == model.NodeMoving && Present(m.seated[i].view) {
			n++
		}
	}
	return n
}

// servingNothing are the nodes not moved that are there, were given something, and are unsettled all the same.
func (m *machine) servingNothing() int {
	n := 0
	for i := range m.picture {
		if v := &m.picture[i]; Unsettled(v) && !moved(m.state.Nodes[v.ID]) {
			n++
		}
	}
	return n
}

// Unsettled says whether a node that this rollout has not moved is there, was given something, and serves nothing or is on its way to what it was
// given: by a rollout that was aborted, that has given it up, or by an emergency. The caller counts those that are not in an observation.
func Unsettled(v *NodeView) bool {
	return v.Reports && v.Given && Present(v) && (v.Serving == "" || v.Serving != rowChain(v) && !settledElsewhere(v))
}

// settledElsewhere says whether a node goes nowhere from what it serves, though it is not what it was given: it has refused that for good, or
// serves it without a filter.
func settledElsewhere(v *NodeView) bool {
	given := rowChain(v)
	return given == "" || says(v, given, model.ChainDegraded) || says(v, given, model.ChainRejected) && v.Ledger.Final
}
