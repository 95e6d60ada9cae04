package wasmhost

import (
	"encoding/binary"
	"net"
	"strconv"
	"strings"
)

// filterStatePrefix is where set_property writes, in Envoy's filter state.
const filterStatePrefix = "wasm."

func hostGetProperty(in *instance, s []uint64) Status {
	path, ok := in.readString(s[0], s[1])
	if !ok {
		return StatusInvalidMemoryAccess
	}
	value, status := in.target().property(path)
	if status != StatusOK {
		return status
	}
	return in.giveBytes(value, s[2], s[3])
}

func hostSetProperty(in *instance, s []uint64) Status {
	key, ok1 := in.readString(s[0], s[1])
	value, ok2 := in.readString(s[2], s[3])
	if !ok1 || !ok2 {
		return StatusInvalidMemoryAccess
	}
	state := in.target().filterState()
	if state == nil {
		return StatusNotFound
	}
	if *state == nil {
		*state = map[string]string{}
	}
	if len(*state) >= maxFilterState {
		return StatusInternalFailure
	}
	(*state)[key] = value
	return StatusOK
}

// filterState is where a stream or a connection keeps what set_property wrote; nil for other contexts.
func (c *guestContext) filterState() *map[string]string {
	switch {
	case c.stream != nil:
		return &c.stream.state
	case c.conn != nil:
		return &c.conn.state
	}
	return nil
}

// maxFilterState bounds the properties that a guest sets on one stream.
const maxFilterState = 10_000

// u64 encodes a number as a property: eight bytes, little-endian. Signed numbers, times (nanoseconds since 1970) and durations
// (nanoseconds) look the same.
func u64(v uint64) ([]byte, Status) { return binary.LittleEndian.AppendUint64(nil, v), StatusOK }

func text(s string) ([]byte, Status) { return []byte(s), StatusOK }

func notFound() ([]byte, Status) { return nil, StatusNotFound }

// boolean encodes a truth value: one byte.
func boolean(b bool) ([]byte, Status) { return []byte{byte(boolArg(b))}, StatusOK }

// property reads a property. The path's parts are joined with NUL. What is there, and when, was measured on Envoy 1.36.4 and 1.40.0: the
// attributes of Envoy's documentation, those of headers only while the guest may see the headers; the older names of Istio's host
// (node, cluster_name, route_name, listener_direction) are gone.
func (c *guestContext) property(path string) ([]byte, Status) {
	if path == "" {
		return nil, StatusSerialization
	}
	parts := strings.Split(path, "\x00")
	if len(parts) > 1 && parts[len(parts)-1] == "" {
		parts = parts[:len(parts)-1]
	}
	s := c.stream
	if s != nil {
		if v, ok := s.info.override(parts); ok {
			return v, StatusOK
		}
	}
	if c.conn != nil {
		return c.conn.property(parts)
	}
	if len(parts) == 1 {
		if v, status := c.topProperty(parts[0]); status != StatusNotFound {
			return v, status
		}
	}
	switch parts[0] {
	case "xds":
		return c.xdsProperty(parts[1:])
	case "request", "response", "connection", "source", "destination", "upstream", "metadata", "filter_state", "upstream_filter_state":
		if s == nil {
			return notFound()
		}
	default:
		if s != nil && len(parts) == 1 {
			if v, ok := s.state[parts[0]]; ok {
				return text(v)
			}
		}
		return notFound()
	}
	if len(parts) == 1 {
		return c.groupProperty(parts[0])
	}
	switch parts[0] {
	case "request":
		return c.requestProperty(parts[1:])
	case "response":
		return c.responseProperty(parts[1:])
	case "connection":
		return c.connectionProperty(parts[1:])
	case "source":
		return address(s.info.source(), parts[1:])
	case "destination":
		return address(s.info.destination(), parts[1:])
	case "upstream":
		return c.upstreamProperty(parts[1:])
	case "filter_state":
		return stateProperty(s.state, parts[1:])
	}
	return notFound()
}

// stateProperty reads what set_property wrote by its place in the filter state.
func stateProperty(state map[string]string, parts []string) ([]byte, Status) {
	name, own := strings.CutPrefix(parts[0], filterStatePrefix)
	if v, ok := state[name]; ok && own && len(parts) == 1 {
		return text(v)
	}
	return notFound()
}

// topProperty reads a property that stands by itself.
func (c *guestContext) topProperty(name string) ([]byte, Status) {
	switch name {
	case "plugin_name":
		if c.plugin != nil {
			return text(c.plugin.cfg.Name)
		}
	case "plugin_root_id":
		if c.plugin != nil {
			return text(c.plugin.cfg.RootID)
		}
	case "plugin_vm_id":
		return text(c.in.vm.cfg.ID)
	case "connection_id":
		if c.stream != nil {
			return u64(0)
		}
	}
	return notFound()
}

