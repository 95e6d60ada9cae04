package service_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// A thousand nodes, in four waves: it completes, and the rows of nodes are written a few times a node, in batches.
func TestThousandNodes(t *testing.T) {
	const count = 1000
	const writesPerNode = 4 // a node is in one wave
	s := newSite(t)
	s.config = func(c *service.Config) { c.StatisticsInterval = time.Second }
	s.start()
	nodes := make([]*sim, count)
	for i := range nodes {
		nodes[i] = s.node(fmt.Sprintf("node-%04d", i))
	}
	s.known(nodes...)
	s.release("one", "good:1")
	s.begin("first", "one", all)
	s.reach("first", model.RolloutDone)
	s.release("two", "good:2")
	s.quiet()
	rows, batches, rollouts := s.tap.rows.Load(), s.tap.batches.Load(), s.tap.rollouts.Load()

	begun := time.Now()
	s.begin("second", "two", guarded(one), model.WaveSpec{Percent: 10}, model.WaveSpec{Percent: 50}, all)
	s.reach("second", model.RolloutDone)
	took := time.Since(begun)
	s.quiet()
	if got := reached(nodes, "good:2"); got != count {
		t.Errorf("%d nodes serve it, want %d", got, count)
	}
	rows, batches, rollouts = s.tap.rows.Load()-rows, s.tap.batches.Load()-batches, s.tap.rollouts.Load()-rollouts
	t.Logf("%d nodes in 4 waves took %s: %d rows in %d batches, %d writes of the rollout", count, took.Round(time.Millisecond), rows, batches, rollouts)
	if rows > writesPerNode*count {
		t.Errorf("%d rows were written, more than %d a node", rows, writesPerNode)
	}
	if batches*5 > rows {
		t.Errorf("%d rows took %d batches", rows, batches)
	}

	// What says nothing new costs nothing: statistics and reports told twice write no row.
	rows = s.tap.rows.Load()
	for _, n := range nodes {
		n.mu.Lock()
		n.session.Statistics(model.Statistics{Chain: n.serving, Requests: 5})
		n.session.Chain(service.ChainReport{Chain: n.serving, State: model.ChainServing, Serving: n.serving, Generation: n.hello.Generation})
		n.mu.Unlock()
	}
	s.quiet()
	if again := s.tap.rows.Load() - rows; again != 0 {
		t.Errorf("%d rows were written for nothing new", again)
	}
}

// quiet waits until what nodes said has been written: the ledger writes the row of a retry last.
func (s *site) quiet() {
	s.t.Helper()
	last, since := s.tap.rows.Load(), time.Now()
	s.eventually("the ledger is quiet", func() bool {
		if now := s.tap.rows.Load(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 500*time.Millisecond
	})
}
