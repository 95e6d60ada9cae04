package service

import (
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// The order of nodes and rollouts is that in which they came, where the row knows it, whatever the clock said.
func TestCameAfter(t *testing.T) {
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name    string
		after   int64
		seen    time.Duration // after the start of the rollout, by the clock
		rollout int64
		want    bool
	}{
		{"before all rollouts, and the clock went back before the first", model.AfterNone, time.Hour, 1, false},
		{"before all rollouts", model.AfterNone, -time.Hour, 1, false},
		{"after it, and the clock went back between", 3, -time.Hour, 3, true},
		{"after an earlier one", 2, time.Hour, 3, false},
		{"by a row that does not know: after", 0, time.Hour, 3, true},
		{"by a row that does not know: before", 0, -time.Hour, 3, false},
	} {
		row, r := model.Node{After: test.after, FirstSeen: began.Add(test.seen)}, model.Rollout{Sequence: test.rollout, StartedAt: began}
		if got := cameAfter(row, r); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
	if s := (&Service{}); s.newest() != model.AfterNone {
		t.Errorf("a service without rollouts has the newest %d", s.newest())
	}
}
