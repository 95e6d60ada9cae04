package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// observe goes on from phase to phase for as long as the view of the fleet allows it. Each turn either ends the loop or
// goes on to a later phase or wave, so that it ends.
func (m *machine) observe(ev Observe) (bool, error) {
	if m.state.Phase.Ended() {
		return false, nil
	}
	if err := m.parse(); err != nil {
		return false, err
	}
	m.take(ev)
	m.state.Waits = model.WaitsForNothing
	if m.state.Phase == model.RolloutPaused {
		m.rebase()
		m.watchPaused()
	} else {
		m.keepTime()
		if m.joinedDue() {
			m.tellJoined()
		}
		m.rebase()
	}
	for !m.state.Phase.Ended() && m.state.Phase != model.RolloutPaused {
		phase, wave := m.state.Phase, m.state.Wave
		switch phase {
		case model.RolloutPending:
			m.pending(ev.Blocked)
		case model.RolloutFetching:
			m.fetching()
		case model.RolloutMoving:
			m.moving()
		case model.RolloutSoaking:
			m.soaking()
		case model.RolloutRollingBack:
			m.rollingBack()
		default:
			return false, fmt.Errorf("rollout/%s: there is no phase %q", m.state.Name, phase)
		}
		if m.state.Phase == phase && m.state.Wave == wave {
			break
		}
	}
	return true, nil
}

// watchPaused looks at what has moved while the rollout is paused: what fails goes back all the same. No time passes, so that nothing is late.
func (m *machine) watchPaused() {
	if m.state.Wave < 0 {
		return // nothing has moved
	}
	m.follow()
	m.failed()
}

// take is the picture of the fleet.
func (m *machine) take(ev Observe) {
	m.see(ev.Nodes, ev.Memo)
	m.frozen, m.emergency, m.unsettled, m.cap, m.elsewhere = ev.Frozen, ev.Emergency, ev.Unsettled, ev.Cap, ev.Elsewhere
}

func (m *machine) pending(blocked string) {
	if blocked != "" {
		m.state.Waits = model.WaitsForRollout
		m.state.Message = fmt.Sprintf("waits for rollout/%s, which shares nodes with it", blocked)
		return
	}
	if m.frozen != "" {
		m.state.Waits = model.WaitsForFreeze
		m.state.Message = "waits: " + m.frozen
		return
	}
	m.state.SeenAt = m.now
	m.beginWave(0)
}

// fetching waits for the bytes to be on every counted node of the wave.
func (m *machine) fetching() {
	m.follow()
	readings, failed := m.failed()
	if failed {
		return
	}
	m.dropFromFetching()
	counted, missing := m.waveNodes(), []string(nil)
	if len(m.assignable()) == 0 {
		m.loseWave()
		return
	}
	if len(counted) == 0 {
		if counted = m.recount(); len(counted) == 0 && !m.proved() && !m.wave().Overruled {
			m.keep(readings)
			m.inconclusive(gateLoaded, "none of the nodes can be counted: "+list(m.reasons(m.wave().Nodes)))
			return
		}
	}
	for _, s := range counted {
		if !s.view.Fetched {
			missing = append(missing, s.id)
		}
	}
	if trouble := m.fetchTrouble(missing); trouble != "" { // shown and not written: it may be another each time that a node tries
		m.state.Latest = append([]model.GateReading{{Gate: gateLoaded, Verdict: model.VerdictInconclusive, Detail: "not fetched so far: " + trouble, At: m.now}}, readings...)
	}
	switch {
	case m.frozen != "":
		m.standBy(model.WaitsForFreeze, "waits: "+m.frozen)
	case len(missing) == 0 && m.now.Before(m.wave().Deadline):
		m.move()
	case len(missing) == 0: // whoever is moved now is late at once
		m.failLoaded(fmt.Sprintf("fetched only after the deadline of %s, so nothing was moved", deadline(m.waveSpec())), nil, readings)
	case !m.now.Before(m.wave().Deadline):
		for _, id := range missing {
			p := m.state.Nodes[id]
			p.Reason = because("did not fetch the modules in time", clip(m.view(id).FetchTrouble, MaxFetchTrouble))
			m.set(id, p)
		}
		m.failLoaded(fmt.Sprintf("not fetched by the deadline of %s: %s", deadline(m.waveSpec()), cmp.Or(m.fetchTrouble(missing), list(missing))), missing, readings)
	}
}

// fetchTrouble names nodes, and the first thing that keeps one of them from fetching; empty where none says what does.
func (m *machine) fetchTrouble(ids []string) string {
	for _, id := range ids {
		switch trouble := m.view(id).FetchTrouble; {
		case trouble != "" && len(ids) == 1:
			return because(id, trouble)
		case trouble != "":
			return because(list(ids)+"; of these "+id, trouble)
		}
	}
	return ""
}

