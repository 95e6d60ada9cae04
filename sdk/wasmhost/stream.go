package wasmhost

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Stream is one HTTP request and its response, seen by one plugin: Envoy's filter manager with a single filter before the router.
// The caller feeds what the client and the upstream send; what passes the filter is in Upstream and Downstream. Not for concurrent
// use, and only one goroutine at a time may use the streams of one VM.
type Stream struct {
	plugin *Plugin
	vm     *VM
	ctx    *guestContext // nil if the filter is skipped (FAIL_OPEN after a crash)
	info   *StreamInfo
	dirs   [2]*direction // into own
	own    [2]direction
	memory guestContext // what ctx points to, if anything
	room   [16]Header   // for the headers of most requests and responses: a stream is made at one go

	aborted     bool // a local reply was made: the request goes no further
	direct      bool // the response is a local reply that went past the filter
	reset       bool // the guest closed the stream, or a local reply came too late
	closed      bool
	released    bool // see Release; it is closed, too
	localReply  bool
	repliedLate bool // the guest has replied to a response from the upstream
	details     string
	inDecode    int // depth of request callbacks: a local reply waits for their end
	prepared    func(context.Context)
	state       map[string]string // filter state: what set_property wrote
	began       time.Time
	pauses      []Pause
	begun       bool  // the filter has been given the headers of the request
	connected   bool  // the upstream has been reached
	proxied     bool  // Exchange: the connection manager's and the router's work is done too
	misuse      error // what the filter did that Envoy does not survive whole
}

// requestRoom is how much of a stream's room is the request's.
const requestRoom = 10

// Pause is one callback after which the stream did not go on.
type Pause struct {
	Callback string // for example proxy_on_request_headers
}

// StreamInfo is what a filter can learn of a request from outside its headers. The zero value is a plain HTTP/1.1 request.
type StreamInfo struct {
	// Protocol is request.protocol; empty: "HTTP/1.1".
	Protocol string
	// Source and Destination are addresses as "127.0.0.1:4711"; empty: 127.0.0.1:40000 and 127.0.0.1:10000.
	Source, Destination string
	// RouteName, ClusterName and VirtualHost are xds.route_name, xds.cluster_name and xds.virtual_host_name.
	RouteName, ClusterName, VirtualHost string
	// UpstreamAddress is upstream.address; empty: 127.0.0.1:8080.
	UpstreamAddress string
	// Properties adds properties, or replaces ones that the host knows. The key is the path joined with NUL; "." stands for NUL where
	// the key has no NUL. The value is as the guest reads it.
	Properties map[string][]byte
}

// plain says that nothing is said.
func (i *StreamInfo) plain() bool {
	return i.Protocol == "" && i.Source == "" && i.Destination == "" && i.RouteName == "" && i.ClusterName == "" && i.VirtualHost == "" &&
		i.UpstreamAddress == "" && len(i.Properties) == 0
}

// Message is what has passed the filter in one direction.
type Message struct {
	Headers  Headers // nil until they have passed
	Body     []byte
	Trailers Headers
	Complete bool // its end has passed
}

// iteration is the state of the filter in one direction.
type iteration int

const (
	iterContinue   iteration = iota
	iterStopSingle           // what is stopped is held; later frames go to the filter
	iterStopAll              // everything is held before the filter, without a limit
	iterStopAllBuf           // the same, with the buffer's limit
)

// direction is the request's or the response's way.
type direction struct {
	s        *Stream
	index    int        // 0: request, 1: response
	headers  *headerMap // nil until they have come
	own      headerMap  // what headers points to
	trailers *headerMap
	iter     iteration
	passed   bool // the headers have passed the filter
	buffer   []byte
	buffered bool // there is a buffer, maybe an empty one
	observed bool // the end has come in
	ended    bool // the filter has seen the end
	added    bool // trailers were added at the end of the body
	again    bool // what a filter that stopped everything has not seen is being given to it
	received int  // bytes of the body that have come in
	out      Message
}

const (
	request  = 0
	response = 1
)

var directionNames = [2]string{"request", "response"}

// addTrailers makes trailers that the other side did not send.
func (d *direction) addTrailers() *headerMap {
	if d.trailers == nil {
		d.trailers = newHeaderMap(nil, trailerMap)
		d.added = true
	}
	return d.trailers
}

