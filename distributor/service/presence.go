package service

import (
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// connected says whether the node is there: a node that reports has an open report stream, any other an open stream of any
// kind. mu is held.
func (n *node) connected() bool {
	return n.reporting > 0 || !n.row.Reports && len(n.sessions) > 0
}

// presence is what is shown of it; mu is held.
func (n *node) presence() Presence {
	if n.connected() {
		return PresenceConnected
	}
	return PresenceUnknown
}

// silent is how long the node has not been connected. After a start it counts from the start at the earliest, so that a
// restart of the distributor makes nobody silent. mu is held.
func (s *Service) silent(n *node, now time.Time) time.Duration {
	if n.connected() {
		return 0
	}
	since := n.lastSeen
	if since.Before(s.startedAt) {
		since = s.startedAt
	}
	return max(now.Sub(since), 0)
}

// settled says whether rollouts may be observed: all the nodes that were there before the start are back, or the grace for
// it is over. Without it a wave that starts just after a restart would take every node for one that is away. mu is held.
func (s *Service) settled(e *entry, now time.Time) bool {
	if now.Sub(s.startedAt) >= s.startGrace {
		return true
	}
	for _, n := range s.concerned(e) {
		if !n.connected() {
			return false
		}
	}
	return true
}

// mayReportYet is how long it may still take until it is known whether a new node reports: an agent opens its report
// stream beside the one of collections. Zero or less: it is known. mu is held.
func mayReportYet(n *node) time.Duration {
	if n.row.Reports || !n.connected() {
		return 0
	}
	return time.Until(n.joinAfter)
}

// introduced says whether it is known of every member of a rollout that begins whether it reports: without it an agent
// that has just connected would be left out as a sink that cannot report. It asks for a wake when it says no; mu is held.
func (s *Service) introduced(e *entry) bool {
	if e.state.Phase != model.RolloutPending || rollout.TakesSink(e.state, false) {
		return true
	}
	for _, n := range s.membersOf(e) {
		if left := mayReportYet(n); left > 0 {
			s.drive.wake(left)
			return false
		}
	}
	return true
}

// opened and ended keep the node's open sessions; each is ended once. mu is held.
func (n *node) opened(x *Session) {
	n.sessions[x] = struct{}{}
	if x.reports {
		n.reporting++
	}
}

func (n *node) ended(x *Session) {
	delete(n.sessions, x)
	if x.reports {
		n.reporting--
	}
}
