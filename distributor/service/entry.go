package service

import (
	"slices"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// entry is a rollout in memory. The drive loop alone replaces what is in it, under Service.mu; state is never changed in
// place, so that copies may leave the lock.
type entry struct {
	state model.Rollout
	// written is the state that the store has, at revision; state may be ahead of it in what is no reason to write.
	written  model.Rollout
	revision int64
	// steppedAt is when state.SeenAt was, with the process's own clock in it; zero: by another process, or not known.
	steppedAt time.Time
	target    model.Selector
	// members are the nodes that the target matches, as of fleet.
	members []*node
	fleet   int64
	// picture is the fleet as it was seen last; the drive loop's own.
	picture picture
	// concerns is what concerned has worked out.
	concerns concerns
	// ahead are nodes, by id, that fetch before their wave begins (rollout.Ahead). They are not stored: after a start the next wave fetches itself.
	ahead map[string]struct{}
	// told is the newest command that changed it, and when that could be seen.
	told struct {
		by      Actor
		message string
		at      time.Time
	}
	// shown are the latest readings that those who watch were told of, and shownAt is when, by the process's own clock.
	shown   []model.GateReading
	shownAt time.Time
	// blocker is the rollout that a pending one waits for; nil when that is not known.
	blocker *entry
	// asked are the gates that are read elsewhere.
	asked map[gateKey]*asked
	// foresight is what was foreseen last of its nodes.
	foresight foresight
}

func newEntry(state model.Rollout, revision int64) (*entry, error) {
	target, err := model.ParseSelector(state.Spec.Selector)
	if err != nil {
		return nil, err
	}
	e := &entry{state: state, written: state, revision: revision, target: target}
	if !e.running() {
		e.slim()
	}
	return e, nil
}

func (e *entry) running() bool { return !e.state.Phase.Ended() }

// slim forgets of an ended rollout what only grows with the fleet: nodes are looked up in the store when somebody asks.
func (e *entry) slim() {
	e.members, e.blocker, e.asked = nil, nil, nil
	e.picture, e.concerns, e.ahead, e.foresight = picture{}, concerns{}, nil, foresight{}
	e.state.Nodes, e.state.Restore, e.state.History, e.state.Latest, e.shown = nil, nil, nil, nil, nil
	e.state.Waves = slices.Clone(e.state.Waves)
	for i, w := range e.state.Waves {
		// Who joins later depends on whether a wave had nodes, not on which.
		e.state.Waves[i].Nodes, e.state.Waves[i].Readings = slices.Clone(w.Nodes[:min(len(w.Nodes), 1)]), nil
	}
	e.written = e.state
}

// releases are all that the rollout may give to a node, each once.
func (e *entry) releases() []model.ReleaseID {
	seen := map[model.ReleaseID]struct{}{}
	seen[e.state.Spec.Release] = struct{}{}
	for _, id := range e.state.Restore {
		seen[id] = struct{}{}
	}
	for _, progress := range e.state.Nodes {
		seen[progress.From] = struct{}{}
	}
	delete(seen, model.ReleaseID{})
	ids := make([]model.ReleaseID, 0, len(seen))
	for id := range seen {
		ids = append(ids, id)
	}
	return ids
}

// anyRunning says whether a rollout has not ended; mu is held.
func (s *Service) anyRunning() bool { return len(s.active) > 0 }

// find is the rollout of that name, or nil; mu is held.
func (s *Service) find(name string) *entry {
	for _, e := range s.active {
		if e.state.Name == name {
			return e
		}
	}
	for _, e := range s.rollouts {
		if e.state.Name == name {
			return e
		}
	}
	return nil
}

// membersOf are the nodes of the target, by id: those that the selector matches and that may have their labels, and for an undo those that it restores;
// mu is held.
func (s *Service) membersOf(e *entry) []*node {
	s.doubt()
	if e.fleet == s.fleet {
		return e.members
	}
	e.fleet = s.fleet
	if e.state.Undoes == "" {
		e.members = slices.DeleteFunc(s.matching(e.target), func(n *node) bool {
			return n.doubted && e.state.Nodes[n.row.ID].MovedAt.IsZero() // what it has moved it may have to take back
		})
		return e.members
	}
	e.members = nil
	for id := range e.state.Restore {
		if n := s.nodes[id]; n != nil {
			e.members = append(e.members, n)
		}
	}
	sortNodes(e.members)
	return e.members
}

// matching are the nodes that a selector matches, by id; mu is held.
func (s *Service) matching(target model.Selector) []*node {
	var nodes []*node
	for _, n := range s.nodes {
		if target.Matches(n.row.Labels) {
			nodes = append(nodes, n)
		}
	}
	sortNodes(nodes)
	return nodes
}

func rowsOf(nodes []*node) []model.Node {
	rows := make([]model.Node, len(nodes))
	for i, n := range nodes {
		rows[i] = n.row
	}
	return rows
}
