package service_test

import (
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// waitsForRoom says whether one node of a rollout is on its way, and the others wait for it.
func waitsForRoom(r model.Rollout) bool {
	moving := 0
	for _, p := range r.Nodes {
		if p.State == model.NodeMoving {
			moving++
		}
	}
	return r.Phase == model.RolloutMoving && moving == 1 && strings.Contains(r.Message, "no more than")
}

// waitsInItsSecondWave lets the one node of a rollout's first wave go, while all are held, and waits until one of the second is on its way and the others
// wait for it.
func (s *site) waitsInItsSecondWave(name string, nodes []*sim) {
	s.t.Helper()
	r := s.until(name, "one node is on its way", func(r model.Rollout) bool { return r.Wave == 0 && r.Phase == model.RolloutMoving })
	for _, n := range nodes {
		if n.hello.ID == r.Waves[0].Nodes[0] {
			n.setHold("")
		}
	}
	s.until(name, "one of its second wave is on its way, and the others wait", func(r model.Rollout) bool { return r.Wave == 1 && waitsForRoom(r) })
}

// The distributor's cap holds for a rollout that names none, and for its undo.
func TestCapOfTheFleet(t *testing.T) {
	for name, most := range map[string]model.Cap{"a number": {Nodes: 1}, "a part": {Percent: 25}} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.config = func(c *service.Config) { c.MaxNotServing = most }
			s, nodes := settledAt(s, 4)
			svc, _ := s.service()
			hold := func(step string) {
				for _, n := range nodes {
					n.setHold(step)
				}
			}
			s.release("two", "good:2")
			hold("load")
			s.begin("second", "two", all)
			s.until("second", "one is on its way and three wait", waitsForRoom)
			hold("")
			s.reach("second", model.RolloutDone)

			hold("load")
			undo, err := svc.Undo(t.Context(), alice, "second")
			if err != nil {
				t.Fatal(err)
			}
			s.waitsInItsSecondWave(undo.Name, nodes)
			hold("")
			s.reach(undo.Name, model.RolloutDone)
		})
	}
}

// An undo keeps to the cap of what it takes back.
func TestUndoKeepsToTheCap(t *testing.T) {
	s, nodes := settled(t, 4)
	svc, _ := s.service()
	s.release("two", "good:2")
	if _, err := svc.StartRollout(t.Context(), alice, service.RolloutDraft{Name: "second", Release: "two", MaxNotServing: 1, Waves: waves(all)}); err != nil {
		t.Fatal(err)
	}
	s.reach("second", model.RolloutDone)
	for _, n := range nodes {
		n.setHold("load")
	}
	undo, err := svc.Undo(t.Context(), alice, "second")
	if err != nil {
		t.Fatal(err)
	}
	if undo.Spec.MaxNotServing != 1 {
		t.Errorf("the undo lets %d nodes be on their way, of a rollout that let 1", undo.Spec.MaxNotServing)
	}
	s.waitsInItsSecondWave(undo.Name, nodes)
	for _, n := range nodes {
		n.setHold("")
	}
	s.reach(undo.Name, model.RolloutDone)
}
