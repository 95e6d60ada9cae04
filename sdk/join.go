package sdk

import (
	"context"
	"errors"
)

// All runs calls at once and waits for all of them. Each gets a context of its own, which is cancelled with ctx. Its error
// joins theirs; it is nil when none failed. A panic in one of them is the caller's, when all have ended.
func All(ctx context.Context, calls ...func(ctx context.Context) error) error {
	t, err := running(ctx)
	if err != nil {
		return err
	}
	errs := make([]error, len(calls))
	g := group{parent: t}
	for i, call := range calls {
		g.run(ctx, func(ctx context.Context) { errs[i] = call(ctx) })
	}
	g.wait(func() bool { return false })
	return errors.Join(errs...)
}

// First runs calls at once and gives what the first that succeeds returned. The others are cancelled, and have ended when it
// returns. When all fail, its error joins theirs. See [All] for contexts and panics.
func First[T any](ctx context.Context, calls ...func(ctx context.Context) (T, error)) (T, error) {
	var first T
	t, err := running(ctx)
	if err != nil {
		return first, err
	}
	errs := make([]error, len(calls))
	won := false
	g := group{parent: t}
	for i, call := range calls {
		g.run(ctx, func(ctx context.Context) {
			value, err := call(ctx)
			if err == nil && !won {
				first, won = value, true
			}
			errs[i] = err
		})
	}
	g.wait(func() bool { return won })
	if won {
		return first, nil
	}
	return first, errors.Join(errs...)
}

// group is tasks that one task waits for.
type group struct {
	parent *task
	tasks  []*task
	left   int
	panic  *taskPanic
}

func (g *group) run(ctx context.Context, f func(ctx context.Context)) {
	v := g.parent.vm
	t := v.newTask(g.parent.id, g.parent.plugin, g.parent.owner)
	t.root = g.parent.root
	adopt(ctx, &t.scope)
	t.run = func() {
		defer func() {
			if reason := recover(); reason != nil && g.panic == nil {
				g.panic = &taskPanic{reason, stack()}
			}
			g.left--
			v.wake(g.parent)
		}()
		f(&t.scope)
	}
	g.left++
	g.tasks = append(g.tasks, t)
	v.enqueue(t)
}

// wait waits for all tasks, of which the others are cancelled as soon as over says so.
func (g *group) wait(over func() bool) {
	for cancelled := false; g.left > 0; {
		if !cancelled && (over() || g.panic != nil) {
			cancelled = true
			for _, t := range g.tasks {
				t.scope.cancel(context.Canceled)
			}
		}
		g.parent.pause()
	}
	if g.panic != nil {
		panic(*g.panic)
	}
}
