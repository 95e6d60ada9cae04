package sdk

import (
	"runtime"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// failureStatus and failureDetails are the answer to a request whose handler failed.
const (
	failureStatus  = 500
	failureDetails = "waft_filter_failed"
)

// guard is deferred around a handler's method: a panic becomes the failure policy's answer for this stream.
func (s *Stream) guard(action *Action) {
	if reason := recover(); reason != nil {
		*action = s.broken(reason)
	}
}

// broken is the answer where a handler's method ended by a panic.
func (s *Stream) broken(reason any) Action {
	s.report(reason)
	if t := s.vm.running; s.state == streamAnswered || t != nil && t.abandoned() && !s.gone {
		return stop
	}
	return s.fail()
}

// panicked is what is left to do of a callback about headers whose handler ended by a panic.
func (s *Stream) panicked(reason any, answer *abi.Action) {
	*answer = wireHeaders(s.broken(reason))
	s.vm.drive()
}

// guardDone is [Stream.guard] where there is nothing left to answer.
func (s *Stream) guardDone() {
	if reason := recover(); reason != nil {
		s.report(reason)
	}
}

// maxStack is the most bytes of a stack in the log.
const maxStack = 16 << 10

// stack is the stack of this goroutine, cut at maxStack.
func stack() []byte {
	buffer := make([]byte, maxStack)
	return buffer[:runtime.Stack(buffer, false)]
}

// report logs a panic with its stack, and counts it.
func (s *Stream) report(reason any) { s.plugin.report(reason) }

// report logs a panic with its stack, and counts it.
func (p *Plugin) report(reason any) {
	p.Log().Error("panic in filter " + p.name + ": " + describe(reason) + "\n" + string(stack()))
	if panics, err := p.Counter(panicsMetric + p.name); err == nil {
		panics.Inc()
	}
}

// fail is the failure policy's answer.
func (s *Stream) fail() Action {
	s.state = streamFailed
	if s.gone {
		return stop
	}
	if s.failsOpen() {
		return Continue
	}
	if s.network {
		s.reset()
		return stop
	}
	if err := s.answer(Reply{Status: failureStatus, Details: failureDetails}); err != nil {
		s.Log().Error(err.Error())
		s.reset()
	}
	return stop
}

// failsOpen reports whether a stream that failed passes. One without a plugin never does.
func (s *Stream) failsOpen() bool { return s.plugin != nil && s.plugin.policy == FailOpen }

// settled answers an event of a stream that is not open, so that it no longer goes to its handler.
func (s *Stream) settled(request bool) Action {
	switch s.state {
	case streamRefused:
		return s.fail()
	case streamFailed:
		if s.failsOpen() {
			return Continue
		}
	}
	// Answered from here: nothing more of the request passes, and the answer goes downstream as it is.
	if request {
		return stop
	}
	return Continue
}

// outcome is what a handler's answer comes to. A stream that it answered itself stops, also where the handler forgot to say
// so, and any other goes on.
func (s *Stream) outcome(Action) Action {
	if s.state == streamOpen {
		return Continue
	}
	return stop
}

// wireHeaders, wireBody and wireTrailers are an Action in the words of each kind of callback.
func wireHeaders(a Action) abi.Action {
	if a == hold {
		return abi.PauseAll
	}
	return abi.Action(a)
}

func wireBody(a Action) abi.Action {
	if a == stop {
		return abi.PauseNoBuffer
	}
	return abi.Action(a)
}

func wireTrailers(a Action) abi.Action {
	if a == stop {
		return abi.Pause
	}
	return abi.Action(a)
}
