package service_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// Whoever asks for an undo again gets the one that there is.
func TestUndoAskedForTwice(t *testing.T) {
	s, nodes := settled(t, 3)
	svc, _ := s.service()
	s.release("two", "good:2")
	s.begin("second", "two", all)
	s.reach("second", model.RolloutDone)
	for _, n := range nodes {
		n.setHold("load")
	}
	undo := func(name string) (model.Rollout, error) { return svc.Undo(t.Context(), alice, name) }
	if _, err := undo("second"); err != nil {
		t.Fatal(err)
	}
	s.reach("second-undo", model.RolloutMoving)

	t.Run("while it runs", func(t *testing.T) {
		answers := make(chan string)
		for range 4 {
			go func() {
				r, err := undo("second")
				answers <- fmt.Sprintf("%s %s %v", r.Name, r.Phase, err)
			}()
		}
		for range 4 {
			if got := <-answers; got != "second-undo Moving <nil>" {
				t.Errorf("got %s", got)
			}
		}
	})
	t.Run("while it is taken back", func(t *testing.T) {
		if _, err := undo("second-undo"); err != nil {
			t.Fatal(err)
		}
		_, err := undo("second")
		wantKind(t, err, model.ErrConflict, "rollout/second-undo, which undoes it, is being taken back")
		for _, n := range nodes {
			n.setHold("")
		}
		s.reach("second-undo", model.RolloutRolledBack)
	})
	t.Run("after it was taken back", func(t *testing.T) {
		r, err := undo("second")
		if err != nil || r.Name != "second-undo-2" {
			t.Fatalf("got %s, %v", r.Name, err)
		}
		s.reach("second-undo-2", model.RolloutDone)
	})
	t.Run("after it is done", func(t *testing.T) {
		if r, err := undo("second"); err != nil || r.Name != "second-undo-2" || r.Phase != model.RolloutDone {
			t.Errorf("got %s, %s, %v", r.Name, r.Phase, err)
		}
	})
	t.Run("after the same release was rolled out anew", func(t *testing.T) {
		s.begin("third", "two", all)
		s.reach("third", model.RolloutDone)
		if r, err := undo("second"); err != nil || r.Name != "second-undo-2" {
			t.Errorf("got %s, %v: it takes back what another rollout has done", r.Name, err)
		}
	})
	t.Run("after it was undone", func(t *testing.T) {
		if r, err := undo("third"); err != nil || r.Name != "third-undo" {
			t.Fatalf("got %s, %v", r.Name, err)
		}
		s.reach("third-undo", model.RolloutDone)
		if r, err := undo("second-undo-2"); err != nil || r.Name != "second-undo-2-undo" {
			t.Fatalf("got %s, %v", r.Name, err)
		}
		s.reach("second-undo-2-undo", model.RolloutDone)
		r, err := undo("second")
		if err != nil || r.Name != "second-undo-3" {
			t.Fatalf("got %s, %v", r.Name, err)
		}
		s.reach("second-undo-3", model.RolloutDone)
		for _, n := range nodes {
			if got := n.log(); got[len(got)-1] != "good:1" {
				t.Errorf("%s serves %v in the end", n.hello.ID, got)
			}
		}
	})
}

