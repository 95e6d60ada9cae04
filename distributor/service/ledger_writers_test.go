package service

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// slowRows is a store of rows alone that takes its time, is away at times, and refuses one row for as long as it is wrong.
type slowRows struct {
	nowhere
	t       *testing.T
	mu      sync.Mutex
	random  *rand.Rand
	rows    map[string]model.Node
	writing map[string]bool
	under   int
	most    int
	wrong   string
}

func (s *slowRows) PutNodes(_ context.Context, rows []model.Node, _ []model.AuditEntry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, row := range rows {
		if s.writing[row.ID] {
			s.t.Errorf("%s is written twice at a time", row.ID)
		}
		s.writing[row.ID] = true
	}
	s.under++
	s.most = max(s.most, s.under)
	turns, away, lost := s.random.IntN(20), s.random.IntN(10) == 0, s.random.IntN(2) == 0
	s.mu.Unlock()
	for range turns {
		runtime.Gosched()
	}
	s.mu.Lock()
	s.under--
	for _, row := range rows {
		delete(s.writing, row.ID)
	}
	for _, row := range rows {
		if row.ID == s.wrong {
			return model.Invalidf("node/"+row.ID, "", "wait", "is wrong")
		}
	}
	if away && lost {
		return &model.Error{Kind: model.ErrUnavailable, Object: "nodes", Message: "a test: nothing was written"}
	}
	for _, row := range rows {
		if was := s.rows[row.ID].Retry; was > row.Retry {
			s.t.Errorf("%s went back from %d to %d", row.ID, was, row.Retry)
		}
		s.rows[row.ID] = row
	}
	if away {
		return &model.Error{Kind: model.ErrUnavailable, Object: "nodes", Message: "a test: it was written, and nobody heard of it"}
	}
	return nil
}

// However rows change while others are written, several batches at a time: no row is written twice at a time, none goes back, none is forgotten, and one
// that the store refuses holds up no other.
func TestLedgerWritersKeepTheOrderOfEachRow(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			const count = 8 * MaxBatch
			x := newRun(t, count, -1)
			s := x.s
			random := rand.New(rand.NewPCG(seed, 5))
			store := &slowRows{t: t, random: rand.New(rand.NewPCG(seed, 6)), rows: map[string]model.Node{}, writing: map[string]bool{}}
			s.store = store
			nodes := make([]*node, 0, count)
			for _, n := range s.nodes {
				nodes = append(nodes, n)
			}
			change := func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				for range 1 + random.IntN(count) {
					n := nodes[random.IntN(count)]
					n.row.Retry++
					s.mark(n, 0)
				}
			}
			for range 20 {
				change()
				var changing sync.WaitGroup
				changing.Go(change)
				_ = s.flush(t.Context(), time.Now()) // what was away is written by the next
				changing.Wait()
			}
			store.mu.Lock()
			store.wrong = nodes[0].row.ID
			store.mu.Unlock()
			s.mu.Lock()
			for _, n := range nodes {
				n.row.Retry++
				s.mark(n, 0)
			}
			s.mu.Unlock()
			for left := count; left > 1; {
				err := s.flushAll(t.Context())
				if s.mu.Lock(); len(s.dirty) == 0 || err == nil {
					t.Fatalf("what the store refuses was written: %v", err)
				}
				left = len(s.dirty)
				s.mu.Unlock()
			}
			store.mu.Lock()
			store.wrong = ""
			store.mu.Unlock()
			for s.flushAll(t.Context()) != nil {
			}
			for _, n := range nodes {
				if row := store.rows[n.row.ID]; row.Retry != n.row.Retry || n.stored != n.version {
					t.Errorf("%s is stored as %d at %d, and is %d at %d", n.row.ID, row.Retry, n.stored, n.row.Retry, n.version)
				}
			}
			if store.most < 2 || store.most > ledgerWriters {
				t.Errorf("%d batches were under way at a time, want from 2 to %d", store.most, ledgerWriters)
			}
		})
	}
}
