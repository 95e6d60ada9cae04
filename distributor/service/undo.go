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
// release go to what they would have had without it.
//
// To ask for it again changes nothing: while the new rollout runs the answer is that one, and so it is after it is Done, for as long as it is not undone
// itself; nodes that it left out and that have the release yet are then taken back by one more. Where it ended otherwise, another begins. One that has
// rolled back is its own answer, where it left nothing.
//
// It is refused with model.ErrPrecondition when nothing of the rollout
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
	var enabling *model.Rollout
	if e != nil {
		running, disables, layer = e.running(), e.state.Disables != "", e.state.Layer
		filter, exposes = layer.Disables(), s.exposes(e.state)
		if disables {
			enabling = s.putBackBy(e)
		}
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
		if enabling != nil {
			return s.enabledBy(ctx, *enabling)
		}
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
		r, err := s.start(ctx, actor, "undo", false, func(run context.Context, now time.Time) (model.Rollout, error) {
			undos, partly, err := s.undosOf(run, name)
			if err != nil {
				return model.Rollout{}, err
			}
			r, _, err := s.undo(actor, undone, undos, partly, now)
			return r, err
		})
		if r, err := answer(r, err); err == nil {
			return r, nil
		}
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

// undo makes the rollout that takes another back, which those undos have done in part; partly are undos that were undone half way. It gives the nodes, too, that were given the
// release and are left alone, by why.
func (s *Service) undo(actor Actor, undone model.Rollout, undos, partly []model.Rollout, now time.Time) (model.Rollout, map[string]string, error) {
	object := "rollout/" + undone.Name
	restore, kept := rollout.Restore(undone)
	left := map[string]string{}
	for _, id := range kept {
		left[id] = "had nothing before, so it keeps what it has"
	}
	leave := func(id, why string) {
		delete(restore, id)
		left[id] = why
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.undoing(undone.Name); e != nil {
		r, err := underway(e.state)
		return r, nil, err
	}
	s.restoreJoined(undone, restore)
	for id := range restore {
		gave, _ := rollout.ReleaseFor(undone, id)
		n := s.nodes[id]
		has := n != nil && n.row.Assigned[undone.Layer] == gave
		tests := n != nil && n.row.Split.Layer == undone.Layer && n.row.Split.Release == gave
		// What came after is not this one's to take back.
		switch {
		case tookBack(undos, id):
			leave(id, "was taken back already")
		case undone.Phase == model.RolloutRolledBack && !has && !tests:
			leave(id, "went back when the rollout did, or was moved on since")
		case (len(undos) > 0 || len(partly) > 0) && !has:
			leave(id, "was taken back already, or moved on since")
		}
	}
	if len(undos) > 0 && len(restore) == 0 {
		return model.Rollout{}, nil, undoneAlready{undos[0]}
	}

	var moved []string
	for id := range restore {
		n := s.nodes[id]
		gave, _ := rollout.ReleaseFor(undone, id)
		switch {
		case n == nil:
			leave(id, "is not known any more")
		case n.row.Split.Layer == undone.Layer && n.row.Split.Release == gave && n.row.Assigned[undone.Layer] == restore[id]:
			// A part of its requests takes the release.
		case n.row.Assigned[undone.Layer] == restore[id]:
			leave(id, "has what it had before already")
		case n.row.Assigned[undone.Layer] != gave:
			moved = append(moved, id)
		}
	}
	if len(moved) > 0 {
		slices.Sort(moved)
		return model.Rollout{}, nil, &model.Error{Kind: model.ErrConflict, Object: object,
			Message: fmt.Sprintf("%d of its nodes have been moved on since (%s has %s)", len(moved), moved[0], s.nodes[moved[0]].row.Assigned[undone.Layer]),
			Next:    "undo the newer rollout first, see waft rollout list"}
	}
	if len(restore) == 0 && len(kept) == 0 && undone.Phase == model.RolloutRolledBack {
		return model.Rollout{}, nil, undoneAlready{undone} // it has taken itself back
	}
	if len(restore) == 0 && len(partly) > 0 {
		return model.Rollout{}, nil, undoneAlready{partly[0]} // whatever undid that has moved nobody
	}
	if len(restore) == 0 {
		why := "no node has its release any more"
		if len(kept) > 0 {
			why = fmt.Sprintf("its %d nodes had no release before, and keep what they have", len(kept))
		}
		return model.Rollout{}, nil, &model.Error{Kind: model.ErrPrecondition, Object: object, Message: "nothing to take back: " + why,
			Next: "roll another release out instead"}
	}
	spec := model.RolloutSpec{Release: mostCommon(restore), Selector: undone.Spec.Selector, MaxNotServing: undone.Spec.MaxNotServing, Waves: undoWaves()}
	return rollout.NewUndo(s.undoName(undone.Name), undone, restore, spec, actor.by(), now), left, nil
}

// undoneAlready is the answer to an undo that changes nothing, since another does what it asks for, or did.
type undoneAlready struct{ by model.Rollout }

func (u undoneAlready) Error() string { return "rollout/" + u.by.Name + " undoes it already" }

// answer is the rollout that undoes already, where the error says that there is one.
func answer(r model.Rollout, err error) (model.Rollout, error) {
	if already, is := errors.AsType[undoneAlready](err); is {
		return already.by, nil
	}
	return r, err
}

// underway refers to an undo that runs, unless that is taken back itself.
func underway(undo model.Rollout) (model.Rollout, error) {
	if undo.Phase == model.RolloutRollingBack {
		return model.Rollout{}, &model.Error{Kind: model.ErrConflict, Object: "rollout/" + undo.Undoes, Message: fmt.Sprintf("rollout/%s, which undoes it, is being taken back", undo.Name),
			Next: "wait for its end, see waft rollout status " + undo.Name + ", then ask again"}
	}
	return model.Rollout{}, undoneAlready{undo}
}

// enabledBy answers with the rollout that puts a filter back; one that has ended is whole in the store alone.
func (s *Service) enabledBy(ctx context.Context, enabling model.Rollout) (model.Rollout, error) {
	if enabling.Phase.Ended() {
		r, _, err := s.store.GetRollout(ctx, enabling.Name)
		return r, err
	}
	return answer(underway(enabling))
}

// putBackBy is the rollout that puts the filter back which a disabling took out, or has put it back; nil for none. A filter has one layer, and goes
// back whole, whichever of its disablings is named. mu is held.
func (s *Service) putBackBy(disabling *entry) *model.Rollout {
	layer := disabling.state.Layer
	if e := s.enabling(layer); e != nil {
		state := e.state // the drive loop puts another in its place
		return &state
	}
	newer := false
	for _, d := range s.inForce() {
		if d.Name == disabling.state.Name {
			return nil
		}
		newer = newer || d.Layer == layer
	}
	if _, left := s.disabled(layer); len(left) > 0 && !newer {
		return nil // some have it out yet
	}
	for _, e := range s.rollouts {
		if e.state.Layer == layer && e.state.Undoes != "" && e.state.Phase == model.RolloutDone && e.state.Sequence > disabling.state.Sequence {
			state := e.state
			return &state
		}
	}
	return nil
}

// undoing is the rollout that runs and undoes another; nil for none. mu is held.
func (s *Service) undoing(name string) *entry {
	for _, e := range s.active {
		if e.state.Undoes == name {
			return e
		}
	}
	return nil
}

// undosOf are the rollouts, as the store has them, that have undone another and hold: they are done, and nothing has undone them. partly are those
// that are done, and were undone in their turn by one that ended half way. The newest come first. It is refused while one of them is being undone. The
// drive loop alone calls it, with its own context.
func (s *Service) undosOf(ctx context.Context, name string) (undos, partly []model.Rollout, err error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	names, halves, err := s.undoNames(name)
	if err != nil {
		return nil, nil, err
	}
	read := func(names []string) []model.Rollout {
		var out []model.Rollout
		for _, name := range names {
			if err != nil {
				return nil
			}
			var undo model.Rollout
			undo, _, err = s.store.GetRollout(ctx, name)
			out = append(out, undo)
		}
		return out
	}
	undos, partly = read(names), read(halves)
	return undos, partly, err
}

// undoNames are the names of what undosOf reads.
func (s *Service) undoNames(name string) (undos, partly []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	undone := map[string]*entry{}  // by what has left something undone
	for _, e := range s.rollouts { // newest first
		if e.state.Undoes == "" || e.state.Phase == model.RolloutRolledBack {
			continue
		}
		by := undone[e.state.Name]
		if by != nil && by.state.Phase == model.RolloutDone {
			continue // it is as if it had not been
		}
		if known := undone[e.state.Undoes]; known == nil || known.state.Phase == model.RolloutAborted {
			undone[e.state.Undoes] = e
		}
		switch {
		case e.state.Undoes != name || e.state.Phase != model.RolloutDone:
		case by == nil:
			undos = append(undos, e.state.Name)
		case by.running():
			return nil, nil, &model.Error{Kind: model.ErrConflict, Object: "rollout/" + name,
				Message: fmt.Sprintf("rollout/%s, which has undone it, is being undone by rollout/%s", e.state.Name, by.state.Name),
				Next:    "wait for its end, see waft rollout status " + by.state.Name + ", then ask again"}
		default:
			partly = append(partly, e.state.Name)
		}
	}
	return undos, partly, nil
}

// tookBack says whether one of those undos has moved a node.
func tookBack(undos []model.Rollout, node string) bool {
	return slices.ContainsFunc(undos, func(undo model.Rollout) bool { return !undo.Nodes[node].MovedAt.IsZero() })
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