// A node that an undo left out is taken back by asking again.
func TestUndoAskedForAgainTakesWhatWasLeftOut(t *testing.T) {
	s, nodes := settled(t, 3)
	svc, _ := s.service()
	s.release("two", "good:2")
	s.begin("second", "two", all)
	s.reach("second", model.RolloutDone)
	// Isolated by a rollback that fails on it.
	s.release("three", "good:3")
	s.begin("third", "three", long(all))
	s.reach("third", model.RolloutSoaking)
	nodes[0].behave("good:2", behaviour{reject: "no such import"})
	if _, err := svc.Undo(t.Context(), alice, "third"); err != nil {
		t.Fatal(err)
	}
	s.reach("third", model.RolloutRolledBack)
	s.eventually("it is isolated", func() bool {
		n, err := svc.GetNode(t.Context(), "n0")
		return err == nil && n.Isolated != nil
	})
	if counts, err := svc.Counts(); err != nil || counts.Isolated != 1 || counts.Rollbacks[service.RollbackByPerson] != 1 {
		t.Errorf("counted are %d isolated and rollbacks by %v, %v", counts.Isolated, counts.Rollbacks, err)
	}
	undo, err := svc.Undo(t.Context(), alice, "second")
	if err != nil {
		t.Fatal(err)
	}
	if r := s.reach(undo.Name, model.RolloutDone); !strings.Contains(r.Message, "1 node left out: n0") {
		t.Fatalf("the undo: %s", r.Message)
	}
	if _, err := svc.ReleaseNode(t.Context(), alice, "n0"); err != nil {
		t.Fatal(err)
	}
	var again model.Rollout
	s.eventually("its row says that it is released", func() bool {
		again, err = svc.Undo(t.Context(), service.Actor{Name: "bob"}, "second")
		return err == nil && again.Name == "second-undo-2"
	})
	r := s.reach(again.Name, model.RolloutDone)
	if len(r.Nodes) != 1 || r.Nodes["n0"].State != model.NodeServing {
		t.Errorf("the second undo has moved %v", r.Nodes)
	}
	if again, err = svc.Undo(t.Context(), alice, "second"); err != nil || again.Name != "second-undo-2" || again.EndedAt.Before(time.Unix(1, 0)) {
		t.Errorf("at last: %s, %v", again.Name, err)
	}
}

// An undo that was undone half way has left the release on some nodes: to ask for it again takes those back, and only where there are none is it the answer.
func TestUndoAskedForAgainAfterHalfOfItWasUndone(t *testing.T) {
	s, nodes := settled(t, 4)
	svc, _ := s.service()
	undo := func(name string) (model.Rollout, error) { return svc.Undo(t.Context(), alice, name) }
	must := func(name, want string) {
		t.Helper()
		if r, err := undo(name); err != nil || r.Name != want {
			t.Fatalf("got %s, %v; want %s", r.Name, err, want)
		}
	}
	s.release("two", "good:2")
	s.begin("second", "two", all)
	s.reach("second", model.RolloutDone)
	must("second", "second-undo")
	s.reach("second-undo", model.RolloutDone)
	for _, n := range nodes {
		n.setHold("load")
	}
	must("second-undo", "second-undo-undo")
	s.until("second-undo-undo", "one is on its way", func(r model.Rollout) bool { return r.Phase == model.RolloutMoving })
	_, err := undo("second")
	wantKind(t, err, model.ErrConflict, "rollout/second-undo, which has undone it, is being undone by rollout/second-undo-undo")
	if _, err := svc.Abort(t.Context(), alice, "second-undo-undo"); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		n.setHold("")
	}
	s.eventually("one has the release again", func() bool { return len(latest(nodes, "good:2")) == 1 })
	has := latest(nodes, "good:2")[0]
	must("second", "second-undo-2")
	if r := s.reach("second-undo-2", model.RolloutDone); len(r.Nodes) != 1 || r.Nodes[has].State != model.NodeServing {
		t.Errorf("it has moved %v, want %s", r.Nodes, has)
	}
	s.serve("good:1", nodes...)
	must("second", "second-undo-2")
}

