package sdk

import (
	"context"
	"time"
)

// scopeKey is the key under which a context gives its scope.
type scopeKey struct{}

// scope is the context of a task, or of a part of it. It needs no goroutine and no timer of the Go runtime, which a module
// on Envoy before 1.39 must not have: it is cancelled by callbacks, and its deadline comes from the host.
type scope struct {
	parent   context.Context
	task     *task
	deadline time.Time
	err      error
	done     chan struct{}
	// holder is the scope that has this one among its children, nil when none has.
	holder   *scope
	children []*scope
	after    []*func()
	// timer ends the scope at its deadline.
	timer *timer
	// looked: the parent may be cancelled without a call of cancel.
	looked bool
}

var _ context.Context = (*scope)(nil)

// Deadline is the earlier of this scope's and its parent's.
func (s *scope) Deadline() (deadline time.Time, ok bool) {
	if s.parent != nil {
		deadline, ok = s.parent.Deadline()
	}
	if !s.deadline.IsZero() && (!ok || s.deadline.Before(deadline)) {
		return s.deadline, true
	}
	return deadline, ok
}

// Done is closed when the scope is cancelled. Waiting for it by hand would stop the whole VM.
func (s *scope) Done() <-chan struct{} {
	if s.done == nil {
		s.done = make(chan struct{})
		if s.err != nil {
			close(s.done)
		}
	}
	return s.done
}

// Err is why the scope, or its parent, was cancelled.
func (s *scope) Err() error {
	if s.err == nil && s.parent != nil {
		return s.parent.Err()
	}
	return s.err
}

// Value finds the scope itself, and whatever the parent holds.
func (s *scope) Value(key any) any {
	if _, ok := key.(scopeKey); ok {
		return s
	}
	if s.parent != nil {
		return s.parent.Value(key)
	}
	return nil
}

// AfterFunc has contexts that package context derives from this one cancelled with it, without a goroutine.
func (s *scope) AfterFunc(f func()) (stop func() bool) {
	if s.err != nil {
		f()
		return func() bool { return false }
	}
	entry := &f
	s.after = append(s.after, entry)
	return func() bool {
		for i := range s.after {
			if s.after[i] == entry {
				s.after = append(s.after[:i], s.after[i+1:]...)
				return true
			}
		}
		return false
	}
}

// cancel ends the scope and those below it, and wakes their tasks, which see it when they look at their context.
func (s *scope) cancel(err error) {
	if s.err != nil {
		return
	}
	s.err = err
	if s.done != nil {
		close(s.done)
	}
	if s.timer != nil {
		s.timer.Stop()
	}
	after, children := s.after, s.children
	s.after, s.children = nil, nil
	for _, f := range after {
		(*f)()
	}
	for _, child := range children {
		child.holder = nil
		child.cancel(err)
	}
	s.detach()
	if !s.task.ended {
		s.task.vm.wake(s.task)
	}
}

// adopt makes child part of the scope that ctx holds, so that it is cancelled with it.
func adopt(ctx context.Context, child *scope) {
	child.parent, child.err = ctx, ctx.Err()
	parent, direct := holding(ctx)
	child.looked = !wakes(ctx)
	if parent == nil || child.err != nil || !direct && ctx.Done() == nil {
		return
	}
	child.holder = parent
	parent.children = append(parent.children, child)
}

// holding is the scope that ctx is or comes from; direct says that it is.
func holding(ctx context.Context) (s *scope, direct bool) {
	if s, ok := ctx.(*scope); ok {
		return s, true
	}
	s, _ = ctx.Value(scopeKey{}).(*scope)
	return s, false
}

// wakes reports whether the end of ctx wakes the tasks that wait under it. That of a scope does; a context of the standard
// library is cancelled by its own function too, unless it only adds a value.
func wakes(ctx context.Context) bool {
	s, direct := holding(ctx)
	if s == nil || direct {
		return s == nil || !s.looked
	}
	done := ctx.Done()
	return done == nil || done == s.Done() && !s.looked
}

// end cancels a scope that is over.
func (s *scope) end() { s.cancel(context.Canceled) }

// detach has the parent forget a scope that is over.
func (s *scope) detach() {
	parent := s.holder
	if parent == nil {
		return
	}
	s.holder = nil
	for i := range parent.children {
		if parent.children[i] == s {
			parent.children = append(parent.children[:i], parent.children[i+1:]...)
			return
		}
	}
}

// WithTimeout is a context that is cancelled after d, by the host's clock, and with its parent. ctx is the one that a handler
// or [Plugin.Go] was given, or comes from it. Every wait under it ends by then: callouts carry what is left of the time as
// their own limit in Envoy, so that it holds whatever becomes of this VM. cancel must be called, as with
// [context.WithTimeout], which needs timers of the Go runtime and should not be used in a filter.
func WithTimeout(ctx context.Context, d time.Duration) (_ context.Context, cancel context.CancelFunc) {
	t, err := running(ctx)
	if err != nil {
		return context.WithTimeout(ctx, d)
	}
	child := &scope{task: t, deadline: t.vm.now().Add(d)}
	adopt(ctx, child)
	switch {
	case child.err != nil:
	case d <= 0:
		child.cancel(context.DeadlineExceeded)
	default:
		child.timer = t.plugin.timers().waitUntil(child.deadline, func() { child.cancel(context.DeadlineExceeded) })
	}
	return child, child.end
}

// expire cancels the scope that set ctx's deadline, if that is where the limit of a callout came from whose time is over: the host says
// so, though its clock, which is some milliseconds apart from its timers, may not yet. What follows then has no time left either.
func expire(ctx context.Context, limit timeLimit) {
	deadline, ok := ctx.Deadline()
	if !ok || !limit.shared {
		return
	}
	for ctx != nil {
		s, ok := ctx.Value(scopeKey{}).(*scope)
		if !ok {
			return
		}
		if s.deadline.Equal(deadline) {
			s.cancel(context.DeadlineExceeded)
			return
		}
		ctx = s.parent
	}
}
