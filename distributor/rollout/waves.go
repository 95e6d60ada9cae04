package rollout

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// deadline of a wave's fetching and moving.
func deadline(w model.WaveSpec) time.Duration {
	if w.Deadline == 0 {
		return model.DefaultWaveDeadline
	}
	return w.Deadline
}

// share is how many nodes, of total, a wave by count or percentage reaches with those before it: ⌈p·n/100⌉.
func share(w model.WaveSpec, total int) int {
	if w.Nodes > 0 {
		return min(w.Nodes, total)
	}
	return (w.Percent*total + 99) / 100
}

// order is a node's place in a rollout: the same whenever it is asked, different from rollout to rollout, so that it is
// not always the same node that goes first.
func order(rollout, node string) uint64 {
	sum := sha256.Sum256([]byte(rollout + "\x00" + node))
	return binary.BigEndian.Uint64(sum[:])
}

// candidate is a node that a wave may take.
type candidate struct {
	view *NodeView
	// tier: a lower one is taken first, so that a wave proves as much as it can.
	tier  tier
	place uint64
}

type tier int

const (
	// tierNone is not taken.
	tierNone tier = iota - 1
	// tierAgain was moved by an earlier wave with another cohort: what a wave widens is first what is there.
	tierAgain
	tierConnected
	// tierUnproved is connected, and proves less than an agent would.
	tierUnproved
	// tierBriefly is without a stream for no longer than SilenceGrace, as all nodes are when the distributor has started.
	tierBriefly
	tierAway
	tierCannotReport
)

func tierOf(v *NodeView) tier {
	switch {
	case !v.Reports:
		return tierCannotReport
	case v.Connected && v.Unproved:
		return tierUnproved
	case v.Connected:
		return tierConnected
	case Present(v):
		return tierBriefly
	}
	return tierAway
}

// choose takes the nodes of a wave: reached nodes of total were taken before.
func choose(w model.WaveSpec, selector model.Selector, candidates []candidate, reached, total int) []candidate {
	if w.Selector != "" {
		return slices.DeleteFunc(slices.Clone(candidates), func(c candidate) bool { return !selector.Matches(c.view.Labels) })
	}
	want := share(w, total) - reached
	return candidates[:min(max(want, 0), len(candidates))]
}

// survey is the target as a wave finds it.
type survey struct {
	// candidates in the order in which they are taken.
	candidates []candidate
	// skipped says why a node of the target cannot be taken.
	skipped map[string]string
	// passed says why a node cannot run two chains side by side: a wave with a cohort passes it over.
	passed map[string]string
	// reached run the release as the wave has it, since they were taken before; total is all that were taken, and the candidates.
	reached, total int
}

func (m *machine) survey() survey {
	s := survey{skipped: map[string]string{}, passed: map[string]string{}}
	cohort := m.waveSpec().Cohort
	for i := range m.seats() {
		switch p, id := &m.seated[i].p, m.seated[i].id; {
		case !taken(*p):
		case p.State != model.NodeSkipped && p.Cohort != cohort && cohort != (model.Cohort{}) && m.seated[i].view.CannotSplit != "":
			s.passed[id] = m.seated[i].view.CannotSplit // its agent is another one than when it was taken; a wave without a cohort takes it
		case p.State != model.NodeSkipped && p.Cohort != cohort:
			s.candidates = append(s.candidates, candidate{view: m.seated[i].view, tier: tierAgain, place: order(m.state.Name, id)})
		default:
			s.reached++
		}
	}
	// What is said of a node is read in the order of the memory that it is in; what is little is put in the order of the places afterwards.
	taken, tiers := m.takenInPicture(), make([]tier, len(m.picture))
	left := 0
	for i := range m.picture {
		v := &m.picture[i]
		tiers[i] = tierNone
		if taken[i] || !m.targets(v) {
			continue
		}
		switch {
		case !TakesSink(m.state, v.Reports):
			s.skipped[v.ID] = reasonLeftOut
		case v.Unloadable != "":
			s.skipped[v.ID] = "its Envoy cannot load the release: " + v.Unloadable
		case v.Isolated != "":
			s.skipped[v.ID] = "is isolated: " + v.Isolated + "; waft nodes release lets waves take it again"
		case v.HeldBy != "" && !m.unheld:
			s.skipped[v.ID] = fmt.Sprintf("rollout/%s holds it", v.HeldBy)
		case cohort != model.Cohort{} && v.CannotSplit != "":
			s.passed[v.ID] = v.CannotSplit
		default:
			tiers[i] = tierOf(v)
			left++
		}
	}
	s.candidates = slices.Grow(s.candidates, left)
	places, sorted := m.memo.inOrder(m.state.Name)
	for _, i := range sorted {
		if tiers[i] != tierNone {
			s.candidates = append(s.candidates, candidate{view: &m.picture[i], tier: tiers[i], place: places[i]})
		}
	}
	// They mostly are sorted already: most are of one tier.
	slices.SortFunc(s.candidates, func(a, b candidate) int {
		if c := cmp.Or(cmp.Compare(a.tier, b.tier), cmp.Compare(a.place, b.place)); c != 0 {
			return c
		}
		return strings.Compare(a.view.ID, b.view.ID)
	})
	s.total = s.reached + len(s.candidates) + len(s.passed)
	return s
}