// RequestHeaders gives the filter the request's headers, pseudo headers among them. The error is the guest's crash, if it crashed;
// the stream goes on by the failure policy.
func (s *Stream) RequestHeaders(ctx context.Context, headers Headers, end bool) error {
	d := s.dirs[request]
	if d.headers != nil || s.closed {
		return fmt.Errorf("request headers: %w", ErrOutOfOrder)
	}
	d.headers, d.observed = d.own.fill(headers, requestMap, s.room[:0:requestRoom]), end
	s.decoding(ctx, func() { s.feedHeaders(ctx, d, end) })
	return s.err()
}

// RequestBody gives the filter a piece of the request's body; end says that neither body nor trailers follow.
func (s *Stream) RequestBody(ctx context.Context, data []byte, end bool) error {
	d := s.dirs[request]
	if d.headers == nil || d.observed || s.closed {
		return fmt.Errorf("request body: %w", ErrOutOfOrder)
	}
	if s.aborted || s.reset {
		return s.err()
	}
	d.received += len(data)
	s.decoding(ctx, func() { s.feedData(ctx, d, append([]byte(nil), data...), end) })
	return s.err()
}

// RequestTrailers gives the filter the request's trailers, which end it.
func (s *Stream) RequestTrailers(ctx context.Context, trailers Headers) error {
	d := s.dirs[request]
	if d.headers == nil || d.observed || s.closed {
		return fmt.Errorf("request trailers: %w", ErrOutOfOrder)
	}
	if s.aborted || s.reset {
		return s.err()
	}
	s.decoding(ctx, func() { s.feedTrailers(ctx, d, trailers) })
	return s.err()
}

// RequestMetadata gives the filter a metadata map of HTTP/2 (not headers), of which it only learns the size.
func (s *Stream) RequestMetadata(ctx context.Context, metadata map[string]string) error {
	return s.metadata(ctx, s.dirs[request], metadata)
}

// ResponseMetadata is RequestMetadata for the response.
func (s *Stream) ResponseMetadata(ctx context.Context, metadata map[string]string) error {
	return s.metadata(ctx, s.dirs[response], metadata)
}

func (s *Stream) metadata(ctx context.Context, d *direction, metadata map[string]string) error {
	if s.closed {
		return fmt.Errorf("metadata: %w", ErrOutOfOrder)
	}
	if s.skip(d) || s.failed(ctx) {
		return s.err()
	}
	c := s.ctx
	f, name := c.in.fn.requestMetadata, "proxy_on_request_metadata"
	if d.index == response {
		f, name = c.in.fn.responseMetadata, "proxy_on_response_metadata"
	}
	if f != nil {
		c.in.call(ctx, c, name, f, uint64(c.id), uint64(len(metadata))) // whatever it returns, Envoy goes on
		s.ended(ctx, name, filterContinue, filterContinue)
	}
	return s.err()
}

// ResponseHeaders gives the filter the response's headers, with ":status".
func (s *Stream) ResponseHeaders(ctx context.Context, headers Headers, end bool) error {
	d := s.dirs[response]
	if s.aborted || s.reset {
		return s.err()
	}
	if d.headers != nil || s.closed || !s.dirs[request].passed {
		return fmt.Errorf("response headers: %w", ErrOutOfOrder)
	}
	s.connected = true
	s.encodeHeaders(ctx, headers, end)
	return s.err()
}

// ResponseBody gives the filter a piece of the response's body.
func (s *Stream) ResponseBody(ctx context.Context, data []byte, end bool) error {
	d := s.dirs[response]
	if s.aborted || s.reset || s.direct {
		return s.err()
	}
	if d.headers == nil || d.observed || s.closed {
		return fmt.Errorf("response body: %w", ErrOutOfOrder)
	}
	s.feedData(ctx, d, append([]byte(nil), data...), end)
	return s.err()
}

// ResponseTrailers gives the filter the response's trailers, which end it.
func (s *Stream) ResponseTrailers(ctx context.Context, trailers Headers) error {
	d := s.dirs[response]
	if s.aborted || s.reset || s.direct {
		return s.err()
	}
	if d.headers == nil || d.observed || s.closed {
		return fmt.Errorf("response trailers: %w", ErrOutOfOrder)
	}
	s.feedTrailers(ctx, d, trailers)
	return s.err()
}

