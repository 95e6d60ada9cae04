package sdk

import (
	"context"
	"math"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// Filter is a configured filter: it makes the handler of each HTTP stream.
type Filter interface {
	// NewHandler is called when a stream begins, before anything of it can be read. The handler implements the interfaces
	// of the events that it wants, at least one; the others cost nothing. nil lets the stream pass untouched. A filter that
	// keeps nothing per stream may return itself.
	NewHandler() Handler
}

// FilterFunc is a function as a [Filter].
type FilterFunc func() Handler

// NewHandler calls f.
func (f FilterFunc) NewHandler() Handler { return f() }

// Handler handles one HTTP stream. It implements any of [RequestHeadersHandler], [RequestBodyHandler],
// [BufferedRequestBodyHandler], [LongRequestBodyHandler], [RequestTrailersHandler], [ResponseHeadersHandler],
// [ResponseBodyHandler], [BufferedResponseBodyHandler], [LongResponseBodyHandler], [ResponseTrailersHandler] and
// [StreamDoneHandler].
//
// A method with a context as its first argument may wait, with [Fetch], [CallGRPC], [Sleep], [All] and [First]:
// [AwaitingRequestHeadersHandler], [AwaitingBufferedRequestBodyHandler] and the same two for responses. Others cannot, and
// pay nothing for it.
type Handler any

// Action says what becomes of the message that a handler was called with. Handlers return [Continue], or what
// [Request.Reply] and [Response.Reply] return.
type Action uint32

const (
	// Continue lets the message go on to the next filter.
	Continue = Action(abi.Continue)
	// stop keeps the message from the next filter, since it was answered.
	stop = Action(abi.PauseAll)
	// hold keeps the message from the next filter until the handler, which waits, has returned.
	hold = Action(abi.Pause)
)

// RequestHeadersHandler is called with the request's headers, before they go upstream.
type RequestHeadersHandler interface {
	OnRequestHeaders(r *Request) Action
}

// RequestBodyHandler is called with each chunk of a request's body as it arrives. The chunk goes upstream when the method
// returns [Continue]; nothing is held back, so the headers are gone by then and can be read only after [Headers.Keep]. A request without a body gives no call.
type RequestBodyHandler interface {
	OnRequestBody(r *Request, chunk *Body) Action
}

// BufferedRequestBodyHandler is called once with the whole body of a request that has one, after its last chunk, before any
// of it goes upstream. The headers are gone by then. A handler has this or [RequestBodyHandler], not both; with both, this
// one is used.
type BufferedRequestBodyHandler interface {
	// RequestBodyLimit is the most bytes to hold. It is asked for with each chunk. A longer body is answered with 413, unless
	// the handler is a [LongRequestBodyHandler]; [PassBody] holds nothing, and zero or anything else below means
	// [DefaultBodyLimit]. Envoy's own per_connection_buffer_limit_bytes, 1 MiB by default, holds as well, with a 413.
	RequestBodyLimit() int
	OnBufferedRequestBody(r *Request, body *Body) Action
}

// LongRequestBodyHandler is a [BufferedRequestBodyHandler] that decides itself about a body over its limit. It is called once,
// instead of OnBufferedRequestBody, with what is there so far, which is longer than the limit; on [Continue] that and the rest
// pass without further calls.
type LongRequestBodyHandler interface {
	OnLongRequestBody(r *Request, head *Body) Action
}

// RequestTrailersHandler is called with the trailers of a request that has them.
type RequestTrailersHandler interface {
	OnRequestTrailers(r *Request) Action
}

// ResponseHeadersHandler is called with the response's headers, before they go downstream, for local replies of later
// filters and of Envoy too. It is not called for the reply of its own stream's handler. The request's headers can be read
// here only after [Headers.Keep].
type ResponseHeadersHandler interface {
	OnResponseHeaders(r *Response) Action
}

// ResponseBodyHandler is called with each chunk of a response's body as it arrives; see [RequestBodyHandler].
type ResponseBodyHandler interface {
	OnResponseBody(r *Response, chunk *Body) Action
}

// BufferedResponseBodyHandler is called once with the whole body of a response that has one; see
// [BufferedRequestBodyHandler].
type BufferedResponseBodyHandler interface {
	// ResponseBodyLimit is the most bytes to hold. For a longer body the stream is reset, since the status is gone by then,
	// unless the handler is a [LongResponseBodyHandler]; [PassBody] and the rest mean what they do for a request.
	ResponseBodyLimit() int
	OnBufferedResponseBody(r *Response, body *Body) Action
}

// LongResponseBodyHandler is a [BufferedResponseBodyHandler] that decides itself about a body over its limit; see
// [LongRequestBodyHandler].
type LongResponseBodyHandler interface {
	OnLongResponseBody(r *Response, head *Body) Action
}

// ResponseTrailersHandler is called with the trailers of a response that has them.
type ResponseTrailersHandler interface {
	OnResponseTrailers(r *Response) Action
}

// StreamDoneHandler is called when the stream is complete, whatever its end was: the place for access logs and metrics.
// Headers of request and response and the properties of the finished stream can be read. Nothing can be changed.
type StreamDoneHandler interface {
	OnStreamDone(s *Stream)
}

// AwaitingRequestHeadersHandler is a [RequestHeadersHandler] that may wait. The request waits with it. Its headers can be read
// and changed until it returns.
//
// ctx is cancelled when the stream ends, because the client went away, for example; a wait then returns its error. What the
// handler does to the stream from then on has no effect.
type AwaitingRequestHeadersHandler interface {
	OnRequestHeaders(ctx context.Context, r *Request) Action
}

// AwaitingBufferedRequestBodyHandler is a [BufferedRequestBodyHandler] that may wait; see [AwaitingRequestHeadersHandler].
type AwaitingBufferedRequestBodyHandler interface {
	RequestBodyLimit() int
	OnBufferedRequestBody(ctx context.Context, r *Request, body *Body) Action
}

// AwaitingResponseHeadersHandler is a [ResponseHeadersHandler] that may wait; see [AwaitingRequestHeadersHandler].
type AwaitingResponseHeadersHandler interface {
	OnResponseHeaders(ctx context.Context, r *Response) Action
}

// AwaitingBufferedResponseBodyHandler is a [BufferedResponseBodyHandler] that may wait; see
// [AwaitingRequestHeadersHandler].
type AwaitingBufferedResponseBodyHandler interface {
	ResponseBodyLimit() int
	OnBufferedResponseBody(ctx context.Context, r *Response, body *Body) Action
}

// requestBodyLimiter is a handler that wants the request's body as a whole.
type requestBodyLimiter interface{ RequestBodyLimit() int }

// responseBodyLimiter is a handler that wants the response's body as a whole.
type responseBodyLimiter interface{ ResponseBodyLimit() int }

// DefaultBodyLimit is the limit in bytes of a buffered body whose handler names none: 1 MiB, as Envoy's own.
const DefaultBodyLimit = 1 << 20

// PassBody, as the limit of a buffered body, lets this message's body pass as it comes: nothing is held, and the method for
// bodies is not called.
const PassBody = math.MinInt
