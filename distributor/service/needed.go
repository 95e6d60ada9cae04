package service

import (
	"context"
	"maps"
	"slices"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// Needed are the modules of every release that a node runs, is to run, or may have to go back to: those of the releases that
// nodes are assigned, whether they are away or not, those that a running rollout may give to a node, and those that an undo would
// bring back of a rollout that has ended and whose release some node still has. Each release counts once; a module may stand there
// more than once.
//
// Until the service is ready it gives model.ErrUnavailable: what is needed is not known then, and that is not "nothing".
func (s *Service) Needed(ctx context.Context) ([]model.Module, error) {
	needed, err := s.inUse(ctx)
	if err != nil {
		return nil, err
	}
	var modules []model.Module
	for id := range needed {
		if err := s.needReleases(ctx, id); err != nil {
			return nil, err
		}
		s.mu.Lock()
		release := s.releases[id]
		s.mu.Unlock()
		for _, filters := range [...][]model.FilterSpec{release.Filters, release.Overrides} {
			for _, f := range filters {
				if f.Module != nil {
					modules = append(modules, *f.Module)
				}
			}
		}
	}
	return modules, nil
}

// neededReleases are the releases that must stay: those in use, those that a node that joins may be given, those that hold a filter out, and those that a
// row in the store names. It reads nothing, so that the drive loop may ask; false where something has to be read before (inUse).
func (s *Service) neededReleases() (map[model.ReleaseID]struct{}, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(); err != nil {
		return nil, false, err
	}
	needed, unread := s.inUseByWhatIsRead()
	if len(unread) > 0 {
		return nil, false, nil
	}
	rollouts := make([]model.Rollout, 0, len(s.rollouts))
	for _, e := range s.rollouts {
		rollouts = append(rollouts, e.state)
	}
	for _, id := range grantable(rollouts, rollout.Stands) {
		needed[id] = struct{}{}
	}
	for _, d := range s.inForce() {
		needed[d.Spec.Release] = struct{}{}
	}
	// The next start reads what the rows in the store name, which may be behind.
	for _, n := range s.nodes {
		for _, id := range releasesOf(n.given) {
			needed[id] = struct{}{}
		}
	}
	for _, row := range s.gone {
		for _, id := range releasesOf(row) {
			needed[id] = struct{}{}
		}
	}
	return needed, true, nil
}

// inUse are the releases of Needed. It reads what is not known of rollouts that have ended, one after the other.
func (s *Service) inUse(ctx context.Context) (map[model.ReleaseID]struct{}, error) {
	for {
		s.mu.Lock()
		if err := s.ready(); err != nil {
			s.mu.Unlock()
			return nil, err
		}
		needed, unread := s.inUseByWhatIsRead()
		s.mu.Unlock()
		if len(unread) == 0 {
			return needed, nil
		}
		for _, name := range unread {
			if err := s.readEffect(ctx, name); err != nil {
				return nil, err
			}
		}
	}
}

// inUseByWhatIsRead is inUse, as far as what ended rollouts have done is known, and names those of which it is not; mu is held.
func (s *Service) inUseByWhatIsRead() (map[model.ReleaseID]struct{}, []string) {
	needed, given := map[model.ReleaseID]struct{}{}, map[inLayer]struct{}{}
	for _, n := range s.nodes {
		hasOf(n.row, given)
	}
	for has := range given {
		needed[has.id] = struct{}{}
	}
	for _, e := range s.active {
		for _, id := range e.releases() {
			needed[id] = struct{}{}
		}
	}
	var unread []string
	for _, e := range s.rollouts {
		// What an undo has given to whom is not in memory.
		if _, has := given[inLayer{e.state.Layer, e.state.Spec.Release}]; e.running() || !has && e.state.Undoes == "" {
			continue
		}
		did, known := s.effects[e.state.Name]
		if !known {
			unread = append(unread, e.state.Name)
			continue
		}
		if !slices.ContainsFunc(did.gave, func(id model.ReleaseID) bool { _, has := given[inLayer{did.layer, id}]; return has }) {
			continue // no node has it any more: there is nothing to take back
		}
		for _, id := range did.before {
			needed[id] = struct{}{}
		}
	}
	delete(needed, model.ReleaseID{})
	return needed, unread
}

// inLayer is a release as a node has it.
type inLayer struct {
	layer model.Layer
	id    model.ReleaseID
}

// hasOf adds the releases that a row gives its node.
func hasOf(row model.Node, given map[inLayer]struct{}) {
	for layer, id := range row.Assigned {
		given[inLayer{layer, id}] = struct{}{}
	}
	if split := row.Split; split != (model.NodeSplit{}) {
		given[inLayer{split.Layer, split.Release}] = struct{}{}
	}
}

// effect is what an ended rollout has done: which releases it gave to nodes, and which ones they had before it.
type effect struct {
	layer        model.Layer
	gave, before []model.ReleaseID
}

// readEffect reads what a rollout that has ended has done. It is not in memory (entry.slim), and never changes: each is read once.
func (s *Service) readEffect(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	state, _, err := s.store.GetRollout(ctx, name)
	if err != nil {
		return err
	}
	gave, before := map[model.ReleaseID]struct{}{}, map[model.ReleaseID]struct{}{}
	for id, progress := range state.Nodes {
		before[progress.From] = struct{}{}
		if release, ok := rollout.ReleaseFor(state, id); ok {
			gave[release] = struct{}{}
		}
	}
	did := effect{layer: state.Layer, gave: slices.Collect(maps.Keys(gave)), before: slices.Collect(maps.Keys(before))}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.effects[name] = did
	return nil
}