// Upstream is what of the request has passed the filter. Its slices belong to the stream: copy them to change them.
func (s *Stream) Upstream() Message { return s.dirs[request].out }

// Downstream is what of the response has passed the filter, or the local reply.
func (s *Stream) Downstream() Message { return s.dirs[response].out }

// Paused says whether the request and the response are held by the filter.
func (s *Stream) Paused() (request, response bool) {
	return s.dirs[0].iter != iterContinue, s.dirs[1].iter != iterContinue
}

// LocalReply says whether the response is one that the filter, or the host for it, made, and its response code details.
func (s *Stream) LocalReply() (made bool, details string) { return s.localReply, s.details }

// Reset says whether the stream was reset: the client gets no (further) response.
func (s *Stream) Reset() bool { return s.reset }

// Close ends the stream: on_log, then on_done and on_delete. More calls do nothing.
func (s *Stream) Close(ctx context.Context) error {
	if s.closed {
		return s.err()
	}
	s.closed = true
	if s.ctx == nil {
		return nil
	}
	c := s.ctx
	defer c.in.contexts.remove(c.id)
	c.create(ctx)
	c.logging = true
	if c.in.failure == nil && c.in.fn.onLog != nil {
		c.in.callback(ctx, c, "proxy_on_log", c.in.fn.onLog, uint64(c.id))
	}
	c.logging = false
	c.done(ctx)
	c.delete(ctx)
	return s.err()
}

func (s *Stream) err() error {
	if s.ctx == nil {
		return nil
	}
	return s.ctx.in.err()
}

// decoding runs a part of the request's way. A local reply made meanwhile is sent when it is over.
func (s *Stream) decoding(ctx context.Context, f func()) {
	s.inDecode++
	f()
	s.inDecode--
	if s.inDecode == 0 && s.prepared != nil {
		send := s.prepared
		s.prepared = nil
		send(ctx)
	}
}

// stopped says that nothing more goes this way.
func (s *Stream) stopped(d *direction) bool {
	return s.reset || d.index == request && s.aborted || d.index == response && s.direct
}

// feedHeaders gives headers to the filter.
func (s *Stream) feedHeaders(ctx context.Context, d *direction, end bool) {
	d.ended = end
	switch s.guestHeaders(ctx, d, end) {
	case filterContinue:
		if !s.stopped(d) {
			s.passHeaders(ctx, d, end)
		}
	case filterStopIteration:
		d.iter = iterStopSingle
	case filterStopAllBuffer:
		d.iter = iterStopAllBuf
	default:
		d.iter = iterStopAll
	}
}

// feedData gives a piece of a body to the filter, or holds it before a filter that stopped everything.
func (s *Stream) feedData(ctx context.Context, d *direction, data []byte, end bool) {
	if end {
		d.observed = true
	}
	if d.iter == iterStopAll || d.iter == iterStopAllBuf {
		s.hold(ctx, d, data, d.iter == iterStopAllBuf)
		return
	}
	s.filterData(ctx, d, data, end)
}

// filterData calls the filter for a piece of a body, and does what it says.
func (s *Stream) filterData(ctx context.Context, d *direction, data []byte, end bool) {
	d.ended = d.ended || end
	added := d.added
	status := s.guestData(ctx, d, &data, end)
	if s.stopped(d) {
		return
	}
	if d.added && !added && status != filterContinue {
		s.misused("trailers were added to the %s in a body callback that paused: Envoy sends them before the body", directionNames[d.index])
	}
	if status == filterContinue {
		if d.iter == iterStopSingle {
			s.hold(ctx, d, data, false)
			s.resume(ctx, d)
			return
		}
		s.passData(ctx, d, data, end)
		return
	}
	d.iter = iterStopSingle
	switch status {
	case filterStopBuffer, filterStopWatermark:
		s.hold(ctx, d, data, status == filterStopBuffer)
	default:
		if d.observed && d.trailers == nil && !d.buffered {
			d.buffered = true // so that a later resume passes the end on, in an empty frame
		}
	}
}

// hold appends to the direction's buffer. Over the limit the request is answered with 413, the response with 500.
func (s *Stream) hold(ctx context.Context, d *direction, data []byte, limited bool) {
	d.buffered = true
	d.buffer = append(d.buffer, data...)
	if !limited || len(d.buffer) <= MaxBodyBytes {
		return
	}
	if d.index == request {
		s.reply(ctx, localReply{code: 413, body: "Payload Too Large", details: "request_payload_too_large"})
		return
	}
	s.reply(ctx, localReply{code: 500, body: "Internal Server Error", details: "response_payload_too_large"})
}

