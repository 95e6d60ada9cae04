package wasmhost

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// appointment is something that a VM does at a time: a tick, the answer to a callout, a time-out. Timers of Envoy's event loop.
type appointment struct {
	at   time.Time
	seq  uint64 // orders what falls due at the same time
	tick bool   // it comes again and again, so that waiting for the last one has no end
	run  func(ctx context.Context)
}

// at makes an appointment.
func (v *VM) at(when time.Time, run func(ctx context.Context)) *appointment {
	a := &appointment{at: when, seq: v.proxy.seq.Add(1), run: run}
	v.agenda = append(v.agenda, a)
	return a
}

// cancel strikes appointments out. nil ones are passed over.
func (v *VM) cancel(gone ...*appointment) {
	v.agenda = slices.DeleteFunc(v.agenda, func(a *appointment) bool { return slices.Contains(gone, a) })
}

// before orders appointments.
func (a *appointment) before(b *appointment) bool {
	if b == nil {
		return true
	}
	if c := a.at.Compare(b.at); c != 0 {
		return c < 0
	}
	return a.seq < b.seq
}

// next is the VM's first appointment, of those that want accepts; nil if there is none.
func (v *VM) next(want func(*appointment) bool) *appointment {
	var first *appointment
	for _, a := range v.agenda {
		if (want == nil || want(a)) && a.before(first) {
			first = a
		}
	}
	return first
}

// keep runs an appointment. A VirtualClock that stands before its time moves there.
func (v *VM) keep(ctx context.Context, a *appointment) {
	v.cancel(a)
	if c, ok := v.proxy.Clock.(*VirtualClock); ok && c.Now().Before(a.at) {
		c.Set(a.at)
	}
	a.run(ctx)
}

// ErrRealClock says that time cannot be moved, because the Proxy's Clock is not a *VirtualClock.
var ErrRealClock = errors.New("the proxy has no virtual clock")

// Advance moves the Proxy's VirtualClock forward by d, and has all VMs of the Proxy do what falls due meanwhile, in the order of time:
// ticks, answers of scripted servers, time-outs of callouts. Nobody else may use those VMs at the same time. It ends early, with the
// clock at what failed, if a guest crashes or ctx ends. Errors: ErrRealClock, ErrTooLarge if there is no end to what falls due, a
// *TrapError, or the context's.
func (p *Proxy) Advance(ctx context.Context, d time.Duration) error {
	clock, ok := p.Clock.(*VirtualClock)
	if !ok {
		return fmt.Errorf("advance: %w: set Proxy.Clock", ErrRealClock)
	}
	until := clock.Now().Add(d)
	for range maxCallbackRounds * maxCallbackRounds {
		if ctx.Err() != nil {
			return fmt.Errorf("advance: %w", context.Cause(ctx))
		}
		var vm *VM
		var first *appointment
		for _, v := range p.running() {
			v.RunEvents(ctx)
			if err := v.serve(ctx); err != nil {
				return err
			}
			if a := v.next(func(a *appointment) bool { return !a.at.After(until) }); a != nil && a.before(first) {
				vm, first = v, a
			}
		}
		if first == nil {
			clock.Set(until)
			return nil
		}
		failed := vm.in.failure
		vm.keep(ctx, first)
		if vm.in.failure != failed && vm.in.failure != nil {
			return vm.in.failure
		}
	}
	return fmt.Errorf("advance: more than %d events in %s: %w", maxCallbackRounds*maxCallbackRounds, d, ErrTooLarge)
}

// running lists the Proxy's VMs.
func (p *Proxy) running() []*VM {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.vms)
}

// setTickPeriod starts, restarts or stops the ticks of a plugin's context (Envoy: Wasm::setTimerPeriod).
func (root *guestContext) setTickPeriod(period time.Duration) {
	v := root.in.vm
	v.cancel(root.ticker)
	root.tickPeriod, root.ticker = period, nil
	if period > 0 {
		root.ticker = v.at(v.proxy.now().Add(period), root.ticked)
		root.ticker.tick = true
	}
}

// ticked runs proxy_on_tick, and sets the timer again.
func (root *guestContext) ticked(ctx context.Context) {
	in := root.in
	if in.fn.tick == nil {
		return
	}
	if in.failure == nil {
		in.callback(ctx, root, "proxy_on_tick", in.fn.tick, uint64(root.id))
	}
	root.setTickPeriod(root.tickPeriod)
}
