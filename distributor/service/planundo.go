package service

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// PlanUndo says what Undo would do with a rollout, node by node, and changes nothing. It gives the errors of Undo, and model.ErrPrecondition, naming the rollout, where one has done
// it already or is doing it. Nodes that were given the release and that it would leave alone are left out, with why.
func (s *Service) PlanUndo(ctx context.Context, actor Actor, name string) (RolloutPlan, error) {
	object := "rollout/" + name
	if err := s.Ready(); err != nil {
		return RolloutPlan{}, err
	}
	if err := actor.check(object); err != nil {
		return RolloutPlan{}, err
	}
	s.mu.Lock()
	e, running, filter := s.find(name), false, ""
	if e != nil {
		running, filter = e.running(), e.state.Layer.Disables()
	}
	s.mu.Unlock()
	switch {
	case e == nil:
		return RolloutPlan{}, errNoRollout(name)
	case running:
		return s.planBack(ctx, e)
	case filter != "":
		return s.planEnable(ctx, actor, e)
	}
	undone, _, err := s.store.GetRollout(ctx, name)
	if err != nil {
		return RolloutPlan{}, err
	}
	var left map[string]string
	plan, err := s.planNew(ctx, false, func(run context.Context, now time.Time) (model.Rollout, error) {
		undos, partly, err := s.undosOf(run, name)
		if err != nil {
			return model.Rollout{}, err
		}
		var r model.Rollout
		r, left, err = s.undo(actor, undone, undos, partly, now)
		return r, err
	})
	if already, is := errors.AsType[undoneAlready](err); is {
		return RolloutPlan{}, &model.Error{Kind: model.ErrPrecondition, Object: object, Message: already.Error(), Next: "see waft rollout status " + already.by.Name}
	}
	if err != nil {
		return RolloutPlan{}, err // left may be written to yet (inDrive)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, why := range left {
		one := PlannedNode{ID: id, Reason: why}
		if n := s.nodes[id]; n != nil {
			one.From = n.chain.Hash
		}
		plan.LeftOut = append(plan.LeftOut, one)
	}
	slices.SortFunc(plan.LeftOut, func(a, b PlannedNode) int { return strings.Compare(a.ID, b.ID) })
	return plan, nil
}

// planBack is the plan of a rollout that has not ended and would take itself back.
func (s *Service) planBack(ctx context.Context, e *entry) (RolloutPlan, error) {
	name := e.state.Name
	plan := RolloutPlan{TakesBack: name}
	err := s.inDrive(ctx, "rollout/"+name, func(run context.Context) error {
		if !e.running() {
			return &model.Error{Kind: model.ErrUnavailable, Object: "rollout/" + name, Message: "it has ended just now", Next: "try again"}
		}
		event, err := s.glance(run, e)
		if err != nil {
			return err
		}
		if plan.Planned, err = rollout.PlanBack(e.state, event.Nodes); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		before := map[string]model.ReleaseID{}
		for id, p := range e.state.Nodes {
			if p.FromGiven {
				before[id] = p.From
			}
		}
		plan.Release = mostCommon(before)
		plan.Changes = s.changes(e.state.Layer, plan.Planned, func(id string) (model.ReleaseID, bool) { release, has := before[id]; return release, has })
		return nil
	})
	if err != nil {
		return RolloutPlan{}, err // plan may be written to yet (inDrive)
	}
	return plan, nil
}

// planEnable is the plan of what puts a filter back which a rollout that has ended took out.
func (s *Service) planEnable(ctx context.Context, actor Actor, e *entry) (RolloutPlan, error) {
	name, filter := e.state.Name, e.state.Layer.Disables()
	s.mu.Lock()
	last, restore := s.disabled(e.state.Layer)
	disables := e.state.Disables != "" && s.putBackBy(e) == nil
	s.mu.Unlock()
	if !disables || last == nil || len(restore) == 0 {
		return RolloutPlan{}, &model.Error{Kind: model.ErrPrecondition, Object: "rollout/" + name, Message: "there is no node on which it has the filter " + filter + " taken out",
			Next: "see waft filter list"}
	}
	return s.planNew(ctx, false, s.putsBack(actor, last, model.RolloutSpec{Release: last.state.Spec.Release, Waves: undoWaves()}))
}
