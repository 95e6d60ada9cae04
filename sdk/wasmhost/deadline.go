package wasmhost

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero/api"
)

// deadline ends a guest's call that takes too long, or whose caller's context ends, by setting the guest's interrupt (interrupt.go). A guest
// that was stopped is dead, so the interrupt is never taken back.
type deadline struct {
	limit     time.Duration
	interrupt api.MutableGlobal
	ended     atomic.Pointer[error] // why the guest was stopped

	// No call looks at the clock, nor sets the timer: that fires once in a while, looks whether the call that it saw first is still running,
	// and goes on or off. So a call is stopped a little after its limit: by up to two looks.
	timer *time.Timer
	armed atomic.Bool
	seen  uint64    // the state that the timer saw last
	since time.Time // when it saw it first

	// state is the number of the call, shifted, and its deadlineRunning or deadlineOver bit. Only a call that runs can be over.
	state atomic.Uint64

	// The context of the last call stays watched until one with another comes.
	watched    <-chan struct{}
	unwatch    func() bool
	generation atomic.Uint64 // of the watched context; set before the state of its first call
}

const (
	deadlineRunning = 1
	deadlineOver    = 2
	deadlineNext    = 4

	// deadlineLooks is how often the timer fires within the limit.
	deadlineLooks = 8
)

func newDeadline(limit time.Duration) *deadline {
	d := &deadline{limit: limit}
	d.timer = time.AfterFunc(time.Hour, d.look)
	d.timer.Stop()
	return d
}

// look ends the running call if it is over its limit.
func (d *deadline) look() {
	state := d.state.Load()
	switch {
	case state&deadlineOver != 0:
		return
	case state&deadlineRunning == 0:
		d.armed.Store(false)
		if d.state.Load()&deadlineRunning == 0 || !d.armed.CompareAndSwap(false, true) {
			return // the next call sets the timer
		}
		// A call began meanwhile, and saw the timer set.
	case state != d.seen:
		d.seen, d.since = state, time.Now()
	case time.Since(d.since) >= d.limit && d.expire(state, ErrDeadline):
		return
	}
	d.timer.Reset(d.limit / deadlineLooks)
}

// start begins an outermost call. It is false if the context has ended already, or if the guest was stopped before.
func (d *deadline) start(ctx context.Context) bool {
	if d.state.Load()&deadlineOver != 0 {
		return false
	}
	if done := ctx.Done(); done != d.watched {
		d.watch(ctx, done)
	}
	state := d.state.Load() + deadlineNext + deadlineRunning
	d.state.Store(state)
	if !d.armed.Load() && d.armed.CompareAndSwap(false, true) {
		d.timer.Reset(d.limit / deadlineLooks)
	}
	if ctx.Err() != nil {
		d.expire(state, context.Cause(ctx))
		return false
	}
	return true
}

// watch has the end of a context end the call that runs then.
func (d *deadline) watch(ctx context.Context, done <-chan struct{}) {
	if d.unwatch != nil {
		d.unwatch()
		d.unwatch = nil
	}
	d.watched = done
	generation := d.generation.Add(1)
	if done == nil {
		return
	}
	d.unwatch = context.AfterFunc(ctx, func() {
		// A call of another context changes the generation first and the state then: this state is not one of such a call.
		if state := d.state.Load(); d.generation.Load() == generation {
			d.expire(state, context.Cause(ctx))
		}
	})
}

// stop ends the call, and says whether it ended in time.
func (d *deadline) stop() bool {
	state := d.state.Load()
	if state&deadlineRunning == 0 {
		return state&deadlineOver == 0
	}
	return d.state.CompareAndSwap(state, state&^deadlineRunning)
}

// close lets go of timer and context.
func (d *deadline) close() {
	d.stop()
	d.timer.Stop()
	if d.unwatch != nil {
		d.unwatch()
		d.unwatch = nil
	}
}

// expire ends the call that has the given state, if it still runs.
func (d *deadline) expire(state uint64, cause error) bool {
	if state&deadlineRunning == 0 || !d.state.CompareAndSwap(state, state&^deadlineRunning|deadlineOver) {
		return false
	}
	d.ended.Store(&cause)
	d.interrupt.Set(1)
	return true
}
