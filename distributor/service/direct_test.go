package service

import (
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

// A decision that changes the duties of a whole fleet tells nobody itself. Then all are told, some at a time, and what they are told is their duty at that moment.
func TestDutiesAreToldSomeAtATime(t *testing.T) {
	const count = 3*directBatch + 1
	x := newRun(t, count, 0)
	told := func() (asked int) {
		for _, n := range x.s.nodes {
			for session := range n.sessions {
				if session.last.StatisticsInterval > 0 {
					asked++
				}
				if session.last.StatisticsInterval != x.s.directive(n).StatisticsInterval && len(x.s.undirected) == 0 {
					t.Errorf("%s was told %+v, and is to be told %+v", n.row.ID, session.last, x.s.directive(n))
				}
			}
		}
		return asked
	}
	for x.e.state.Phase != model.RolloutSoaking {
		x.turn()
	}
	moved := len(x.e.state.Waves[0].Nodes)
	if asked := told(); asked != 0 || len(x.s.undirected) < moved {
		t.Fatalf("%d nodes were told by the decision itself, and %d of the %d moved are to be told", asked, len(x.s.undirected), moved)
	}
	for x.s.directSome() {
	}
	if asked := told(); asked != moved {
		t.Errorf("%d nodes are asked for statistics, of %d that were moved", asked, moved)
	}
	for _, n := range x.s.nodes {
		x.s.directLater(n)
	}
	for left := count - directBatch; left > 0; left -= directBatch {
		if !x.s.directSome() || len(x.s.undirected) != left {
			t.Fatalf("%d nodes are left to be told, want %d", len(x.s.undirected), left)
		}
	}
	if x.s.directSome() || len(x.s.undirected) != 0 {
		t.Errorf("%d nodes were never told", len(x.s.undirected))
	}
}
