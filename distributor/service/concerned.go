package service

import (
	"reflect"
	"slices"

	"github.com/waft-project/waft/distributor/model"
)

// concerns is what a rollout's state and the fleet say of whom it concerns, kept until one of them changes.
type concerns struct {
	// fleet and in are what it was worked out from; in is the rollout's map itself, which is never changed in place.
	fleet int64
	in    map[string]model.NodeProgress
	nodes []*node
	// members are the ids of the members, as of fleet.
	members map[string]struct{}
}

// concerned are the members and every other node that the rollout has in its state; mu is held.
func (s *Service) concerned(e *entry) []*node {
	members, c := s.membersOf(e), &e.concerns
	if c.members == nil || c.fleet != s.fleet {
		*c = concerns{fleet: s.fleet, members: make(map[string]struct{}, len(members))}
		for _, n := range members {
			c.members[n.row.ID] = struct{}{}
		}
	}
	if c.nodes != nil && reflect.ValueOf(c.in).UnsafePointer() == reflect.ValueOf(e.state.Nodes).UnsafePointer() {
		return c.nodes
	}
	var others []*node
	for id := range e.state.Nodes {
		if _, member := c.members[id]; member {
			continue
		}
		if n := s.nodes[id]; n != nil {
			others = append(others, n)
		}
	}
	c.in, c.nodes = e.state.Nodes, members
	if len(others) > 0 {
		sortNodes(others)
		c.nodes = slices.Concat(members, others)
	}
	return c.nodes
}

// member says whether a node is one of the rollout's members; mu is held.
func (s *Service) member(e *entry, n *node) bool {
	s.concerned(e)
	_, is := e.concerns.members[n.row.ID]
	return is
}
