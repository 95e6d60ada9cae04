package service_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// judge says who may not have the labels that it says; the zero value forbids nothing.
type judge struct {
	mu      sync.Mutex
	edition int
	forbids func(node string, labels map[string]string) bool
}

// Edition is service.Labels'.
func (j *judge) Edition() any {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.edition
}

// MayHave is service.Labels'.
func (j *judge) MayHave(node string, labels map[string]string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.forbids == nil || !j.forbids(node, labels)
}

// forbid takes the place of what was forbidden before; nil: nothing is.
func (j *judge) forbid(forbids func(node string, labels map[string]string) bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.edition++
	j.forbids = forbids
}

// A node that is away with labels which it may not have by now is passed over, since it would be sent what it was given there as soon as it is back with others. One that
// is there was judged when it came, and what it has been given stays its own.
func TestANodeThatIsAwayWithLabelsOfThePast(t *testing.T) {
	s, nodes := settled(t, 3)
	judge := &judge{}
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
	s.ahead.Add(int64(time.Minute))                         // it is away for good, not for a moment
	liars := []string{nodes[0].hello.ID, nodes[1].hello.ID} // the first is there
	judge.forbid(func(node string, _ map[string]string) bool { return slices.Contains(liars, node) })
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
	judge.forbid(func(node string, _ map[string]string) bool { return node == nodes[0].hello.ID })
	s.release("three", "good:3")
	s.begin("third", "three", all)
	s.reach("third", model.RolloutDone)
	if got := has(nodes[1]); got == before {
		t.Error("the node that may have its labels again was passed over")
	}
}

// Two streams of a node may say different labels, both permitted when they came; those of the newer stand. When these are permitted no more, and who said them has gone,
// the other stream is no reason to go by them.
func TestStreamsOfANodeThatSayDifferentLabels(t *testing.T) {
	s := newSite(t)
	judge := &judge{}
	s.config = func(c *service.Config) { c.Labels = judge }
	svc := s.start()
	hello := func(id, env string, reports bool) service.NodeHello {
		return service.NodeHello{ID: id, Labels: map[string]string{"env": env}, Reports: reports, EnvoyVersion: "1.40.0"}
	}
	connect(t, svc, hello("n1", "test", true))
	connect(t, svc, hello("n2", "prod", true))
	newer := connect(t, svc, hello("n1", "prod", false))
	s.release("one", "good:1")
	takes := func(when string, want ...string) {
		t.Helper()
		plan, err := svc.PlanRollout(t.Context(), alice, service.RolloutDraft{Name: "first", Release: "one", Selector: "env=prod"})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, n := range plan.Waves[0] {
			got = append(got, n.ID)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s a rollout to env=prod takes %q, want %q", when, got, want)
		}
	}
	takes("both streams are there:", "n1", "n2")
	judge.forbid(func(node string, labels map[string]string) bool { return node == "n1" && labels["env"] == "prod" })
	takes("it has said so and is there:", "n1", "n2") // it is refused with its next message
	newer.Close()
	takes("only the other stream is there:", "n2")
	silent := hello("n1", "", false)
	silent.Labels = nil
	connect(t, svc, silent)
	takes("the new stream says none:", "n2")
	judge.forbid(nil)
	takes("it may have them again:", "n1", "n2")
}
