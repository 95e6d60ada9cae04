package e2e

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// heldBack measures for how long the machine ran nothing of this process, and then most likely nothing of the others: a bound on what waft takes does not
// count that, up to a limit, for what held this process back may have been waft or etcd themselves. On a machine with cores to spare it is nothing.
type heldBack struct {
	mu    sync.Mutex
	total time.Duration
}

const (
	// heldTick is how often it is looked, and heldLeast what of a delay counts: less is how timers are.
	heldTick  = 10 * time.Millisecond
	heldLeast = 50 * time.Millisecond
	// heldMost is the most that is not counted of one time.
	heldMost = 2 * time.Second
)

// measureHeldBack measures until the test ends.
func measureHeldBack(t *testing.T) *heldBack {
	h := &heldBack{}
	go func() {
		for t.Context().Err() == nil {
			began := time.Now()
			time.Sleep(heldTick)
			if late := time.Since(began) - heldTick; late > heldLeast {
				h.mu.Lock()
				h.total += late
				h.mu.Unlock()
			}
		}
	}()
	return h
}

// taken is a time, and for how much of it the machine ran nothing of this process.
type taken struct{ raw, held time.Duration }

// counted is what of it a bound is for.
func (t taken) counted() time.Duration { return t.raw - min(t.held, heldMost) }

func (t taken) String() string {
	return fmt.Sprintf("%v (%v by the clock, with this process held back for %v)", t.counted().Round(time.Millisecond), t.raw.Round(time.Millisecond), t.held.Round(time.Millisecond))
}

// begin starts to take the time of something.
func (h *heldBack) begin() (took func() taken) {
	held := func() time.Duration {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.total
	}
	before, began := held(), time.Now()
	return func() taken { return taken{time.Since(began), held() - before} }
}

// However long this process was held back, no more than heldMost of that is left out.
func TestTakenIsCounted(t *testing.T) {
	for _, c := range []struct{ held, want time.Duration }{
		{0, 10 * time.Second}, {time.Second, 9 * time.Second}, {heldMost, 8 * time.Second}, {9 * time.Second, 8 * time.Second},
	} {
		if got := (taken{10 * time.Second, c.held}).counted(); got != c.want {
			t.Errorf("held back for %v of 10s, %v count", c.held, got)
		}
	}
}
