package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// How long a change of a row may wait, so that what comes together is written together.
const (
	// ledgerDelay is for how a chain has ended on a node: serving, degraded, rejected.
	ledgerDelay = 200 * time.Millisecond
	// passingDelay is for the states on the way there, which mostly are overtaken; after a crash a node tells them again.
	passingDelay = 2 * time.Second
	// offeredDelay is for an ACK, which reports mostly overtake.
	offeredDelay = 2 * time.Second
	// A failed write is tried again after writeRetryMin, doubling to writeRetryMax.
	writeRetryMin = 100 * time.Millisecond
	writeRetryMax = 5 * time.Second
	// writeTimeout bounds one transaction.
	writeTimeout = 10 * time.Second
)

// mark notes that the row has changed and must be written after delay at the latest; mu is held.
func (s *Service) mark(n *node, delay time.Duration) {
	n.makeup++
	s.markSaid(n, delay)
}

// markSaid is mark where nothing has changed but what the node says of its chains, which they do not depend on; mu is held.
func (s *Service) markSaid(n *node, delay time.Duration) {
	n.version++
	due := time.Now().Add(delay)
	if n.due.IsZero() || due.Before(n.due) {
		n.due = due
	}
	s.dirty[n] = struct{}{}
	s.ledger.wake(delay)
}

// writeLedger writes rows as they become due, until ctx ends. It is the only writer of rows.
func (s *Service) writeLedger(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	retry := writeRetryMin
	for {
		due, left := s.ledger.take()
		if !due {
			select {
			case <-ctx.Done():
				return
			case <-s.ledger.poke:
			case <-arm(timer, left):
			}
			continue
		}
		err := s.deleteGone(ctx)
		if err == nil {
			err = s.flush(ctx, time.Now())
		}
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			s.log.Error("rows of nodes were not written; trying again", "after", retry, "error", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(retry):
			}
			retry = min(retry*2, writeRetryMax)
			s.ledger.wake(0)
			continue
		}
		retry = writeRetryMin
	}
}

// flushAll writes every row that has changed, whether it is due or not, and removes those of nodes that were forgotten.
func (s *Service) flushAll(ctx context.Context) error {
	return errors.Join(s.deleteGone(ctx), s.flush(ctx, time.Now().Add(time.Hour)))
}

// write is one row on its way to the store.
type write struct {
	n       *node
	row     model.Node
	version uint64
	audit   []model.AuditEntry
}

// ledgerWriters is how many batches are on their way to the store at a time: etcd, which answers when the disk has one, takes up together what waits for that.
const ledgerWriters = 4

// flush writes the rows that are due by then, in batches. After each batch the sinks of its nodes see what is durable.
func (s *Service) flush(ctx context.Context, by time.Time) error {
	for {
		queue := s.due(by)
		if len(queue) == 0 {
			return nil
		}
		// A row that changes meanwhile is in the next queue, which waits for this one: of two writes of a row the later is never overtaken.
		if err := s.flushQueue(ctx, queue); err != nil {
			return err
		}
	}
}

