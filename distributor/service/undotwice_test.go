package service_test

import (
	"fmt"
	"strings"
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
