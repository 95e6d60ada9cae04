package sdk

import (
	"container/heap"
	"context"
	"time"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// The bounds of the host's tick period.
const (
	minTick = time.Millisecond
	maxTick = time.Hour
)

// clockwork is the timers of a plugin, as the callback of its ticks sees them. A plugin that waits for no time has none, and
// the module then does not ask the host for ticks.
type clockwork interface {
	tick(now time.Time)
	halt()
}

// timerHeap is timers over the one tick of a plugin: the period is the time to the next of them.
type timerHeap struct {
	plugin *Plugin
	timers []*timer
	// next is when the host ticks next, zero when it does not.
	next   time.Time
	period uint32
	// status is what the host said to the last period.
	status abi.Status
}

// timer calls a function once.
type timer struct {
	at    time.Time
	call  func()
	owner *timerHeap
	index int
}

// timers are the plugin's; the first use makes them.
func (p *Plugin) timers() *timerHeap {
	if p.clockwork == nil {
		p.clockwork = &timerHeap{plugin: p}
	}
	return p.clockwork.(*timerHeap)
}

// waitUntil has call called at a time. That it is in a module shows the build that a filter may act later than in its own callbacks.
//
//go:noinline
func (h *timerHeap) waitUntil(at time.Time, call func()) *timer {
	t := &timer{at: at, call: call, owner: h}
	heap.Push(h, t)
	if h.missed(at, h.plugin.vm.latest) {
		h.arm(h.plugin.vm.now())
	}
	return t
}

// beat is waitUntil for the sdk's own purposes, in which no code of the filter runs: the build does not look for it.
func (h *timerHeap) beat(now time.Time, d time.Duration, call func()) {
	t := &timer{at: now.Add(d), call: call, owner: h}
	heap.Push(h, t)
	if h.missed(t.at, now) {
		h.arm(now)
	}
}

// missed reports whether the host's next tick is too late for at. One that should have come already may be far off: the clock was set
// forward, or the machine slept, and the host's own timer did not see it.
func (h *timerHeap) missed(at, now time.Time) bool {
	return h.next.IsZero() || at.Before(h.next) || now.After(h.next)
}

// halt ends the host's ticks. Envoy goes on with those of a plugin that is gone for as long as the VM lives.
func (h *timerHeap) halt() {
	if h.period > 0 {
		h.next, h.period = time.Time{}, 0
		h.plugin.host.SetTickPeriod(0)
	}
}

// Stop makes the timer never call, if it did not yet.
func (t *timer) Stop() {
	if t.index >= 0 {
		heap.Remove(t.owner, t.index)
	}
}

// tick calls what is due.
func (h *timerHeap) tick(now time.Time) {
	for len(h.timers) > 0 && !h.timers[0].at.After(now) {
		heap.Pop(h).(*timer).call()
	}
	h.arm(now)
}

// arm sets the host's tick to the next timer. The host goes on ticking with a period until it gets another.
func (h *timerHeap) arm(now time.Time) {
	var period uint32
	h.next = time.Time{}
	if len(h.timers) > 0 {
		left := min(max(h.timers[0].at.Sub(now), minTick), maxTick)
		period = uint32((left + minTick - 1) / minTick)
		h.next = now.Add(time.Duration(period) * time.Millisecond)
	}
	if period == h.period && period == 0 {
		return
	}
	h.period = period
	if h.status = h.plugin.host.SetTickPeriod(period); h.status != abi.OK {
		h.next, h.period = time.Time{}, 0 // the next timer asks again
	}
}

// Len, Less, Swap, Push and Pop make a heap of the timers.
func (h *timerHeap) Len() int           { return len(h.timers) }
func (h *timerHeap) Less(i, j int) bool { return h.timers[i].at.Before(h.timers[j].at) }
func (h *timerHeap) Swap(i, j int) {
	h.timers[i], h.timers[j] = h.timers[j], h.timers[i]
	h.timers[i].index, h.timers[j].index = i, j
}

// Push is for package heap.
func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(h.timers)
	h.timers = append(h.timers, t)
}

// Pop is for package heap.
func (h *timerHeap) Pop() any {
	last := len(h.timers) - 1
	t := h.timers[last]
	h.timers[last] = nil
	h.timers = h.timers[:last]
	t.index = -1
	return t
}

// now is the host's clock, made to go on where the host's is set back: whoever waits must not wait for it to catch up.
func (v *vm) now() time.Time {
	v.wall = now(v.host)
	t := v.wall.Add(v.skew)
	if t.Before(v.latest) {
		v.skew += v.latest.Sub(t)
		t = v.latest
	}
	v.latest = t
	return t
}

// Tick is the callback proxy_on_tick.
func (v *vm) Tick(id uint32) {
	v.context = id
	if p := v.plugins[id]; p != nil && p.clockwork != nil {
		p.clockwork.tick(v.now())
	}
	v.drive()
}

// Sleep waits for a time, in whole milliseconds, at least one, by the host's clock. It ends early with ctx's error. The
// worker goes on with other streams meanwhile; time.Sleep would stop it.
func Sleep(ctx context.Context, d time.Duration) error {
	t, err := running(ctx)
	if err != nil {
		return err
	}
	if err := t.may(ctx); err != nil {
		return err
	}
	over := false
	timer := t.plugin.timers().waitUntil(t.vm.now().Add(d), func() { over = true; t.vm.wake(t) })
	defer timer.Stop()
	for !over {
		if err := t.may(ctx); err != nil {
			return err
		}
		t.park(ctx)
	}
	return nil
}

// nap waits for a tick of the clock on the sdk's own behalf.
func (t *task) nap() {
	over := false
	t.plugin.timers().beat(t.vm.now(), minTick, func() { over = true; t.vm.wake(t) })
	for !over && t.may(&t.scope) == nil {
		t.park(&t.scope)
	}
}

// Every calls f each time d has passed, at least a millisecond, until the host drops the configuration. f may wait; the next
// wait of d begins when it has returned. See [Plugin.Go] for its context and for panics, which do not end the timer.
func (p *Plugin) Every(d time.Duration, f func(ctx context.Context)) {
	p.Go(func(ctx context.Context) {
		for Sleep(ctx, d) == nil {
			p.guarded(ctx, f)
		}
	})
}

// After calls f once after d, unless the host drops the configuration before; see [Plugin.Go].
func (p *Plugin) After(d time.Duration, f func(ctx context.Context)) {
	p.Go(func(ctx context.Context) {
		if Sleep(ctx, d) == nil {
			f(ctx)
		}
	})
}

// guarded calls f and reports its panic.
func (p *Plugin) guarded(ctx context.Context, f func(ctx context.Context)) {
	defer func() {
		if reason := recover(); reason != nil {
			p.report(reason)
		}
	}()
	f(ctx)
}