// takenInPicture says of each node in the picture whether a wave took it, or it joined.
func (m *machine) takenInPicture() []bool {
	is := make([]bool, len(m.picture))
	// Both mostly are sorted by id, and a seat knows its place in the picture by its view.
	at, seats := 0, m.seats()
	for i := range m.picture {
		for at < len(seats) && !seats[at].known {
			at++
		}
		if at < len(seats) && seats[at].view == &m.picture[i] {
			is[i] = taken(seats[at].p)
			at++
		}
	}
	for ; at < len(seats); at++ {
		if s := &seats[at]; s.known {
			is[m.memo.index[s.id]] = taken(s.p)
		}
	}
	return is
}

// targets says whether a node belongs to the target by what it is now.
func (m *machine) targets(v *NodeView) bool {
	if m.state.Undoes != "" {
		_, ok := m.state.Restore[v.ID]
		return ok
	}
	return m.selector.Matches(v.Labels)
}

// TakesSink says whether a rollout takes nodes whose sinks report, or do not. One that cannot report is taken only where
// a person said so; an undo gives back to whatever was taken.
func TakesSink(r model.Rollout, reports bool) bool {
	return reports || r.Spec.IncludeUnreported || r.Undoes != ""
}

// taken says whether a wave took the node, or it joined.
func taken(p model.NodeProgress) bool { return p.Wave >= 0 || moved(p) }

// beginWave chooses and freezes the nodes of a wave. A wave without any is complete at once.
func (m *machine) beginWave(wave int) {
	m.state.Wave = wave
	s := m.survey()
	chosen := choose(m.waveSpec(), m.waveSelectors[wave], s.candidates, s.reached, s.total)
	m.replaceSkipped(s.skipped)
	ids := make([]string, 0, len(chosen))
	for _, c := range chosen {
		ids = append(ids, c.view.ID)
		m.set(c.view.ID, m.chosen(c))
	}
	m.state.Waves = append(m.state.Waves, model.WaveState{Nodes: ids, StartedAt: m.now, Deadline: m.now.Add(deadline(m.waveSpec()))})
	if len(ids) == 0 {
		why := "has no nodes: " + whyEmpty(m.waveSpec(), s)
		if m.unapproved() != nil {
			m.askNobody(why)
			return
		}
		m.completeWave(why)
		return
	}
	of := ""
	if cohort := m.waveSpec().Cohort; cohort != (model.Cohort{}) {
		of = ", with " + cohort.String()
	}
	m.enter(model.RolloutFetching, Actor, "%s takes %d of %s%s: %s", m.waveName(), len(ids), plural(s.total, "node"), of, list(ids))
}

func whyEmpty(w model.WaveSpec, s survey) string {
	switch {
	case len(s.candidates) == 0 && len(s.passed) > 0:
		return "no further node can run two chains side by side"
	case s.total == 0 && len(s.skipped) > 0:
		return "no node of the target can be taken"
	case s.total == 0:
		return "the target is empty"
	case w.Selector != "":
		return fmt.Sprintf("no further node of the target matches %s", w.Selector)
	}
	return fmt.Sprintf("its share, %d of %s, is reached already", share(w, s.total), plural(s.total, "node"))
}

// chosen is a node as its wave takes it. One that was moved before keeps what it has, and what it must be able to go back to, until it is moved again.
func (m *machine) chosen(c candidate) model.NodeProgress {
	if c.tier != tierAgain {
		return m.atWaveStart(c.view)
	}
	p := m.state.Nodes[c.view.ID]
	p.Wave = m.state.Wave
	return p
}

