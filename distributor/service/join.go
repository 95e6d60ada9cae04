package service

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// welcome gives nodes that joined what rollouts gave to their like. The drive loop alone calls it.
func (s *Service) welcome(ctx context.Context) {
	s.mu.Lock()
	var joiners []*node
	for n := range s.joiners {
		if left := time.Until(n.joinAfter); !n.row.Reports && left > 0 {
			s.drive.wake(left)
			continue
		}
		joiners = append(joiners, n)
		delete(s.joiners, n)
	}
	if len(joiners) == 0 {
		s.mu.Unlock()
		return
	}
	sortNodes(joiners)
	w := &welcomer{service: s, grants: map[string]map[model.Layer]rollout.Grant{}}
	for _, e := range s.rollouts {
		w.rollouts = append(w.rollouts, e.state)
	}
	s.mu.Unlock()
	if len(w.rollouts) == 0 {
		return
	}
	for i, n := range joiners {
		err := w.welcome(ctx, n)
		if err == nil {
			continue
		}
		if ctx.Err() == nil {
			s.log.Error("nodes that joined were not given their releases; trying again", "nodes", len(joiners)-i, "after", failedDelay, "error", err)
		}
		s.mu.Lock()
		for _, left := range joiners[i:] {
			s.joiners[left] = struct{}{}
		}
		s.mu.Unlock()
		s.drive.wake(failedDelay)
		return
	}
}

// welcomer is one round of welcomes: nodes with the same labels get the same.
type welcomer struct {
	service *Service
	// rollouts, newest first, as they were when the round began.
	rollouts []model.Rollout
	grants   map[string]map[model.Layer]rollout.Grant
}

// granted is what rollouts give to a node, leaving some rollouts out. A node joins what was there before it: in rollouts
// that began later it has its wave, or was left out on purpose.
func (w *welcomer) granted(row model.Node, without ...string) map[model.Layer]rollout.Grant {
	older := slices.IndexFunc(w.rollouts, func(r model.Rollout) bool { return cameAfter(row, r) })
	if older < 0 {
		return nil
	}
	key := fmt.Sprint(older, without, row.Reports, row.Labels) // fmt prints maps in the order of their keys
	grants, known := w.grants[key]
	if !known {
		var rollouts []model.Rollout
		for i, r := range w.rollouts {
			// An undo counts whenever it began: what it took back is not given any more.
			if (i >= older || r.Undoes != "") && !slices.Contains(without, r.Name) {
				rollouts = append(rollouts, r)
			}
		}
		grants = rollout.Grants(row.Labels, row.Reports, rollouts)
		w.grants[key] = grants
	}
	return maps.Clone(grants)
}

// cameAfter says whether a node came after a rollout had begun: by the order of the rollouts where the row knows it, since a clock may go back
// between the two.
func cameAfter(row model.Node, r model.Rollout) bool {
	if row.After != 0 {
		return r.Sequence <= row.After
	}
	return !r.StartedAt.After(row.FirstSeen)
}

// newest is the Sequence of the newest rollout that there is, which is above 0; model.AfterNone for none. mu is held.
func (s *Service) newest() int64 {
	if len(s.rollouts) == 0 {
		return model.AfterNone
	}
	return s.rollouts[0].state.Sequence
}

// maxFallbacks is how many rollouts are left out in turn for a node that cannot run what they give.
const maxFallbacks = 8

// welcome gives a node what the newest rollouts give that it can run.
func (w *welcomer) welcome(ctx context.Context, n *node) error {
	s := w.service
	s.mu.Lock()
	row := n.row
	s.mu.Unlock()
	if len(row.Assigned) > 0 {
		return nil
	}
	var without []string
	why := ""
	for range maxFallbacks {
		grants := w.granted(row, without...)
		maps.DeleteFunc(grants, func(_ model.Layer, g rollout.Grant) bool {
			e := w.running(g.Rollout)
			return e != nil && rollout.Holds(e.state, row.ID) // a wave has taken it
		})
		if len(grants) == 0 {
			break
		}
		s.mu.Lock()
		assigned := s.laid(n)
		s.mu.Unlock()
		removed := ""
		for layer, grant := range grants {
			if err := s.needReleases(ctx, grant.Release); errors.Is(err, model.ErrNotFound) {
				removed = grant.Rollout // long ago: newer rollouts for its like stand
			} else if err != nil {
				return fmt.Errorf("node/%s: %w", row.ID, err)
			}
			assigned[layer] = grant.Release
		}
		if removed != "" {
			without = append(without, removed)
			continue
		}
		reason, err := s.mayRun(ctx, row, assigned)
		if err != nil {
			return fmt.Errorf("node/%s: %w", row.ID, err)
		}
		if reason == "" {
			refused, err := w.give(ctx, n, grants)
			if err != nil {
				return fmt.Errorf("node/%s: %w", row.ID, err)
			}
			if refused == "" {
				return nil
			}
			without = append(without, refused)
			continue
		}
		why = reason
		s.log.Warn("node that joined cannot run what rollouts gave to its like", "node", row.ID, "reason", reason)
		without = append(without, w.newest(grants))
	}
	if why != "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		if n.row.Ledger.Reason != why {
			n.row.Ledger.Reason = why
			s.mark(n, ledgerDelay)
		}
	}
	return nil
}

