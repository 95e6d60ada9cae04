package sdk

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/waft-project/waft/sdk/internal/abi"
)

const (
	// DefaultGRPCTimeout is the time limit of a unary call that names none.
	DefaultGRPCTimeout = 5 * time.Second
	// DefaultGRPCLimit is the most bytes of a message that is received, of a call that names no limit: 4 MiB, as in grpc-go.
	DefaultGRPCLimit = 4 << 20
	// maxWaitingMessages is the most messages of a stream that wait for their reader.
	maxWaitingMessages = 256
)

// GRPCRequest is a gRPC call that a filter makes itself, to a cluster of Envoy's configuration that speaks HTTP/2. Package
// grpccall makes it of protobuf messages.
type GRPCRequest struct {
	// Cluster is the name of the cluster.
	Cluster string
	// Service is the full name of the service, and Method its method: "helloworld.Greeter" and "SayHello".
	Service, Method string
	// Metadata is sent with the call. The value of a key that ends in -bin is bytes.
	Metadata []Header
	// Message is the serialised request; a stream has none.
	Message []byte
	// Timeout is how long Envoy waits for the answer of a unary call, in whole milliseconds; [DefaultGRPCTimeout] where it is
	// zero. The deadline of the context holds as well. A stream has the context's only.
	Timeout time.Duration
	// Limit is the most bytes of a message that is received; [DefaultGRPCLimit] where it is zero.
	Limit int
}

// GRPCResponse is the answer to a unary call. It is the caller's.
type GRPCResponse struct {
	// Message is the serialised answer.
	Message []byte
	// Metadata came before the message, Trailers behind it.
	Metadata, Trailers []Header
}

// GRPCError is a call that ended with another status than OK.
type GRPCError struct {
	// Code is the status; https://grpc.io/docs/guides/status-codes lists them.
	Code uint32
	// Message is the server's, or Envoy's. Envoy 1.40 puts its own details behind it, in braces: it is for people.
	Message string
}

// Error is the code and the message.
func (e *GRPCError) Error() string {
	return "grpc status " + strconv.Itoa(int(e.Code)) + ": " + e.Message
}

// The statuses of gRPC that this package makes or maps.
const (
	grpcOK               = 0
	grpcDeadlineExceeded = 4
	grpcUnavailable      = 14
)

// CallGRPC makes a unary call and waits for its answer, as [Fetch] does. The errors: a [*GRPCError] for any status but OK;
// [context.DeadlineExceeded] when the time is over; and those of [Fetch].
func CallGRPC(ctx context.Context, request GRPCRequest) (*GRPCResponse, error) {
	t, err := running(ctx)
	if err != nil {
		return nil, err
	}
	limit, err := t.timeLeft(ctx, request.Timeout, DefaultGRPCTimeout)
	if err != nil {
		return nil, err
	}
	metadata, err := t.vm.calloutHeaders(t.vm.calloutRoom[:0], request.Metadata, nil)
	if err != nil {
		return nil, err
	}
	v := t.vm
	v.enter(t.id)
	token, status := v.host.GRPCCall(grpcService(request.Cluster), request.Service, request.Method, metadata, request.Message, limit.milliseconds)
	if status != abi.OK {
		return nil, hostError(status, "call", request.target())
	}
	c := newGRPCCall(t, token, request.Limit)
	c.unary = true
	v.callees.put(token, c)
	defer v.callees.forget(token, c)
	for !c.over {
		if err := t.may(ctx); err != nil {
			v.enter(t.id)
			v.host.GRPCCancel(token)
			return nil, err
		}
		t.park(ctx)
	}
	if c.err != nil {
		// Envoy calls a time-out of its own UNAVAILABLE.
		if f := new(GRPCError); errors.As(c.err, &f) && f.Code == grpcUnavailable && strings.HasPrefix(f.Message, timeoutText) {
			c.err = context.DeadlineExceeded
		}
		if errors.Is(c.err, context.DeadlineExceeded) {
			expire(ctx, limit)
		}
		return nil, wrap("call "+request.target(), c.err)
	}
	response := &GRPCResponse{Metadata: c.metadata, Trailers: c.trailers}
	if len(c.messages) > 0 {
		response.Message = c.messages[0]
	}
	return response, nil
}

