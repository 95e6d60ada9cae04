package rollout

import (
	"maps"
	"slices"
	"strings"

	"github.com/waft-project/waft/distributor/model"
)

// seat is a node in the state with what is known of it, so that what looks at each node of a large rollout, time and again in one step, looks it
// up once.
type seat struct {
	id string
	p  model.NodeProgress
	// view is that of machine.view; known is whether the caller knows the node.
	view  *NodeView
	known bool
}

// seats are the nodes in the state, sorted by id, so that actions and messages do not depend on the order of a map. The slice stays what it is
// until a node comes or goes; set changes it in place.
func (m *machine) seats() []seat {
	if m.seated == nil && len(m.newcomers) == 0 {
		m.seated = m.memo.takeSeats(m.state.Nodes)
	}
	if m.seated == nil {
		m.seated, m.newcomers = m.takeSeats(), nil
	}
	if len(m.newcomers) > 0 {
		m.seatNewcomers()
	}
	return m.seated
}

// seatNewcomers puts the nodes that came between the others. A wave of a large fleet brings many.
func (m *machine) seatNewcomers() {
	slices.Sort(m.newcomers)
	m.newcomers = slices.Compact(m.newcomers)
	seats := make([]seat, 0, len(m.seated)+len(m.newcomers))
	at := 0
	for _, id := range m.newcomers {
		before, _ := find(m.seated[at:], id)
		seats = append(seats, m.seated[at:at+before]...)
		at += before
		seats = append(seats, m.seatOf(id))
	}
	m.seated, m.newcomers = append(seats, m.seated[at:]...), nil
	if len(m.judged.fresh) > 0 {
		m.judged = judged{} // they sat where nobody sits any more
	}
}

// seatOf is the seat of one node.
func (m *machine) seatOf(id string) seat {
	_, known := m.lookUp(id)
	return seat{id: id, p: m.state.Nodes[id], view: m.view(id), known: known}
}

// inWave are the seats of the nodes of a wave.
type inWave struct {
	wave  int
	seats []*seat
	// of are the seats that they are among.
	of *seat
}

// waveSeats are those of the nodes of the current wave, in the order in which they were chosen.
func (m *machine) waveSeats() []*seat {
	seats, nodes := m.seats(), m.wave().Nodes
	if len(seats) == 0 {
		return nil
	}
	if w := &m.inWave; w.of != &seats[0] || w.wave != m.state.Wave {
		*w = inWave{wave: m.state.Wave, of: &seats[0], seats: make([]*seat, 0, len(nodes))}
		for _, id := range nodes {
			if at, seated := find(seats, id); seated {
				w.seats = append(w.seats, &seats[at])
			}
		}
	}
	return m.inWave.seats
}

// ids are the nodes that sit there.
func ids(seats []*seat) []string {
	out := make([]string, 0, len(seats))
	for _, s := range seats {
		out = append(out, s.id)
	}
	return out
}

// keepSeats has the memo remember them, if anybody has asked for them.
func (m *machine) keepSeats() {
	if m.seated != nil {
		m.seats()
	}
	m.memo.keepSeats(m.seated, m.state.Nodes)
}

func (m *machine) takeSeats() []seat {
	seats := make([]seat, 0, len(m.state.Nodes))
	// The picture mostly comes sorted, and has every node of the state.
	for i := range m.picture {
		v := &m.picture[i]
		if i > 0 && m.picture[i-1].ID >= v.ID {
			break
		}
		if p, held := m.state.Nodes[v.ID]; held {
			seats = append(seats, seat{id: v.ID, p: p, view: v, known: true})
		}
	}
	if len(seats) == len(m.state.Nodes) {
		return seats
	}
	seats = seats[:0]
	for _, id := range slices.Sorted(maps.Keys(m.state.Nodes)) {
		seats = append(seats, m.seatOf(id))
	}
	return seats
}

// find is where a node sits among sorted seats.
func find(seats []seat, id string) (int, bool) {
	return slices.BinarySearchFunc(seats, id, func(s seat, id string) int { return strings.Compare(s.id, id) })
}
