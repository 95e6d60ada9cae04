package service

import (
	"slices"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// Whom a rollout concerns follows the fleet at once, though the rollout's state stays what it is.
func TestConcernedFollowsFleet(t *testing.T) {
	s, e := midway(t, 10)
	var held, free *node
	for id, n := range s.nodes {
		if rollout.Holds(e.state, id) {
			held = n
		} else {
			free = n
		}
	}
	concerns := func(n *node) bool { return slices.Contains(s.concerned(e), n) }
	if !concerns(held) || !concerns(free) {
		t.Fatal("a node of the target is no concern of the rollout")
	}
	labels := free.row.Labels
	s.introduce(held, NodeHello{Reports: true, Labels: map[string]string{"env": "test"}})
	s.introduce(free, NodeHello{Reports: true, Labels: map[string]string{"env": "test"}})
	if concerns(free) {
		t.Error("a node that has left the target, and that no wave took, is the rollout's concern")
	}
	if !concerns(held) {
		t.Error("a node that has left the target after a wave took it is no concern of the rollout any more")
	}
	late := newNode(model.Node{ID: "a-late-one", Labels: labels})
	s.nodes[late.row.ID] = late
	s.fleet++
	if !concerns(late) {
		t.Error("a node that has come is no concern of the rollout")
	}
}