// GRPCStream is a stream of messages in both directions. It ends with the context that it was opened with, at the latest
// when the code that was given that context returns; Close ends it before. Other handlers and tasks may use it meanwhile, but
// only one may wait for its messages at a time.
type GRPCStream struct {
	call   *grpcCall
	target string
	// sent: no more messages follow from this side. closed: it is over from this side.
	sent, closed bool
	// release has the context that the stream ends with forget it.
	release func() bool
}

// OpenGRPC opens a stream. See [CallGRPC] for its errors; that the cluster cannot be reached shows at the first Receive.
func OpenGRPC(ctx context.Context, request GRPCRequest) (*GRPCStream, error) {
	t, err := running(ctx)
	if err != nil {
		return nil, err
	}
	if err := t.may(ctx); err != nil {
		return nil, err
	}
	metadata, err := t.vm.calloutHeaders(t.vm.calloutRoom[:0], request.Metadata, nil)
	if err != nil {
		return nil, err
	}
	v := t.vm
	v.enter(t.id)
	token, status := v.host.GRPCStream(grpcService(request.Cluster), request.Service, request.Method, metadata)
	if status != abi.OK {
		return nil, hostError(status, "open", request.target())
	}
	s := &GRPCStream{call: newGRPCCall(t, token, request.Limit), target: request.target()}
	v.callees.put(token, s.call)
	ends, direct := holding(ctx)
	if !direct && ctx.Done() == nil {
		ends = &t.scope
	}
	s.release = func() bool { return false }
	s.release = ends.AfterFunc(s.Close)
	return s, nil
}

// Send sends a serialised message. With last, it is the last one: the server sees the end of the stream behind it. After the
// stream has ended it is io.EOF; Receive says why it did. After the last message it is [ErrBadArgument].
func (s *GRPCStream) Send(message []byte, last bool) error {
	if s.closed || s.call.over {
		return io.EOF
	}
	if s.sent {
		return wrap("send to "+s.target+": its last message was sent", ErrBadArgument)
	}
	defer s.enter()()
	err := hostError(s.call.task.vm.host.GRPCSend(s.call.token, message, last), "send to", s.target)
	s.sent = last && err == nil
	return err
}

// CloseSend says that no more messages follow. The server's may.
func (s *GRPCStream) CloseSend() error {
	if s.closed || s.sent || s.call.over {
		return nil
	}
	defer s.enter()()
	err := hostError(s.call.task.vm.host.GRPCClose(s.call.token), "close", s.target)
	s.sent = err == nil
	return err
}

// Receive waits for a message, which is the caller's. It is io.EOF when the server ended the stream with OK, a [*GRPCError]
// with another status, ErrTooLarge for a message above the limit or when too many wait, and the context's error; each of them
// ends the stream. It is [ErrBadArgument], and the stream goes on, when another task waits for a message of it.
func (s *GRPCStream) Receive(ctx context.Context) ([]byte, error) {
	t, err := running(ctx)
	if err != nil {
		return nil, err
	}
	c := s.call
	if c.reader != nil {
		return nil, wrap("receive from "+s.target+": another task waits for its messages", ErrBadArgument)
	}
	c.reader = t
	defer func() { c.reader = nil }()
	for len(c.messages) == 0 && !c.over && !s.closed {
		if err := t.may(ctx); err != nil {
			s.Close()
			return nil, err
		}
		t.park(ctx)
	}
	if len(c.messages) > 0 {
		message := c.messages[0]
		c.messages = c.messages[1:]
		return message, nil
	}
	s.Close()
	if c.err != nil {
		return nil, wrap("receive from "+s.target, c.err)
	}
	return nil, io.EOF
}

