package sdktest

import (
	"slices"
	"strconv"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/internal/abi"
)

// exchange is one request on its way through the filter.
type exchange struct {
	*Filter
	id     uint32
	stream *stream
	result Result
	// leaves: the client goes away when the filter waits for the first time. gone: it has.
	leaves, gone bool
}

// Do sends a request through the filter to the upstream, and the response back.
func (f *Filter) Do(r Request) Result {
	f.t.Helper()
	logged := len(f.host.logs)
	x := f.open(r.Properties)
	x.leaves = r.Leaves
	if r.LogOnly {
		x.stream.maps[abi.RequestHeaders] = requestHeaders(r)
		x.stream.maps[abi.ResponseHeaders] = responseHeaders(r.Upstream)
	} else if up, ok := x.request(r); ok {
		x.result.Upstream = &up
		x.response(answer(r, up))
	}
	x.close()
	x.result.Logs = slices.Clone(f.host.logs[logged:])
	return x.result
}

// open begins a stream.
func (f *Filter) open(properties map[string]any) *exchange {
	x := &exchange{Filter: f, id: f.next, stream: &stream{id: f.next, properties: encodeProperties(properties), requested: f.host.now}}
	f.next++
	f.host.streams[x.id] = x.stream
	f.host.stream = x.stream
	f.guest.ContextCreate(x.id, pluginID)
	return x
}

// close ends the stream: all headers can be read, and nothing can be changed.
func (x *exchange) close() {
	for m := range x.stream.access {
		x.stream.access[m] = mapReadable
	}
	x.stream.done = true
	x.guest.Log(x.id)
	x.host.callouts = slices.DeleteFunc(x.host.callouts, func(c *callout) bool { return c.id == x.id })
	x.guest.Delete(x.id)
	x.host.stream = nil
	delete(x.host.streams, x.id)
	x.pump()
}

// request sends the request's events. It reports false when it does not reach the upstream.
func (x *exchange) request(r Request) (Message, bool) {
	chunks := chunksOf(r.Body, r.Chunks)
	var up Message
	x.stream.maps[abi.RequestHeaders] = requestHeaders(r)
	x.event(abi.RequestHeaders, func() abi.Action {
		return x.guest.RequestHeaders(x.id, len(chunks) == 0 && r.Trailers == nil)
	})
	if x.stopped() {
		return up, false
	}
	body := x.body(abi.RequestBody, chunks, r.Trailers != nil, x.guest.RequestBody)
	if !x.stopped() && r.Trailers != nil {
		x.stream.maps[abi.RequestTrailers] = lowered(r.Trailers)
		body += x.trailers(abi.RequestTrailers, abi.RequestBody, func() abi.Action { return x.guest.RequestTrailers(x.id) })
	}
	if x.stopped() {
		return up, false
	}
	up = Message{Headers: x.stream.maps[abi.RequestHeaders], Body: body, Trailers: x.stream.maps[abi.RequestTrailers]}
	return up, true
}

// response sends the response's events.
func (x *exchange) response(r Response) {
	chunks := chunksOf(r.Body, r.Chunks)
	x.stream.maps[abi.ResponseHeaders] = responseHeaders(r)
	x.event(abi.ResponseHeaders, func() abi.Action {
		return x.guest.ResponseHeaders(x.id, len(chunks) == 0 && r.Trailers == nil)
	})
	if x.stopped() {
		return
	}
	got := &x.result.Response
	got.Headers = x.stream.maps[abi.ResponseHeaders]
	got.Body = x.body(abi.ResponseBody, chunks, r.Trailers != nil, x.guest.ResponseBody)
	if !x.stopped() && r.Trailers != nil {
		x.stream.maps[abi.ResponseTrailers] = lowered(r.Trailers)
		got.Body += x.trailers(abi.ResponseTrailers, abi.ResponseBody, func() abi.Action { return x.guest.ResponseTrailers(x.id) })
	}
	if !x.stopped() {
		got.Trailers = x.stream.maps[abi.ResponseTrailers]
	}
}

