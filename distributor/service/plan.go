package service

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/model/merge"
	"github.com/waft-project/waft/distributor/rollout"
)

// What a plan is made of, for the adapters.
type (
	PlannedNode  = rollout.PlannedNode
	FilterChange = merge.FilterChange
)

// RolloutPlan is what a rollout would do if it were started now, and nothing changed meanwhile.
type RolloutPlan struct {
	rollout.Planned
	Release model.ReleaseID
	// WaitsFor is the rollout that it would wait for; empty for none.
	WaitsFor string
	// Frozen is why nothing would move now; empty when nothing forbids it.
	Frozen string
	// Changes are the distinct changes of chains in the plan.
	Changes []ChainChange
	// TakesBack is, of an undo, the rollout that would take back: the one to be undone itself where that has not ended.
	TakesBack string
}

// ChainChange is what changes on nodes that go from one chain to another.
type ChainChange struct {
	From, To string
	Filters  []FilterChange
}

// PlanRollout says what StartRollout would do with the same draft, node by node, and changes nothing. It gives the errors of StartRollout.
func (s *Service) PlanRollout(ctx context.Context, actor Actor, draft RolloutDraft) (RolloutPlan, error) {
	make, err := s.fromDraft(ctx, actor, draft, false)
	if err != nil {
		return RolloutPlan{}, err
	}
	return s.planNew(ctx, draft.NoWait, make)
}

// planNew is the plan of the rollout that make makes, once it is known that it may start.
func (s *Service) planNew(ctx context.Context, noWait bool, make func(context.Context, time.Time) (model.Rollout, error)) (RolloutPlan, error) {
	var plan RolloutPlan
	err := s.admitted(ctx, noWait, make, func(run context.Context, e *entry) error {
		var err error
		plan, err = s.plan(run, e)
		return err
	})
	if err != nil {
		return RolloutPlan{}, err // plan may be written to yet (inDrive)
	}
	return plan, nil
}

// plan is the plan of a rollout that was admitted.
func (s *Service) plan(ctx context.Context, e *entry) (RolloutPlan, error) {
	event, err := s.observation(ctx, e)
	if err != nil {
		return RolloutPlan{}, err
	}
	planned, err := rollout.Plan(e.state, event.Nodes)
	if err != nil {
		return RolloutPlan{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	gives := func(id string) (model.ReleaseID, bool) { return rollout.ReleaseFor(e.state, id) }
	takesBack := ""
	if e.state.Undoes != "" {
		takesBack = e.state.Name
	}
	return RolloutPlan{TakesBack: takesBack, Planned: planned, Release: e.state.Spec.Release, WaitsFor: event.Blocked, Frozen: event.Frozen, Changes: s.changes(e.state.Layer, planned, gives)}, nil
}

// changes are the distinct changes of chains in a plan, by which nodes are given releases of a layer, ordered by the chains' hashes; mu is held.
func (s *Service) changes(layer model.Layer, planned rollout.Planned, given func(id string) (model.ReleaseID, bool)) []ChainChange {
	seen := map[[2]string]bool{}
	var out []ChainChange
	for _, p := range slices.Concat(planned.Waves...) {
		n, pair := s.nodes[p.ID], [2]string{p.From, p.To}
		release, gives := given(p.ID)
		if n == nil || !gives || seen[pair] {
			continue
		}
		seen[pair] = true
		// Both were rendered for the picture, so that neither fails.
		from, _, _ := s.explain(n.row.Assigned)
		if from.Hash != p.From && n.row.Split == (model.NodeSplit{}) {
			continue // an earlier wave of the plan brings the same change to a part of its requests
		}
		to, origins, _ := s.explain(with(s.base(n), layer, release))
		out = append(out, ChainChange{From: p.From, To: p.To, Filters: merge.Changes(from, to, origins)})
	}
	slices.SortFunc(out, func(a, b ChainChange) int { return strings.Compare(a.From+a.To, b.From+b.To) })
	return out
}

// explain is the chain of those releases with the origin of each field; mu is held.
func (s *Service) explain(assigned map[model.Layer]model.ReleaseID) (model.Chain, merge.Origins, error) {
	layers, err := s.layers(assigned)
	if err != nil {
		return model.Chain{}, nil, err
	}
	return merge.Explain(layers)
}

// Rendered is a filter or a resource of a rendered chain, with the layers that its fields come from.
type Rendered struct {
	// Collection is empty for a filter.
	Collection, Name, Version string
	// Type is the URL of a resource's type.
	Type string
	// Fields are what it consists of, by path.
	Fields []merge.Field
}

// RenderedOn are the filters, in their order, and the resources of the chain that a node is assigned. Of a chain that is split it is that of the rest. None for a node that was never
// given a release; model.ErrNotFound for a node that there is not.
func (s *Service) RenderedOn(ctx context.Context, id string) ([]Rendered, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(); err != nil {
		return nil, err
	}
	n := s.nodes[id]
	if n == nil {
		return nil, errNoNode(id)
	}
	chain, origins, err := s.explain(n.row.Assigned)
	if err != nil {
		return nil, err
	}
	fields := merge.Fields(chain, origins)
	var out []Rendered
	for _, f := range chain.Filters {
		out = append(out, Rendered{Name: f.Name, Version: f.Version, Fields: fields[f.Name]})
	}
	for _, r := range chain.Resources {
		out = append(out, Rendered{Collection: r.Collection, Name: r.Name, Version: r.Version, Type: r.Type, Fields: fields[r.Key()]})
	}
	return out, nil
}
