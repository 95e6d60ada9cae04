package sdk

import (
	"context"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// inflow is what the client of a connection sent and the host holds for a handler that may wait. The zero value: nothing.
type inflow struct {
	// let is how many bytes at its beginning the handler has let go. They stay there before those that it has not: a host lets go all
	// that it holds, or nothing.
	let int
	// waits: the handler has not returned. came, end: there is more than it was given, and it is the last.
	waits, came, end bool
}

// awaitData gives a handler that may wait what the host holds and the handler has not let go.
func (s *Stream) awaitData(h AwaitingDownstreamDataHandler, size int, end bool) Action {
	if s.inflow.waits {
		s.inflow.came, s.inflow.end = true, end
		return hold
	}
	t, action := s.dataTask(h, size, end)
	s.vm.start(t)
	if !t.ended {
		t.settle = func() { s.dataTaken(h, *action) }
		return hold
	}
	s.inflow.waits = false
	if *action == Continue {
		s.inflow.let = 0
	}
	return *action
}

// dataTask makes the task of a call of the handler, and the place of its outcome.
func (s *Stream) dataTask(h AwaitingDownstreamDataHandler, size int, end bool) (*task, *Action) {
	data := s.request.chunk(abi.DownstreamData, size-s.inflow.let, end)
	data.from, data.shared = s.inflow.let, true
	t := s.vm.newTask(s.id, s.plugin, &s.tasks)
	action := stop
	s.inflow.waits = true
	t.run = func() { action = s.takeData(&t.scope, h, data) }
	return t, &action
}

// takeData calls the handler.
func (s *Stream) takeData(ctx context.Context, h AwaitingDownstreamDataHandler, data *Body) (action Action) {
	defer s.guard(&action)
	action = s.passed(h.OnDownstreamData(ctx, &s.connection, data))
	if s.vm.running.abandoned() {
		return stop
	}
	return action
}

// dataTaken goes on after a handler that had waited: with what came meanwhile, if anything did, and else by letting all go.
func (s *Stream) dataTaken(h AwaitingDownstreamDataHandler, action Action) {
	f := &s.inflow
	f.waits = false
	if s.gone || action != Continue && action != hold {
		return
	}
	s.vm.enter(s.id)
	if f.came && s.state == streamOpen {
		f.came = false
		if action == Continue {
			f.let += s.request.body.size
		}
		if size, ok := s.heldData(); ok {
			t, action := s.dataTask(h, size, f.end)
			t.waited = true // what it comes to is told to the host, not returned to it
			t.settle = func() { s.dataTaken(h, *action) }
			s.vm.enqueue(t)
		}
		return
	}
	if action == hold {
		return
	}
	f.let = 0
	if err := hostError(s.host.ContinueStream(abi.DownstreamStream), "continue stream", ""); err != nil {
		s.Log().Error(err.Error())
		s.reset()
	}
}