// feedTrailers gives trailers to the filter.
func (s *Stream) feedTrailers(ctx context.Context, d *direction, trailers Headers) {
	d.observed = true
	d.trailers = newHeaderMap(trailers, trailerMap)
	if d.iter == iterStopAll || d.iter == iterStopAllBuf {
		return
	}
	s.filterTrailers(ctx, d)
}

func (s *Stream) filterTrailers(ctx context.Context, d *direction) {
	d.ended = true
	status := s.guestTrailers(ctx, d)
	if s.stopped(d) {
		return
	}
	if status != filterContinue {
		if d.iter == iterContinue {
			d.iter = iterStopSingle
		}
		return
	}
	if d.iter == iterStopSingle {
		s.resume(ctx, d)
		return
	}
	s.passTrailers(ctx, d)
}

// resume lets what is held go on: past the filter, or into it if it had stopped everything.
func (s *Stream) resume(ctx context.Context, d *direction) {
	if s.stopped(d) || s.closed || d.headers == nil {
		return
	}
	if d.iter == iterContinue && d.passed {
		if d.out.Complete && d.trailers != nil {
			s.misused("the %s was continued although it was not paused, and it has trailers: Envoy sends them twice", directionNames[d.index])
		}
		return
	}
	intoFilter := d.iter == iterStopAll || d.iter == iterStopAllBuf
	d.again = intoFilter
	defer func() { d.again = false }()
	d.iter = iterContinue
	if !d.passed {
		s.passHeaders(ctx, d, d.observed && !d.buffered && d.trailers == nil)
		if s.stopped(d) {
			return
		}
	}
	hadTrailers := d.trailers != nil
	if d.buffered {
		data := d.buffer
		d.buffer, d.buffered = nil, false
		end := d.observed && !hadTrailers
		if intoFilter {
			s.filterData(ctx, d, data, end)
		} else {
			s.passData(ctx, d, data, end)
		}
	}
	if hadTrailers && !s.stopped(d) {
		if intoFilter {
			if d.iter != iterStopAll && d.iter != iterStopAllBuf {
				s.filterTrailers(ctx, d)
			}
		} else {
			s.passTrailers(ctx, d)
		}
	}
}

// misused records that the filter does what Envoy does not survive whole, once.
func (s *Stream) misused(format string, args ...any) {
	if s.misuse == nil {
		s.misuse = fmt.Errorf("%w: %s", ErrMisuse, fmt.Sprintf(format, args...))
		s.vm.keepLog(Log{LogError, s.misuse.Error()})
	}
}

// passHeaders sends headers on to the next.
func (s *Stream) passHeaders(ctx context.Context, d *direction, end bool) {
	if d.passed {
		s.misused("the %s was continued in its headers callback, which then returned Continue: Envoy sends the headers twice",
			directionNames[d.index])
		return
	}
	if s.proxied {
		check := route
		if d.index == response {
			check = s.respondHeaders
		}
		if r, ok := check(d.headers); !ok {
			s.reply(ctx, r)
			return
		}
	}
	d.passed = true
	d.out.Headers = d.headers.list
	if d.out.Headers == nil {
		d.out.Headers = Headers{}
	}
	d.out.Complete = end
}

func (s *Stream) passData(ctx context.Context, d *direction, data []byte, end bool) {
	if !d.passed {
		return
	}
	if d.out.Complete {
		s.misused("the %s was continued in its body callback, which then returned Continue: Envoy sends its end twice",
			directionNames[d.index])
		return
	}
	d.out.Body = append(d.out.Body, data...)
	if end && d.added {
		// As in Envoy, a filter meets the trailers that it added if it had stopped everything before.
		if d.again {
			s.filterTrailers(ctx, d)
		} else {
			s.passTrailers(ctx, d)
		}
		return
	}
	d.out.Complete = end
}

func (s *Stream) passTrailers(_ context.Context, d *direction) {
	if !d.passed || d.out.Complete {
		return
	}
	d.out.Trailers = d.trailers.list
	d.out.Complete = true
}

