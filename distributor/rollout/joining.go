package rollout

import (
	"github.com/waft-project/waft/distributor/model"
)

// Grant is a release that a joining node is given, and the rollout that it comes from.
type Grant struct {
	Release model.ReleaseID
	Rollout string
}

// Joining is what a node that joins is given: for each layer, the release of the newest rollout whose target's selector
// matches its labels, that takes its kind of sink (TakesSink), and that has completed a wave and was neither rolled back nor
// undone; else of an older one. A layer for which there is none is not in the map; an empty map means that the node waits.
// Rollouts come newest first.
func Joining(labels map[string]string, reports bool, rollouts []model.Rollout) map[model.Layer]model.ReleaseID {
	releases := map[model.Layer]model.ReleaseID{}
	for layer, grant := range Grants(labels, reports, rollouts) {
		releases[layer] = grant.Release
	}
	return releases
}

// Grants is Joining with the name of the rollout that each release comes from. What is disabled does not come this way: the caller
// adds it to whatever a node is given first. Where that rollout has not ended, the
// caller gives it a Join event, with the grant that there would be without it as From, and carries out the Assign that it
// answers with; where Join is refused, the node gets the grant without it.
func Grants(labels map[string]string, reports bool, rollouts []model.Rollout) map[model.Layer]Grant {
	grants := map[model.Layer]Grant{}
	undone := map[string]bool{}
	for _, r := range rollouts {
		if undone[r.Name] || !Stands(r) || r.Layer.Disables() != "" {
			continue
		}
		if r.Undoes != "" {
			// What it restored is what older rollouts gave.
			undone[r.Undoes] = true
			continue
		}
		if _, newer := grants[r.Layer]; newer || !TakesSink(r, reports) {
			continue
		}
		// A selector that does not parse matches nothing; rollouts are validated when they start.
		if selector, err := model.ParseSelector(r.Spec.Selector); err == nil && selector.Matches(labels) {
			grants[r.Layer] = Grant{Release: r.Spec.Release, Rollout: r.Name}
		}
	}
	return grants
}

// Stands says whether a rollout has completed a wave that had nodes and moved all their requests, and was not rolled back.
func Stands(r model.Rollout) bool {
	if r.Phase.Back() {
		return false
	}
	for i, w := range r.Waves {
		if i < len(r.Spec.Waves) && r.Spec.Waves[i].Cohort != (model.Cohort{}) {
			continue // what is under test is not given to nodes that join
		}
		if len(w.Nodes) > 0 && !w.EndedAt.IsZero() {
			return true
		}
	}
	return false
}

// join takes a node into a running rollout that Grants named.
func (m *machine) join(ev Join) (bool, error) {
	id := ev.Node.ID
	if Holds(m.state, id) {
		return false, nil
	}
	if !m.active() || !Stands(m.state) {
		return false, m.precondition("give the node what it would have without this rollout", "node/%s cannot join it in phase %s, before a wave is complete", id, m.state.Phase)
	}
	if err := m.parse(); err != nil {
		return false, err
	}
	release, ok := m.gives(id)
	if !ok || !m.targets(&ev.Node) || !TakesSink(m.state, ev.Node.Reports) || ev.Node.Unloadable != "" {
		return false, m.precondition("give the node what it would have without this rollout", "node/%s does not belong to its target, cannot report, or cannot load the release", id)
	}
	m.keepTime()
	m.set(id, model.NodeProgress{
		State: model.NodeMoving, Wave: -1, Reason: reasonJoined, MovedAt: m.now, Uncounted: true, Restarts: ev.Node.Restarts,
		From: ev.From, FromGiven: ev.FromGiven, Chain: ev.Node.TargetChain, FromChain: ev.FromChain,
	})
	m.joined(id)
	m.assign(id, release, model.Cohort{})
	return true, nil
}

// joined tells of a node that joins, or counts it where the history has told of another a moment ago.
func (m *machine) joined(id string) {
	if !m.joinedDue() {
		m.state.JoinedUntold++
		return
	}
	m.tellJoined()
	m.note("%s %s and is given the release", id, reasonJoined)
	m.state.JoinedToldAt = m.now
}

// joinedDue says whether the history has told of no node that joins for a while. A clock that jumps makes it sooner.
func (m *machine) joinedDue() bool { return m.now.Sub(m.state.JoinedToldAt).Abs() >= JoinedEvery }

// tellJoined tells of the nodes that were only counted, if any.
func (m *machine) tellJoined() {
	if n := m.state.JoinedUntold; n > 0 {
		m.state.JoinedUntold, m.state.JoinedToldAt = 0, m.now
		m.note("%s more %s, and were given the release", plural(n, "node"), reasonJoined)
	}
}
