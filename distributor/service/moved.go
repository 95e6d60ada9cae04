package service

import "github.com/waft-project/waft/distributor/model"

// movedBy notes in a node's row that a rollout has just given it what it is to run; mu is held, and the row was marked for writing by that.
func (s *Service) movedBy(n *node, e *entry) {
	progress := e.state.Nodes[n.row.ID]
	n.row.Moved = &model.Move{Rollout: e.state.Name, Wave: progress.Wave, At: s.stamp(), Back: !progress.BackAt.IsZero(), Joined: progress.Wave < 0,
		First: !progress.FromGiven}
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
