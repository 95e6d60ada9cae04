package service

import (
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

func TestWindow(t *testing.T) {
	moved := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var w window
	for i, step := range []struct {
		since, came time.Time
		latest      model.Statistics
		requests    int64
		errors      int64
	}{
		{moved, moved.Add(-time.Hour), model.Statistics{Chain: "a", Requests: 900, Errors: 900}, 0, 0}, // from before
		{moved, moved.Add(time.Second), model.Statistics{Chain: "a", Requests: 1000, Errors: 950}, 0, 0},
		{moved, moved.Add(2 * time.Second), model.Statistics{Chain: "a", Requests: 1010, Errors: 951}, 10, 1},
		{moved, moved.Add(2 * time.Second), model.Statistics{Chain: "a", Requests: 1010, Errors: 951}, 10, 1},
		{moved, moved.Add(3 * time.Second), model.Statistics{Chain: "a", Requests: 5, Errors: 5}, 0, 0}, // counts begin anew
		{moved, moved.Add(4 * time.Second), model.Statistics{Chain: "a", Requests: 8, Errors: 5}, 3, 0},
		{moved, moved.Add(5 * time.Second), model.Statistics{Chain: "b", Requests: 100}, 0, 0},                                // another chain
		{moved.Add(time.Minute), moved.Add(5 * time.Second), model.Statistics{Chain: "b", Requests: 100}, 0, 0},               // the next wave
		{moved.Add(time.Minute), moved.Add(61 * time.Second), model.Statistics{Chain: "b", Requests: 300, Errors: 4}, 0, 0},   // its first word
		{moved.Add(time.Minute), moved.Add(62 * time.Second), model.Statistics{Chain: "b", Requests: 320, Errors: 10}, 20, 6}, // and the next
	} {
		if got := w.read(step.since, step.latest, step.came); got.Requests != step.requests || got.Errors != step.errors {
			t.Errorf("step %d: %d requests and %d errors, want %d and %d", i, got.Requests, got.Errors, step.requests, step.errors)
		}
	}
}

// How an Envoy does is counted from the same moment on.
func TestWindowOfHealth(t *testing.T) {
	moved := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	said := func(stuck, fast int64) model.Statistics {
		return model.Statistics{Chain: "a", Requests: fast, DeniedKnown: fast > 100, Health: model.Health{Known: true, Stuck: stuck, Memory: 7, Latency: model.Latency{fast}}}
	}
	var w window
	w.read(moved, said(5, 100), moved.Add(time.Second))
	if got, want := w.read(moved, said(8, 130), moved.Add(2*time.Second)), (model.Health{Known: true, Stuck: 3, Memory: 7, Latency: model.Latency{30}}); got.Health != want || !got.DeniedKnown {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