// localReply is a response made by the filter or for it.
type localReply struct {
	code    uint32
	body    string
	headers Headers
	grpc    int32 // a gRPC status; -1 for none
	details string
}

// guestReply is a reply that the guest asked for.
func (s *Stream) guestReply(ctx context.Context, r localReply) {
	if s.dirs[response].headers == nil {
		s.reply(ctx, r)
		return
	}
	if s.repliedLate {
		s.misused("proxy_send_local_response was called twice in a callback of the response: Envoy crashes")
	}
	s.repliedLate = true
	s.reply(ctx, r)
}

// reply answers the client without the upstream (FilterManager::sendLocalReply). A reply before any response goes through the filter's
// response callbacks; one after the response's headers came from the upstream takes their place, past the filter; one after the
// headers went to the client can only reset the stream.
func (s *Stream) reply(ctx context.Context, r localReply) {
	if s.closed || s.reset {
		return
	}
	d := s.dirs[response]
	switch {
	case d.headers == nil:
		if s.aborted {
			return
		}
		s.aborted, s.localReply, s.details = true, true, r.details
		send := func(ctx context.Context) {
			headers, body := s.replyMessage(r)
			s.encodeHeaders(ctx, headers, body == "")
			if body != "" && !s.reset {
				s.feedData(ctx, d, []byte(body), true)
			}
		}
		if s.inDecode > 0 {
			s.prepared = send
			return
		}
		send(ctx)
	case !d.passed:
		s.aborted, s.direct, s.localReply, s.details = true, true, true, r.details
		headers, body := s.replyMessage(r)
		d.headers = newHeaderMap(headers, responseMap)
		d.trailers, d.buffer, d.buffered, d.iter = nil, nil, false, iterContinue
		d.out = Message{}
		s.passHeaders(ctx, d, body == "")
		if body != "" {
			s.passData(ctx, d, []byte(body), true)
		}
	default:
		s.aborted, s.reset = true, true
	}
}

// replyMessage makes the response of a local reply, as Envoy's Http::Utility::prepareLocalReply does. body is empty for HEAD and gRPC.
func (s *Stream) replyMessage(r localReply) (headers Headers, body string) {
	var contentType, method string
	if req := s.dirs[request].headers; req != nil {
		contentType, _ = req.get("content-type")
		method, _ = req.get(":method")
	}
	m := newHeaderMap(Headers{{":status", strconv.Itoa(int(r.code))}}, responseMap)
	for _, h := range r.headers {
		m.add(h.Name, h.Value)
	}
	if isGRPC(contentType) {
		m.set(":status", "200")
		m.set("content-type", "application/grpc")
		if v, _ := m.get("grpc-status"); v == "" {
			status := r.grpc
			if status < 0 {
				status = httpToGRPC(r.code)
			}
			m.set("grpc-status", strconv.Itoa(int(status)))
		}
		if r.body != "" && method != "HEAD" {
			m.set("grpc-message", percentEncode(r.body))
		}
		m.remove("content-length")
		return m.list, ""
	}
	if r.body == "" {
		m.remove("content-length")
		m.remove("content-type")
		return m.list, ""
	}
	m.set("content-length", strconv.Itoa(len(r.body)))
	if _, ok := m.get("content-type"); !ok {
		m.add("content-type", "text/plain")
	}
	if method == "HEAD" {
		return m.list, ""
	}
	return m.list, r.body
}

func isGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(contentType, "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// httpToGRPC maps a response code to a gRPC status, as Envoy and the gRPC specification do.
func httpToGRPC(code uint32) int32 {
	switch code {
	case 400:
		return 13 // internal
	case 401:
		return 16 // unauthenticated
	case 403:
		return 7 // permission denied
	case 404:
		return 12 // unimplemented
	case 429, 502, 503, 504:
		return 14 // unavailable
	}
	return 2 // unknown
}

// percentEncode encodes a gRPC message.
func percentEncode(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= ' ' && c < 0x7f && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// encodeHeaders begins the response's way with headers from the upstream or of a local reply.
func (s *Stream) encodeHeaders(ctx context.Context, headers Headers, end bool) {
	d := s.dirs[response]
	d.headers, d.observed = d.own.fill(headers, responseMap, s.room[requestRoom:requestRoom:len(s.room)]), end
	s.feedHeaders(ctx, d, end)
}
