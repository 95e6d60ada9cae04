package service

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// collectRollouts removes rollouts that have ended and that nothing needs. What they did stays in the audit log.
func (s *Service) collectRollouts(ctx context.Context) error {
	if s.keepRollouts < 0 {
		return nil
	}
	for range maxCollected {
		if _, err := s.inUse(ctx); err != nil { // reads what undos have done
			return err
		}
		done := true
		err := s.inDrive(ctx, "rollouts", func(run context.Context) error {
			gone, known, err := s.oldRollouts()
			if err != nil {
				return err
			}
			if done = known && len(gone) <= collectAtOnce; len(gone) > collectAtOnce {
				gone = gone[:collectAtOnce] // others have their turn in between
			}
			for _, r := range gone {
				if err := s.deleteRollout(run, r); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || done {
			return err
		}
	}
	return nil
}

// oldRollouts are those that may go, in their order. It reads nothing, so that the drive loop may ask; false where something has to be read before (inUse).
func (s *Service) oldRollouts() ([]model.Rollout, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(); err != nil {
		return nil, false, err
	}
	if len(s.rollouts) <= s.keepRollouts {
		return nil, true, nil
	}
	// Rows in the store may be behind, and the next start reads them.
	given := map[inLayer]struct{}{}
	for _, n := range s.nodes {
		hasOf(n.row, given)
		hasOf(n.given, given)
	}
	for _, row := range s.gone {
		hasOf(row, given)
	}
	known, byName, rollouts := true, map[string]model.Rollout{}, make([]model.Rollout, 0, len(s.rollouts))
	for _, e := range s.rollouts {
		rollouts, byName[e.state.Name] = append(rollouts, e.state), e.state
	}
	names := collectableRollouts(rollouts, func(r model.Rollout) bool {
		has := func(id model.ReleaseID) bool { _, has := given[inLayer{r.Layer, id}]; return has }
		if r.Undoes == "" {
			return has(r.Spec.Release)
		}
		did, read := s.effects[r.Name] // what it gave to whom is not in memory
		known = known && read
		return !read || slices.ContainsFunc(did.gave, has)
	}, s.keepRollouts)
	gone := make([]model.Rollout, len(names))
	for i, name := range names {
		gone[i] = byName[name]
	}
	return gone, known, nil
}

// deleteRollout is called by the drive loop.
func (s *Service) deleteRollout(ctx context.Context, r model.Rollout) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := s.store.DeleteRollout(ctx, r.Name, r.Sequence, model.AuditEntry{At: s.stamp(), Actor: rollout.Actor, Action: "rollout.collect", Object: "rollout/" + r.Name,
		Detail: fmt.Sprintf("it ended as %s, no node has what it gave, and %d newer ones are kept", r.Phase, s.keepRollouts)})
	if err != nil && !errors.Is(err, model.ErrNotFound) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rollouts = slices.DeleteFunc(slices.Clone(s.rollouts), func(e *entry) bool { return e.state.Name == r.Name })
	delete(s.effects, r.Name)
	s.log.Info("rollout removed: nothing needs it", "rollout", r.Name)
	return nil
}
