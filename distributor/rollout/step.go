package rollout

import (
	"fmt"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// Step decides what follows from an event: the new state, which the caller stores, and then the actions, which it carries
// out. It is pure: the same arguments give the same results, and r is not changed. What a step does not change the state returned shares with r, so
// that neither may be changed afterwards.
//
// Commands that do not fit the phase give a *model.Error of kind model.ErrPrecondition; a command whose effect is there
// already changes nothing and is no error. Observe gives an error only for a rollout whose selectors do not parse. With
// an error the state returned is r itself and there are no actions.
func Step(r model.Rollout, ev Event, now time.Time) (model.Rollout, []Action, error) {
	if err := check(r); err != nil {
		return r, nil, err
	}
	m := machine{state: own(r), memo: &Memo{}, now: now.Round(0).UTC()}
	changed, err := m.handle(ev)
	if err != nil || !changed {
		return r, nil, err
	}
	m.keepSeats()
	return m.state, m.actions, nil
}

// New is a rollout at its beginning: pending, before its first wave. A spec without waves gets one wave of everything.
func New(name string, layer model.Layer, spec model.RolloutSpec, by By, now time.Time) model.Rollout {
	spec = spec.Clone()
	if len(spec.Waves) == 0 {
		spec.Waves = []model.WaveSpec{{Percent: 100}}
	}
	now = now.Round(0).UTC()
	r := model.Rollout{
		Name: name, Spec: spec, Layer: layer, Phase: model.RolloutPending, Wave: -1,
		Message: "waits for its turn", StartedBy: by.Actor, Reason: by.Reason, StartedAt: now,
	}
	r.History = []model.Transition{{At: now, Phase: r.Phase, Wave: r.Wave, Message: because("started", by.Reason), Actor: by.Actor}}
	return r
}

// check refuses a state that no step can have made, rather than to act on it.
func check(r model.Rollout) error {
	switch r.Stage() {
	case model.RolloutFetching, model.RolloutMoving, model.RolloutSoaking, model.RolloutRollingBack:
		if r.Wave < 0 || r.Wave >= len(r.Waves) || r.Wave >= len(r.Spec.Waves) {
			return &model.Error{Kind: model.ErrInvalid, Object: "rollout/" + r.Name, Message: fmt.Sprintf("its state is broken: it is in phase %s and wave %d, and has %d of %d waves",
				r.Phase, r.Wave, len(r.Waves), len(r.Spec.Waves)), Next: "restore it from a backup"}
		}
	case model.RolloutPending:
		if r.Wave != -1 || len(r.Spec.Waves) == 0 {
			return &model.Error{Kind: model.ErrInvalid, Object: "rollout/" + r.Name, Message: "its state is broken: it is pending with a wave, or has none", Next: "make rollouts with rollout.New"}
		}
	}
	return nil
}

// machine is one step at work: the state that will be returned, and what was gathered for it.
type machine struct {
	state   model.Rollout
	now     time.Time
	actions []Action
	// picture is the views in the order in which they came; memo knows where which is, and is never nil. looked is whether there is one.
	picture []NodeView
	memo    *Memo
	looked  bool
	// seated is what seats has worked out; nil when a node went. newcomers are those that came since.
	seated    []seat
	newcomers []string
	inWave    inWave
	judged    judged
	// ownNodes: state.Nodes is this step's own, and no longer that of the state before.
	ownNodes bool
	// split is the last hash of a split chain that was worked out.
	split splitMemo
	// assigned is where in actions a node's is.
	assigned map[string]int
	// frozen, emergency, unsettled, cap and elsewhere are those of the observation.
	frozen    string
	emergency string
	unsettled int
	cap       FleetCap
	elsewhere map[int]model.GateReading
	// watched is what a clock that does not jump says of the time since the last step; zero: nothing.
	watched time.Duration
	// passed is the time that counts since the last step.
	passed time.Duration
	// selector and waveSelectors are those of the spec, parsed.
	selector      model.Selector
	waveSelectors []model.Selector
	// unheld: that another rollout holds a node is no reason not to take it.
	unheld bool
}

// handle says whether the event changed anything.
func (m *machine) handle(ev Event) (bool, error) {
	switch ev := ev.(type) {
	case Watched:
		m.watched = ev.For
		return m.handle(ev.Event)
	case Observe:
		return m.observe(ev)
	case Join:
		return m.join(ev)
	case Pause:
		return m.pause(ev.By)
	case Resume:
		return m.resume(ev.By)
	case Promote:
		return m.promote(ev.By)
	case Approve:
		return m.approve(ev.By)
	case Abort:
		return m.abort(ev.By)
	case RollBack:
		m.cap = ev.Cap
		return m.rollBack(ev.By)
	default:
		return false, fmt.Errorf("rollout/%s: there is no event %T", m.state.Name, ev)
	}
}

// parse reads the selectors of the spec.
func (m *machine) parse() error {
	var err error
	if m.selector, err = model.ParseSelector(m.state.Spec.Selector); err != nil {
		return fmt.Errorf("rollout/%s: spec.target.selector: %w", m.state.Name, err)
	}
	m.waveSelectors = make([]model.Selector, len(m.state.Spec.Waves))
	for i, w := range m.state.Spec.Waves {
		if m.waveSelectors[i], err = model.ParseSelector(w.Selector); err != nil {
			return fmt.Errorf("rollout/%s: spec.waves[%d].selector: %w", m.state.Name, i, err)
		}
	}
	return nil
}

func (m *machine) active() bool {
	switch m.state.Phase {
	case model.RolloutFetching, model.RolloutMoving, model.RolloutSoaking:
		return true
	}
	return false
}

// wave is the current wave. There is one in every active phase.
func (m *machine) wave() *model.WaveState { return &m.state.Waves[m.state.Wave] }

// gives is ReleaseFor.
func (m *machine) gives(id string) (model.ReleaseID, bool) {
	return releaseFor(&m.state, id)
}

func (m *machine) waveSpec() model.WaveSpec { return m.state.Spec.Waves[m.state.Wave] }

// assign asks for one assignment a node: within a step the last word stands.
func (m *machine) assign(id string, release model.ReleaseID, cohort model.Cohort) {
	action := Assign{Node: id, Layer: m.state.Layer, Release: release, Given: release != model.ReleaseID{}, Cohort: cohort}
	if at, again := m.assigned[id]; again {
		m.actions[at] = action
		return
	}
	if m.assigned == nil {
		m.assigned = map[string]int{}
	}
	m.assigned[id] = len(m.actions)
	m.actions = append(m.actions, action)
}

func (m *machine) precondition(next, format string, args ...any) error {
	return &model.Error{Kind: model.ErrPrecondition, Object: "rollout/" + m.state.Name, Message: fmt.Sprintf(format, args...), Next: next}
}
