package service_test

import (
	"slices"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// Needed follows what nodes run and what they can be sent back to, by a rollback or by an undo, over a restart as well; and
// lets go of the rest.
func TestNeeded(t *testing.T) {
	s, _ := settled(t, 3)
	s.modules.add("good:3", "")
	needs := func(when string, want ...string) {
		t.Helper()
		svc, _ := s.service()
		modules, err := svc.Needed(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var have []string
		for _, reference := range []string{"good:1", "good:2", "good:3"} {
			if slices.ContainsFunc(modules, func(m model.Module) bool { return m.Digest == model.Digest([]byte(reference)) }) {
				have = append(have, reference)
			}
		}
		if !slices.Equal(have, want) {
			t.Errorf("%s: %v are needed, want %v", when, have, want)
		}
	}
	undo := func(name string) {
		t.Helper()
		svc, _ := s.service()
		r, err := svc.Undo(t.Context(), alice, name)
		if err != nil {
			t.Fatal(err)
		}
		s.reach(r.Name, model.RolloutDone)
	}

	s.release("two", "good:2")
	needs("with a release that was not rolled out", "good:1")
	s.begin("second", "two", long(one), all)
	s.reach("second", model.RolloutSoaking)
	needs("while a rollout runs", "good:1", "good:2")
	svc, _ := s.service()
	if _, err := svc.Undo(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	s.reach("second", model.RolloutRolledBack)
	needs("after it was rolled back", "good:1")

	s.begin("third", "two", all)
	s.reach("third", model.RolloutDone)
	needs("after a rollout that can be undone", "good:1", "good:2")
	s.release("three", "good:3")
	s.begin("fourth", "three", all)
	s.reach("fourth", model.RolloutDone)
	needs("after another one", "good:2", "good:3")
	undo("fourth")
	needs("after its undo, which can be undone, too", "good:1", "good:2", "good:3")

	s.stop()
	s.start()
	needs("after a restart", "good:1", "good:2", "good:3")

	// Before it has read its store it does not say that nothing is needed.
	early, err := service.New(service.Config{Store: s.store, Modules: s.modules})
	if err != nil {
		t.Fatal(err)
	}
	_, err = early.Needed(t.Context())
	wantKind(t, err, model.ErrUnavailable, "is starting")
}
