package e2e

import (
	"sync"
	"testing"
	"time"
)

// heldBack measures for how long the machine ran nothing of this process, and then most likely nothing of the others: a bound on what waft takes does not
// count that. It is what a machine does that many share; on one with cores to spare it is nothing.
type heldBack struct {
	mu    sync.Mutex
	total time.Duration
}

const (
	// heldTick is how often it is looked, and heldLeast what of a delay counts: less is how timers are.
	heldTick  = 10 * time.Millisecond
	heldLeast = 50 * time.Millisecond
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

// begin starts to take the time of something.
func (h *heldBack) begin() (took func() time.Duration) {
	held := func() time.Duration {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.total
	}
	before, began := held(), time.Now()
	return func() time.Duration { return time.Since(began) - (held() - before) }
}
