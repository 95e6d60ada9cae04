package chaos

import (
	"slices"
	"time"
)

// reign is a time in which the distributor's clock was so far ahead of the machine's.
type reign struct {
	from, until time.Time
	ahead       time.Duration
}

// reigns are those of a history, in the order of time.
func reigns(h *History) []reign {
	// The first reign begins before anything can have been told, and not so long before that a clock that is set back tells its times again.
	out := []reign{{from: h.Begun.Add(-runLimit)}}
	faults := slices.Clone(h.Faults)
	slices.SortStableFunc(faults, func(a, b Injected) int { return a.At.Compare(b.At) })
	for _, f := range faults {
		if f.Kind == Jump && f.Part == Distributor && !f.Void {
			out[len(out)-1].until = f.Until
			out = append(out, reign{from: f.At, ahead: f.Ahead})
		}
	}
	return out
}

// straighten gives a moment by the machine's clock that the distributor told by its own. The clocks of a schedule never tell one time twice (Draw), so
// there is one reign that it fits. One that fits none is left as it is.
func straighten(reigns []reign, t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	for _, r := range reigns {
		if real := t.Add(-r.ahead); !real.Before(r.from) && (r.until.IsZero() || !real.After(r.until)) {
			return real
		}
	}
	return t
}

// straight is a rollout whose times are of the machine's clock.
func straight(reigns []reign, r Rollout) Rollout {
	r.StartedAt, r.EndedAt = straighten(reigns, r.StartedAt), straighten(reigns, r.EndedAt)
	r.Waves = slices.Clone(r.Waves)
	for i := range r.Waves {
		w := &r.Waves[i]
		w.StartedAt, w.EndedAt = straighten(reigns, w.StartedAt), straighten(reigns, w.EndedAt)
	}
	return r
}

// straightened is a history in which all times that rules read are of the machine's clock. Lines of rollouts keep theirs, since they are compared with
// those of answers.
func straightened(h *History) *History {
	reigns := reigns(h)
	if len(reigns) == 1 {
		return h
	}
	out := *h
	out.Final.Rollouts = slices.Clone(h.Final.Rollouts)
	for i, r := range out.Final.Rollouts {
		out.Final.Rollouts[i] = straight(reigns, r)
	}
	return &out
}
