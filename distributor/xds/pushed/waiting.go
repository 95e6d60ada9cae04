package pushed

import "time"

// When requests that wait for their answer count as stuck: when no fewer have waited in any of so many flushes, over so long.
const (
	patienceFlushes = 5
	patienceTime    = 5 * time.Second
)

// waiting is how many requests had begun and not completed, in the latest flushes. One cannot be told from another, and flushes are rare: on a busy node
// there are always some. So those are stuck that are more, in each of the latest flushes, than there were in any when the chain began. The zero value has
// seen none.
type waiting struct {
	seen []wait
}

type wait struct {
	at       time.Time
	requests int64
}

func (w *waiting) see(now time.Time, requests int64) {
	if n := len(w.seen); n > 0 && now.Sub(w.seen[n-1].at) < waitsApart {
		w.seen[n-1].requests = min(w.seen[n-1].requests, requests)
		return
	}
	w.seen = append(w.seen, wait{now, requests})
	for len(w.seen) > patienceFlushes && now.Sub(w.seen[1].at) >= patienceTime {
		w.seen = w.seen[1:]
	}
}

// waitsApart bounds how many flushes are remembered, where Envoy flushes more often than is of use.
const waitsApart = patienceTime / 32

// lowest is how many have waited all the time; false: that was not long enough to tell.
func (w *waiting) lowest() (int64, bool) {
	if n := len(w.seen); n < patienceFlushes || w.seen[n-1].at.Sub(w.seen[0].at) < patienceTime {
		return 0, false
	}
	lowest := w.seen[0].requests
	for _, one := range w.seen {
		lowest = min(lowest, one.requests)
	}
	return lowest, true
}

// highest is how many there were at most.
func (w *waiting) highest() int64 {
	var highest int64
	for _, one := range w.seen {
		highest = max(highest, one.requests)
	}
	return highest
}
