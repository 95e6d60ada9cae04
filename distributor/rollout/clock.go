package rollout

import (
	"strings"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// clockNote begins the line in the history, by which a repeated one is known.
const clockNote = "time stood still"

// countsTime says whether time passes in a phase.
func countsTime(phase model.RolloutPhase) bool {
	switch phase {
	case model.RolloutFetching, model.RolloutMoving, model.RolloutSoaking, model.RolloutRollingBack:
		return true
	}
	return false
}

// keepTime counts the time since the last step: all of it up to MaxGap, none of it when it is negative. Where a clock that does not jump
// says otherwise (Watched), it is right. What does not count is added to every soak and deadline that is running.
func (m *machine) keepTime() {
	if !countsTime(m.state.Phase) {
		return
	}
	gap := m.now.Sub(m.state.SeenAt)
	counted := min(max(gap, 0), MaxGap)
	if m.watched > 0 && (gap-m.watched).Abs() >= leastJump {
		counted = min(m.watched, MaxGap)
	}
	m.passed = counted
	m.skip(gap, counted)
}

// leastJump is by how much two clocks must differ, between two steps, for one to have jumped: they never run quite alike, and a step that moves
// soaks and deadlines is written.
const leastJump = time.Second

// standStill counts none of the time since the last step, as after a pause.
func (m *machine) standStill() {
	gap := m.now.Sub(m.state.SeenAt)
	m.shift(gap)
	m.recede(gap, 0)
	m.state.SeenAt = m.now
	// What a node came to within the pause began within it, and not before; its time begins now.
	for i := range m.seats() {
		if p := m.seated[i].p; p.State == model.NodeMoving && p.Since.After(m.now) {
			p.Since = m.now
			m.putSeat(&m.seated[i], p)
		}
	}
}

// skip takes note of now. Of the gap since the last step, counted is the time that passed.
func (m *machine) skip(gap, counted time.Duration) {
	m.state.SeenAt = m.now
	if skipped := gap - counted; skipped != 0 {
		m.shift(skipped)
		m.recede(gap, counted)
		m.noteClock(skipped)
	}
}

// recede has what was noted before a clock went back be in the past by the new one, too: what comes from now on is held against it, and would be
// older for as long as the clock went back.
func (m *machine) recede(gap, counted time.Duration) {
	if gap >= 0 {
		return
	}
	by := gap - counted
	move := func(t *time.Time) {
		if !t.IsZero() {
			*t = t.Add(by)
		}
	}
	for i := range m.state.Waves {
		move(&m.state.Waves[i].MovedAt)
	}
	for i := range m.seats() {
		p := m.seated[i].p
		move(&p.MovedAt)
		if p.State != model.NodeMoving { // shift has moved those
			move(&p.Since)
		}
		if p != m.seated[i].p {
			m.putSeat(&m.seated[i], p)
		}
	}
}

// shift moves what is still running.
func (m *machine) shift(by time.Duration) {
	move := func(t *time.Time) {
		if !t.IsZero() {
			*t = t.Add(by)
		}
	}
	if m.state.Wave >= 0 && m.wave().EndedAt.IsZero() {
		move(&m.wave().Deadline)
		move(&m.wave().SoakUntil)
		move(&m.wave().UndecidedSince)
	}
	move(&m.state.RollbackDeadline)
	for i := range m.seats() {
		// How long a node has been Moving decides whether it is late.
		if p := m.seated[i].p; p.State == model.NodeMoving {
			move(&p.Since)
			m.putSeat(&m.seated[i], p)
		}
	}
}

func (m *machine) noteClock(skipped time.Duration) {
	const worthTelling = time.Second
	if skipped.Abs() < worthTelling {
		return
	}
	if n := len(m.state.History); n > 0 && strings.HasPrefix(m.state.History[n-1].Message, clockNote) {
		return
	}
	if skipped < 0 {
		m.note("%s: the clock went back by %s, so soak and deadline moved with it", clockNote, -skipped)
		return
	}
	m.note("%s: nobody watched or the clock jumped, so soak and deadline are %s later", clockNote, skipped)
}