// groupProperty reads a whole group of attributes: Envoy cannot serialise one, except the metadata, which is an empty message here.
func (c *guestContext) groupProperty(name string) ([]byte, Status) {
	switch name {
	case "metadata":
		return nil, StatusOK
	case "upstream_filter_state":
		if !c.stream.connected {
			return notFound()
		}
	}
	return nil, StatusSerialization
}

// xdsProperty reads an attribute of the configuration.
func (c *guestContext) xdsProperty(parts []string) ([]byte, Status) {
	s := c.stream
	switch {
	case len(parts) == 0:
		return nil, StatusSerialization
	case parts[0] == "node":
		return c.nodeProperty(parts[1:])
	case s == nil || len(parts) > 1:
		return notFound()
	}
	switch parts[0] {
	case "cluster_name":
		return text(s.info.ClusterName)
	case "route_name":
		return text(s.info.RouteName)
	case "virtual_host_name":
		return text(s.info.VirtualHost)
	case "filter_chain_name":
		return text("")
	case "listener_direction":
		return u64(0)
	case "cluster_metadata", "listener_metadata", "route_metadata":
		if s.begun {
			return nil, StatusOK // an empty message
		}
	case "upstream_host_metadata":
		if s.dirs[request].passed {
			return nil, StatusSerialization
		}
	}
	return notFound()
}

// override finds a property that the caller of the host gave.
func (i *StreamInfo) override(parts []string) ([]byte, bool) {
	if len(i.Properties) == 0 {
		return nil, false
	}
	if v, ok := i.Properties[strings.Join(parts, "\x00")]; ok {
		return v, true
	}
	v, ok := i.Properties[strings.Join(parts, ".")]
	return v, ok
}

func (i *StreamInfo) source() string {
	if i.Source == "" {
		return "127.0.0.1:40000"
	}
	return i.Source
}

func (i *StreamInfo) destination() string {
	if i.Destination == "" {
		return "127.0.0.1:10000"
	}
	return i.Destination
}

func address(addr string, parts []string) ([]byte, Status) {
	if len(parts) != 1 || addr == "" {
		return notFound()
	}
	switch parts[0] {
	case "address":
		return text(addr)
	case "port":
		if _, port, err := net.SplitHostPort(addr); err == nil {
			if n, err := strconv.ParseUint(port, 10, 16); err == nil {
				return u64(n)
			}
		}
	}
	return notFound()
}

// nodeProperty reads the node, a message of the configuration API.
func (c *guestContext) nodeProperty(parts []string) ([]byte, Status) {
	n := c.in.vm.proxy.Node
	if len(parts) == 0 {
		return n.marshal(), StatusOK
	}
	if len(parts) > 1 {
		return notFound()
	}
	switch parts[0] {
	case "id":
		return text(n.ID)
	case "cluster":
		return text(n.Cluster)
	}
	return notFound()
}

// marshal serialises the node as a message envoy.config.core.v3.Node.
func (n Node) marshal() []byte {
	var out []byte
	for field, v := range []string{n.ID, n.Cluster} {
		if v != "" {
			out = append(out, byte(field+1)<<3|2)
			out = binary.AppendUvarint(out, uint64(len(v)))
			out = append(out, v...)
		}
	}
	return out
}

// requestProperty reads an attribute of the request. Those of its headers are there while the guest may see the headers, and in on_log.
func (c *guestContext) requestProperty(parts []string) ([]byte, Status) {
	s := c.stream
	d := s.dirs[request]
	m := c.attributes(MapRequestHeaders)
	switch parts[0] {
	case "protocol":
		if s.info.Protocol == "" {
			return text("HTTP/1.1")
		}
		return text(s.info.Protocol)
	case "time":
		return u64(uint64(s.began.UnixNano()))
	case "size":
		if m != nil {
			if v, ok := m.get("content-length"); ok {
				if n, err := strconv.ParseUint(v, 10, 63); err == nil {
					return u64(n)
				}
			}
		}
		return u64(uint64(d.received))
	case "duration":
		if !c.logging {
			return notFound()
		}
		return u64(uint64(c.in.vm.proxy.now().Sub(s.began)))
	case "total_size":
		return u64(uint64(m.byteSize() + d.received))
	case "headers":
		return mapProperty(m, parts[1:])
	}
	if m == nil || len(parts) > 1 {
		return notFound()
	}
	switch parts[0] {
	case "path":
		return headerProperty(m, ":path")
	case "url_path", "query":
		v, ok := m.get(":path")
		if !ok {
			return notFound()
		}
		path, query, _ := strings.Cut(v, "?")
		if parts[0] == "query" {
			query, _, _ = strings.Cut(query, "#")
			return text(query)
		}
		return text(path)
	case "host":
		return headerProperty(m, ":authority")
	case "scheme":
		return headerProperty(m, ":scheme")
	case "method":
		return headerProperty(m, ":method")
	case "referer":
		return headerProperty(m, "referer")
	case "useragent":
		return headerProperty(m, "user-agent")
	case "id":
		return headerProperty(m, "x-request-id")
	}
	return notFound()
}

