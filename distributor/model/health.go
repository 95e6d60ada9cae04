package model

import "time"

// Health is how an Envoy does with a chain, beside the answers that it gives. The zero value is that of a node whose agent does not
// measure it: it says nothing, and gates that need it cannot tell.
type Health struct {
	// Known: the agent measures what follows.
	Known bool `json:"known,omitempty"`
	// Stuck counts the requests that got no answer: those that have waited for one longer than the agent's patience now, those whose client
	// went away before one came, and those that Envoy ended since nothing moved. What stood so when the chain began is not in it. It may
	// fall, when an answer comes late after all.
	Stuck int64 `json:"stuck,omitempty"`
	// Misses counts how often a worker was found late by Envoy's watchdog (watchdog_miss), Hangs how often it was found hanging
	// (watchdog_mega_miss).
	Misses int64 `json:"misses,omitempty"`
	Hangs  int64 `json:"hangs,omitempty"`
	// Reloads counts the VMs that had to be loaded again after a trap (vm_reload_success), ReloadFailures those that could not be
	// (vm_reload_failure), and Panics the traps that the sdk caught before they were any.
	Reloads        int64 `json:"reloads,omitempty"`
	ReloadFailures int64 `json:"reloadFailures,omitempty"`
	Panics         int64 `json:"panics,omitempty"`
	// VMs are those that Envoy holds now, and VMsBefore those that it held before the chain was loaded.
	VMs       int64 `json:"vms,omitempty"`
	VMsBefore int64 `json:"vmsBefore,omitempty"`
	// Memory is what Envoy takes now, and MemoryBefore what it took before the chain was loaded, in bytes; 0: not known. Where nothing
	// served before, before is when it began to serve. Resident: all of the process; else what its allocator holds, which leaves out much
	// of what VMs take.
	Memory       int64 `json:"memory,omitempty"`
	MemoryBefore int64 `json:"memoryBefore,omitempty"`
	Resident     bool  `json:"resident,omitempty"`
	// Latency of the requests that completed.
	Latency Latency `json:"latency,omitzero"`
}

// Since is h with its counts taken from base on. What is a state, such as memory, stays what it is.
func (h Health) Since(base Health) Health {
	h.Stuck = max(h.Stuck-base.Stuck, 0)
	h.Misses = max(h.Misses-base.Misses, 0)
	h.Hangs = max(h.Hangs-base.Hangs, 0)
	h.Reloads = max(h.Reloads-base.Reloads, 0)
	h.ReloadFailures = max(h.ReloadFailures-base.ReloadFailures, 0)
	h.Panics = max(h.Panics-base.Panics, 0)
	h.Latency = h.Latency.Since(base.Latency)
	return h
}

// Plus is h with the counts of earlier added.
func (h Health) Plus(earlier Health) Health {
	h.Stuck += earlier.Stuck
	h.Misses += earlier.Misses
	h.Hangs += earlier.Hangs
	h.Reloads += earlier.Reloads
	h.ReloadFailures += earlier.ReloadFailures
	h.Panics += earlier.Panics
	h.Latency = h.Latency.Plus(earlier.Latency)
	return h
}

// latencyBounds are the upper bounds of the buckets of a Latency but the last, which has none: those that Envoy has by default, up to a
// minute. A report stays small by it.
var latencyBounds = [...]time.Duration{
	500 * time.Microsecond, time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second,
	10 * time.Second, 30 * time.Second, time.Minute,
}

// Latency counts requests by how long they took, from bucket to bucket. The zero value has counted none.
type Latency [len(latencyBounds) + 1]int64

// LatencyBound is the upper bound of a bucket of a Latency; false for the last, which has none.
func LatencyBound(bucket int) (time.Duration, bool) {
	if bucket >= len(latencyBounds) {
		return 0, false
	}
	return latencyBounds[bucket], true
}

// Count is how many requests were counted.
func (l Latency) Count() int64 {
	var n int64
	for _, count := range l {
		n += count
	}
	return n
}

// Plus is the sum of both.
func (l Latency) Plus(other Latency) Latency {
	for i := range l {
		l[i] += other[i]
	}
	return l
}

// Since is what was counted since base.
func (l Latency) Since(base Latency) Latency {
	for i := range l {
		l[i] = max(l[i]-base[i], 0)
	}
	return l
}

// Percentile is the time within which so many of a hundred requests were answered. Between the bounds of a bucket it is estimated, as if
// the requests were spread evenly there; beyond the last bound it is that bound. Zero where nothing was counted.
func (l Latency) Percentile(percent float64) time.Duration {
	rank := percent / 100 * float64(l.Count())
	var below int64
	var lower time.Duration
	for i, count := range l {
		upper, bounded := LatencyBound(i)
		if !bounded {
			break
		}
		if count > 0 && float64(below+count) >= rank {
			return lower + time.Duration(float64(upper-lower)*max(rank-float64(below), 0)/float64(count))
		}
		below += count
		lower = upper
	}
	if below == l.Count() {
		return 0
	}
	return lower
}
