package service

import (
	"context"
	"fmt"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// maxChecks is how often a picture is taken anew because it held chains that nobody had checked.
const maxChecks = 4

// observation is the picture of the fleet that a rollout is stepped with. It is good until the next: its memory is used again. The drive loop
// alone calls it.
func (s *Service) observation(ctx context.Context, e *entry) (rollout.Observe, error) {
	for range maxChecks {
		event, unchecked := s.look(e)
		if len(unchecked) == 0 {
			s.judgeStatistics(e.state, &event, s.stamp())
			return event, nil
		}
		if err := s.checkAll(ctx, unchecked); err != nil {
			return rollout.Observe{}, err
		}
	}
	return rollout.Observe{}, &model.Error{Kind: model.ErrUnavailable, Object: "rollout/" + e.state.Name,
		Message: "the fleet changes faster than its chains are checked", Next: "it is tried again"}
}

// look takes the picture, and names the chains in it that have not been checked yet.
func (s *Service) look(e *entry) (rollout.Observe, map[string]model.Chain) {
	frozen := s.frozen(e.state) // it may look at a file, which nobody else is to wait for
	s.mu.Lock()
	defer s.mu.Unlock()
	nodes := s.concerned(e)
	unchecked := map[string]model.Chain{}
	event := rollout.Observe{Nodes: s.draw(e, nodes, unchecked), Memo: &e.picture.memo}
	event.Frozen, event.Elsewhere = frozen, e.readings()
	event.Emergency = s.lastEmergency()
	event.Cap = s.fleetCap()
	if e.state.Spec.MaxNotServing > 0 || event.Cap.Cap != (model.Cap{}) {
		event.Unsettled = s.unsettled(e, nodes)
	}
	e.blocker = nil
	if e.state.Phase == model.RolloutPending {
		if e.blocker = s.blockerOf(e.state, nodes); e.blocker != nil {
			event.Blocked = e.blocker.state.Name
		}
	}
	return event, unchecked
}

// viewOf is one node as a rollout sees it; mu is held.
func (s *Service) viewOf(e *entry, n *node, unchecked map[string]model.Chain) rollout.NodeView {
	var view rollout.NodeView
	progress := e.state.Nodes[n.row.ID]
	s.viewInto(&view, e, n, &progress, s.now(), lately(e.state), unchecked)
	return view
}

// viewInto is viewOf for many nodes: what is the same for all of them is worked out before, and the view, which is large, is made where it stays.
// progress is the node's, and since what lately gives. It says whether the view stays what it is for as
// long as neither these nor the node's marks change.
func (s *Service) viewInto(view *rollout.NodeView, e *entry, n *node, progress *model.NodeProgress, now, since time.Time, unchecked map[string]model.Chain) bool {
	o := s.outlookOf(e, n, progress)
	stays := n.connected() && o.of == e // how long it is silent changes with the time
	*view = rollout.NodeView{
		ID: n.row.ID, Labels: n.row.Labels,
		Connected: n.connected(), Reports: n.row.Reports, Unproved: n.row.Dialect == model.DialectADS, Application: n.row.Dialect == model.DialectApplication,
		Assigned: o.assigned, Given: o.given,
		Split:        n.row.Split,
		CurrentChain: n.chain.Hash,
		Ledger:       n.row.Ledger, Serving: n.row.Serving, Restarts: n.restarts,
	}
	if !view.Connected {
		view.Silent = s.silent(n, now)
	}
	n.measured(view, since)
	if isolated := n.given.Isolated; isolated != nil {
		view.Isolated = isolated.Reason // once it is durable
	}
	view.CannotSplit, view.CannotTell = o.cannotSplit, o.cannotTell
	if !o.gives {
		return stays
	}
	if o.split {
		view.CurrentChain, view.RowChain = o.rest, n.chain.Hash
	}
	view.FromChain = o.fromChain
	if o.failed != "" {
		view.Unloadable = o.failed
		return stays
	}
	view.TargetChain = o.target.Hash
	view.Partly = o.partly
	if view.Fetched = o.hasFetched(n.fetched); !view.Fetched {
		view.FetchTrouble = whyUnfetched(o.target, n.unfetched)
	}
	if !progress.MovedAt.IsZero() {
		// It was checked before it was moved. It is assigned when the row is durable: until then the rollout does not go on.
		view.Assigned, view.Split = n.given.Assigned[e.state.Layer], n.given.Split
		return stays
	}
	verdict, checked := s.verdicts[o.target.Hash]
	switch {
	case !checked:
		unchecked[o.target.Hash], stays = o.target, false
	case verdict != nil:
		view.Unloadable = fmt.Sprintf("the chain it would run is not valid: %v", verdict)
	default:
		view.Unloadable = o.unloadable
	}
	return stays
}

// measured puts the node's statistics into its view; since is what lately gives. mu is held.
func (n *node) measured(view *rollout.NodeView, since time.Time) {
	came := n.counts.into(&view.Stats)
	if !since.IsZero() {
		view.Lately = n.lately.read(since, view.Stats, came)
	}
}

// lately is since when it is asked what nodes have served: since those of a wave were moved that is compared with the others; zero: nobody asks.
func lately(r model.Rollout) time.Time {
	if wave, watched := watchedWave(r); watched && comparesNow(r) {
		return r.Waves[wave].MovedAt
	}
	return time.Time{}
}

// checkAll checks chains and keeps the verdicts.
func (s *Service) checkAll(ctx context.Context, chains map[string]model.Chain) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	for hash, chain := range chains {
		verdict, err := s.checkChain(ctx, chain)
		if err != nil {
			return fmt.Errorf("check chain %s: %w", hash, err)
		}
		s.mu.Lock()
		if len(s.verdicts) >= maxVerdicts {
			clear(s.verdicts)
		}
		s.verdicts[hash] = verdict
		s.mu.Unlock()
	}
	return nil
}

// holders says which other running rollout holds which node; mu is held.
func (s *Service) holders(e *entry) map[string]string {
	var held map[string]string
	for _, other := range s.active {
		if other == e {
			continue
		}
		if held == nil {
			held = map[string]string{}
		}
		for id := range other.state.Nodes {
			if rollout.Holds(other.state, id) {
				held[id] = other.state.Name
			}
		}
	}
	return held
}

// blockerOf is the earliest other rollout, not ended, that shares nodes with this one and goes before it; nil for none: one that has moved
// nodes, and one that waits and began before. An undo, which takes back, does not wait for those that wait themselves. mu is held.
func (s *Service) blockerOf(state model.Rollout, nodes []*node) *entry {
	for _, other := range s.active {
		if other.state.Name == state.Name {
			continue
		}
		if other.state.Stage() == model.RolloutPending && (state.Undoes != "" || state.Sequence != 0 && other.state.Sequence > state.Sequence) {
			continue
		}
		if len(rollout.Conflicts(state, other.state, rowsOf(nodes))) > 0 {
			return other
		}
	}
	return nil
}
