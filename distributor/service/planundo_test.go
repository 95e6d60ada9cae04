package service_test

import (
	"slices"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// undoPlan is a plan of an undo, that must be given; and its nodes, wave by wave.
func undoPlan(t *testing.T, svc *service.Service, name string) (service.RolloutPlan, [][]string) {
	t.Helper()
	plan, err := svc.PlanUndo(t.Context(), alice, name)
	if err != nil {
		t.Fatalf("plan the undo of %s: %v", name, err)
	}
	var waves [][]string
	for _, w := range plan.Waves {
		var ids []string
		for _, n := range w {
			ids = append(ids, n.ID)
		}
		waves = append(waves, ids)
	}
	return plan, waves
}

// The plan of an undo is what the undo then does: of a rollout that runs, and of one that has ended; and it changes nothing.
func TestAnUndoIsPlanned(t *testing.T) {
	s, _ := settled(t, 3)
	svc, _ := s.service()
	release := s.release("two", "good:2")
	s.begin("second", "two", long(one), all)
	running := s.reach("second", model.RolloutSoaking)
	first := running.Waves[0].Nodes[0]
	plan, waves := undoPlan(t, svc, "second")
	n := plan.Waves[0][0]
	if plan.TakesBack != "second" || plan.Release.Name != "one" || len(waves) != 1 || !slices.Equal(waves[0], []string{first}) || len(plan.LeftOut) != 0 ||
		n.From != running.Nodes[first].Chain || n.To != running.Nodes[first].FromChain || n.Reason != "" || len(plan.Changes) != 1 || len(plan.Changes[0].Filters) != 1 {
		t.Errorf("while it runs it is planned to %+v", plan)
	}
	if now, err := svc.GetRollout(t.Context(), "second"); err != nil || now.Phase != model.RolloutSoaking {
		t.Errorf("it is %s after the plan, %v", now.Phase, err)
	}
	if _, err := svc.Promote(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	s.reach("second", model.RolloutDone)

	plan, waves = undoPlan(t, svc, "second")
	if plan.TakesBack != "second-undo" || plan.Release.Name != "one" || len(waves) != 2 || len(waves[0])+len(waves[1]) != 3 || len(plan.LeftOut) != 0 || len(plan.Changes) != 1 {
		t.Errorf("when it has ended it is planned to %+v", plan)
	}
	if list, _, err := svc.ListRollouts(t.Context(), service.Page{}); err != nil || len(list) != 2 {
		t.Errorf("there are %d rollouts after the plan, %v", len(list), err)
	}
	undo, err := svc.Undo(t.Context(), alice, "second")
	if err != nil {
		t.Fatal(err)
	}
	done := s.reach(undo.Name, model.RolloutDone)
	for i, w := range done.Waves {
		if got := slices.Sorted(slices.Values(w.Nodes)); undo.Name != plan.TakesBack || !slices.Equal(got, slices.Sorted(slices.Values(waves[i]))) {
			t.Errorf("wave %d of %s took %v, planned were %v of %s", i+1, undo.Name, got, waves[i], plan.TakesBack)
		}
	}
	_, err = svc.PlanUndo(t.Context(), alice, "second")
	wantKind(t, err, model.ErrPrecondition, "rollout/second-undo undoes it already")
	_, err = svc.PlanUndo(t.Context(), alice, "nothing")
	wantKind(t, err, model.ErrNotFound, "rollout/nothing")

	// What an undo would refuse the plan refuses, in the same words.
	s.begin("third", release.ID.String(), all)
	s.reach("third", model.RolloutDone)
	s.release("four", "good:3")
	s.begin("fourth", "four", all)
	s.reach("fourth", model.RolloutDone)
	_, planned := svc.PlanUndo(t.Context(), alice, "third")
	_, undone := svc.Undo(t.Context(), alice, "third")
	wantKind(t, planned, model.ErrConflict, "moved on since")
	if planned.Error() != undone.Error() {
		t.Errorf("the plan says %q, the undo %q", planned, undone)
	}
}

// Who would be left alone is told, and why.
func TestAPlanOfAnUndoSaysWhoIsLeftAlone(t *testing.T) {
	s, _ := settled(t, 3)
	svc, _ := s.service()
	s.release("two", "good:2")
	s.begin("second", "two", long(one), all)
	if _, err := svc.Abort(t.Context(), alice, s.reach("second", model.RolloutSoaking).Name); err != nil {
		t.Fatal(err)
	}
	s.begin("third", "two", all)
	s.reach("third", model.RolloutDone)
	plan, taken := undoPlan(t, svc, "third")
	if len(taken) != 2 || len(taken[0])+len(taken[1]) != 2 || len(plan.LeftOut) != 1 || plan.LeftOut[0].Reason != "has what it had before already" || plan.LeftOut[0].From == "" {
		t.Errorf("it is planned to %+v", plan)
	}
	_, err := svc.PlanUndo(t.Context(), alice, "first")
	wantKind(t, err, model.ErrPrecondition, "had no release before")
}
