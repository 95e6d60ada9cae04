package service

import (
	"maps"
	"strings"

	"github.com/waft-project/waft/distributor/model"
)

// Counts is how many nodes and rollouts there are, for a monitor.
type Counts struct {
	// Nodes by where they stand. States that no node is in are not in it.
	Nodes map[NodeCount]int
	// Rollouts by phase, those that have ended too.
	Rollouts map[model.RolloutPhase]int
	// Waiting are those that have not ended and wait, though nothing is wrong with them, by what for.
	Waiting map[model.RolloutWait]int
	// Isolated are the nodes on which a rollback failed, and that wait for a person.
	Isolated int
	// Tally is what has happened since this service was made.
	Tally
}

// Tally is what has happened to rollouts. Numbers only rise.
type Tally struct {
	// Rollbacks are the rollouts that began to go back, by who had them do so.
	Rollbacks map[RollbackBy]int
	// Verdicts are the readings that were kept, since something was decided by them.
	Verdicts map[VerdictCount]int
}

// RollbackBy is who has a rollout go back.
type RollbackBy string

// Who has a rollout go back.
const (
	RollbackByGate   RollbackBy = "gate" // by itself: a node or a gate has failed
	RollbackByPerson RollbackBy = "person"
)

// VerdictCount is what readings are counted by.
type VerdictCount struct {
	// Kind of the gate: the first part of what readings of it are called, since the rest is a name that somebody made up.
	Kind    string
	Verdict model.GateVerdict
}

// count adds what a step has done to the tally; mu is held.
func (t *Tally) count(before, after model.Rollout, by *command) {
	if after.Phase.Back() && !before.Phase.Back() {
		who := RollbackByGate
		if by != nil {
			who = RollbackByPerson
		}
		t.Rollbacks[who]++
	}
	for i, w := range after.Waves {
		known := 0
		if i < len(before.Waves) {
			known = len(before.Waves[i].Readings)
		}
		for _, r := range w.Readings[min(known, len(w.Readings)):] {
			kind, _, _ := strings.Cut(r.Gate, "/")
			t.Verdicts[VerdictCount{Kind: kind, Verdict: r.Verdict}]++
		}
	}
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
	counts := Counts{Nodes: map[NodeCount]int{}, Rollouts: map[model.RolloutPhase]int{}, Waiting: map[model.RolloutWait]int{},
		Tally: Tally{Rollbacks: maps.Clone(s.tally.Rollbacks), Verdicts: maps.Clone(s.tally.Verdicts)}}
	for _, n := range s.nodes {
		counts.Nodes[NodeCount{State: n.row.Ledger.State, Presence: n.presence()}]++
		if n.row.Isolated != nil {
			counts.Isolated++
		}
	}
	for _, e := range s.active {
		if e.state.Waits != model.WaitsForNothing {
			counts.Waiting[e.state.Waits]++
		}
	}
	for _, e := range s.rollouts {
		counts.Rollouts[e.state.Phase]++
	}
	return counts, nil
}
