package service

import "github.com/waft-project/waft/distributor/model"

// moves is what the row of a node is to say of the rollout which gives it what it is to run; mu is held.
func (e *entry) moves(node string) model.Move {
	progress := e.state.Nodes[node]
	return model.Move{Rollout: e.state.Name, Wave: progress.Wave, Back: !progress.BackAt.IsZero(), Joined: progress.Wave < 0, First: !progress.FromGiven}
}

// Mover is the rollout that has moved a node.
type Mover struct {
	Phase     model.RolloutPhase
	StartedBy string
	Reason    string
	// Enables: it put a filter back, which is taken out again by a disabling alone.
	Enables bool
}

// MoverOf is a rollout by its name, as one that has moved a node; the zero value for one that was removed.
func (s *Service) MoverOf(name string) Mover {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(name)
	if e == nil {
		return Mover{}
	}
	return Mover{Phase: e.state.Phase, StartedBy: e.state.StartedBy, Reason: e.state.Reason,
		Enables: e.state.Undoes != "" && e.state.Layer.Disables() != "" && !e.running()}
}
