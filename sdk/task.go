package sdk

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strconv"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// ErrNoTask is the error of a call that waits where nothing can wait: its context is not the one that a handler, or
// [Plugin.Go], was given, or it is used outside of the code that it was given to.
var ErrNoTask = errors.New("only code with the context of its own handler, Plugin.Go, All or First can wait")

// maxIdleWorkers bounds the coroutines that are kept for use again.
const maxIdleWorkers = 64

// task is straight-line code that can wait. It runs as a coroutine: while it waits, the host's callback returns, and the
// callback that brings what it waits for goes on with it. There are no threads, and no goroutines that the Go scheduler
// picks: a task runs from one wait to the next, and no other with it.
type task struct {
	vm *vm
	// id is the context that the task's host calls count for: a stream's, a connection's or a plugin's.
	id     uint32
	plugin *Plugin
	owner  *taskList
	scope  scope
	worker *worker
	// run is what the task does, unless it is a method of a stream's handler; settle is called when it has returned after it had waited.
	run, settle func()
	// handle calls the method of stream's handler that the task is, and action is what became of it. held: a message of that direction
	// waits for its end. They are fields and not closures of run, so that a handler that may wait costs one allocation.
	handle    func(t *task) Action
	stream    *Stream
	direction abi.StreamType
	action    Action
	held      bool
	// root is the task itself, or, for one of [All] and [First], the task that they were called in first.
	root *task
	// watched is the context under which it waits, where only a look at it tells that it was cancelled.
	watched context.Context
	// parked: it waits. queued: it goes on, or starts, when [vm.drive] comes to it.
	parked, queued, waited, ended bool
}

// worker is a coroutine. It runs one task after the other.
type worker struct {
	task  *task
	next  func() (struct{}, bool)
	stop  func()
	yield func(struct{}) bool
}

func newWorker() *worker {
	w := &worker{}
	w.next, w.stop = iter.Pull(func(yield func(struct{}) bool) {
		w.yield = yield
		for {
			if t := w.task; t.stream != nil {
				t.attempt()
			} else {
				t.run()
			}
			w.task.ended = true
			if !yield(struct{}{}) {
				return
			}
		}
	})
	return w
}

// taskList holds the tasks of a stream or a plugin that have not ended.
type taskList struct {
	tasks []*task
	// err is why they may wait no more, once the stream or the plugin has ended.
	err error
}

func (l *taskList) add(t *task) { l.tasks = append(l.tasks, t) }

func (l *taskList) remove(t *task) {
	for i := range l.tasks {
		if l.tasks[i] == t {
			l.tasks[i] = l.tasks[len(l.tasks)-1]
			l.tasks[len(l.tasks)-1] = nil
			l.tasks = l.tasks[:len(l.tasks)-1]
			return
		}
	}
}

// newTask makes a task of a context. What it runs must not panic.
func (v *vm) newTask(id uint32, p *Plugin, owner *taskList) *task {
	t := &task{vm: v, id: id, plugin: p, owner: owner}
	t.root, t.scope.task, t.scope.err = t, t, owner.err
	owner.add(t)
	return t
}

// start runs a task until it waits for the first time, and whatever that made ready.
func (v *vm) start(t *task) {
	v.resume(t)
	v.interlude()
}

// wake has a task that waits go on, before the host's callback returns. It looks at what it waited for by itself.
func (v *vm) wake(t *task) {
	if t.parked && !t.queued {
		v.enqueue(t)
	}
}

func (v *vm) enqueue(t *task) {
	t.queued = true
	v.ready = append(v.ready, t)
}

// drive runs the tasks that are ready, and those that they make ready. It does nothing inside a task: the callback that runs
// the task drives.
// Every callback ends with it, since its handler may have begun a task. Host calls then count for the context of the last task.
// It is not deferred: a panic that no guard has recovered ends the VM.
func (v *vm) drive() {
	if len(v.ready)+len(v.watching)+v.refused != 0 {
		v.driveTasks()
	}
}

func (v *vm) driveTasks() {
	if v.running != nil || v.driving {
		return // what drives already comes to it
	}
	v.driving = true
	v.refused = 0
	for v.wakeCancelled(); len(v.ready) > 0; v.wakeCancelled() {
		for i := 0; i < len(v.ready); i++ {
			t := v.ready[i]
			v.ready[i] = nil
			t.queued = false
			v.resume(t)
		}
		v.ready = v.ready[:0]
	}
	v.driving = false
}

