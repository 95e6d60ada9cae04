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
// row in the store names.
func (s *Service) neededReleases(ctx context.Context) (map[model.ReleaseID]struct{}, error) {
	needed, err := s.inUse(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
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
	return needed, nil
}

// inUse are the releases of Needed.
func (s *Service) inUse(ctx context.Context) (map[model.ReleaseID]struct{}, error) {
	s.mu.Lock()
	if err := s.ready(); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	needed := map[model.ReleaseID]struct{}{}
	given := map[inLayer]struct{}{}
	for _, n := range s.nodes {
		for layer, id := range n.row.Assigned {
			needed[id] = struct{}{}
			given[inLayer{layer, id}] = struct{}{}
		}
		if split := n.row.Split; split != (model.NodeSplit{}) {
			needed[split.Release] = struct{}{}
			given[inLayer{split.Layer, split.Release}] = struct{}{}
		}
	}
	for _, e := range s.active {
		for _, id := range e.releases() {
			needed[id] = struct{}{}
		}
	}
	var ended []string
	for _, e := range s.rollouts {
		// What an undo has given to whom is not in memory.
		if _, has := given[inLayer{e.state.Layer, e.state.Spec.Release}]; !e.running() && (has || e.state.Undoes != "") {
			ended = append(ended, e.state.Name)
		}
	}
	s.mu.Unlock()

	for _, name := range ended {
		did, err := s.effectOf(ctx, name)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(did.gave, func(id model.ReleaseID) bool { _, has := given[inLayer{did.layer, id}]; return has }) {
			continue // no node has it any more: there is nothing to take back
		}
		for _, id := range did.before {
			needed[id] = struct{}{}
		}
	}
	delete(needed, model.ReleaseID{})
	return needed, nil
}

// inLayer is a release as a node has it.
type inLayer struct {
	layer model.Layer
	id    model.ReleaseID
}

// effect is what an ended rollout has done: which releases it gave to nodes, and which ones they had before it.
type effect struct {
	layer        model.Layer
	gave, before []model.ReleaseID
}

// effectOf reads what a rollout that has ended has done. It is not in memory (entry.slim), and never changes: each is read once.
func (s *Service) effectOf(ctx context.Context, name string) (effect, error) {
	s.mu.Lock()
	did, known := s.effects[name]
	s.mu.Unlock()
	if known {
		return did, nil
	}
	state, _, err := s.store.GetRollout(ctx, name)
	if err != nil {
		return effect{}, err
	}
	gave, before := map[model.ReleaseID]struct{}{}, map[model.ReleaseID]struct{}{}
	for id, progress := range state.Nodes {
		before[progress.From] = struct{}{}
		if release, ok := rollout.ReleaseFor(state, id); ok {
			gave[release] = struct{}{}
		}
	}
	did = effect{layer: state.Layer, gave: slices.Collect(maps.Keys(gave)), before: slices.Collect(maps.Keys(before))}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.effects[name] = did
	return did, nil
}
