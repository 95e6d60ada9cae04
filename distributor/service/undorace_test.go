package service_test

import (
	"context"
	"sync"
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

// Many ask for an undo at every moment of a rollout, and go away before they are answered. It shows under the race detector what is read past the lock.
func TestAnUndoAtEveryMoment(t *testing.T) {
	s, _ := settled(t, 6)
	svc, _ := s.service()
	s.release("two", "good:2")
	gone, leave := context.WithCancel(t.Context())
	leave()
	ended := make(chan struct{})
	var asking sync.WaitGroup
	s.begin("second", "two", waves(one, model.WaveSpec{Nodes: 2}, half, model.WaveSpec{Nodes: 4}, model.WaveSpec{Nodes: 5}, all)...)
	for range 8 {
		asking.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
					// It may be carried out all the same, and then the rollout goes back.
					_, _ = svc.Undo(gone, alice, "second")
				}
			}
		})
	}
	s.reach("second", model.RolloutDone, model.RolloutRolledBack)
	close(ended)
	asking.Wait()
}
