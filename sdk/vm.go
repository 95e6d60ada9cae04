package sdk

import (
	"context"
	"time"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// Names of the counters that every filter has; the filter's name follows.
const (
	requestsMetric = "waft.requests."
	panicsMetric   = "waft.panics."
)

// maxIdleStreams bounds the ended streams that are kept for use again; after a burst the others are left to the collector.
const maxIdleStreams = 64

// vm is what one module instance holds: its plugins and the streams that are open.
type vm struct {
	host      abi.Host
	configure func(p *Plugin, config []byte) (Filter, error)
	plugins   map[uint32]*Plugin
	// lately is the plugin that a stream was last made for, if it is still there.
	lately  *Plugin
	streams streamTable
	// recent is the stream of the last callback, if it is still open, else nobody: callbacks of one stream mostly follow each other.
	recent *Stream
	idle   []*Stream
	// dispatches are those of all types of handlers, and dispatch the one that was used last.
	dispatches []*dispatch
	dispatch   *dispatch
	sound      soundHeaders
	// peeked is the room for the pairs of [Headers.Peek].
	peeked []Header

	// context is the one that host calls count for.
	context uint32
	// running is the task that runs, nil outside of tasks; ready are those that [vm.drive] runs next.
	running *task
	ready   []*task
	workers []*worker
	// watching are the tasks that wait with a watched context; refused counts the waits that ended at once in this callback.
	watching []*task
	refused  int
	// driving: [vm.drive] is under way.
	driving bool
	// latest is the latest time that the host's clock showed, skew how far it went back since the start: see [vm.now].
	// wall is what it showed last.
	latest, wall time.Time
	skew         time.Duration
	// callees get the callbacks of the callouts that are under way, by token.
	callees calleeTable
	// calloutRoom is where the headers of a callout are put together.
	calloutRoom [calloutRoom]byte
}

var _ abi.Guest = (*vm)(nil)

func newVM(h abi.Host, configure func(p *Plugin, config []byte) (Filter, error)) *vm {
	return &vm{host: h, configure: configure, plugins: map[uint32]*Plugin{}, recent: nobody}
}

// ContextCreate begins a plugin, for parent 0, or a stream. A stream is counted here and not with its first headers: the
// host makes one for each request that it completes, so the counter can be compared with completed requests.
func (v *vm) ContextCreate(id, parent uint32) {
	v.context = id
	if parent == 0 {
		v.drop(id) // one that a host makes anew ends first
		v.plugins[id], v.lately = newPlugin(v, id), nil
		return
	}
	s := v.open(id, v.pluginOf(parent))
	if s.plugin == nil || s.plugin.filter == nil {
		return
	}
	s.plugin.streams.Inc()
	defer func() {
		if s.state != streamOpen { // it stays refused, and its first event answers
			if reason := recover(); reason != nil {
				s.report(reason)
				v.drive()
			}
		}
	}()
	s.handle(s.plugin.filter.NewHandler())
	s.state = streamOpen
	v.drive()
}

// Configure makes the filter of a plugin, and ends the work of the one that it had. When it is refused, the plugin keeps the
// filter that it had, and its work.
func (v *vm) Configure(id uint32, size uint32) bool {
	v.context = id
	p := v.plugins[id]
	if p == nil {
		p = newPlugin(v, id)
		v.plugins[id] = p
	}
	defer v.drive() // also where it is refused
	before := *p
	p.tasks, p.finish, p.queues, p.foreign = &taskList{}, nil, nil, nil
	filter, err := v.tryConfigure(p, int(size))
	if err != nil {
		p.Log().Error("filter " + p.name + " refuses its configuration: " + err.Error())
		v.cancel(p.tasks, context.Canceled)
		before.clockwork = p.clockwork
		*p = before
		return false
	}
	p.filter = filter
	v.cancel(before.tasks, context.Canceled)
	return true
}

// Delete ends a stream or a plugin.
func (v *vm) Delete(id uint32) {
	v.context = id
	s := v.streams.get(id)
	if s == nil {
		v.drop(id)
		v.drive()
		return
	}
	s.leave()
	if s.network {
		s.onConnectionDone()
	}
	v.streams.remove(s)
	if v.recent == s {
		v.recent = nobody
	}
	// A task that does not end keeps its stream.
	if len(v.idle) < maxIdleStreams && len(s.tasks.tasks) == 0 {
		s.retire()
		v.idle = append(v.idle, s)
	}
	v.drive()
}

// drop ends a plugin.
func (v *vm) drop(id uint32) {
	p := v.plugins[id]
	if p == nil {
		return
	}
	v.cancel(p.tasks, context.Canceled)
	p.pulse.stop()
	if p.clockwork != nil {
		p.clockwork.halt()
	}
	delete(v.plugins, id)
	if v.lately == p {
		v.lately = nil
	}
}

// pluginOf is the plugin of a context, nil when there is none.
func (v *vm) pluginOf(id uint32) *Plugin {
	if p := v.lately; p != nil && p.id == id {
		return p
	}
	p := v.plugins[id]
	v.lately = p
	return p
}

// nobody stands for a stream where there is none. No callback is about it.
var nobody = &Stream{standing: standing{id: noContext}}

// open begins a stream. It is refused until it has a handler.
func (v *vm) open(id uint32, p *Plugin) *Stream {
	var s *Stream
	if n := len(v.idle); n > 0 {
		s, v.idle = v.idle[n-1], v.idle[:n-1]
	} else {
		s = newStream(v)
	}
	s.id, s.plugin = id, p
	v.streams.put(s)
	v.recent = s
	return s
}

// stream finds the stream of a callback. One that the host never announced is refused.
func (v *vm) stream(id uint32) *Stream {
	v.context = id
	if v.recent.id == id {
		return v.recent
	}
	return v.find(id)
}

func (v *vm) find(id uint32) *Stream {
	s := v.streams.get(id)
	if s == nil {
		return v.open(id, nil)
	}
	v.recent = s
	return s
}
