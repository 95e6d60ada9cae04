package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// Defaults of what is kept.
const (
	// DefaultForgetNodesAfter is how long a node may be away before its row goes: a node may come back after a month, and be known.
	DefaultForgetNodesAfter = 90 * 24 * time.Hour
	// DefaultKeepReleases is how many releases of a name are kept whether anything needs them or not.
	DefaultKeepReleases = 20
	// DefaultKeepRollouts is how many rollouts are kept whether anything needs them or not.
	DefaultKeepRollouts = 500
	// DefaultCollectEvery is how often is looked for what may go.
	DefaultCollectEvery = time.Hour
	// awayWrites is in how many looks a node's time away is written; a distributor that is killed forgets no more of it, and one that is stopped no more than one look's.
	awayWrites = 24
)

// collectLoop removes what nothing needs any more, until ctx ends. Time away counts only while this loop runs: by the process's own clock, and no more than two
// intervals at once, so that neither a jump of the clock nor a distributor that was down makes anybody be forgotten.
func (s *Service) collectLoop(ctx context.Context) {
	timer := time.NewTicker(s.collectEvery)
	defer timer.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			s.keepTimeAway()
			return
		case <-timer.C:
		}
		now := time.Now()
		s.forgetNodes(min(now.Sub(last), 2*s.collectEvery))
		last = now
		if err := s.collectReleases(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("old releases were not removed; it is tried again", "after", s.collectEvery, "error", err)
		}
		if err := s.collectRollouts(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("old rollouts were not removed; it is tried again", "after", s.collectEvery, "error", err)
		}
	}
}

// forgetNodes counts the time that nodes are away, and hands those to the ledger's writer that have been for too long.
func (s *Service) forgetNodes(watched time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := map[string]bool{}
	for _, e := range s.active {
		for id := range e.state.Nodes {
			held[id] = true
		}
		for id := range e.state.Restore {
			held[id] = true
		}
	}
	var nodes []awayNode
	for id, n := range s.nodes {
		if len(n.sessions) > 0 {
			continue
		}
		n.away += watched
		if n.away >= awayWrites*s.collectEvery {
			s.keepAway(n)
			continue
		}
		_, dirty := s.dirty[n]
		nodes = append(nodes, awayNode{id: id, away: n.row.AwayFor + n.away, held: held[id], isolated: n.row.Isolated != nil,
			unwritten: dirty || len(n.audit) > 0 || n.stored < n.version})
	}
	gone := forgettable(nodes, s.forgetAfter)
	for _, id := range gone {
		delete(s.joiners, s.nodes[id])
		s.gone[id] = s.nodes[id].row
		delete(s.nodes, id)
		s.log.Info("node forgotten: it was away for too long", "node", id, "limit", s.forgetAfter)
	}
	if len(gone) > 0 {
		s.fleet++
		s.ledger.wake(0)
	}
}

// keepTimeAway has the last write of the rows, before the service ends, take along for how long nodes were away up to the last look. A distributor that is
// started anew each day would never forget anybody otherwise.
func (s *Service) keepTimeAway() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.nodes {
		if n.away > 0 {
			s.keepAway(n)
		}
	}
}

// keepAway has the next write of a node's row take along for how long it was away; mu is held.
func (s *Service) keepAway(n *node) {
	n.row.AwayFor, n.away = n.row.AwayFor+n.away, 0
	s.mark(n, passingDelay)
}

// back is a node that was away; mu is held.
func (s *Service) back(n *node) {
	n.away = 0
	if n.row.AwayFor != 0 {
		n.row.AwayFor = 0
		s.mark(n, passingDelay)
	}
}

// deleteGone removes the rows of nodes that were forgotten. The writer of rows alone calls it, before it writes: what a node that comes back is given
// is written after, and over what is left.
func (s *Service) deleteGone(ctx context.Context) error {
	for {
		const each = MaxBatch / 3 // a row and its audit entry, which counts twice
		s.mu.Lock()
		var ids []string
		for id := range s.gone {
			switch n := s.nodes[id]; {
			case n == nil:
				ids = append(ids, id)
			case n.stored > 0:
				delete(s.gone, id) // it is back, and its row is written over
			}
		}
		s.mu.Unlock()
		slices.Sort(ids)
		ids = ids[:min(len(ids), each)]
		if len(ids) == 0 {
			return nil
		}
		audit := make([]model.AuditEntry, len(ids))
		for i, id := range ids {
			audit[i] = model.AuditEntry{At: s.stamp(), Actor: rollout.Actor, Action: "node.forget", Object: "node/" + id, Detail: fmt.Sprintf("was away for %s or longer", s.forgetAfter)}
		}
		writeCtx, cancel := context.WithTimeout(ctx, writeTimeout)
		err := s.store.DeleteNodes(writeCtx, ids, audit)
		cancel()
		if err != nil {
			return err
		}
		s.mu.Lock()
		for _, id := range ids {
			delete(s.gone, id)
		}
		s.mu.Unlock()
	}
}

// collectReleases removes releases that nothing needs. What is there, and what ended rollouts have done, is read first; what may go is decided in the drive loop, where nothing starts
// meanwhile.
func (s *Service) collectReleases(ctx context.Context) error {
	if s.keepReleases < 0 {
		return nil
	}
	var all []model.ReleaseID
	for cursor := int64(0); ; {
		page, next, err := s.store.ListReleases(ctx, "", cursor, loadPage)
		if err != nil {
			return err
		}
		for _, r := range page {
			all = append(all, r.ID)
		}
		if cursor = next; cursor == 0 {
			break
		}
	}
	for range maxCollected {
		if _, err := s.inUse(ctx); err != nil {
			return err
		}
		done := true
		err := s.inDrive(ctx, "releases", func(run context.Context) error {
			needed, known, err := s.neededReleases()
			if err != nil {
				return err
			}
			if !known {
				done = false // a rollout has ended meanwhile
				return nil
			}
			gone := collectable(all, needed, s.keepReleases)
			if len(gone) > collectAtOnce {
				gone, done = gone[:collectAtOnce], false // others have their turn in between
			}
			for _, id := range gone {
				if err := s.deleteRelease(run, id); err != nil {
					return err
				}
			}
			all = slices.DeleteFunc(all, func(id model.ReleaseID) bool { return slices.Contains(gone, id) })
			return nil
		})
		if err != nil || done {
			return err
		}
	}
	return nil
}

const (
	// collectAtOnce is how many releases go before the drive loop does something else.
	collectAtOnce = 20
	// maxCollected is how many times that one look does.
	maxCollected = 100
)

func (s *Service) deleteRelease(ctx context.Context, id model.ReleaseID) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := s.store.DeleteRelease(ctx, id, model.AuditEntry{At: s.stamp(), Actor: rollout.Actor, Action: "release.collect", Object: "release/" + id.String(),
		Detail: fmt.Sprintf("no node, rollout or undo needs it, and %d newer ones of its name are kept", s.keepReleases)})
	if err != nil && !errors.Is(err, model.ErrNotFound) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.releases, id)
	clear(s.chains) // what was rendered from it
	s.log.Info("release removed: nothing needs it", "release", id.String())
	return nil
}
