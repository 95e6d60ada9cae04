package service

import (
	"context"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// isolate marks a node on which a rollback failed; mu is held. The rollout asks for it until the row is written.
func (s *Service) isolate(name string, action rollout.Isolate) {
	n := s.nodes[action.Node]
	if n == nil || n.row.Isolated != nil || len(n.audit) >= maxUnwritten {
		return
	}
	n.row.Isolated = &model.Isolation{Rollout: name, Reason: clip(action.Reason, MaxReportReason), Since: s.stamp()}
	n.audit = append(n.audit, model.AuditEntry{At: s.stamp(), Actor: rollout.Actor, Action: "node.isolate", Object: "node/" + n.row.ID,
		Detail: "the way back of rollout/" + name + " failed on it: " + n.row.Isolated.Reason})
	s.log.Error("node isolated: a rollback failed on it, and a person has to look", "node", n.row.ID, "rollout", name, "reason", action.Reason)
	s.mark(n, 0)
}

// ReleaseNode lets waves take a node again on which a rollback failed. It changes nothing of what the node runs. The node must be isolated; else
// model.ErrPrecondition.
func (s *Service) ReleaseNode(ctx context.Context, actor Actor, id string) (NodeStatus, error) {
	return s.changeNode(ctx, actor, id, "release", func(n *node) (string, error) {
		if n.row.Isolated == nil {
			return "", &model.Error{Kind: model.ErrPrecondition, Object: "node/" + id, Message: "it is not isolated, so there is nothing to release it from",
				Next: "see waft nodes show " + id}
		}
		detail := "isolated since rollout/" + n.row.Isolated.Rollout + ": " + n.row.Isolated.Reason
		n.row.Isolated = nil
		return detail, nil
	})
}

// changeNode changes a node's row as a person asks, with an audit entry node.VERB, and waits until that is written. change is called under mu, and
// gives the entry's detail.
func (s *Service) changeNode(ctx context.Context, actor Actor, id, verb string, change func(n *node) (detail string, err error)) (NodeStatus, error) {
	object := "node/" + id
	if err := actor.check(object); err != nil {
		return NodeStatus{}, err
	}
	if err := s.may(ctx, Act{Verb: Verb("node." + verb), Object: object}); err != nil {
		return NodeStatus{}, err
	}
	n, version, err := s.changed(actor, id, verb, change)
	if err != nil {
		return NodeStatus{}, err
	}
	if err := s.waitStored(ctx, n, version); err != nil {
		return NodeStatus{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.direct(n)
	s.drive.wake(reportDelay)
	return s.statusOf(n), nil
}

func (s *Service) changed(actor Actor, id, verb string, change func(n *node) (string, error)) (*node, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(); err != nil {
		return nil, 0, err
	}
	n := s.nodes[id]
	if n == nil {
		return nil, 0, errNoNode(id)
	}
	if len(n.audit) >= maxUnwritten {
		return nil, 0, &model.Error{Kind: model.ErrUnavailable, Object: "node/" + id, Message: "earlier changes of it are not written yet", Next: "try again when the store answers"}
	}
	detail, err := change(n)
	if err != nil {
		return nil, 0, err
	}
	n.audit = append(n.audit, model.AuditEntry{At: s.stamp(), Actor: actor.Name, Action: "node." + verb, Object: "node/" + id, Reason: actor.Reason, Detail: detail})
	s.mark(n, 0)
	return n, n.version, nil
}