// flushQueue writes the rows of those nodes, which are distinct. When a batch fails, those under way are waited for and the rest stays marked.
func (s *Service) flushQueue(ctx context.Context, queue []*node) error {
	var mu sync.Mutex // guards queue and failed; taken before Service.mu
	var failed []error
	next := func() []write {
		mu.Lock()
		defer mu.Unlock()
		if len(queue) == 0 || len(failed) > 0 {
			return nil
		}
		var batch []write
		batch, queue = s.takeBatch(queue)
		return batch
	}
	var writers sync.WaitGroup
	for range min(ledgerWriters, 1+len(queue)/MaxBatch) {
		writers.Go(func() {
			for batch := next(); len(batch) > 0; batch = next() {
				if err := s.putBatch(ctx, batch); err != nil {
					mu.Lock()
					failed = append(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	writers.Wait()
	return errors.Join(failed...)
}

// putBatch writes one batch, or row by row where the store refuses it: alone, the one that it will refuse again holds up no other node.
func (s *Service) putBatch(ctx context.Context, batch []write) error {
	err := s.put(ctx, batch)
	if !errors.Is(err, model.ErrInvalid) {
		return err
	}
	var refused []error
	for _, w := range batch {
		if err := s.put(ctx, []write{w}); err != nil {
			refused = append(refused, fmt.Errorf("node/%s: %w", w.row.ID, err))
		}
	}
	return errors.Join(refused...)
}

// put writes one batch, or marks its rows again.
func (s *Service) put(ctx context.Context, batch []write) error {
	rows := make([]model.Node, len(batch))
	var audit []model.AuditEntry
	for i, w := range batch {
		rows[i] = w.row
		audit = append(audit, w.audit...)
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := s.store.PutNodes(ctx, rows, audit); err != nil {
		if !errors.Is(err, model.ErrInvalid) || len(batch) == 1 {
			s.putBack(batch)
		}
		return err
	}
	s.written(batch)
	return nil
}

// due are the nodes whose rows are due by then; it sets the ledger's next wake for the others. It looks at every row that has changed, so
// that not each batch has to.
func (s *Service) due(by time.Time) []*node {
	s.mu.Lock()
	defer s.mu.Unlock()
	var queue []*node
	next := time.Time{}
	for n := range s.dirty {
		switch {
		case !n.due.After(by):
			queue = append(queue, n)
		case next.IsZero() || n.due.Before(next):
			next = n.due
		}
	}
	if !next.IsZero() {
		s.ledger.wake(max(time.Until(next), 0))
	}
	return queue
}

// takeBatch takes as many rows of a queue as fit one transaction, as they are now, and gives the rest of the queue.
func (s *Service) takeBatch(queue []*node) ([]write, []*node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var batch []write
	room := MaxBatch
	for len(queue) > 0 {
		n := queue[0]
		if room -= 1 + 2*len(n.audit); room < 0 && len(batch) > 0 {
			break
		}
		queue = queue[1:]
		batch = append(batch, write{n: n, row: n.row, version: n.version, audit: n.audit})
		n.audit, n.due = nil, time.Time{}
		delete(s.dirty, n)
	}
	return batch, queue
}

// putBack marks rows again whose write failed. A transaction of which nothing was heard may have been done all the same:
// writing the row again does no harm, and its audit entries may then stand twice.
func (s *Service) putBack(batch []write) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range batch {
		w.n.audit = slices.Concat(w.audit, w.n.audit)
		w.n.due = time.Now()
		s.dirty[w.n] = struct{}{}
	}
}

// written makes what is durable visible to the sinks.
func (s *Service) written(batch []write) {
	s.mu.Lock()
	var changed []string
	for _, w := range batch {
		w.n.stored = w.version
		if held := w.n.duty.rollout; w.version == w.n.version && held != "" {
			if e := s.find(held); e != nil && e.running() {
				progress, holds := e.state.Nodes[w.n.row.ID]
				w.n.duty.prefetch = s.prefetch(e, w.n, &progress, holds)
			}
		}
		w.n.given.Isolated = w.row.Isolated
		if w.row.Generation != w.n.given.Generation || w.n.given.ID == "" {
			chain, err := s.renderNode(w.row.Assigned, splitFor(w.row, w.row.Split))
			if err != nil {
				s.log.Error("what a node is assigned cannot be rendered; it keeps what it has", "node", w.row.ID, "error", err)
				continue
			}
			w.n.given, w.n.givenChain = w.row, chain
			changed = append(changed, w.row.ID)
		}
	}
	if s.anyRunning() && len(changed) > 0 {
		s.drive.wake(reportDelay)
	}
	s.mu.Unlock()
	s.hub.stored()
	for _, id := range changed {
		s.hub.nodeChanged(id)
	}
}

// waitStored waits until the store has that version of the node's row.
func (s *Service) waitStored(ctx context.Context, n *node, version uint64) error {
	for {
		wait := s.hub.nextStored()
		s.mu.Lock()
		stored := n.stored >= version
		s.mu.Unlock()
		if stored {
			return nil
		}
		select {
		case <-wait:
		case <-s.stopped:
			return s.Ready()
		case <-ctx.Done():
			return &model.Error{Kind: model.ErrUnavailable, Object: "node/" + n.row.ID, Message: "the change was not written in time; it may still be",
				Next: "look again in a moment", Cause: context.Cause(ctx)}
		}
	}
}
