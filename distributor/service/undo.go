package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// Undo takes a rollout back. One that runs rolls back. One that has ended is undone by a new rollout, NAME-undo, in which
// each node goes to what it had before, one node first, then all, within the same cap; nothing is uploaded. Nodes that joined later with its
// release go to what they would have had without it. It is refused with model.ErrPrecondition when nothing of the rollout
// is left to take back, and with model.ErrConflict when nodes have been moved on since, naming them.
func (s *Service) Undo(ctx context.Context, actor Actor, name string) (model.Rollout, error) {
	object := "rollout/" + name
	if err := s.Ready(); err != nil {
		return model.Rollout{}, err
	}
	if err := actor.check(object); err != nil {
		return model.Rollout{}, err
	}
	if err := s.maySteer(ctx, VerbUndoRollout, name); err != nil {
		return model.Rollout{}, err
	}
	s.mu.Lock()
	e := s.find(name)
	running, disables, exposes, filter, layer := false, false, false, "", model.Layer("")
	if e != nil {
		running, disables, layer = e.running(), e.state.Disables != "", e.state.Layer
		filter, exposes = layer.Disables(), s.exposes(e.state)
	}
	s.mu.Unlock()
	if e == nil {
		return model.Rollout{}, errNoRollout(name)
	}
	if filter != "" && running && exposes {
		if err := s.may(ctx, Act{Verb: VerbExposeFilter, Object: "filter/" + filter, Layer: layer}); err != nil {
			return model.Rollout{}, err
		}
	}
	if filter != "" && !running {
		if disables {
			return s.EnableFilter(ctx, actor, EnableDraft{Filter: filter})
		}
		return model.Rollout{}, &model.Error{Kind: model.ErrPrecondition, Object: object, Message: "it put the filter " + filter + " back, and has ended",
			Next: "take it out again with waft filter disable " + filter}
	}
	if running {
		s.mu.Lock()
		limit := s.fleetCap()
		s.mu.Unlock()
		r, err := s.command(ctx, actor, "undo", name, rollout.RollBack{By: actor.by(), Cap: limit})
		if !errors.Is(err, model.ErrPrecondition) || errors.Is(err, model.ErrConflict) {
			return r, err
		}
		s.mu.Lock()
		running = e.running()
		s.mu.Unlock()
		if running {
			return r, err
		}
		// It ended just now.
	}
	undone, _, err := s.store.GetRollout(ctx, name)
	if err != nil {
		return model.Rollout{}, err
	}
	for again := 0; ; again++ {
		r, err := s.start(ctx, actor, "undo", false, func(now time.Time) (model.Rollout, error) {
			return s.undo(actor, undone, now)
		})
		if !errors.Is(err, model.ErrExists) || again == maxNamesTried {
			return r, err
		}
		// The name that it chose is that of one that was removed, which is known now.
	}
}

// maxNamesTried bounds how many names of rollouts that were removed an undo comes upon.
const maxNamesTried = 20

// exposes says whether to take the rollout back lets unauthorized requests pass again: it puts a filter back that guards. mu is held.
func (s *Service) exposes(r model.Rollout) bool {
	for _, p := range r.Nodes {
		if d := s.releases[p.From].Disable; d != nil && d.PassUnauthorized {
			return true
		}
	}
	return false
}

// undoWaves are the waves of an undo: one node shows that the old release still serves, then the others follow.
func undoWaves() []model.WaveSpec { return []model.WaveSpec{{Nodes: 1}, {Percent: 100}} }

// undo makes the rollout that takes another back.
func (s *Service) undo(actor Actor, undone model.Rollout, now time.Time) (model.Rollout, error) {
	object := "rollout/" + undone.Name
	restore, kept := rollout.Restore(undone)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restoreJoined(undone, restore)

	var moved []string
	for id := range restore {
		n := s.nodes[id]
		gave, _ := rollout.ReleaseFor(undone, id)
		switch {
		case n == nil:
			delete(restore, id)
		case n.row.Split.Layer == undone.Layer && n.row.Split.Release == gave && n.row.Assigned[undone.Layer] == restore[id]:
			// A part of its requests takes the release.
		case n.row.Assigned[undone.Layer] == restore[id]:
			delete(restore, id) // there already
		case n.row.Assigned[undone.Layer] != gave:
			moved = append(moved, id)
		}
	}
	if len(moved) > 0 {
		slices.Sort(moved)
		return model.Rollout{}, &model.Error{Kind: model.ErrConflict, Object: object,
			Message: fmt.Sprintf("%d of its nodes have been moved on since (%s has %s)", len(moved), moved[0], s.nodes[moved[0]].row.Assigned[undone.Layer]),
			Next:    "undo the newer rollout first, see waft rollout list"}
	}
	if len(restore) == 0 {
		why := "no node has its release any more"
		if len(kept) > 0 {
			why = fmt.Sprintf("its %d nodes had no release before, and keep what they have", len(kept))
		}
		return model.Rollout{}, &model.Error{Kind: model.ErrPrecondition, Object: object, Message: "nothing to take back: " + why,
			Next: "roll another release out instead"}
	}
	spec := model.RolloutSpec{Release: mostCommon(restore), Selector: undone.Spec.Selector, MaxNotServing: undone.Spec.MaxNotServing, Waves: undoWaves()}
	return rollout.NewUndo(s.undoName(undone.Name), undone, restore, spec, actor.by(), now), nil
}

// restoreJoined adds to restore the nodes that joined after the rollout had ended, and so are not in it; mu is held.
func (s *Service) restoreJoined(undone model.Rollout, restore map[string]model.ReleaseID) {
	target, err := model.ParseSelector(undone.Spec.Selector)
	if err != nil || undone.Undoes != "" {
		return
	}
	// What was there before it; newer rollouts count by what they undo only.
	var others []model.Rollout
	for _, e := range s.rollouts {
		if e.state.Sequence < undone.Sequence || e.state.Undoes != "" && e.state.Name != undone.Name {
			others = append(others, e.state)
		}
	}
	for _, n := range s.matching(target) {
		_, held := undone.Nodes[n.row.ID]
		if held || n.row.Assigned[undone.Layer] != undone.Spec.Release || !cameAfter(n.row, undone) {
			continue
		}
		if before, ok := rollout.Joining(n.row.Labels, n.row.Reports, others)[undone.Layer]; ok {
			restore[n.row.ID] = before
		}
	}
}

// mostCommon is the release that most nodes go back to, for people to read.
func mostCommon(restore map[string]model.ReleaseID) model.ReleaseID {
	counts := map[model.ReleaseID]int{}
	var best model.ReleaseID
	for _, id := range restore {
		counts[id]++
	}
	for id, count := range counts {
		if count > counts[best] || count == counts[best] && id.String() < best.String() {
			best = id
		}
	}
	return best
}

// undoName is NAME-undo, with a number where that is taken; mu is held.
func (s *Service) undoName(name string) string {
	return s.free(func(number string) string {
		suffix := "-undo" + number
		return name[:min(len(name), maxName-len(suffix))] + suffix
	})
}

// free is the first name that no rollout has, of those that name makes of "", "-2", "-3" and so on; mu is held.
func (s *Service) free(name func(number string) string) string {
	number := ""
	for i := 2; ; i++ {
		candidate := name(number)
		if _, gone := s.namesGone[candidate]; !gone && s.find(candidate) == nil {
			return candidate
		}
		number = fmt.Sprintf("-%d", i)
	}
}

// maxName is the length of a DNS label, in bytes.
const maxName = 63