// running is the rollout of that name if it has not ended.
func (w *welcomer) running(name string) *entry {
	w.service.mu.Lock()
	defer w.service.mu.Unlock()
	if e := w.service.find(name); e != nil && e.running() {
		return e
	}
	return nil
}

// newest is the newest of the rollouts that grants come from.
func (w *welcomer) newest(grants map[model.Layer]rollout.Grant) string {
	for _, r := range w.rollouts {
		for _, g := range grants {
			if g.Rollout == r.Name {
				return r.Name
			}
		}
	}
	return ""
}

// give assigns what grants say: running rollouts take the node in first, so that it is rolled back with the others if that
// is what comes. It names the rollout that refused it; then nothing of that rollout was given.
func (w *welcomer) give(ctx context.Context, n *node, grants map[model.Layer]rollout.Grant) (refused string, err error) {
	s := w.service
	layers := slices.Sorted(maps.Keys(grants))
	for _, layer := range layers {
		if e := w.running(grants[layer].Rollout); e != nil {
			if err := w.join(ctx, n, layer, e, grants); errors.Is(err, model.ErrPrecondition) {
				return e.state.Name, nil
			} else if err != nil {
				return "", err
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, layer := range layers {
		// What a running rollout gave is assigned already.
		changed, err := s.assign(n, layer, grants[layer].Release, true, model.Cohort{}, model.Move{Rollout: grants[layer].Rollout, Wave: -1, Joined: true})
		if err != nil {
			return "", err
		}
		if changed {
			n.audit = append(n.audit, joinEntry(s.stamp(), n.row.ID, grants[layer]))
		}
	}
	return "", nil
}

// join has a running rollout take the node in.
func (w *welcomer) join(ctx context.Context, n *node, layer model.Layer, e *entry, grants map[model.Layer]rollout.Grant) error {
	s := w.service
	s.mu.Lock()
	row := n.row
	s.mu.Unlock()
	others := w.granted(row, e.state.Name)
	event := rollout.Join{From: others[layer].Release, FromGiven: len(others) > 0}
	if err := s.needReleases(ctx, event.From); err != nil {
		return err
	}
	s.mu.Lock()
	assigned := s.laid(n)
	for l, grant := range grants {
		assigned[l] = grant.Release
	}
	before, err := s.render(with(assigned, layer, event.From))
	if err == nil {
		event.FromChain = before.Hash
		event.Node = s.viewOf(e, n, map[string]model.Chain{})
		var target model.Chain
		target, err = s.render(assigned)
		event.Node.TargetChain = target.Hash
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if _, err = s.step(ctx, e, event, nil); err != nil {
		return err
	}
	// The rollout's history tells of many at once.
	s.mu.Lock()
	defer s.mu.Unlock()
	n.audit = append(n.audit, joinEntry(s.stamp(), n.row.ID, grants[layer]))
	s.mark(n, 0)
	return nil
}

// joinEntry is the audit's entry of a node that joins.
func joinEntry(at time.Time, node string, grant rollout.Grant) model.AuditEntry {
	return model.AuditEntry{At: at, Actor: rollout.Actor, Action: "node.join", Object: "node/" + node,
		Detail: fmt.Sprintf("given %s of rollout/%s", grant.Release, grant.Rollout)}
}

// mayRun says why a node must not run what those releases render to; empty when it may.
func (s *Service) mayRun(ctx context.Context, row model.Node, assigned map[model.Layer]model.ReleaseID) (string, error) {
	s.mu.Lock()
	chain, err := s.render(assigned)
	verdict, checked := s.verdicts[chain.Hash]
	s.mu.Unlock()
	if err != nil {
		return err.Error(), nil
	}
	if !checked {
		if err := s.checkAll(ctx, map[string]model.Chain{chain.Hash: chain}); err != nil {
			return "", err
		}
		s.mu.Lock()
		verdict = s.verdicts[chain.Hash]
		s.mu.Unlock()
	}
	if verdict != nil {
		return verdict.Error(), nil
	}
	why, _ := s.cannotRun(row, chain)
	return why, nil
}
