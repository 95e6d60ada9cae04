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
		if len(hs[i].Name) == len(name) && strings.EqualFold(hs[i].Name, name) {
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
// names ("inline" headers) one entry whose further values are joined to the first with a comma.
type headerMap struct {
	list Headers
	kind mapKind
}

// mapKind says which names are inline.
type mapKind uint8

const (
	requestMap mapKind = iota
	responseMap
	trailerMap
)

// newHeaderMap makes a map of the headers, added one by one.
func newHeaderMap(hs Headers, kind mapKind) *headerMap { return new(headerMap).fill(hs, kind, nil) }

// fill is newHeaderMap for a map that is there already. The list lies in room if that has enough for some more headers.
func (m *headerMap) fill(hs Headers, kind mapKind, room Headers) *headerMap {
	const more = 2
	if cap(room) < len(hs)+more {
		room = make(Headers, 0, len(hs)+2*more)
	}
	m.list, m.kind = room[:0], kind
	if m.kept(hs) {
		m.list = append(m.list, hs...)
		return m
	}
	for _, h := range hs {
		m.add(h.Name, h.Value)
	}
	return m
}

// kept says whether the map keeps headers just as they are, which most are.
func (m *headerMap) kept(hs Headers) bool {
	regular := false
	for i := range hs {
		name := hs[i].Name
		switch {
		case name == "" || name[0] != ':':
			regular = true
		case regular:
			return false
		}
		for _, c := range []byte(name) {
			if c >= 'A' && c <= 'Z' || c >= 0x80 {
				return false
			}
		}
		if m.kind == requestMap && name == "host" {
			return false
		}
		for j := range hs[:i] {
			if hs[j].Name == name && m.inline(name) {
				return false
			}
		}
	}
	return true
}

// name is the name under which the map keeps a header: lower case, and :authority for host in a request.
func (m *headerMap) name(name string) string {
	name = strings.ToLower(name)
	if m.kind == requestMap && name == "host" {
		return ":authority"
	}
	return name
}

func (m *headerMap) inline(name string) bool {
	switch m.kind {
	case requestMap:
		return inlineRequest[name]
	case responseMap:
		return inlineResponse[name]
	}
	return inlineTrailer[name]
}

// index finds a header by the name under which the map keeps it; -1 if it is not there.
func (m *headerMap) index(name string) int {
	for i := range m.list {
		if m.list[i].Name == name {
			return i
		}
	}
	return -1
}

// get gives the first value of a header.
func (m *headerMap) get(name string) (string, bool) {
	if i := m.index(m.name(name)); i >= 0 {
		return m.list[i].Value, true
	}
	return "", false
}

// add appends a value.
func (m *headerMap) add(name, value string) {
	name = m.name(name)
	if i := m.index(name); i >= 0 && m.inline(name) {
		switch {
		case value == "":
		case m.list[i].Value == "":
			m.list[i].Value = value
		default:
			m.list[i].Value += "," + value
		}
		return
	}
	if !strings.HasPrefix(name, ":") {
		m.list = append(m.list, Header{name, value})
		return
	}
	at := 0
	for at < len(m.list) && strings.HasPrefix(m.list[at].Name, ":") {
		at++
	}
	if at == len(m.list) {
		m.list = append(m.list, Header{name, value})
		return
	}
	m.list = slices.Insert(m.list, at, Header{name, value})
}

// set removes all values and adds the one, at the end.
func (m *headerMap) set(name, value string) {
	m.remove(name)
	m.add(name, value)
}

// put sets a header where it stands, or adds it: Envoy's own way with inline headers.
func (m *headerMap) put(name, value string) {
	if i := m.index(name); i >= 0 {
		m.list[i].Value = value
		return
	}
	m.add(name, value)
}

func (m *headerMap) remove(name string) { m.list = m.list.without(m.name(name)) }

// byteSize is Envoy's HeaderMap::byteSize: the bytes of names and values.
func (m *headerMap) byteSize() int {
	if m == nil {
		return 0
	}
	n := 0
	for _, h := range m.list {
		n += len(h.Name) + len(h.Value)
	}
	return n
}

// getBytes is get for a name in guest memory, without copying it.
func (m *headerMap) getBytes(name []byte) (string, bool) {
	if m.kind == requestMap && equalLower("host", name) {
		return m.get(":authority")
	}
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

func names(lists ...string) map[string]bool {
	out := map[string]bool{}
	for _, l := range lists {
		for _, n := range strings.Fields(l) {
			out[n] = true
		}
	}
	return out
}

// The inline headers, as measured on Envoy 1.36.4 and 1.40.0 by adding each twice (TestProbe in package filtertest does it again).
var (
	inlineBoth = `connection content-length content-type keep-alive proxy-connection proxy-status transfer-encoding upgrade via
		cache-control content-encoding x-request-id x-envoy-attempt-count x-envoy-decorator-operation`

	inlineRequest = names(inlineBoth, `:authority :method :path :protocol :scheme
		accept accept-encoding access-control-request-headers access-control-request-method authentication authorization cdn-loop expect
		grpc-accept-encoding grpc-timeout if-match if-modified-since if-none-match if-range if-unmodified-since origin pragma referer te user-agent
		x-client-trace-id x-forwarded-client-cert x-forwarded-for x-forwarded-host x-forwarded-port x-forwarded-proto
		x-envoy-downstream-service-cluster x-envoy-downstream-service-node x-envoy-expected-rq-timeout-ms x-envoy-external-address
		x-envoy-force-trace x-envoy-hedge-on-per-try-timeout x-envoy-internal x-envoy-ip-tags x-envoy-is-timeout-retry x-envoy-max-retries
		x-envoy-original-host x-envoy-original-path x-envoy-original-url x-envoy-retriable-header-names x-envoy-retriable-status-codes
		x-envoy-retry-grpc-on x-envoy-retry-on x-envoy-upstream-alt-stat-name x-envoy-upstream-rq-per-try-timeout-ms
		x-envoy-upstream-rq-timeout-alt-response x-envoy-upstream-rq-timeout-ms x-envoy-upstream-stream-duration-ms`)

	inlineResponse = names(inlineBoth, `:status
		access-control-allow-credentials access-control-allow-headers access-control-allow-methods access-control-allow-origin
		access-control-expose-headers access-control-max-age age date etag expires grpc-message grpc-status last-modified location server vary
		x-envoy-degraded x-envoy-immediate-health-check-fail x-envoy-ratelimited x-envoy-upstream-canary
		x-envoy-upstream-healthchecked-cluster x-envoy-upstream-service-time`)

	inlineTrailer = names("grpc-status grpc-message")
)
