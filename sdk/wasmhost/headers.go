package wasmhost

import (
	"slices"
	"strings"
)

// Header is one header or trailer. Names are lower case; the pseudo headers of HTTP/2 (":path") stand among them.
type Header struct{ Name, Value string }

// Headers is an ordered list of headers; a name may repeat. The nil Headers is empty. Not for concurrent use.
type Headers []Header

// NewHeaders makes headers from names and values in turn: NewHeaders(":path", "/", "a", "b"). It lower-cases the names.
// It panics on an odd number of arguments, which is a mistake in the program.
func NewHeaders(pairs ...string) Headers {
	if len(pairs)%2 != 0 {
		panic("wasmhost: NewHeaders needs names and values in turn")
	}
	hs := make(Headers, 0, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		hs = append(hs, Header{strings.ToLower(pairs[i]), pairs[i+1]})
	}
	return hs
}

// Get gives the first value of a header, and whether there is one. The name's case does not matter.
func (hs Headers) Get(name string) (string, bool) {
	for i := range hs {
		if strings.EqualFold(hs[i].Name, name) {
			return hs[i].Value, true
		}
	}
	return "", false
}

// Values gives all values of a header in their order.
func (hs Headers) Values(name string) []string {
	var out []string
	for i := range hs {
		if strings.EqualFold(hs[i].Name, name) {
			out = append(out, hs[i].Value)
		}
	}
	return out
}

// Clone copies the list.
func (hs Headers) Clone() Headers { return slices.Clone(hs) }

// without removes a header from the list in place.
func (hs Headers) without(name string) Headers {
	return slices.DeleteFunc(hs, func(h Header) bool { return h.Name == name })
}

// headerMap is a header map as Envoy's HeaderMapImpl keeps it: names in lower case, pseudo headers in front, and for a fixed set of
// names ("inline" headers) one entry whose further values are joined to the first.
type headerMap struct {
	list   Headers
	inline func(name string) bool
}

// newHeaderMap makes a map of the headers, added one by one.
func newHeaderMap(hs Headers, inline func(string) bool) *headerMap {
	m := &headerMap{list: make(Headers, 0, len(hs)+4), inline: inline}
	for _, h := range hs {
		m.add(h.Name, h.Value)
	}
	return m
}

// add appends a value. For an inline header that is there it is joined to the value with a comma, or with "; " for cookies.
func (m *headerMap) add(name, value string) {
	name = strings.ToLower(name)
	if m.inline(name) {
		for i := range m.list {
			if m.list[i].Name == name {
				switch {
				case value == "":
				case m.list[i].Value == "":
					m.list[i].Value = value
				case name == "cookie":
					m.list[i].Value += "; " + value
				default:
					m.list[i].Value += "," + value
				}
				return
			}
		}
	}
	if !strings.HasPrefix(name, ":") {
		m.list = append(m.list, Header{name, value})
		return
	}
	at := 0
	for at < len(m.list) && strings.HasPrefix(m.list[at].Name, ":") {
		at++
	}
	m.list = slices.Insert(m.list, at, Header{name, value})
}

// set removes all values and adds the one.
func (m *headerMap) set(name, value string) {
	m.remove(name)
	m.add(name, value)
}

func (m *headerMap) remove(name string) {
	name = strings.ToLower(name)
	m.list = m.list.without(name)
}

// byteSize is Envoy's HeaderMap::byteSize: the bytes of names and values.
func (m *headerMap) byteSize() int {
	n := 0
	for _, h := range m.list {
		n += len(h.Name) + len(h.Value)
	}
	return n
}

// getBytes is Get for a name in guest memory, which need not be lower case.
func (m *headerMap) getBytes(name []byte) (string, bool) {
	for i := range m.list {
		if equalLower(m.list[i].Name, name) {
			return m.list[i].Value, true
		}
	}
	return "", false
}

// equalLower compares a lower-case name with another of any case.
func equalLower(lower string, name []byte) bool {
	if len(lower) != len(name) {
		return false
	}
	for i := range name {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// Inline headers of Envoy, request side. Repeated values of these are joined into one.
// Measured on Envoy 1.36.4 and 1.40.0, by sending each twice: TestInlineHeaders in filtertest does it again.
func inlineRequest(name string) bool {
	switch name {
	case ":authority", ":method", ":path", ":scheme", ":protocol",
		"accept", "accept-encoding", "access-control-request-headers", "access-control-request-method", "authorization",
		"cache-control", "cdn-loop", "connection", "content-length", "content-type", "cookie", "expect", "forwarded",
		"grpc-accept-encoding", "grpc-timeout", "keep-alive", "origin", "pragma", "proxy-connection", "proxy-status", "referer", "te",
		"transfer-encoding", "upgrade", "user-agent", "via", "x-client-trace-id", "x-forwarded-client-cert", "x-forwarded-for",
		"x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-request-id":
		return true
	}
	return strings.HasPrefix(name, "x-envoy-")
}

// Inline headers of Envoy, response side.
func inlineResponse(name string) bool {
	switch name {
	case ":status", "access-control-allow-credentials", "access-control-allow-headers", "access-control-allow-methods",
		"access-control-allow-origin", "access-control-expose-headers", "access-control-max-age", "cache-control", "connection",
		"content-encoding", "content-length", "content-type", "date", "etag", "grpc-message", "grpc-status", "keep-alive", "location",
		"proxy-connection", "proxy-status", "server", "transfer-encoding", "upgrade", "vary", "via", "x-request-id":
		return true
	}
	return strings.HasPrefix(name, "x-envoy-")
}

// inlineTrailers says that trailers have no inline headers but gRPC's.
func inlineTrailers(name string) bool { return name == "grpc-status" || name == "grpc-message" }
