package main

import "time"

// sweepEvery is the least time between two searches for signatures that are too old to be remembered.
const sweepEvery = time.Second

// replays remembers signatures that were used, until they are too old to be used again. It holds a bounded number of them, and
// forgets none early: a signature that could be forgotten could be used again. It is not safe for concurrent use.
type replays struct {
	most  int
	until map[mac]time.Time
	swept time.Time
}

func newReplays(most int) *replays { return &replays{most: most, until: map[mac]time.Time{}} }

// use says whether a signature is used for the first time, and remembers it. Signatures are unique to key and request, and
// nobody can make one without the key, so only clients that are known fill the memory.
func (r *replays) use(s *signed, now time.Time) reason {
	if r.most == 0 {
		return ""
	}
	if until, ok := r.until[s.mac]; ok && now.Before(until) {
		return reasonReplay
	}
	if len(r.until) >= r.most {
		r.sweep(now)
		if len(r.until) >= r.most {
			return reasonFull
		}
	}
	r.until[s.mac] = s.until
	return ""
}

// sweep forgets the signatures that are too old.
func (r *replays) sweep(now time.Time) {
	if now.Sub(r.swept) < sweepEvery {
		return
	}
	r.swept = now
	for m, until := range r.until {
		if !now.Before(until) {
			delete(r.until, m)
		}
	}
}
