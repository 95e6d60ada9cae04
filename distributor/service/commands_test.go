package service_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// seen is a context that says when somebody first waits for it.
type seen struct {
	context.Context
	once  sync.Once
	waits chan struct{}
}

func (c *seen) Done() <-chan struct{} {
	c.once.Do(func() { close(c.waits) })
	return c.Context.Done()
}

// Two operators at once: one of them wins, and the other is told who it was.
func TestCommandsAtOnce(t *testing.T) {
	s, nodes := settled(t, 4)
	svc, _ := s.service()
	s.release("two", "good:2")
	s.begin("second", "two", long(one), all)
	s.reach("second", model.RolloutSoaking)

	// Alice's abort is on its way to the store when Bob asks for a pause.
	gate := make(chan struct{})
	s.tap.gate.Store(&gate)
	var wg sync.WaitGroup
	var aborted, paused error
	wg.Go(func() { _, aborted = svc.Abort(t.Context(), service.Actor{Name: "alice"}, "second") })
	<-gate
	bob := &seen{Context: t.Context(), waits: make(chan struct{})}
	wg.Go(func() { _, paused = svc.Pause(bob, service.Actor{Name: "bob"}, "second") })
	<-bob.waits
	gate <- struct{}{}
	wg.Wait()
	if aborted != nil {
		t.Fatal(aborted)
	}
	wantKind(t, paused, model.ErrConflict, "rollout/second", "alice was first", "Aborted")
	// Who asks later is told what is, not who was first.
	_, err := svc.Pause(t.Context(), service.Actor{Name: "bob"}, "second")
	wantKind(t, err, model.ErrPrecondition, "rollout/second")
	if errors.Is(err, model.ErrConflict) {
		t.Errorf("asked later: %v", err)
	}
	if got := reached(nodes, "good:2"); got != 1 {
		t.Errorf("%d nodes were reached, want 1", got)
	}
}

// Commands of any kind and number at once leave a rollout in an end, and each node in one of two places.
func TestManyCommandsAtOnce(t *testing.T) {
	s, nodes := settled(t, 4)
	svc, _ := s.service()
	s.release("two", "good:2")
	s.begin("second", "two", one, half, all)
	var wg sync.WaitGroup
	for i, command := range []func(context.Context, service.Actor, string) (model.Rollout, error){
		svc.Pause, svc.Resume, svc.Promote, svc.Pause, svc.Resume, svc.Promote, svc.Undo,
	} {
		wg.Go(func() {
			_, err := command(t.Context(), service.Actor{Name: fmt.Sprintf("operator-%d", i)}, "second")
			if err != nil && !errors.Is(err, model.ErrPrecondition) && !errors.Is(err, model.ErrConflict) {
				t.Errorf("command %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	r, err := svc.GetRollout(t.Context(), "second")
	if err != nil {
		t.Fatal(err)
	}
	if r.Phase == model.RolloutPaused {
		if _, err := svc.Resume(t.Context(), alice, "second"); err != nil {
			t.Fatal(err)
		}
	}
	end := s.reach("second", model.RolloutDone, model.RolloutRolledBack)
	want := map[model.RolloutPhase]string{model.RolloutDone: "good:2", model.RolloutRolledBack: "good:1"}[end.Phase]
	s.eventually("the nodes are where the rollout says", func() bool {
		for _, n := range nodes {
			if got := n.log(); got[len(got)-1] != want {
				return false
			}
		}
		return true
	})
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
		"StartFreeze":  func(s *service.Service) error { _, err := s.StartFreeze(t.Context(), alice, 0); return err },
		"EndFreeze":    func(s *service.Service) error { return s.EndFreeze(t.Context(), alice) },
		"GetFreeze":    func(s *service.Service) error { _, err := s.GetFreeze(t.Context()); return err },
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
	changed, cancel := svc.Watch("a", nil)
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