// interlude is [vm.drive] in the midst of a callback: host calls count for the callback's own context again when it is over.
func (v *vm) interlude() {
	callback := v.context
	v.drive()
	v.enter(callback)
}

// wakeCancelled wakes the tasks whose context was cancelled by other code. A context of the standard library tells only who
// looks, unless by a goroutine, which would run at a time of its own.
func (v *vm) wakeCancelled() {
	for _, t := range v.watching {
		if t.watched.Err() != nil {
			v.wake(t)
		}
	}
}

// resume runs a task until it waits or ends.
func (v *vm) resume(t *task) {
	if t.worker == nil {
		t.worker = v.takeWorker()
		t.worker.task = t
	}
	v.enter(t.id)
	v.running = t
	t.parked = false
	t.worker.next()
	v.running = nil
	if !t.ended {
		return
	}
	v.giveWorker(t.worker)
	t.worker = nil
	t.owner.remove(t)
	t.scope.end()
	switch {
	case t.held:
		t.stream.proceed(t.direction, t.action)
	case t.waited && t.settle != nil:
		t.settle()
	}
}

func (v *vm) takeWorker() *worker {
	if n := len(v.workers); n > 0 {
		w := v.workers[n-1]
		v.workers = v.workers[:n-1]
		return w
	}
	return newWorker()
}

func (v *vm) giveWorker(w *worker) {
	w.task = nil
	if len(v.workers) < maxIdleWorkers {
		v.workers = append(v.workers, w)
		return
	}
	w.stop()
}

// noContext is the context of host calls that must not count for any stream.
const noContext = ^uint32(0)

// enter makes the host calls that follow count for a context, until the callback returns or somebody enters another one. For
// a context that has ended they count for none that a handle could be used with.
func (v *vm) enter(id uint32) {
	if v.context == id {
		return
	}
	v.context = id
	if v.host.SetEffectiveContext(id) != abi.OK {
		v.context = noContext
	}
}

// pause waits until somebody wakes the task.
func (t *task) pause() {
	t.parked, t.waited = true, true
	t.worker.yield(struct{}{})
}

// park waits until somebody wakes the task, or the context is cancelled.
func (t *task) park(ctx context.Context) {
	v := t.vm
	if !wakes(ctx) {
		t.watched = ctx
		v.watching = append(v.watching, t)
	}
	t.pause()
	if t.watched != nil {
		t.watched = nil
		v.watching = slices.DeleteFunc(v.watching, func(other *task) bool { return other == t })
	}
}

// maxRefused is how many waits in a row may be refused in one callback. Code that goes on trying after its context was
// cancelled would stop the worker for good.
const maxRefused = 1 << 14

// may says why the task must not wait under a context: it was cancelled, or what the task belongs to has ended, which a
// context that cannot be cancelled does not tell.
func (t *task) may(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		err = t.owner.err
	}
	if err == nil {
		return nil
	}
	if t.vm.refused++; t.vm.refused > maxRefused {
		panic(strconv.Itoa(maxRefused) + " waits in a row ended at once with " + strconv.Quote(err.Error()) +
			": return when a wait ends with an error")
	}
	return err
}

// abandoned reports whether the task was given up: what it still does to its stream must have no effect.
func (t *task) abandoned() bool { return t.root.scope.err != nil }

// cancel ends what a context still has under way: each wait in it ends with the error, and its tasks with it.
func (v *vm) cancel(l *taskList, err error) {
	l.err = err
	for _, t := range l.tasks {
		t.scope.cancel(err)
	}
	v.interlude()
}

// running is the task that runs, if ctx is its own.
func running(ctx context.Context) (*task, error) {
	s, ok := ctx.Value(scopeKey{}).(*scope)
	if !ok || s.task.vm.running != s.task {
		return nil, ErrNoTask
	}
	return s.task, nil
}

// Go runs f beside the streams: it may wait, as a handler with a context may, and goes on until it returns or the host drops
// the configuration, which cancels ctx. It starts when the callback that runs now is over. A panic in f ends it, with a log
// line and a count in waft.panics.NAME.
func (p *Plugin) Go(f func(ctx context.Context)) {
	t := p.vm.newTask(p.id, p, p.tasks)
	t.run = func() {
		defer func() {
			if reason := recover(); reason != nil {
				p.report(reason)
			}
		}()
		f(&t.scope)
	}
	p.vm.enqueue(t)
}

// taskPanic is a panic of a task that another task waits for.
type taskPanic struct {
	reason any
	stack  []byte
}

func (p taskPanic) String() string { return describe(p.reason) + "\n" + string(p.stack) }
