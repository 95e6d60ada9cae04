package rollout

import (
	"time"

	"github.com/waft-project/waft/distributor/model"
)

func (m *machine) pause(by By) (bool, error) {
	switch {
	case m.state.Phase == model.RolloutPaused:
		return false, nil
	case m.state.Phase == model.RolloutRollingBack:
		return false, m.precondition("wait for it; it ends by "+m.state.RollbackDeadline.Format(time.RFC3339), "a rollback cannot be paused")
	case m.state.Phase.Ended():
		return false, m.ended("pause")
	}
	m.keepTime()
	m.enterPaused(false, by.Actor, because("paused", by.Reason))
	return true, nil
}

// enterPaused stops where it is. SeenAt stays, so that resume knows how long it was.
func (m *machine) enterPaused(inconclusive bool, actor, message string) {
	m.state.Resume = m.state.Phase
	m.state.PausedAt = m.now
	m.state.SeenAt = m.now
	m.state.Inconclusive = inconclusive
	m.enter(model.RolloutPaused, actor, "%s", message)
}

// leavePaused goes back to the phase that was paused; the pause counts for no time.
func (m *machine) leavePaused(actor, message string) {
	phase := m.state.Resume
	m.standStill()
	m.enter(phase, actor, "%s", message)
}

func (m *machine) resume(by By) (bool, error) {
	switch {
	case m.state.Phase.Ended():
		return false, m.ended("resume")
	case m.state.Phase == model.RolloutRollingBack:
		return false, m.precondition("wait for it to end", "a rollback runs already and was not paused")
	case m.state.Phase != model.RolloutPaused:
		return false, nil
	}
	again := m.state.Inconclusive
	m.leavePaused(by.Actor, because("resumed", by.Reason))
	if again {
		m.tryAgain()
	}
	return true, nil
}

// tryAgain gives an inconclusive gate its time anew.
func (m *machine) tryAgain() {
	if m.state.Phase == model.RolloutSoaking {
		m.wave().SoakUntil, m.wave().WaitsSince = m.now.Add(m.waveSpec().Soak), time.Time{}
		return
	}
	m.wave().Deadline = m.now.Add(deadline(m.waveSpec()))
}

func (m *machine) promote(by By) (bool, error) {
	switch {
	case m.state.Phase.Ended():
		return false, m.ended("promote")
	case m.state.Phase == model.RolloutPaused && m.state.Inconclusive:
		m.leavePaused(by.Actor, because("promoted: the inconclusive gate is overruled", by.Reason))
	case m.state.Phase == model.RolloutPaused:
		return false, m.precondition("resume it first", "it was paused by a person, not by an inconclusive gate")
	case m.state.Phase != model.RolloutSoaking:
		return false, m.precondition("wait until it soaks, or abort it", "there is no soak to end in phase %s", m.state.Phase)
	case m.wave().Overruled && !m.wave().SoakUntil.After(m.now):
		return false, nil
	default:
		m.keepTime()
		m.enter(model.RolloutSoaking, by.Actor, "%s", because("promoted: the soak ends now", by.Reason))
	}
	m.wave().Overruled = true
	if m.state.Phase == model.RolloutSoaking {
		m.wave().SoakUntil = m.now
	}
	return true, nil
}

// approve records a person's word on the wave that soaks. Whoever approves has seen all its nodes serve, so that it is refused before.
func (m *machine) approve(by By) (bool, error) {
	switch {
	case m.state.Phase.Ended():
		return false, m.ended("approve")
	case m.state.Stage() != model.RolloutSoaking:
		return false, m.precondition("wait until its nodes serve and soak", "there is nothing to approve in phase %s", m.state.Phase)
	case m.wave().Approval != nil:
		return false, nil
	case m.unapproved() == nil:
		return false, m.precondition("promote it, to end its soak", "%s asks for no approval", m.waveName())
	}
	m.wave().Approval = &model.Approval{Actor: by.Actor, Reason: by.Reason, At: m.now}
	m.record(by.Actor, because(m.waveName()+" is approved", by.Reason))
	return true, nil
}

func (m *machine) abort(by By) (bool, error) {
	switch {
	case m.state.Phase == model.RolloutAborted:
		return false, nil
	case m.state.Phase == model.RolloutRollingBack:
		return false, m.precondition("wait for it to end", "a rollback cannot be aborted, since it would leave the nodes half-way")
	case m.state.Phase.Ended():
		return false, m.ended("abort")
	}
	m.releaseUnmoved()
	m.enter(model.RolloutAborted, by.Actor, "%s", because("aborted: moved nodes keep the release", by.Reason))
	return true, nil
}

func (m *machine) rollBack(by By) (bool, error) {
	switch m.state.Phase {
	case model.RolloutRollingBack, model.RolloutRolledBack:
		return false, nil
	case model.RolloutDone, model.RolloutAborted:
		return false, m.precondition("undo it, which starts a new rollout", "it has ended (%s)", m.state.Phase)
	}
	m.state.SeenAt = m.now
	m.beginRollback(by.Actor, because("a person asked for it", by.Reason))
	return true, nil
}

func (m *machine) ended(verb string) error {
	return m.precondition("start a new rollout", "it has ended (%s), so there is nothing to %s", m.state.Phase, verb)
}

// releaseUnmoved lets go of the nodes that were chosen but not moved.
func (m *machine) releaseUnmoved() {
	for i := range m.seats() {
		p := m.seated[i].p
		if moved(p) || p.State == model.NodeSkipped || p.State == model.NodeFailed {
			continue
		}
		p.State, p.Reason, p.Uncounted = model.NodeWaiting, "was chosen but not moved", false
		m.setSeat(&m.seated[i], p)
	}
}
