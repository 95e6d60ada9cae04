package model

import (
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	in := func(counts map[int]int64) Latency {
		var l Latency
		for bucket, n := range counts {
			l[bucket] = n
		}
		return l
	}
	last := len(Latency{}) - 1
	for _, test := range []struct {
		name    string
		latency Latency
		percent float64
		want    time.Duration
	}{
		{"nothing", Latency{}, 99, 0},
		{"half of the first bucket", in(map[int]int64{0: 100}), 50, 250 * time.Microsecond},
		{"all of the first bucket", in(map[int]int64{0: 100}), 100, 500 * time.Microsecond},
		{"a bucket from its lower bound on", in(map[int]int64{2: 100}), 50, 3 * time.Millisecond},
		{"over an empty bucket", in(map[int]int64{1: 50, 3: 50}), 75, 7500 * time.Microsecond},
		{"the end of one bucket, not the next", in(map[int]int64{1: 50, 6: 50}), 50, time.Millisecond},
		{"beyond the last bound", in(map[int]int64{0: 1, last: 99}), 99, time.Minute},
		{"all beyond the last bound", in(map[int]int64{last: 10}), 50, time.Minute},
		{"the lowest", in(map[int]int64{5: 10}), 0, 25 * time.Millisecond},
	} {
		if got := test.latency.Percentile(test.percent); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// What is counted is taken from a moment on; what is a state stays.
func TestHealthSince(t *testing.T) {
	now := Health{Known: true, Stuck: 9, Misses: 8, Hangs: 7, Reloads: 6, ReloadFailures: 5, Panics: 4, VMs: 3, VMsBefore: 2, Memory: 100, MemoryBefore: 50, Resident: true, Latency: Latency{2: 10}}
	base := Health{Known: true, Stuck: 10, Misses: 1, Hangs: 1, Reloads: 1, ReloadFailures: 1, Panics: 1, VMs: 1, Memory: 10, Latency: Latency{2: 4}}
	want := Health{Known: true, Misses: 7, Hangs: 6, Reloads: 5, ReloadFailures: 4, Panics: 3, VMs: 3, VMsBefore: 2, Memory: 100, MemoryBefore: 50, Resident: true, Latency: Latency{2: 6}}
	got := now.Since(base)
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	base.Stuck = 0
	if got := now.Since(base).Plus(base); got.Latency != now.Latency || got.Reloads != now.Reloads || got.Memory != now.Memory {
		t.Errorf("and together again: %+v", got)
	}
}
