package model

// MaxCount is the largest count that is taken of a node, and the most bytes: at a million requests a second it is counted in half a year. The buckets of latency of
// 30,000 nodes can be added up without an overflow, and so can all else.
const MaxCount = 1 << 44

// Bounded is s with each of its counts no less than 0 and no more than MaxCount: whoever reports may have it wrong, and sums over nodes must stay sums.
func (s Statistics) Bounded() Statistics {
	for _, n := range []*int64{
		&s.Requests, &s.Errors, &s.Denied, &s.Seen,
		&s.Cohort.Requests, &s.Cohort.Errors, &s.Cohort.Denied, &s.Cohort.Seen,
	} {
		*n = bounded(*n)
	}
	s.Health, s.Cohort.Health = s.Health.bounded(), s.Cohort.Health.bounded()
	return s
}

func (h Health) bounded() Health {
	for _, n := range []*int64{
		&h.Stuck, &h.Misses, &h.Hangs, &h.Reloads, &h.ReloadFailures, &h.Panics, &h.VMs, &h.VMsBefore, &h.Memory, &h.MemoryBefore,
	} {
		*n = bounded(*n)
	}
	for i, n := range h.Latency {
		h.Latency[i] = bounded(n)
	}
	return h
}

func bounded(n int64) int64 { return min(max(n, 0), MaxCount) }
