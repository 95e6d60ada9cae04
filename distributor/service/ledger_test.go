package service

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// bare is a service of which only the memory works.
func bare() *Service {
	return &Service{ledger: newWaker(), drive: newWaker(), now: time.Now, dirty: map[*node]struct{}{}}
}

// What a node says on the way waits for what it says next; how the chain has ended on it does not wait.
func TestStatesOnTheWayAreWrittenLate(t *testing.T) {
	for _, end := range []model.ChainState{model.ChainServing, model.ChainDegraded, model.ChainRejected} {
		s, n := bare(), newNode(model.Node{ID: "n", Ledger: model.LedgerEntry{Chain: "c"}})
		for _, state := range []model.ChainState{model.ChainFetched, model.ChainLoaded} {
			s.report(n, ChainReport{Chain: "c", State: state})
			if n.row.Ledger.State != state {
				t.Errorf("the ledger says %q, want %q", n.row.Ledger.State, state)
			}
		}
		if left := time.Until(n.due); left > passingDelay || left < ledgerDelay {
			t.Errorf("on the way it is written in %s", left)
		}
		s.report(n, ChainReport{Chain: "c", State: end})
		if left := time.Until(n.due); left > ledgerDelay {
			t.Errorf("%s is written in %s", end, left)
		}
		if got := len(s.due(time.Now().Add(ledgerDelay))); got != 1 {
			t.Errorf("%d rows are due, want 1", got)
		}
	}
}

// A transaction takes no more than it may, and a queue is taken whole all the same, each row as it is by then.
func TestBatchesFit(t *testing.T) {
	s := bare()
	for i := range 250 {
		n := newNode(model.Node{ID: fmt.Sprint(i)})
		if i%10 == 0 {
			n.audit = make([]model.AuditEntry, maxUnwritten)
		}
		s.mark(n, 0)
	}
	big := newNode(model.Node{ID: "big"})
	big.audit = make([]model.AuditEntry, MaxBatch) // more than any transaction takes: it holds up nobody else
	s.mark(big, 0)
	queue := s.due(time.Now())
	late := queue[len(queue)-1]
	taken := 0
	for len(queue) > 0 {
		var batch []write
		batch, queue = s.takeBatch(queue)
		cost := 0
		for _, w := range batch {
			cost += 1 + 2*len(w.audit)
			if w.n == late && w.row.Retry != 7 {
				t.Error("the row was taken before its turn")
			}
		}
		if taken += len(batch); len(batch) == 0 || cost > MaxBatch && len(batch) > 1 {
			t.Fatalf("a transaction of %d rows costs %d", len(batch), cost)
		}
		late.row.Retry = 7
	}
	if taken != 251 || len(s.dirty) != 0 {
		t.Errorf("%d rows were taken and %d are left, want 251 and none", taken, len(s.dirty))
	}
}

// A stream whose place another has taken says nothing more of what the node has served.
func TestStatisticsOfAClosedSession(t *testing.T) {
	s, n := bare(), newNode(model.Node{ID: "n"})
	x := &Session{service: s, node: n, done: make(chan struct{})}
	x.Statistics(model.Statistics{Chain: "c", Requests: 1})
	s.closeSession(x)
	x.Statistics(model.Statistics{Chain: "c", Requests: 2})
	if got := new(Service).statusOf(n); got.Statistics.Requests != 1 || got.LastSeen.IsZero() {
		t.Errorf("it has %+v, last seen %s", got.Statistics, got.LastSeen)
	}
}

// What a node has counted is bounded where it comes in, whoever reports it: gates add it up over nodes.
func TestStatisticsAreBounded(t *testing.T) {
	s, n := bare(), newNode(model.Node{ID: "n"})
	x := &Session{service: s, node: n, done: make(chan struct{})}
	x.Statistics(model.Statistics{Chain: "c", Requests: math.MaxInt64, Errors: -1, Health: model.Health{Known: true, Stuck: math.MaxInt64}})
	if got := new(Service).statusOf(n).Statistics; got.Requests != model.MaxCount || got.Errors != 0 || got.Health.Stuck != model.MaxCount {
		t.Errorf("it has %+v", got)
	}
}

// The last error is as old as it is: other secrets, beside which a node says the same, make it no younger. Said again after something else, it is a new one.
func TestTheLastErrorKeepsItsTime(t *testing.T) {
	s, n := bare(), newNode(model.Node{ID: "n", Ledger: model.LedgerEntry{Chain: "c"}})
	now := time.Unix(1000, 0)
	s.now = func() time.Time { return now }
	say := func(state model.ChainState, reason string, secrets map[string]string) time.Time {
		now = now.Add(time.Minute)
		s.report(n, ChainReport{Chain: "c", State: state, Reason: reason, Secrets: secrets})
		return n.row.LastError.At
	}
	first := say(model.ChainDegraded, "without x", nil)
	if at := say(model.ChainDegraded, "without x", map[string]string{"key": "2"}); !at.Equal(first) {
		t.Errorf("with other secrets the error of %s is of %s", first, at)
	}
	if at := say(model.ChainDegraded, "without y", nil); at.Equal(first) {
		t.Error("another error has the time of the one before")
	}
	say(model.ChainServing, "", nil)
	if at := say(model.ChainDegraded, "without y", nil); at.Before(now.Add(-time.Second)) {
		t.Errorf("the error came again at %s, and is of %s", now, at)
	}
}