// moving waits for every counted node of the wave to serve, and for every assignment to be in the rows.
func (m *machine) moving() {
	m.follow()
	readings, failed := m.failed()
	if failed {
		return
	}
	m.dropFromFetching()
	if len(m.assignable()) == 0 {
		m.loseWave()
		return
	}
	left := m.advance()
	lost := m.assignAgain()
	var late []string
	counted := m.waveNodes()
	for _, s := range counted {
		if s.p.State != model.NodeServing {
			late = append(late, s.id)
		}
	}
	loaded := fmt.Sprintf("%d of %s serve so far", len(counted)-len(late), plural(len(counted), "node"))
	m.state.Latest = append([]model.GateReading{{Gate: gateLoaded, Verdict: model.VerdictInconclusive, Detail: loaded, At: m.now}}, readings...)
	switch {
	case len(late) == 0 && len(lost) == 0 && left == 0:
		if len(counted) == 0 && !m.proved() && !m.wave().Overruled {
			m.keep(readings)
			m.inconclusive(gateLoaded, "none of the nodes can be counted: "+list(m.reasons(m.wave().Nodes)))
			return
		}
		m.soak()
	case !m.now.Before(m.wave().Deadline):
		m.failLate(union(late, lost), readings)
	}
}

// soak begins the soak of the wave.
func (m *machine) soak() {
	m.state.Latest = nil
	counted := m.waveNodes()
	soak := m.waveSpec().Soak
	m.wave().SoakUntil = m.now.Add(soak)
	serve := plural(len(counted), "node") + " serve"
	if len(counted) == 1 {
		serve += "s"
	}
	m.read(gateLoaded, model.VerdictPass, serve)
	m.enter(model.RolloutSoaking, Actor, "%s: %s; soaks for %s", m.waveName(), serve, soak)
}

// soaking waits for the end of the soak and lets the gates decide.
func (m *machine) soaking() {
	m.follow()
	readings, failed := m.failed()
	if failed {
		return
	}
	m.assignAgain()
	if m.now.Before(m.wave().SoakUntil) || !m.allServe() {
		return
	}
	undecided := undecidedOf(m.waveSpec().Gates, readings)
	// While a person or the end of a freeze is waited for, a gate that cannot tell for a moment pauses nothing: paused, nothing would be
	// watched.
	if g := m.unapproved(); g != nil {
		m.keepOnce(readings)
		m.wait(model.WaitsForApproval, fmt.Sprintf("%s: %s; waits for an approval", m.waveName(), because(measured(undecided), g.Note)))
		return
	}
	if m.frozen != "" && m.state.Wave+1 < len(m.state.Spec.Waves) {
		m.keepOnce(readings)
		m.wait(model.WaitsForFreeze, fmt.Sprintf("%s is over: %s; the next one waits: %s", m.waveName(), measured(undecided), m.frozen))
		return
	}
	if len(undecided) > 0 && !m.wave().Overruled {
		since := &m.wave().UndecidedSince
		if since.IsZero() {
			*since = m.now
		}
		if m.now.Sub(*since) < m.grace() {
			return
		}
		*since = time.Time{}
		m.keep(readings)
		m.pauseInconclusive(undecided[0].Gate, undecided[0].Detail)
		return
	}
	m.keep(readings)
	m.completeWave("is complete")
}

// measured is how the gates stand, but for an approval. It names no figures: each change of the words is a line of history.
func measured(undecided []model.GateReading) string {
	if len(undecided) == 0 {
		return "all that is measured is well"
	}
	return "the gate " + undecided[0].Gate + " cannot tell"
}

// loseWave goes on from a wave that has nobody left to move: to its end, or to the person that it asks for.
func (m *machine) loseWave() {
	const lost = "has lost all its nodes"
	if m.unapproved() == nil {
		m.completeWave(lost)
		return
	}
	m.askNobody(lost)
}

// askNobody soaks a wave without nodes, since the next one must not begin before a person has said so.
func (m *machine) askNobody(why string) {
	m.wave().MovedAt, m.wave().SoakUntil = m.now, m.now
	m.enter(model.RolloutSoaking, Actor, "%s %s", m.waveName(), why)
}

// wait says what the rollout waits for, in these words once.
func (m *machine) wait(waits model.RolloutWait, what string) {
	m.state.Waits = waits
	if m.state.Message != what {
		m.state.Message = what
		m.note("%s", what)
	}
}

// standBy is wait while the wave's deadline stands still.
func (m *machine) standBy(waits model.RolloutWait, what string) {
	m.wave().Deadline = m.wave().Deadline.Add(m.passed)
	m.passed = 0 // once a step
	m.wait(waits, what)
}

