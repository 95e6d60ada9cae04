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
	children []*scope
	after    []*func()
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
	after, children := s.after, s.children
	s.after, s.children = nil, nil
	for _, f := range after {
		(*f)()
	}
	for _, child := range children {
		child.cancel(err)
	}
	if !s.task.ended {
		s.task.vm.wake(s.task)
	}
}

// adopt makes child part of the scope that ctx holds.
func adopt(ctx context.Context, child *scope) {
	child.parent = ctx
	parent, ok := ctx.Value(scopeKey{}).(*scope)
	if !ok {
		return
	}
	if parent.err != nil {
		child.err = parent.err
		return
	}
	parent.children = append(parent.children, child)
}

// end cancels a scope that is over, and has its parent forget it.
func (s *scope) end() {
	s.cancel(context.Canceled)
	if s.parent == nil {
		return
	}
	parent, ok := s.parent.Value(scopeKey{}).(*scope)
	if !ok {
		return
	}
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
	child := &scope{task: t, deadline: now(t.vm.host).Add(d)}
	adopt(ctx, child)
	timer := t.plugin.timers().add(child.deadline, func() { child.cancel(context.DeadlineExceeded) })
	return child, func() {
		timer.Stop()
		child.end()
	}
}

// expire cancels the scope that set ctx's deadline, if that is where a callout's limit came from: the host says that the time is over,
// though its clock, which is some milliseconds apart from its timers, may not yet. What follows then has no time left either.
func expire(ctx context.Context, sent time.Time, limit uint32) {
	deadline, ok := ctx.Deadline()
	if !ok || deadline.After(sent.Add(time.Duration(limit)*time.Millisecond)) {
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
