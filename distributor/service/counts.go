package service

import "github.com/waft-project/waft/distributor/model"

// Counts is how many nodes and rollouts there are, for a monitor.
type Counts struct {
	// Nodes by where they stand. States that no node is in are not in it.
	Nodes map[NodeCount]int
	// Rollouts by phase, those that have ended too.
	Rollouts map[model.RolloutPhase]int
}

// NodeCount is what nodes are counted by.
type NodeCount struct {
	// State is the ledger's word on the chain that the node is to run; empty for a node that has said nothing of it, or
	// waits for its first release.
	State    model.ChainState
	Presence Presence
}

// Counts counts; model.ErrUnavailable before the store has been read.
func (s *Service) Counts() (Counts, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(); err != nil {
		return Counts{}, err
	}
	counts := Counts{Nodes: map[NodeCount]int{}, Rollouts: map[model.RolloutPhase]int{}}
	for _, n := range s.nodes {
		counts.Nodes[NodeCount{State: n.row.Ledger.State, Presence: n.presence()}]++
	}
	for _, e := range s.rollouts {
		counts.Rollouts[e.state.Phase]++
	}
	return counts, nil
}
