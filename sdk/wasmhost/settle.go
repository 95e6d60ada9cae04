package wasmhost

import (
	"context"
	"fmt"
)

// Settle lets happen what the filter waits for: callouts and gRPC calls are answered from the Proxy's clusters, queues are run. It returns
// when enough says so, which nil never does, or when nothing more happens. A VirtualClock moves forward as in Plugin.Exchange; a real one
// nobody waits for. The error is the guest's crash, ErrTooLarge, or the end of ctx.
func (v *VM) Settle(ctx context.Context, enough func() bool) error {
	_, err := v.settle(ctx, enough)
	return err
}

// settle answers callouts and runs events until enough says so, or nothing more happens. A VirtualClock moves to what is due next.
func (v *VM) settle(ctx context.Context, enough func() bool) (bool, error) {
	_, virtual := v.proxy.Clock.(*VirtualClock)
	idle := v.proxy.now().Add(StreamIdleTimeout)
	for range maxCallbackRounds {
		if enough != nil && enough() {
			return true, nil
		}
		ran := v.RunEvents(ctx)
		answered, err := v.AnswerCallouts(ctx)
		if err != nil {
			return false, err
		}
		if err := ctx.Err(); err != nil {
			return false, fmt.Errorf("settle: %w", context.Cause(ctx))
		}
		if ran || answered {
			idle = v.proxy.now().Add(StreamIdleTimeout)
			continue
		}
		if !virtual {
			return enough == nil || enough(), nil
		}
		waits := v.next(func(a *appointment) bool { return !a.tick })
		first := v.next(nil)
		if first == nil || waits == nil && (enough == nil || first.at.After(idle)) {
			return enough == nil || enough(), nil
		}
		v.keep(ctx, first)
		if err := v.in.err(); err != nil {
			return false, err
		}
		if !first.tick {
			idle = v.proxy.now().Add(StreamIdleTimeout)
		}
	}
	return false, fmt.Errorf("settle: the filter made callouts or events for %d rounds: %w", maxCallbackRounds, ErrTooLarge)
}
