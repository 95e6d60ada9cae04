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

// keepTime counts the time since the last step: all of it up to MaxGap, none of it when it is negative. What does not
// count is added to every soak and deadline that is running.
func (m *machine) keepTime() {
	if !countsTime(m.state.Phase) {
		return
	}
	gap := m.now.Sub(m.state.SeenAt)
	counted := min(max(gap, 0), MaxGap)
	m.passed = counted
	m.state.SeenAt = m.now
	if skipped := gap - counted; skipped != 0 {
		m.shift(skipped)
		m.noteClock(skipped)
	}
}

// standStill counts none of the time since the last step, as after a pause.
func (m *machine) standStill() {
	m.shift(m.now.Sub(m.state.SeenAt))
	m.state.SeenAt = m.now
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
			m.put(m.seated[i].id, p, true)
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
