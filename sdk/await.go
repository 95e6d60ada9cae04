package sdk

import (
	"context"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// await runs a method of the handler that may wait. Where it waits, the message is held back, and goes on when the method
// has returned, in a later callback.
func (s *Stream) await(direction abi.StreamType, method func(ctx context.Context) Action) Action {
	t := s.vm.newTask(s.id, s.plugin, &s.tasks)
	action := Continue
	t.run = func() { action = s.attempt(&t.scope, method) }
	s.vm.start(t)
	if t.ended {
		return action
	}
	t.settle = func() { s.proceed(direction, action) }
	return hold
}

// attempt calls a method of the handler that may wait.
func (s *Stream) attempt(ctx context.Context, method func(ctx context.Context) Action) (action Action) {
	defer s.guard(&action)
	return s.outcome(method(ctx))
}

// proceed lets a message that was held back go on, unless it was answered.
func (s *Stream) proceed(direction abi.StreamType, action Action) {
	if s.gone || action != Continue {
		return
	}
	s.vm.enter(s.id)
	switch direction {
	case abi.RequestStream:
		s.request.headers.settle()
	case abi.ResponseStream:
		s.response.headers.settle()
		s.responded = true
	case abi.DownstreamStream:
		if !s.admit() {
			return
		}
	}
	if err := hostError(s.host.ContinueStream(direction), "continue stream", ""); err != nil {
		s.Log().Error(err.Error())
		s.reset()
	}
}
