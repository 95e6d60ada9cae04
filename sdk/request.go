package sdk

import "github.com/waft-project/waft/sdk/internal/abi"

// Request is the request of a stream.
type Request struct {
	stream   *Stream
	headers  Headers
	trailers Headers
	body     Body
	end      bool
}

// Stream is the stream that the request belongs to.
func (r *Request) Stream() *Stream { return r.stream }

// Headers are the request's headers, with the pseudo-headers :method, :path, :authority and :scheme. They can be changed in
// OnRequestHeaders only, and read there and in OnStreamDone; elsewhere only after [Headers.Keep].
func (r *Request) Headers() *Headers { return &r.headers }

// Trailers are the request's trailers, in OnRequestTrailers and OnStreamDone.
func (r *Request) Trailers() *Headers { return &r.trailers }

// End reports whether the event is the last of the request: no body, no more of it, or no trailers follow.
func (r *Request) End() bool { return r.end }

// Method is the :method pseudo-header, empty when there is none.
func (r *Request) Method() string { return r.headers.value(":method") }

// Path is the :path pseudo-header: path and query as they were sent.
func (r *Request) Path() string { return r.headers.value(":path") }

// Authority is the :authority pseudo-header, what HTTP/1 calls Host.
func (r *Request) Authority() string { return r.headers.value(":authority") }

// Scheme is the :scheme pseudo-header.
func (r *Request) Scheme() string { return r.headers.value(":scheme") }

// Log writes to the host's log.
func (r *Request) Log() Logger { return r.stream.Log() }

// Properties reads and writes the properties of the stream.
func (r *Request) Properties() Properties { return r.stream.Properties() }

// Reply answers the request from here; nothing of it goes upstream (any more). The handler returns what Reply returns. The
// stream's further events do not go to this handler, other than OnStreamDone.
func (r *Request) Reply(reply Reply) Action { return r.stream.reply(reply) }

// Response is the response of a stream.
type Response struct {
	stream   *Stream
	headers  Headers
	trailers Headers
	body     Body
	end      bool
}

// Stream is the stream that the response belongs to.
func (r *Response) Stream() *Stream { return r.stream }

// Request is the request that this is the response to.
func (r *Response) Request() *Request { return &r.stream.request }

// Headers are the response's headers, with the pseudo-header :status. They can be changed in OnResponseHeaders only, and
// read there and in OnStreamDone; elsewhere only after [Headers.Keep].
func (r *Response) Headers() *Headers { return &r.headers }

// Trailers are the response's trailers, in OnResponseTrailers and OnStreamDone.
func (r *Response) Trailers() *Headers { return &r.trailers }

// End reports whether the event is the last of the response.
func (r *Response) End() bool { return r.end }

// Status is the :status pseudo-header as a number, 0 when there is none.
func (r *Response) Status() int { return parseStatus(r.headers.value(":status")) }

// Log writes to the host's log.
func (r *Response) Log() Logger { return r.stream.Log() }

// Properties reads and writes the properties of the stream.
func (r *Response) Properties() Properties { return r.stream.Properties() }

// Reply puts another response in the place of this one, in OnResponseHeaders. Later, when the headers have gone downstream,
// it resets the stream instead.
func (r *Response) Reply(reply Reply) Action { return r.stream.reply(reply) }

// parseStatus is a status of three digits, else 0.
func parseStatus(s string) int {
	if len(s) != 3 {
		return 0
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0
		}
		n = n*10 + int(s[i]-'0')
	}
	return n
}

func (r *Request) bind(s *Stream) {
	r.stream = s
	r.headers.bind(s, abi.RequestHeaders, "request header")
	r.trailers.bind(s, abi.RequestTrailers, "request trailer")
}

func (r *Response) bind(s *Stream) {
	r.stream = s
	r.headers.bind(s, abi.ResponseHeaders, "response header")
	r.trailers.bind(s, abi.ResponseTrailers, "response trailer")
}
