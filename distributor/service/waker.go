package service

import (
	"sync"
	"time"
)

// waker wakes one loop at the earliest of the times asked for. Any number of requests before that time are one wake.
type waker struct {
	mu   sync.Mutex
	due  time.Time // zero: not asked for
	rest time.Time // before it no wake comes; zero: it comes when it is due
	poke chan struct{}
}

func newWaker() *waker { return &waker{poke: make(chan struct{}, 1)} }

// wake asks for a wake after delay at the latest.
func (w *waker) wake(delay time.Duration) {
	due := time.Now().Add(delay)
	w.mu.Lock()
	earlier := w.due.IsZero() || due.Before(w.due)
	if earlier {
		w.due = due
	}
	w.mu.Unlock()
	if earlier {
		select {
		case w.poke <- struct{}{}:
		default:
		}
	}
}

// restFor puts off every wake for a time: the loop has just worked, and what is asked for meanwhile can be done together.
func (w *waker) restFor(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = time.Now().Add(d)
}

// take says whether the time has come, and forgets the request if so; else how long it is until then, or -1 when no wake
// was asked for.
func (w *waker) take() (bool, time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.due.IsZero() {
		return false, -1
	}
	if left := max(time.Until(w.due), time.Until(w.rest)); left > 0 {
		return false, left
	}
	w.due, w.rest = time.Time{}, time.Time{}
	return true, 0
}

// arm sets a stopped or drained timer for what take said, and returns the channel to wait on: nil for "never".
func arm(timer *time.Timer, left time.Duration) <-chan time.Time {
	timer.Stop()
	if left < 0 {
		return nil
	}
	timer.Reset(left)
	return timer.C
}
