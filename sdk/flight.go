package sdk

import (
	"context"
	"errors"
	"slices"
)

// errFlightPanicked is what those get who wait for work that panicked.
var errFlightPanicked = errors.New("the work that others waited for as well panicked; see the log")

// Flights has requests that want the same thing at the same time wait for one piece of work: the same callout is made once, not
// once a request. The zero value is ready. It belongs to the VM that uses it, as a field of a configured filter does, and must not
// be copied.
type Flights[T any] struct{ under map[string]*flight[T] }

// flight is work under way.
type flight[T any] struct {
	value   T
	err     error
	over    bool
	waiting []*task
}

// Do gives what work gives for a key. If work for the key is under way already, it waits for that, and work is not called. The value is
// then the same for all, so nobody may change it. Nothing is remembered once the work is over.
//
// The work goes on when a request that waits for it ends: its context is the plugin's, as that of [Plugin.Go], not ctx, and it
// takes its time limits with it. Do itself ends early with ctx's error.
func (f *Flights[T]) Do(ctx context.Context, key string, work func(ctx context.Context) (T, error)) (T, error) {
	var none T
	t, err := running(ctx)
	if err != nil {
		return none, err
	}
	g := f.under[key]
	if g == nil {
		g = f.begin(t, key, work)
	}
	g.waiting = append(g.waiting, t)
	for !g.over {
		if err := t.may(ctx); err != nil {
			g.waiting = slices.DeleteFunc(g.waiting, func(o *task) bool { return o == t })
			return none, err
		}
		t.park(ctx)
	}
	return g.value, g.err
}

// begin has work done beside the request that wants it first.
func (f *Flights[T]) begin(t *task, key string, work func(ctx context.Context) (T, error)) *flight[T] {
	if f.under == nil {
		f.under = map[string]*flight[T]{}
	}
	g := &flight[T]{err: errFlightPanicked}
	f.under[key] = g
	t.plugin.Go(func(ctx context.Context) {
		defer func() {
			g.over = true
			delete(f.under, key)
			for _, waiting := range g.waiting {
				t.vm.wake(waiting)
			}
		}()
		g.value, g.err = work(ctx)
	})
	return g
}
