package sdk

import (
	"context"
	"errors"
	"time"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// Stream is one HTTP stream: a request and its response. It is valid until [StreamDoneHandler] has returned.
type Stream struct {
	vm         *vm
	host       abi.Host
	request    Request
	response   Response
	connection Connection
	// tasks wait for something, or for each other, on behalf of the stream.
	tasks taskList
	standing
}

// standing is what a stream is and what has come of it so far. The zero value is that of a stream that has not begun.
type standing struct {
	// id is the stream's context. None has the id 0: it is that of a stream that has ended.
	id       uint32
	plugin   *Plugin
	handler  Handler
	dispatch *dispatch
	// state says who answers the events of this stream.
	state streamState
	// responded is set once the response's headers have gone by: an answer of our own is then too late.
	responded bool
	// heldRequest and heldResponse are set while the host holds a body back for a handler that wants all of it.
	heldRequest, heldResponse bool
	// passRequest and passResponse are set once the rest of a body passes without the handler.
	passRequest, passResponse bool
	// resumedRequest and resumedResponse are set once the direction has gone on after a wait; see [Stream.linger].
	resumedRequest, resumedResponse bool
	// network: the stream is a TCP connection.
	network bool
	// early is data that came while the handler of a new connection waits.
	early earlyData
	// touched: headers or trailers were read, or are to be kept, so that there is something to drop.
	touched bool
	// inflow is data that a handler waits with.
	inflow inflow
	// gone is set once the stream has ended: what its tasks still do to it has no effect.
	gone bool
	// waiting is the task of the request's headers, if it had to wait.
	waiting *task
}

type streamState uint8

const (
	// streamRefused: it has no handler and cannot be answered yet; its first event answers it by the failure policy.
	streamRefused streamState = iota
	// streamOpen: events go to the handler.
	streamOpen
	// streamAnswered: the handler answered the request itself; only the end of the stream goes to it.
	streamAnswered
	// streamFailed: the failure policy answered; nothing more goes to the handler.
	streamFailed
)

// Request is the stream's request.
func (s *Stream) Request() *Request { return &s.request }

// Response is the stream's response. Its headers cannot be read before they arrive.
func (s *Stream) Response() *Response { return &s.response }

// Plugin is the configuration that the stream runs under.
func (s *Stream) Plugin() *Plugin { return s.plugin }

// Properties reads and writes the properties of the stream.
func (s *Stream) Properties() Properties { return Properties{s.host, s} }

// ErrOtherStream is the error of a use of one stream in the callbacks or tasks of another, in work of [Plugin.Go], or after
// its end.
var ErrOtherStream = errors.New("a stream can be read and changed in its own callbacks and tasks only")

// own reports whether host calls count for the stream: only then may it be read or changed. Whoever keeps a [Request] for
// longer must never read or answer another client's, and the memory of a stream that has ended serves later ones.
func (s *Stream) own() bool { return s.vm.context == s.id }

// Log writes to the host's log.
func (s *Stream) Log() Logger { return Logger{s.host} }

// Now is the host's clock.
func (s *Stream) Now() time.Time { return now(s.host) }

// Answered reports whether the handler of this stream answered the request itself, with a Reply or through the failure
// policy.
func (s *Stream) Answered() bool { return s.state != streamOpen }

// newStream makes one that can be begun. What it holds that is the same for all streams stays when it is retired.
func newStream(v *vm) *Stream {
	s := &Stream{vm: v, host: v.host}
	s.request.bind(s)
	s.response.bind(s)
	return s
}

// retire drops what the stream held.
func (s *Stream) retire() {
	s.release()
	s.request.end, s.response.end = false, false
	s.tasks.err = nil
	s.standing = standing{}
}

// leave ends the tasks of a stream that has ended.
func (s *Stream) leave() {
	s.gone = true
	if len(s.tasks.tasks) > 0 {
		s.vm.cancel(&s.tasks, context.Canceled)
	}
}

// release drops all that was read of the stream, what the handler asked to keep too.
func (s *Stream) release() {
	if s.touched {
		s.touched = false
		s.releaseAll()
	}
}

func (s *Stream) releaseAll() {
	s.request.headers.release()
	s.request.trailers.release()
	s.response.headers.release()
	s.response.trailers.release()
}

// renew drops what was read of the stream in the event before. A task that waits may do so inside of a loop over it.
func (s *Stream) renew() {
	if s.touched {
		s.renewAll()
	}
}

func (s *Stream) renewAll() {
	looped := len(s.tasks.tasks) > 0
	s.request.headers.renew(looped)
	s.request.trailers.renew(looped)
	s.response.headers.renew(looped)
	s.response.trailers.renew(looped)
}
