package wasmhost

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// deadline ends a guest's call that takes too long, or whose caller's context ends, by closing the guest's Done channel: the engine
// then stops the guest. A guest that was stopped is dead, so the channel is never opened again.
type deadline struct {
	limit time.Duration
	ctx   *guestCtx
	timer *time.Timer
	began atomic.Int64 // when the running call began, in nanoseconds of the monotonic clock

	// state is the number of the call, shifted, and its deadlineRunning or deadlineOver bit. Only a call that runs can be over.
	state atomic.Uint64
	unreg func() bool
}

const (
	deadlineRunning = 1
	deadlineOver    = 2
	deadlineNext    = 4
)

func newDeadline(ctx *guestCtx, limit time.Duration) *deadline {
	d := &deadline{limit: limit, ctx: ctx}
	d.timer = time.AfterFunc(time.Hour, func() {
		// A timer that fired for a call that has just ended must not end the next one.
		if monotonic()-d.began.Load() >= int64(limit) {
			d.expire(d.state.Load(), ErrDeadline)
		}
	})
	d.timer.Stop()
	return d
}

var processStart = time.Now()

// monotonic is the time since the process began, in nanoseconds.
func monotonic() int64 { return int64(time.Since(processStart)) }

// start begins an outermost call.
func (d *deadline) start(ctx context.Context) {
	if d.state.Load()&deadlineOver != 0 {
		return
	}
	d.began.Store(monotonic())
	state := d.state.Load() + deadlineNext + deadlineRunning
	d.state.Store(state)
	d.timer.Reset(d.limit)
	if ctx.Done() != nil {
		d.unreg = context.AfterFunc(ctx, func() { d.expire(state, context.Cause(ctx)) })
	}
}

// stop ends it, and says whether it ended in time.
func (d *deadline) stop() bool {
	d.timer.Stop()
	if d.unreg != nil {
		d.unreg()
		d.unreg = nil
	}
	state := d.state.Load()
	if state&deadlineRunning == 0 {
		return state&deadlineOver == 0
	}
	return d.state.CompareAndSwap(state, state&^deadlineRunning)
}

// expire ends the call that has the given state, if it still runs.
func (d *deadline) expire(state uint64, cause error) {
	if state&deadlineRunning == 0 || !d.state.CompareAndSwap(state, state&^deadlineRunning|deadlineOver) {
		return
	}
	d.ctx.expire(cause)
}

// expire ends the guest's context. The engine stops a guest only for the two errors of package context.
func (c *guestCtx) expire(cause error) {
	err := context.Canceled
	if errors.Is(cause, ErrDeadline) || errors.Is(cause, context.DeadlineExceeded) {
		err = context.DeadlineExceeded
	}
	c.ended.Store(&endedCtx{err: err, cause: cause})
	close(c.done)
}

// endedCtx is why a guest's context ended.
type endedCtx struct{ err, cause error }