// completeWave ends the current wave and begins the next one, or ends the rollout.
func (m *machine) completeWave(how string) {
	m.wave().EndedAt = m.now
	m.note("%s %s", m.waveName(), how)
	if next := m.state.Wave + 1; next < len(m.state.Spec.Waves) {
		m.beginWave(next)
		return
	}
	m.finish()
}

// finish ends the rollout after its last wave.
func (m *machine) finish() {
	serving, waiting := 0, 0
	var leftOut []string
	for _, s := range m.seats() {
		switch p := s.p; {
		case p.State == model.NodeSkipped:
			leftOut = append(leftOut, s.id)
		case !moved(p):
		case p.State == model.NodeServing:
			serving++
		default:
			waiting++
		}
	}
	if serving+waiting == 0 {
		m.enter(model.RolloutAborted, Actor, "nothing was moved: no wave found a node that it could take%s", leftOutText(leftOut))
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "done: %s moved", plural(serving, "node"))
	if waiting > 0 {
		fmt.Fprintf(&b, "; %s not counted, assigned for when they return", plural(waiting, "node"))
	}
	b.WriteString(leftOutText(leftOut))
	m.enter(model.RolloutDone, Actor, "%s", b.String())
}

// leftOutText names nodes that no wave could take; what is known of each says why.
func leftOutText(ids []string) string {
	if len(ids) == 0 {
		return ""
	}
	return fmt.Sprintf("; %s left out: %s", plural(len(ids), "node"), list(ids))
}

// failed looks for reasons to fail the wave, and acts on them; else it gives the readings of the gates.
func (m *machine) failed() ([]model.GateReading, bool) {
	var nodes []string
	for s := range m.unseen(&m.judged.sound) {
		if reason := m.failure(s); reason != "" {
			p := s.p
			p.Reason = reason
			m.setSeat(s, p)
			nodes = append(nodes, s.id)
		}
	}
	m.judged.sound = m.seen() // whom a step has found sound is so in its later phases: those that it moves it looks at again
	readings := m.readGates()
	m.state.Latest = readings
	if len(nodes) > 0 {
		slices.Sort(nodes)
		m.failLoaded(list(m.reasons(nodes)), nodes, readings)
		return nil, true
	}
	for _, reading := range readings {
		if reading.Verdict == model.VerdictFail {
			m.keep(readings)
			m.takeBack(reading.Gate, reading.Detail)
			return nil, true
		}
	}
	return readings, false
}

func (m *machine) failLate(late []string, readings []model.GateReading) {
	// Nodes that wait for room, and were given nothing, are at no fault.
	late = slices.DeleteFunc(late, func(id string) bool { return !moved(m.state.Nodes[id]) })
	reasons := make([]string, 0, len(late))
	for _, id := range late {
		p := m.state.Nodes[id]
		p.Reason = "is late: " + m.standing(id, p.Chain)
		m.set(id, p)
		reasons = append(reasons, id+" "+p.Reason)
	}
	m.failLoaded(fmt.Sprintf("not serving by the deadline of %s: %s", deadline(m.waveSpec()), list(reasons)), late, readings)
}

// failLoaded takes everything back because of the gate loaded, beside which the others were read. nodes are those at fault, if any; each has its reason already.
func (m *machine) failLoaded(detail string, nodes []string, readings []model.GateReading) {
	m.keep(readings)
	m.read(gateLoaded, model.VerdictFail, detail)
	for _, id := range nodes {
		p := m.state.Nodes[id]
		p.State = model.NodeFailed
		m.set(id, p)
	}
	m.takeBack(gateLoaded, detail)
}

// takeBack begins a rollback because of a gate that has failed.
func (m *machine) takeBack(gate, detail string) {
	paused := ""
	if m.state.Phase == model.RolloutPaused {
		paused = " while it was paused"
		m.state.SeenAt = m.now // time passes from now on
	}
	m.beginRollback(Actor, fmt.Sprintf("%s failed its gate %s%s: %s", m.waveName(), gate, paused, detail))
}

// inconclusive pauses with a reading of its own.
func (m *machine) inconclusive(gate, detail string) {
	m.read(gate, model.VerdictInconclusive, detail)
	m.pauseInconclusive(gate, detail)
}

func (m *machine) pauseInconclusive(gate, detail string) {
	m.enterPaused(true, Actor, fmt.Sprintf("%s: the gate %s is inconclusive: %s; promote to go on all the same, resume to try again", m.waveName(), gate, detail))
}

// keepOnce keeps the readings with which a wave begins to wait, its soak over: whoever is waited for is to see by what. Those that follow are Latest.
func (m *machine) keepOnce(readings []model.GateReading) {
	if m.wave().WaitsSince.IsZero() {
		m.wave().WaitsSince = m.now
		m.keep(readings)
	}
}

func (m *machine) keep(readings []model.GateReading) {
	m.wave().Readings = append(m.wave().Readings, readings...)
}
