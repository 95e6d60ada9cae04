package inbox

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
)

// ErrWoken is what receiving ends with when the receiver was woken before a request came. The stream goes on.
var ErrWoken = errors.New("the receiver of a stream was woken")

// Waker is what a grpc.ServerTransportStream implements, as it is found in the context of a call, whose RecvMsg can be woken.
type Waker interface {
	// Wake has the RecvMsg that waits, or else the next one, return ErrWoken, before any message; several wakes before that are one. It does not block, and may be
	// called at any time, also after the call has ended.
	Wake()
}

// Handler is what a stream is for. Its functions are called one at a time, and an error of either ends the stream with it.
type Handler[R any] struct {
	// Request reacts to a request.
	Request func(R) error
	// News reacts to whatever Wake was called for; it finds out by itself what that is. It may be called for nothing.
	News func() error
}

// Inbox is the requests and the news of one stream. Make it with New, and call Run once. Wake may be called by anybody at any time.
type Inbox[R any] struct {
	crew    *Crew
	receive func() (R, error)
	handler Handler[R]
	// waker is nil for a stream that cannot be woken; ended is closed when the stream is to end.
	waker Waker
	ended chan struct{}

	// woken: there may be news, and somebody will look.
	woken atomic.Bool
	// turn is held by whoever calls the handler.
	turn sync.Mutex
	// over: the stream has ended, by err; turn guards both. panicked is what the handler panicked with, which is Run's then.
	over     bool
	err      error
	panicked any
}

// New makes the inbox of a stream, whose context ctx is, and whose requests receive gives.
func New[R any](ctx context.Context, crew *Crew, receive func() (R, error), h Handler[R]) *Inbox[R] {
	i := &Inbox[R]{crew: crew, receive: receive, handler: h, ended: make(chan struct{})}
	i.waker, _ = grpc.ServerTransportStreamFromContext(ctx).(Waker)
	return i
}

// Run gives requests to the handler until it has an error, or receiving does, which may be io.EOF. The handler is not called any more when Run has returned.
func (i *Inbox[R]) Run() error {
	if i.waker != nil {
		i.read()
	} else {
		go i.read()
		<-i.ended
	}
	i.turn.Lock() // whoever is at it goes before
	defer i.turn.Unlock()
	if i.panicked != nil {
		panic(i.panicked)
	}
	return i.err
}

// read receives until the stream is over.
func (i *Inbox[R]) read() {
	for {
		r, err := i.receive()
		i.turn.Lock()
		switch {
		case i.over:
		case err == nil:
			i.call(func() error { return i.handler.Request(r) })
		case !errors.Is(err, ErrWoken):
			i.end(err)
		}
		over := i.over
		i.turn.Unlock()
		if err != nil && !errors.Is(err, ErrWoken) || over && i.waker != nil {
			return // else what still comes is nobody's
		}
		i.look()
	}
}

// Wake has the handler look at its news, soon. It does not block.
func (i *Inbox[R]) Wake() {
	if !i.woken.Swap(true) {
		i.crew.add(i)
	}
}

// Ended is closed when the stream is to end, for a receive that waits for something else than a request before it receives. It returns ErrWoken then.
func (i *Inbox[R]) Ended() <-chan struct{} { return i.ended }

// look has the handler look at its news, where there are any. Whoever has the turn meanwhile looks when it has had it.
func (i *Inbox[R]) look() {
	for i.woken.Load() && i.turn.TryLock() {
		i.woken.Store(false)
		if !i.over {
			i.call(i.handler.News)
		}
		i.turn.Unlock()
	}
}

// call calls the handler; turn is held. Where it panics, Run does: whoever calls it may be of the crew, and there are other streams.
func (i *Inbox[R]) call(do func() error) {
	defer func() {
		if p := recover(); p != nil {
			i.panicked = fmt.Sprintf("%v\n\n%s", p, debug.Stack())
			i.end(nil)
		}
	}()
	if err := do(); err != nil {
		i.end(err)
	}
}

// end ends the stream; turn is held.
func (i *Inbox[R]) end(err error) {
	if i.over {
		return
	}
	i.over, i.err = true, err
	close(i.ended)
	if i.waker != nil {
		i.waker.Wake()
	}
}
