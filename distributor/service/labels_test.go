package service_test

import (
	"sync"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// liars are nodes that may not have the labels that they have.
type liars struct {
	mu      sync.Mutex
	edition int
	is      map[string]bool
}

// Edition is service.Labels'.
func (l *liars) Edition() any {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.edition
}

// MayHave is service.Labels'.
func (l *liars) MayHave(node string, _ map[string]string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.is[node]
}

func (l *liars) set(node string, is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.edition++
	l.is[node] = is
}

// A node that is away with labels which it may not have by now is passed over, since it would be sent what it was given there as soon as it is back with others. One that
// is there was judged when it came, and what it has been given stays its own.
func TestANodeThatIsAwayWithLabelsOfThePast(t *testing.T) {
	s, nodes := settled(t, 3)
	judge := &liars{is: map[string]bool{}}
	s.stop()
	s.config = func(c *service.Config) { c.Labels = judge }
	s.start()
	s.known(nodes...)
	has := func(n *sim) model.ReleaseID {
		svc, _ := s.service()
		status, err := svc.GetNode(t.Context(), n.hello.ID)
		if err != nil {
			t.Fatal(err)
		}
		return status.Node.Assigned[model.LayerGlobal]
	}
	before := has(nodes[1])
	nodes[1].disconnect()
	s.ahead.Add(int64(time.Minute))    // it is away for good, not for a moment
	judge.set(nodes[0].hello.ID, true) // it is there
	judge.set(nodes[1].hello.ID, true)
	s.release("two", "good:2")
	s.begin("second", "two", all)
	s.reach("second", model.RolloutDone)
	if got := has(nodes[1]); got != before {
		t.Errorf("the node that is away was given %s", got)
	}
	if has(nodes[0]) == before || has(nodes[2]) == before {
		t.Errorf("nodes that are there have %s and %s", has(nodes[0]), has(nodes[2]))
	}

	// It may have them again.
	judge.set(nodes[1].hello.ID, false)
	s.release("three", "good:3")
	s.begin("third", "three", all)
	s.reach("third", model.RolloutDone)
	if got := has(nodes[1]); got == before {
		t.Error("the node that may have its labels again was passed over")
	}
}
