package agent

import (
	"testing"
	"time"
)

// TestSettling: requests count as settled once an observation has seen them that is a second old, and never across a start of Envoy.
func TestSettling(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	var s settling
	for i, step := range []struct {
		at       time.Duration
		epoch    int
		requests int64
		want     int64
	}{
		{0, 1, 100, 0},
		{400 * time.Millisecond, 1, 200, 0},
		{900 * time.Millisecond, 1, 300, 0},
		{1000 * time.Millisecond, 1, 400, 100},
		{1900 * time.Millisecond, 1, 500, 100},
		{2100 * time.Millisecond, 1, 600, 400},
		{2200 * time.Millisecond, 2, 5, 0},
		{3300 * time.Millisecond, 2, 9, 5},
	} {
		if got, _ := s.settle(observation{began: noon.Add(step.at), at: noon.Add(step.at), epoch: step.epoch, requests: step.requests}); got != step.want {
			t.Errorf("step %d: %d requests have settled, want %d", i, got, step.want)
		}
	}
}
