package sdk

import (
	"context"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// await runs a method of the handler that may wait. Where it waits, the message is held back, and goes on when the method
// has returned, in a later callback.
func (s *Stream) await(direction abi.StreamType, handle func(t *task) Action) Action {
	action, _ := s.attend(direction, handle)
	return action
}

// attend is [Stream.await], and gives the task where it waits.
func (s *Stream) attend(direction abi.StreamType, handle func(t *task) Action) (Action, *task) {
	t := s.vm.newTask(s.id, s.plugin, &s.tasks)
	t.stream, t.direction, t.handle = s, direction, handle
	s.vm.start(t)
	if t.ended {
		return t.action, nil
	}
	t.held = true
	return hold, t
}

// overtake gives up the handler of the request's headers where it still waits when the response comes. The request did not go
// upstream, so another filter answered it, or Envoy, whose limits of time hold for requests that wait too. That answer passes.
func (s *Stream) overtake() {
	t := s.waiting
	if t == nil {
		return
	}
	s.waiting = nil
	if !t.ended {
		t.scope.cancel(context.Canceled)
		s.vm.interlude()
	}
}

// attempt calls a method of the handler that may wait.
func (t *task) attempt() {
	defer t.stream.guard(&t.action)
	t.action = t.stream.outcome(t.handle(t))
	if t.abandoned() {
		t.action = stop
	}
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
		s.resumedRequest = true
	case abi.ResponseStream:
		s.response.headers.settle()
		s.responded, s.resumedResponse = true, true
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

// linger lets go of a body that was held until its trailers came. Where the message had waited at its headers before, Envoy (1.36
// to 1.40) plays back what it kept meanwhile, in one go, and loses the body if the trailers then do not wait as well: they
// wait for a tick of the clock.
func (s *Stream) linger(direction abi.StreamType, action Action) Action {
	resumed := s.resumedRequest
	if direction == abi.ResponseStream {
		resumed = s.resumedResponse
	}
	if action != Continue || !resumed {
		return action
	}
	return s.await(direction, func(t *task) Action {
		t.nap() // the end of the stream ends it, too, and nothing more is needed then
		return Continue
	})
}