// attributes is the map that properties are read from: the one that the last callback left visible, before the one of on_log.
func (c *guestContext) attributes(t MapType) *headerMap {
	var m *headerMap
	switch t {
	case MapRequestHeaders, MapResponseHeaders:
		m = c.headers[t/2]
	case MapResponseTrailers:
		m = c.trailers[response]
	}
	if m != nil {
		return m
	}
	return c.readMap(t)
}

func headerProperty(m *headerMap, name string) ([]byte, Status) {
	if v, ok := m.get(name); ok {
		return text(v)
	}
	return notFound()
}

// mapProperty reads a header map, an empty one if it cannot be seen now, or one header of it, its values joined with commas.
func mapProperty(m *headerMap, parts []string) ([]byte, Status) {
	if m == nil {
		m = &headerMap{}
	}
	switch len(parts) {
	case 0:
		return marshalPairs(m.list), StatusOK
	case 1:
		if vs := m.list.Values(m.name(parts[0])); len(vs) > 0 {
			return text(strings.Join(vs, ","))
		}
	}
	return notFound()
}

// responseProperty reads an attribute of the response.
func (c *guestContext) responseProperty(parts []string) ([]byte, Status) {
	s := c.stream
	d := s.dirs[response]
	switch parts[0] {
	case "headers":
		return mapProperty(c.attributes(MapResponseHeaders), parts[1:])
	case "trailers":
		return mapProperty(c.attributes(MapResponseTrailers), parts[1:])
	}
	if len(parts) > 1 {
		return notFound()
	}
	switch parts[0] {
	case "code":
		if n, ok := s.responseCode(); ok {
			return u64(uint64(n))
		}
	case "code_details":
		switch {
		case s.localReply:
			return text(s.details)
		case d.headers != nil:
			return text("via_upstream")
		}
	case "size":
		return u64(uint64(len(d.out.Body)))
	case "total_size":
		return u64(uint64(c.attributes(MapResponseHeaders).byteSize() + c.attributes(MapResponseTrailers).byteSize() + len(d.out.Body)))
	case "flags":
		return u64(0)
	case "backend_latency":
		if d.observed && !s.localReply {
			return u64(uint64(c.in.vm.proxy.now().Sub(s.began)))
		}
	case "grpc_status":
		for _, m := range []*headerMap{d.trailers, d.headers} {
			if m == nil {
				continue
			}
			if v, ok := m.get("grpc-status"); ok {
				if n, err := strconv.ParseUint(v, 10, 16); err == nil {
					return u64(n)
				}
			}
		}
		if n, ok := s.responseCode(); ok {
			return u64(uint64(httpToGRPC(n)))
		}
	}
	return notFound()
}

// responseCode is the status of the response that has begun.
func (s *Stream) responseCode() (uint32, bool) {
	m := s.dirs[response].headers
	if m == nil {
		return 0, false
	}
	v, _ := m.get(":status")
	n, err := strconv.ParseUint(v, 10, 16)
	return uint32(n), err == nil
}

func (c *guestContext) connectionProperty(parts []string) ([]byte, Status) {
	if len(parts) != 1 {
		return notFound()
	}
	switch parts[0] {
	case "id":
		return u64(0)
	case "mtls":
		return boolean(false)
	case "requested_server_name":
		return text("")
	}
	return notFound()
}

// upstreamProperty reads an attribute of the upstream, which is known once the request's headers have reached the router.
func (c *guestContext) upstreamProperty(parts []string) ([]byte, Status) {
	if len(parts) != 1 {
		return notFound()
	}
	passed := c.stream.dirs[request].passed
	if parts[0] == "request_attempt_count" {
		return u64(boolArg(passed))
	}
	if !passed {
		return notFound()
	}
	switch parts[0] {
	case "address", "port":
		return address(c.stream.info.upstream(), parts)
	case "transport_failure_reason":
		return text("")
	}
	if !c.stream.connected {
		return notFound()
	}
	switch parts[0] {
	case "local_address":
		return text("127.0.0.1:40001")
	case "cx_pool_ready_duration":
		return u64(0)
	}
	return notFound()
}

func (i *StreamInfo) upstream() string {
	if i.UpstreamAddress == "" {
		return "127.0.0.1:8080"
	}
	return i.UpstreamAddress
}