// atWaveStart is a node as its wave takes it, with what it must be able to go back to.
func (m *machine) atWaveStart(v *NodeView) model.NodeProgress {
	cohort := m.waveSpec().Cohort
	p := model.NodeProgress{
		State: model.NodeFetching, Wave: m.state.Wave, Since: m.now,
		From: v.Assigned, FromGiven: v.Given, Chain: m.splitHash(v.CurrentChain, v.TargetChain, cohort), FromChain: v.CurrentChain,
		Cohort: cohort,
	}
	switch tierOf(v) {
	case tierAway:
		return notCounted(p, reasonAway)
	case tierCannotReport:
		return notCounted(p, reasonCannotReport)
	}
	return p
}

const (
	reasonAway         = "was away when its wave started; it converges when it returns"
	reasonCannotReport = "its sink cannot report, so nothing can be proved of it"
	reasonLeftOut      = "its sink cannot report, so it is left out; target.includeUnreported takes such nodes too"
	reasonUnproved     = "its Envoy has loaded and accepted it; without an agent there is no probe and no proof that it serves"
	reasonJoined       = "joined while the rollout ran"
)

func notCounted(p model.NodeProgress, reason string) model.NodeProgress {
	p.State, p.Uncounted, p.Reason = model.NodeAway, true, reason
	return p
}

// replaceSkipped keeps in the state who cannot be taken now, and forgets who could not be taken before.
func (m *machine) replaceSkipped(skipped map[string]string) {
	for _, s := range m.seats() {
		if s.p.State == model.NodeSkipped && !taken(s.p) {
			if _, still := skipped[s.id]; !still {
				m.forget(s.id)
			}
		}
	}
	for id, reason := range skipped {
		m.set(id, model.NodeProgress{State: model.NodeSkipped, Wave: -1, Reason: reason, Since: m.state.Nodes[id].Since})
	}
}

// waveNodes are the counted nodes of the current wave, in the order in which they were chosen.
func (m *machine) waveNodes() []*seat {
	return slices.DeleteFunc(m.assignable(), func(s *seat) bool { return s.p.Uncounted })
}

// assignable are the nodes of the current wave that move with it.
func (m *machine) assignable() []*seat {
	return slices.DeleteFunc(slices.Clone(m.waveSeats()), func(s *seat) bool { return s.p.State == model.NodeSkipped })
}

// dropFromFetching lets go of nodes that were lost before they were moved: no harm was done to them.
func (m *machine) dropFromFetching() {
	for _, s := range m.waveSeats() {
		p, v := s.p, s.view
		switch {
		case p.State == model.NodeSkipped || moved(p):
		case v.Unloadable != "":
			p.State, p.Uncounted, p.Reason = model.NodeSkipped, true, "its Envoy cannot load the release: "+v.Unloadable
			m.setSeat(s, p)
		case p.Cohort != model.Cohort{} && v.CannotSplit != "":
			p.State, p.Uncounted, p.Reason = model.NodeSkipped, true, v.CannotSplit
			m.setSeat(s, p)
		case p.State == model.NodeFetching && !Present(v):
			m.setSeat(s, notCounted(p, reasonAway))
		}
	}
}

// recount counts nodes of the wave that were away and are back, for a wave that has nobody else to count. They were not
// moved, so nothing is lost by it.
func (m *machine) recount() []*seat {
	var back []*seat
	for _, s := range m.waveSeats() {
		p := s.p
		if p.State == model.NodeAway && !moved(p) && tierOf(s.view) < tierAway {
			p.State, p.Uncounted, p.Reason = model.NodeFetching, false, ""
			m.setSeat(s, p)
			back = append(back, s)
		}
	}
	return back
}

// proved says whether a node of an earlier wave serves the release.
func (m *machine) proved() bool {
	for i := range m.seats() {
		if p := &m.seated[i].p; !p.Uncounted && p.Wave >= 0 && p.Wave < m.state.Wave && p.State == model.NodeServing {
			return true
		}
	}
	return false
}

// assignAgain asks for assignments that are not in the rows yet, and names their nodes.
func (m *machine) assignAgain() []string {
	var lost []string
	for i := range m.seats() {
		id, p, v := m.seated[i].id, &m.seated[i].p, m.seated[i].view
		if !m.seated[i].known || !moved(*p) || (p.State != model.NodeMoving && p.State != model.NodeAway) {
			continue
		}
		if release, ok := m.gives(id); ok && !m.inRow(p, v) {
			m.assign(id, release, p.Cohort)
			lost = append(lost, id)
		}
	}
	return lost
}
