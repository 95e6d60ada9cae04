package service_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// Two operators at once: one of them wins, and the other is told who it was.
func TestCommandsAtOnce(t *testing.T) {
	s, nodes := settled(t, 4)
	svc, _ := s.service()
	s.release("two", "good:2")

	conflicts := 0
	for round := range 20 {
		name := fmt.Sprintf("round-%d", round)
		s.begin(name, "two", long(one), all)
		s.reach(name, model.RolloutSoaking)
		var wg sync.WaitGroup
		var ready sync.WaitGroup
		ready.Add(2)
		errs := make([]error, 2)
		for i, command := range []func() error{
			func() error { _, err := svc.Abort(t.Context(), service.Actor{Name: "alice"}, name); return err },
			func() error { _, err := svc.Pause(t.Context(), service.Actor{Name: "bob"}, name); return err },
		} {
			wg.Go(func() {
				ready.Done()
				ready.Wait()
				errs[i] = command()
			})
		}
		wg.Wait()
		if errs[0] != nil {
			t.Fatalf("abort: %v", errs[0]) // it fits running and paused alike
		}
		if errors.Is(errs[1], model.ErrConflict) {
			conflicts++
			wantKind(t, errs[1], model.ErrConflict, "rollout/"+name, "alice was first", "Aborted")
			wantKind(t, errs[1], model.ErrPrecondition)
		} else if errs[1] != nil && !errors.Is(errs[1], model.ErrPrecondition) {
			t.Fatalf("pause: %v", errs[1])
		}
		s.reach(name, model.RolloutAborted)
		undo, err := svc.Undo(t.Context(), alice, name)
		if err != nil {
			t.Fatal(err)
		}
		s.reach(undo.Name, model.RolloutDone)
	}
	t.Logf("%d of 20 rounds ended in a conflict", conflicts)
	for _, n := range nodes {
		if got := n.log(); got[len(got)-1] != "good:1" {
			t.Errorf("%s serves %v in the end", n.hello.ID, got)
		}
	}
}

// Of many that start a rollout under one name one wins, and the others learn whose it is.
func TestStartsAtOnce(t *testing.T) {
	s, _ := settled(t, 2)
	svc, _ := s.service()
	s.release("two", "good:2")
	const operators = 8
	var wg sync.WaitGroup
	errs := make([]error, operators)
	for i := range operators {
		wg.Go(func() {
			_, errs[i] = svc.StartRollout(t.Context(), service.Actor{Name: fmt.Sprintf("operator-%d", i)}, service.RolloutDraft{Name: "second", Release: "two"})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		wantKind(t, err, model.ErrExists, "rollout/second", "started at", "operator-")
	}
	if won != 1 {
		t.Errorf("%d won, want 1", won)
	}
	s.reach("second", model.RolloutDone)
}

func TestCallsBeforeAndAfterRun(t *testing.T) {
	s := newSite(t)
	svc, err := service.New(service.Config{Store: s.store, Modules: s.modules})
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]func(*service.Service) error{
		"Ready": func(s *service.Service) error { return s.Ready() },
		"CreateRelease": func(s *service.Service) error {
			_, err := s.CreateRelease(t.Context(), alice, service.ReleaseDraft{Name: "a"})
			return err
		},
		"GetRelease": func(s *service.Service) error { _, err := s.GetRelease(t.Context(), "a"); return err },
		"ListReleases": func(s *service.Service) error {
			_, _, err := s.ListReleases(t.Context(), "", service.Page{})
			return err
		},
		"StartRollout": func(s *service.Service) error {
			_, err := s.StartRollout(t.Context(), alice, service.RolloutDraft{Name: "a", Release: "a"})
			return err
		},
		"GetRollout":   func(s *service.Service) error { _, err := s.GetRollout(t.Context(), "a"); return err },
		"ListRollouts": func(s *service.Service) error { _, _, err := s.ListRollouts(t.Context(), service.Page{}); return err },
		"WatchRollout": func(s *service.Service) error { _, err := s.WatchRollout(t.Context(), "a"); return err },
		"Pause":        func(s *service.Service) error { _, err := s.Pause(t.Context(), alice, "a"); return err },
		"Undo":         func(s *service.Service) error { _, err := s.Undo(t.Context(), alice, "a"); return err },
		"GetNode":      func(s *service.Service) error { _, err := s.GetNode(t.Context(), "a"); return err },
		"ListNodes":    func(s *service.Service) error { _, _, err := s.ListNodes(t.Context(), "", service.Page{}); return err },
		"RetryNode":    func(s *service.Service) error { _, err := s.RetryNode(t.Context(), alice, "a"); return err },
		"ListAudit":    func(s *service.Service) error { _, _, err := s.ListAudit(t.Context(), "", service.Page{}); return err },
		"Connect": func(s *service.Service) error {
			_, err := s.Connect(t.Context(), service.NodeHello{ID: "a"})
			return err
		},
		"Collections": func(s *service.Service) error { _, err := s.Collections(t.Context(), "a"); return err },
	}
	for name, call := range calls {
		if err := call(svc); !errors.Is(err, model.ErrUnavailable) {
			t.Errorf("%s before Run: %v", name, err)
		}
	}
	svc = s.start()
	s.node("a")
	s.eventually("the node is there", func() bool { _, err := svc.GetNode(t.Context(), "a"); return err == nil })
	changed, cancel := svc.Watch("a")
	defer cancel()
	s.stop()
	for name, call := range calls {
		if err := call(svc); !errors.Is(err, model.ErrUnavailable) {
			t.Errorf("%s after Run: %v", name, err)
		}
	}
	for range changed { // closed by the end of Run
	}
	if err := svc.Run(t.Context()); err == nil {
		t.Error("Run may be called twice")
	}
	if _, err := service.New(service.Config{}); err == nil {
		t.Error("a Service without a store was made")
	}
}