// What has undone a rollout is read where nothing else is decided meanwhile: a store that does not answer there holds up nothing for good, neither who asked, for an undo or its
// plan, nor the other rollouts.
func TestUndoOfWhichTheStoreSaysNothing(t *testing.T) {
	s, nodes := settled(t, 3)
	svc, _ := s.service()
	s.release("two", "good:2")
	s.begin("second", "two", all)
	s.reach("second", model.RolloutDone)
	undo, err := svc.Undo(t.Context(), alice, "second")
	if err != nil {
		t.Fatal(err)
	}
	s.reach(undo.Name, model.RolloutDone)
	s.tap.unread.Store(&undo.Name)
	for what, ask := range map[string]func(context.Context) error{
		"the undo": func(ctx context.Context) error { _, err := svc.Undo(ctx, alice, "second"); return err },
		"its plan": func(ctx context.Context) error { _, err := svc.PlanUndo(ctx, alice, "second"); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := ask(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%s waits for the store without a bound", what)
		}
		cancel()
		wantKind(t, err, model.ErrUnavailable, "is cut off")
	}
	s.begin("third", "two", all)
	s.reach("third", model.RolloutDone)
	wantServed(t, nodes, "good:1", "good:2", "good:1", "good:2")
	s.tap.unread.Store(nil)
	if again, err := svc.Undo(t.Context(), alice, "second"); err != nil || again.Name != undo.Name {
		t.Errorf("once the store answers: %s, %v; want %s", again.Name, err, undo.Name)
	}
}

// latest are the nodes that serve a module.
func latest(nodes []*sim, module string) []string {
	var out []string
	for _, n := range nodes {
		if log := n.log(); len(log) > 0 && log[len(log)-1] == module {
			out = append(out, n.hello.ID)
		}
	}
	return out
}

// A rollout that took itself back has left nothing, whatever else its nodes were given since.
func TestUndoOfWhatTookItselfBackAfterAnotherRollout(t *testing.T) {
	s, _ := settled(t, 3)
	svc, _ := s.service()
	s.release("broken", "broken:1")
	s.begin("second", "broken", one, all)
	s.reach("second", model.RolloutRolledBack)
	s.release("three", "good:3")
	s.begin("third", "three", all)
	s.reach("third", model.RolloutDone)
	for range 2 {
		if r, err := svc.Undo(t.Context(), alice, "second"); err != nil || r.Name != "second" || r.Phase != model.RolloutRolledBack {
			t.Errorf("got %s %s, %v", r.Name, r.Phase, err)
		}
	}
}

// The undo of a disabling is asked for as often as one likes, while the filter is being put back and after: the answer is the rollout that does it, or did.
// Under the race detector it shows what is read past the lock.
func TestUndoOfADisablingAskedForTwice(t *testing.T) {
	s, nodes := paired(t, 8)
	svc, _ := s.service()
	half := s.disable(service.DisableDraft{Filter: "first", Selector: "env=prod"})
	whole := s.disable(service.DisableDraft{Filter: "first"})
	if half.Rollout == whole.Rollout {
		t.Fatalf("both are %s", half.Rollout)
	}
	s.serve("good:2", nodes...)
	var asking sync.WaitGroup
	r, err := svc.EnableFilter(t.Context(), alice, service.EnableDraft{Filter: "first", Waves: waves(one, model.WaveSpec{Nodes: 2}, model.WaveSpec{Nodes: 3}, model.WaveSpec{Nodes: 4}, all)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	for _, name := range []string{half.Rollout, whole.Rollout} {
		asking.Go(func() {
			for {
				again, err := svc.Undo(t.Context(), alice, name)
				if err != nil || again.Name != r.Name {
					t.Errorf("undo %s: got %s, %v; want %s", name, again.Name, err, r.Name)
					return
				}
				select {
				case <-ended:
					return
				default:
				}
			}
		})
	}
	s.reach(r.Name, model.RolloutDone)
	close(ended)
	asking.Wait()
	for _, name := range []string{half.Rollout, whole.Rollout} {
		again, err := svc.Undo(t.Context(), alice, name)
		if err != nil || again.Name != r.Name || again.Phase != model.RolloutDone || len(again.Nodes) != len(nodes) {
			t.Errorf("undo %s after its end: got %s %s of %d nodes, %v", name, again.Name, again.Phase, len(again.Nodes), err)
		}
	}
	s.serve("good:1", nodes...)
}