// Metadata is what the server sent first, nil before its first message or its end.
func (s *GRPCStream) Metadata() []Header { return s.call.metadata }

// Trailers is what the server sent last, nil before the stream's end.
func (s *GRPCStream) Trailers() []Header { return s.call.trailers }

// Close ends the stream, if it has not ended: Envoy resets it. Messages that wait are lost.
func (s *GRPCStream) Close() {
	if s.closed {
		return
	}
	s.closed = true
	s.release()
	c := s.call
	v := c.task.vm
	v.callees.forget(c.token, c)
	if !c.ended {
		leave := s.enter()
		v.host.GRPCCancel(c.token)
		leave()
	}
	if c.reader != nil {
		v.wake(c.reader)
	}
}

// enter makes host calls count for the context that opened the stream, to which alone the host knows it, until leave.
func (s *GRPCStream) enter() (leave func()) {
	v := s.call.task.vm
	before := v.context
	v.enter(s.call.task.id)
	return func() { v.enter(before) }
}

func (r *GRPCRequest) target() string { return r.Service + "/" + r.Method + " of cluster " + r.Cluster }

// grpcCall is a gRPC callout under way.
type grpcCall struct {
	// task made the call; reader waits for what comes of it, nil when nobody does.
	task, reader *task
	token        uint32
	limit        int
	unary        bool
	// over: nothing more comes of it. ended: nor does the host know it any more.
	over, ended        bool
	messages           [][]byte
	metadata, trailers []Header
	err                error
}

func newGRPCCall(t *task, token uint32, limit int) *grpcCall {
	if limit <= 0 {
		limit = DefaultGRPCLimit
	}
	return &grpcCall{task: t, token: token, limit: limit}
}

func (c *grpcCall) httpResponse(uint32, uint32, uint32) {}

func (c *grpcCall) grpcInitialMetadata() {
	c.metadata = c.task.vm.answerHeaders(abi.GRPCInitialMetadata)
}

// grpcMessage takes a message over. It ends a unary call: Envoy reports no other end of one that went well.
func (c *grpcCall) grpcMessage(size uint32) {
	if c.over {
		return
	}
	message, err := c.task.vm.answerBytes(abi.GRPCMessage, size, c.limit)
	if err == nil && len(c.messages) >= maxWaitingMessages {
		err = ErrTooLarge
	}
	if err != nil {
		c.end(err)
		return
	}
	c.messages = append(c.messages, message)
	c.over, c.ended = c.unary, c.unary
	c.awake()
}

func (c *grpcCall) grpcTrailingMetadata() {
	c.trailers = c.task.vm.answerHeaders(abi.GRPCTrailingMetadata)
}

func (c *grpcCall) grpcClose(code uint32) {
	c.ended = true
	switch code {
	case grpcOK:
		c.end(nil)
	case grpcDeadlineExceeded:
		c.end(context.DeadlineExceeded)
	default:
		_, message, _ := c.task.vm.host.Status()
		c.end(&GRPCError{Code: code, Message: message})
	}
}

func (c *grpcCall) end(err error) {
	if c.over {
		return
	}
	c.over, c.err = true, err
	c.awake()
}

// awake wakes who waits for what comes of the call.
func (c *grpcCall) awake() {
	switch {
	case c.unary:
		c.task.vm.wake(c.task)
	case c.reader != nil:
		c.task.vm.wake(c.reader)
	}
}

// grpcService is a serialised envoy.config.core.v3.GrpcService that names a cluster: field 1 envoy_grpc, in it field 1
// cluster_name. Envoy takes a bare name too, but only where it does not look like a message.
func grpcService(cluster string) string {
	const fieldOne = "\x0a"
	return fieldOne + length(len(cluster)+len(fieldOne)+len(length(len(cluster)))) + fieldOne + length(len(cluster)) + cluster
}

// length is a protobuf varint.
func length(n int) string {
	var out []byte
	for ; n >= 0x80; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return string(append(out, byte(n)))
}
