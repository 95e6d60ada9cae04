package service_test

import (
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

// A node on which a rollback fails is left alone, also after a restart, until a person has looked.
func TestANodeThatDoesNotComeBackIsIsolated(t *testing.T) {
	s, nodes := settled(t, 3)
	lost := nodes[1]
	lost.mu.Lock()
	lost.behaves["good:1"] = behaviour{reject: "no such import"}
	lost.mu.Unlock()
	s.release("two", "good:2")
	s.begin("second", "two", long(all))
	s.reach("second", model.RolloutSoaking)
	svc, _ := s.service()
	if _, err := svc.Undo(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	ended := s.reach("second", model.RolloutRolledBack)
	if p := ended.Nodes["n1"]; p.State != model.NodeFailed {
		t.Errorf("n1 is %+v", p)
	}
	s.kill()
	svc = s.start()
	s.known(nodes...)
	status, err := svc.GetNode(t.Context(), "n1")
	if err != nil || status.Isolated == nil || status.Isolated.Rollout != "second" {
		t.Fatalf("after a restart it is %+v, %v", status.Isolated, err)
	}

	s.release("three", "good:3")
	s.begin("third", "three", all)
	if p := s.reach("third", model.RolloutDone).Nodes["n1"]; p.State != model.NodeSkipped {
		t.Errorf("the next rollout has it as %+v", p)
	}
	wantServed(t, []*sim{lost}, "good:1", "good:2")
	_, err = svc.ReleaseNode(t.Context(), alice, "n0")
	wantKind(t, err, model.ErrPrecondition, "not isolated")
	if status, err = svc.ReleaseNode(t.Context(), alice, "n1"); err != nil || status.Isolated != nil {
		t.Fatalf("released, it is %+v, %v", status.Isolated, err)
	}
	s.begin("fourth", "three", all)
	s.reach("fourth", model.RolloutDone)
	wantServed(t, []*sim{lost}, "good:1", "good:2", "good:3")
}
