package service

import (
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// frozen is what forbids a rollout to move on now: a window of its own, or of the distributor, or somebody who has frozen them all. Nothing forbids an undo, which takes back; one that
// puts a filter back moves on.
func (s *Service) frozen(r model.Rollout) string {
	if r.TakesBack() {
		return ""
	}
	if why := model.Frozen(r.Spec.Freeze, s.now()); why != "" {
		return why
	}
	s.mu.Lock()
	now := s.frozenNow
	s.mu.Unlock()
	if now.Holds(s.now()) {
		return now.String()
	}
	return model.Frozen(s.freeze(), s.now())
}

// fleetCap is the cap that holds for every rollout, over the nodes that are there and were given something; mu is held.
func (s *Service) fleetCap() rollout.FleetCap {
	c := rollout.FleetCap{Cap: s.maxNotServing}
	if c.Percent == 0 {
		return c
	}
	now := s.now()
	for _, n := range s.nodes {
		view := rollout.NodeView{Connected: n.connected(), Silent: s.silent(n, now)}
		if n.row.Reports && len(n.row.Assigned) > 0 && rollout.Present(&view) {
			c.Fleet++
		}
	}
	return c
}

// unsettled counts the nodes of the fleet that are not in a picture of it, and are on their way to another chain, or are there and serve
// nothing; mu is held.
func (s *Service) unsettled(e *entry, picture []*node) int {
	in := make(map[*node]struct{}, len(picture))
	for _, n := range picture {
		in[n] = struct{}{}
	}
	now := s.now()
	onTheirWay := map[string]bool{}
	for _, other := range s.active {
		if other == e {
			continue
		}
		for id, p := range other.state.Nodes {
			// One that is to go back and was not sent yet serves.
			if !p.MovedAt.IsZero() && (p.State == model.NodeMoving || p.State == model.NodeRollingBack && !p.BackAt.IsZero()) {
				onTheirWay[id] = true
			}
		}
	}
	count := 0
	for id, n := range s.nodes {
		if _, here := in[n]; here {
			continue
		}
		view := rollout.NodeView{
			Reports: n.row.Reports, Given: len(n.row.Assigned) > 0, Serving: n.row.Serving, CurrentChain: n.chain.Hash, Ledger: n.row.Ledger,
			Connected: n.connected(), Silent: s.silent(n, now),
		}
		if rollout.Unsettled(&view) || onTheirWay[id] && rollout.Present(&view) {
			count++
		}
	}
	return count
}