// stopped reports whether the filter answered or reset the stream, and takes its answer over.
func (x *exchange) stopped() bool {
	if x.stream.reset || x.gone {
		x.result.Reset = x.stream.reset
		return true
	}
	l := x.stream.local
	if l == nil {
		return false
	}
	headers := []sdk.Header{{Name: ":status", Value: strconv.Itoa(l.status)}}
	headers = append(headers, l.headers...)
	if l.body != "" && len(valuesOf(headers, "content-type")) == 0 {
		headers = append(headers, sdk.Header{Name: "content-type", Value: "text/plain"})
	}
	headers = append(headers, sdk.Header{Name: "content-length", Value: strconv.Itoa(len(l.body))})
	x.stream.maps[abi.ResponseHeaders] = headers
	x.result.Response = Message{Headers: headers, Body: l.body}
	x.result.Local, x.result.Details = true, l.details
	return true
}

// event runs a callback in which one map can be changed.
func (x *exchange) event(m abi.MapType, callback func() abi.Action) {
	x.stream.access[m] = mapWritable
	x.stream.continued = false
	action := callback()
	if action != abi.Continue {
		x.held()
	}
	x.stream.access[m] = mapHidden
}

// held waits for a stream that the filter holds back, unless its client goes away.
func (x *exchange) held() {
	if x.leaves && x.stream.local == nil && !x.stream.reset {
		x.gone = true
		return
	}
	x.wait()
}

// body sends the chunks and gives what the filter let pass. What it holds back stays in the stream's buffer.
func (x *exchange) body(kind abi.BufferType, chunks []string, trailers bool, callback func(uint32, uint32, bool) abi.Action) string {
	x.stream.body, x.stream.bodyKind, x.stream.bodyOpen, x.stream.continued = nil, kind, true, false
	passed := ""
	for i, chunk := range chunks {
		x.stream.body = append(x.stream.body, chunk...)
		switch callback(x.id, uint32(len(x.stream.body)), i == len(chunks)-1 && !trailers) {
		case abi.Continue:
			passed += string(x.stream.body)
			x.stream.body = nil
		case abi.Pause:
			if i == len(chunks)-1 && !trailers {
				if x.held(); x.stream.continued {
					passed += string(x.stream.body)
				}
			}
		default:
			x.stream.body = nil
		}
		if x.stream.local != nil || x.stream.reset || x.gone {
			break
		}
	}
	x.stream.bodyOpen = trailers
	return passed
}

// trailers sends the trailers and gives the body that was held back until then.
func (x *exchange) trailers(m abi.MapType, kind abi.BufferType, callback func() abi.Action) string {
	x.stream.bodyKind = kind
	x.event(m, callback)
	x.stream.bodyOpen = false
	return string(x.stream.body)
}

func answer(r Request, up Message) Response {
	if r.UpstreamFunc != nil {
		return r.UpstreamFunc(up)
	}
	if r.Upstream.Status == 0 && r.Upstream.Headers == nil && r.Upstream.Body == "" && r.Upstream.Chunks == nil && r.Upstream.Trailers == nil {
		return Response{Status: 200, Body: "ok"}
	}
	return r.Upstream
}

func requestHeaders(r Request) []sdk.Header {
	or := func(value, otherwise string) string {
		if value == "" {
			return otherwise
		}
		return value
	}
	return append([]sdk.Header{
		{Name: ":authority", Value: or(r.Authority, "waft.test")},
		{Name: ":path", Value: or(r.Path, "/")},
		{Name: ":method", Value: or(r.Method, "GET")},
		{Name: ":scheme", Value: or(r.Scheme, "http")},
	}, lowered(r.Headers)...)
}

func responseHeaders(r Response) []sdk.Header {
	status := r.Status
	if status == 0 {
		status = 200
	}
	return append([]sdk.Header{{Name: ":status", Value: strconv.Itoa(status)}}, lowered(r.Headers)...)
}

func chunksOf(body string, chunks []string) []string {
	if len(chunks) > 0 {
		return chunks
	}
	if body == "" {
		return nil
	}
	return []string{body}
}
