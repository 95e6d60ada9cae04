package service

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// welcome gives nodes that joined what rollouts gave to their like. The drive loop alone calls it.
func (s *Service) welcome(ctx context.Context) {
	s.mu.Lock()
	joiners := slices.Collect(maps.Keys(s.joiners))
	clear(s.joiners)
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

// granted is what rollouts give to nodes with those labels, leaving one rollout out.
func (w *welcomer) granted(labels map[string]string, without string) map[model.Layer]rollout.Grant {
	key := fmt.Sprint(without, labels) // fmt prints maps in the order of their keys
	grants, known := w.grants[key]
	if !known {
		rollouts := w.rollouts
		if without != "" {
			rollouts = slices.DeleteFunc(slices.Clone(rollouts), func(r model.Rollout) bool { return r.Name == without })
		}
		grants = rollout.Grants(labels, rollouts)
		w.grants[key] = grants
	}
	return grants
}

func (w *welcomer) welcome(ctx context.Context, n *node) error {
	s := w.service
	s.mu.Lock()
	row := n.row
	s.mu.Unlock()
	if len(row.Assigned) > 0 {
		return nil
	}
	grants := w.granted(row.Labels, "")
	assigned := map[model.Layer]model.ReleaseID{}
	running := map[model.Layer]*entry{}
	for layer, grant := range grants {
		s.mu.Lock()
		e := s.find(grant.Rollout)
		s.mu.Unlock()
		if e != nil && e.running() {
			if _, held := e.state.Nodes[row.ID]; held || row.FirstSeen.Before(e.state.StartedAt) {
				continue // it did not join: it waits for its wave
			}
			running[layer] = e
		}
		if err := s.needReleases(ctx, grant.Release); err != nil {
			return fmt.Errorf("node/%s: %w", row.ID, err)
		}
		assigned[layer] = grant.Release
	}
	if len(assigned) == 0 {
		return nil
	}
	why, err := s.mayRun(ctx, row, assigned)
	if err != nil {
		return err
	}
	if why != "" {
		s.log.Warn("node waits: it cannot run what rollouts gave to its like", "node", row.ID, "reason", why)
		s.mu.Lock()
		defer s.mu.Unlock()
		if n.row.Ledger.Reason != why {
			n.row.Ledger.Reason = why
			s.mark(n, ledgerDelay)
		}
		return nil
	}

	s.mu.Lock()
	for _, layer := range slices.Sorted(maps.Keys(assigned)) {
		if running[layer] != nil {
			continue
		}
		changed, err := s.assign(n, layer, assigned[layer], true)
		if err != nil {
			s.mu.Unlock()
			return fmt.Errorf("node/%s: %w", row.ID, err)
		}
		if changed {
			n.audit = append(n.audit, model.AuditEntry{At: s.now().UTC(), Actor: rollout.Actor, Action: "node.join", Object: "node/" + row.ID,
				Detail: fmt.Sprintf("given %s of rollout/%s", assigned[layer], grants[layer].Rollout)})
		}
	}
	s.mu.Unlock()
	for layer, e := range running {
		if err := w.join(ctx, n, layer, e); err != nil {
			return fmt.Errorf("node/%s: %w", row.ID, err)
		}
	}
	return nil
}

// join has a running rollout take the node in, so that it is rolled back with the others if that is what comes.
func (w *welcomer) join(ctx context.Context, n *node, layer model.Layer, e *entry) error {
	s := w.service
	s.mu.Lock()
	labels := n.row.Labels
	s.mu.Unlock()
	others := w.granted(labels, e.state.Name)
	event := rollout.Join{From: others[layer].Release, FromGiven: len(others) > 0}
	if err := s.needReleases(ctx, event.From); err != nil {
		return err
	}
	s.mu.Lock()
	before, err := s.render(with(n.row.Assigned, layer, event.From))
	event.FromChain = before.Hash
	event.Node = s.viewOf(e, n, map[string]model.Chain{})
	s.mu.Unlock()
	if err != nil {
		return err
	}
	_, err = s.step(ctx, e, event, nil)
	return err
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
	return unloadable(row.EnvoyVersion, chain), nil
}
