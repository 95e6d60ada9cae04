package sdktest

import (
	"slices"
	"time"

	"github.com/waft-project/waft/sdk/internal/abi"
)

func (h *host) SetTickPeriod(milliseconds uint32) abi.Status {
	h.tickPeriod = time.Duration(milliseconds) * time.Millisecond
	h.nextTick = h.now.Add(h.tickPeriod)
	return abi.OK
}

// Advance moves the host's clock. The filter's timers and the time limits of its callouts run out on the way, in order.
func (f *Filter) Advance(d time.Duration) {
	until := f.host.now.Add(d)
	f.pump()
	for f.step(until) {
	}
	f.host.now = until
}

// step goes to the next thing that the clock brings, if it comes until then, and reports whether there was one.
func (f *Filter) step(until time.Time) bool {
	h := f.host
	var next time.Time
	var late *callout
	if h.tickPeriod > 0 {
		next = h.nextTick
	}
	for _, c := range h.callouts {
		if next.IsZero() || c.deadline.Before(next) {
			next, late = c.deadline, c
		}
	}
	if next.IsZero() || next.After(until) {
		return false
	}
	if next.After(h.now) {
		h.now = next
	}
	if late != nil {
		f.respond(late, true)
	} else {
		h.nextTick = h.now.Add(h.tickPeriod)
		f.in(pluginID, func() { f.guest.Tick(pluginID) })
	}
	f.pump()
	return true
}

// maxWait is how far the clock goes for a stream that waits.
const maxWait = 24 * time.Hour

// wait runs callouts and the clock until a stream that is held back goes on or is answered.
func (x *exchange) wait() {
	s := x.stream
	until := x.host.now.Add(maxWait)
	for !s.continued && s.local == nil && !s.reset {
		if !x.pump() && !x.step(until) {
			x.t.Fatalf("the filter stopped the stream and neither answered nor reset it, nor waits for anything that comes within %v", maxWait)
		}
	}
}

// linger runs callouts, and the clock as far as they take time, for a connection whose data is held back. It may be held back for
// more of it, so nothing to wait for is no fault.
func (x *exchange) linger() {
	s := x.stream
	until := x.host.now.Add(maxWait)
	mine := func(c *callout) bool { return c.id == x.id }
	for !s.continued && !s.reset {
		if !x.pump() && (!slices.ContainsFunc(x.host.callouts, mine) || !x.step(until)) {
			return
		}
	}
}
