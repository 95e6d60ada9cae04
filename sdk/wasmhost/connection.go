package wasmhost

import (
	"net/http"
	"strconv"
	"strings"
)

// This file is Envoy's HTTP connection manager, codec and router, as far as a filter or its peers see their work. Exchange uses it;
// a Stream that is fed piece by piece does not.

// NewRequest makes the request that the first filter sees when an HTTP/1.1 client that is not trusted sends it to Envoy: hop-by-hop headers
// and those that only Envoy itself may set are gone, those that the connection manager adds are there.
func (p Profile) NewRequest(method, path, authority string, headers Headers, body []byte) Request {
	hs := NewHeaders(":authority", authority, ":path", path, ":method", method, ":scheme", "http")
	m := newHeaderMap(hs, requestMap)
	for _, h := range headers {
		name := strings.ToLower(h.Name)
		if !notFromClients[name] && (name != streamDuration || !p.dropsStreamDuration) {
			m.add(name, h.Value)
		}
	}
	if len(body) > 0 {
		m.add("content-length", strconv.Itoa(len(body)))
	}
	if _, ok := m.get("x-forwarded-proto"); !ok {
		m.add("x-forwarded-proto", "http")
	}
	m.put("x-request-id", requestID)
	return Request{Headers: m.list, Body: body}
}

// streamDuration is a request header that clients may set for the router up to some version of Envoy.
const streamDuration = "x-envoy-upstream-stream-duration-ms"

// requestID stands for the random id that Envoy makes.
const requestID = "00000000-0000-4000-8000-000000000000"

// notFromClients are the request headers that Envoy's connection manager removes before any filter.
var notFromClients = names(`connection keep-alive proxy-connection te transfer-encoding upgrade
	x-envoy-expected-rq-timeout-ms x-envoy-force-trace x-envoy-hedge-on-per-try-timeout x-envoy-internal
	x-envoy-ip-tags x-envoy-max-retries x-envoy-original-url x-envoy-retriable-header-names x-envoy-retriable-status-codes
	x-envoy-retry-grpc-on x-envoy-retry-on x-envoy-upstream-alt-stat-name x-envoy-upstream-rq-per-try-timeout-ms
	x-envoy-upstream-rq-timeout-alt-response x-envoy-upstream-rq-timeout-ms x-forwarded-client-cert`)

// forRouter are the request headers that tell Envoy's router what to do; it removes them.
var forRouter = strings.Fields(`x-envoy-hedge-on-per-try-timeout x-envoy-max-retries x-envoy-retriable-header-names
	x-envoy-retriable-status-codes x-envoy-retry-grpc-on x-envoy-retry-on x-envoy-upstream-alt-stat-name
	x-envoy-upstream-rq-per-try-timeout-ms x-envoy-upstream-rq-timeout-alt-response x-envoy-upstream-rq-timeout-ms
	x-envoy-upstream-stream-duration-ms`)

// NewResponse makes the response that the last filter sees when an HTTP/1.1 upstream sends it to Envoy. method is the request's.
func (p Profile) NewResponse(method string, status int, headers Headers, body []byte) Response {
	m := newHeaderMap(NewHeaders(":status", strconv.Itoa(status)), responseMap)
	for _, h := range headers {
		if name := strings.ToLower(h.Name); name != "transfer-encoding" && (name != "keep-alive" || !p.dropsKeepAlive) {
			m.add(name, h.Value)
		}
	}
	if status == http.StatusNoContent || status == http.StatusNotModified {
		body = nil
	} else {
		m.set("content-length", strconv.Itoa(len(body)))
	}
	if method == http.MethodHead {
		body = nil
	}
	m.put("x-envoy-upstream-service-time", "0")
	return Response{Headers: m.list, Body: body}
}

// routeTimeout is the header in which the router tells the upstream how long it waits, with Envoy's default.
const routeTimeoutHeader, routeTimeout = "x-envoy-expected-rq-timeout-ms", "15000"

// route is what the router and the upstream's codec do with the request's headers after the filters. ok false: they answer with the reply
// instead. The route takes every path.
func route(m *headerMap) (r localReply, ok bool) {
	path, _ := m.get(":path")
	if _, forwarded := m.get("x-forwarded-proto"); !forwarded || !strings.HasPrefix(path, "/") {
		return localReply{code: http.StatusNotFound, grpc: -1, details: "route_not_found"}, false
	}
	if scheme, _ := m.get(":scheme"); scheme != "http" && scheme != "https" {
		m.put(":scheme", "http")
	}
	timeout := routeTimeout
	if v, ok := m.get("x-envoy-upstream-rq-timeout-ms"); ok {
		if _, err := strconv.ParseUint(v, 10, 63); err == nil {
			timeout = v
		}
	}
	for _, name := range forRouter {
		m.remove(name)
	}
	m.put(routeTimeoutHeader, timeout)
	refuse := func(text string) (localReply, bool) {
		return localReply{code: http.StatusServiceUnavailable, body: text, grpc: -1, details: "http1.invalid_headers"}, false
	}
	if _, ok := m.get(":method"); !ok {
		return refuse("missing required header: :method")
	}
	for _, h := range m.list {
		if !strings.HasPrefix(h.Name, ":") && !validName(h.Name) {
			return refuse("invalid header name: " + h.Name)
		}
	}
	return localReply{}, true
}

// validName says whether a header's name is a token of HTTP.
func validName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return name != ""
}

// respond is what the connection manager does with the response's headers after the filters. ok false: it answers with the reply instead.
func (s *Stream) respondHeaders(m *headerMap) (r localReply, ok bool) {
	status, _ := m.get(":status")
	if _, err := strconv.ParseUint(status, 10, 16); err != nil {
		return localReply{code: http.StatusBadGateway, body: "missing required header: :status", grpc: -1, details: "missing_status"}, false
	}
	for _, name := range []string{"connection", "upgrade", "transfer-encoding", "proxy-connection"} {
		m.remove(name)
	}
	if !s.vm.module.profile.dropsKeepAlive {
		m.remove("keep-alive")
	}
	m.put("date", s.vm.proxy.date())
	m.put("server", "envoy")
	if !s.dirs[request].observed {
		m.put("connection", "close")
	}
	return localReply{}, true
}

// wireBody is the body that the other end of an HTTP/1.1 connection reads, by the headers' framing. ok false: it waits for ever for the
// rest. Bytes beyond content-length are not a part of the message.
func wireBody(headers Headers, body []byte) (read []byte, ok bool) {
	v, has := headers.Get("content-length")
	if !has {
		if te, has := headers.Get("transfer-encoding"); has && strings.Contains(te, "chunked") && len(body) == 0 {
			return nil, false // the codec leaves the framing to the header, and never sends the last chunk
		}
		return body, true
	}
	n, err := strconv.ParseUint(v, 10, 63)
	if err != nil || n > uint64(len(body)) {
		return nil, false
	}
	return body[:n], true
}

// wireTrailers are the trailers that the other end of an HTTP/1.1 connection reads: a message with a length has none.
func wireTrailers(headers, trailers Headers) Headers {
	if _, has := headers.Get("content-length"); has {
		return nil
	}
	return trailers
}

// noBody says that a response has no body, whatever its headers say.
func noBody(method, status string) bool {
	return method == http.MethodHead || status == "204" || status == "304" || strings.HasPrefix(status, "1") && len(status) == 3
}
