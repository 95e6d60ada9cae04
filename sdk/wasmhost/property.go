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
	st := in.target().stream
	if st == nil {
		return StatusNotFound
	}
	if st.state == nil {
		st.state = map[string]string{}
	}
	if len(st.state) >= maxFilterState {
		return StatusInternalFailure
	}
	st.state[key] = value
	return StatusOK
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

// property reads a property. The path's parts are joined with NUL.
func (c *guestContext) property(path string) ([]byte, Status) {
	parts := strings.Split(path, "\x00")
	for len(parts) > 1 && parts[len(parts)-1] == "" {
		parts = parts[:len(parts)-1]
	}
	if s := c.stream; s != nil {
		if v, ok := s.info.override(parts); ok {
			return v, StatusOK
		}
	}
	switch parts[0] {
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
	case "node":
		return c.nodeProperty(parts[1:])
	case "cluster_name":
		if c.stream != nil && c.stream.info.ClusterName != "" {
			return text(c.stream.info.ClusterName)
		}
	case "route_name":
		if c.stream != nil {
			return text(c.stream.info.RouteName)
		}
	case "listener_direction":
		if c.stream != nil {
			return u64(0)
		}
	case "connection_id":
		if c.stream != nil {
			return u64(0)
		}
	}
	if c.stream == nil {
		return notFound()
	}
	switch parts[0] {
	case "request":
		return c.requestProperty(parts[1:])
	case "response":
		return c.responseProperty(parts[1:])
	case "connection":
		return c.connectionProperty(parts[1:])
	case "source":
		return address(c.stream.info.source(), parts[1:])
	case "destination":
		return address(c.stream.info.destination(), parts[1:])
	case "upstream":
		return c.upstreamProperty(parts[1:])
	}
	if v, ok := c.stream.state[parts[0]]; ok && len(parts) == 1 {
		return text(v)
	}
	return notFound()
}

// override finds a property that the caller of the host gave.
func (i StreamInfo) override(parts []string) ([]byte, bool) {
	if len(i.Properties) == 0 {
		return nil, false
	}
	if v, ok := i.Properties[strings.Join(parts, "\x00")]; ok {
		return v, true
	}
	v, ok := i.Properties[strings.Join(parts, ".")]
	return v, ok
}

func (i StreamInfo) source() string {
	if i.Source == "" {
		return "127.0.0.1:40000"
	}
	return i.Source
}

func (i StreamInfo) destination() string {
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

func (c *guestContext) nodeProperty(parts []string) ([]byte, Status) {
	n := c.in.vm.proxy.Node
	if len(parts) != 1 {
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

// requestProperty reads an attribute of the request. Those of its headers are there while the guest may see the headers, and in on_log.
func (c *guestContext) requestProperty(parts []string) ([]byte, Status) {
	s := c.stream
	d := s.dirs[request]
	if len(parts) == 0 {
		return notFound()
	}
	switch parts[0] {
	case "protocol":
		if s.info.Protocol == "" {
			return text("HTTP/1.1")
		}
		return text(s.info.Protocol)
	case "time":
		return u64(uint64(s.began.UnixNano()))
	case "size":
		if d.headers == nil {
			return notFound()
		}
		if v, ok := d.headers.list.Get("content-length"); ok {
			if n, err := strconv.ParseUint(v, 10, 63); err == nil {
				return u64(n)
			}
		}
		return u64(uint64(len(d.out.Body)))
	case "duration":
		if !c.logging {
			return notFound()
		}
		return u64(uint64(c.in.vm.proxy.now().Sub(s.began)))
	case "total_size":
		if d.headers == nil {
			return notFound()
		}
		return u64(uint64(d.headers.byteSize() + len(d.out.Body)))
	}
	m := c.readMap(MapRequestHeaders)
	if m == nil {
		return notFound()
	}
	header := func(name string) ([]byte, Status) {
		if v, ok := m.list.Get(name); ok {
			return text(v)
		}
		return notFound()
	}
	switch parts[0] {
	case "headers":
		return mapProperty(m, parts[1:])
	case "path":
		return header(":path")
	case "url_path", "query":
		v, ok := m.list.Get(":path")
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
		return header(":authority")
	case "scheme":
		return header(":scheme")
	case "method":
		return header(":method")
	case "referer":
		return header("referer")
	case "useragent":
		return header("user-agent")
	case "id":
		return header("x-request-id")
	}
	return notFound()
}

// mapProperty reads a header map, or one header of it.
func mapProperty(m *headerMap, parts []string) ([]byte, Status) {
	switch len(parts) {
	case 0:
		return marshalPairs(m.list), StatusOK
	case 1:
		if vs := m.list.Values(parts[0]); len(vs) > 0 {
			return text(strings.Join(vs, ","))
		}
	}
	return notFound()
}

func (c *guestContext) responseProperty(parts []string) ([]byte, Status) {
	s := c.stream
	d := s.dirs[response]
	if len(parts) == 0 {
		return notFound()
	}
	switch parts[0] {
	case "code":
		if d.headers == nil {
			return notFound()
		}
		if v, ok := d.headers.list.Get(":status"); ok {
			if n, err := strconv.ParseUint(v, 10, 16); err == nil {
				return u64(n)
			}
		}
	case "code_details":
		switch {
		case s.details != "":
			return text(s.details)
		case d.headers != nil:
			return text("via_upstream")
		}
	case "size":
		return u64(uint64(len(d.out.Body)))
	case "total_size":
		if d.headers != nil {
			return u64(uint64(d.headers.byteSize() + len(d.out.Body)))
		}
	case "flags":
		return u64(0)
	case "grpc_status":
		for _, m := range []*headerMap{d.trailers, d.headers} {
			if m == nil {
				continue
			}
			if v, ok := m.list.Get("grpc-status"); ok {
				if n, err := strconv.ParseUint(v, 10, 16); err == nil {
					return u64(n)
				}
			}
		}
	case "headers":
		if m := c.readMap(MapResponseHeaders); m != nil {
			return mapProperty(m, parts[1:])
		}
	case "trailers":
		if m := c.readMap(MapResponseTrailers); m != nil {
			return mapProperty(m, parts[1:])
		}
	}
	return notFound()
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
	}
	return notFound()
}

func (c *guestContext) upstreamProperty(parts []string) ([]byte, Status) {
	if c.stream.info.UpstreamAddress == "" || !c.stream.dirs[request].passed {
		return notFound()
	}
	return address(c.stream.info.UpstreamAddress, parts)
}
