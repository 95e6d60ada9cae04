package service

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/model/merge"
	"github.com/waft-project/waft/distributor/rollout"
)

// NextStep is what a rollout that has not ended would do with a node next.
type NextStep struct {
	rollout.Foreseen
	// Rollout is its name, Phase and Message how it stands.
	Rollout string
	Phase   model.RolloutPhase
	Message string
	// Release is what the node would be given in Layer; zero where it is given nothing, or the layer is taken away.
	Layer   model.Layer
	Release model.ReleaseID
	// Changes are what changes in its chain, from what it is assigned now.
	Changes []FilterChange
}

// foresight is what was foreseen of a rollout's nodes: what is asked of many nodes, one after the other, is worked out once.
type foresight struct {
	// revision of the rollout, and when by the process's own clock.
	revision int64
	at       time.Time
	nodes    map[string]rollout.Foreseen
}

// foresightAge is how old what was foreseen may be when it is told.
const foresightAge = time.Second

// NextOn are the next steps that rollouts which have not ended would take with a node, the one that began first before the others; none where none has any. It is
// model.ErrNotFound for a node that there is not.
func (s *Service) NextOn(ctx context.Context, id string) ([]NextStep, error) {
	active, err := s.concerning(id)
	if err != nil || len(active) == 0 {
		return nil, err
	}
	var out []NextStep
	for _, e := range active {
		step, is, err := s.nextIn(ctx, e, id)
		if err != nil {
			return nil, err
		}
		if is {
			out = append(out, step)
		}
	}
	return out, nil
}

// concerning are the rollouts that have not ended and whose target a node is in, or that hold it.
func (s *Service) concerning(id string) ([]*entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(); err != nil {
		return nil, err
	}
	n := s.nodes[id]
	if n == nil {
		return nil, errNoNode(id)
	}
	var out []*entry
	for _, e := range s.active {
		if rollout.Holds(e.state, id) || e.state.Undoes == "" && e.target.Matches(n.row.Labels) {
			out = append(out, e)
			continue
		}
		if _, restores := e.state.Restore[id]; restores {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b *entry) int { return cmp.Compare(a.state.Sequence, b.state.Sequence) })
	return out, nil
}

func (s *Service) nextIn(ctx context.Context, e *entry, id string) (NextStep, bool, error) {
	s.mu.Lock()
	fresh := s.foreseen(e)
	s.mu.Unlock()
	if !fresh {
		err := s.inDrive(ctx, "node/"+id, func(run context.Context) error {
			if s.mu.Lock(); !e.running() || s.foreseen(e) {
				s.mu.Unlock()
				return nil
			}
			s.mu.Unlock()
			event, err := s.glance(run, e)
			if err != nil {
				return err
			}
			nodes, err := rollout.Foresee(e.state, event.Nodes)
			if err != nil {
				return err
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			e.foresight = foresight{revision: e.revision, at: time.Now(), nodes: nodes}
			return nil
		})
		if err != nil {
			return NextStep{}, false, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n, next := s.nodes[id], e.foresight.nodes[id]
	if _, is := e.foresight.nodes[id]; !is || n == nil || !e.running() {
		return NextStep{}, false, nil
	}
	out := NextStep{Foreseen: next, Rollout: e.state.Name, Phase: e.state.Phase, Message: e.state.Message, Layer: e.state.Layer}
	if next.Wave < 0 && !next.Back {
		return out, true, nil
	}
	out.Release, _ = rollout.ReleaseFor(e.state, id)
	if next.Back {
		out.Release = e.state.Nodes[id].From
	}
	from, _, err := s.explain(n.row.Assigned)
	if err != nil {
		return out, true, nil // that it has next is told all the same
	}
	if to, origins, err := s.explain(with(s.base(n), e.state.Layer, out.Release)); err == nil {
		out.Changes = merge.Changes(from, to, origins)
	}
	return out, true, nil
}

// glance is an observation that no step follows, so that what the rollout was to see is to be seen yet. The drive loop alone calls it.
func (s *Service) glance(ctx context.Context, e *entry) (rollout.Observe, error) {
	s.mu.Lock()
	blocker, fleet := e.blocker, e.fleet
	s.mu.Unlock()
	event, err := s.observation(ctx, e)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.blocker = blocker; e.fleet != fleet {
		e.blocker = nil
	}
	return event, err
}

// foreseen says whether what was foreseen of a rollout is new enough; mu is held.
func (s *Service) foreseen(e *entry) bool {
	f := &e.foresight
	return f.nodes != nil && f.revision == e.revision && time.Since(f.at) < foresightAge
}
