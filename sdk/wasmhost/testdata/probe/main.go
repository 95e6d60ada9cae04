// Command probe is a filter that logs what a guest sees: at every callback the maps, the buffers, the properties, and what host calls
// return. Its log in wasmhost must be its log in Envoy, line for line.
package main

import (
	"encoding/binary"
	"fmt"
	"sort"
	"strings"
	"unsafe"

	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm"
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm/types"
)

func main() {}

func init() { proxywasm.SetVMContext(&vmContext{}) }

type vmContext struct{ types.DefaultVMContext }

func (*vmContext) OnVMStart(size int) types.OnVMStartStatus {
	say("vm start %d %s %s", size, buffer(6), buffer(7))
	return types.OnVMStartStatusOK
}

func (*vmContext) NewPluginContext(id uint32) types.PluginContext {
	say("new plugin %d %s", id, buffer(7))
	return &plugin{}
}

type plugin struct {
	types.DefaultPluginContext
	steps []string
}

func (p *plugin) OnPluginStart(size int) types.OnPluginStartStatus {
	say("plugin start %d %s %s", size, buffer(6), buffer(7))
	props()
	maps()
	data, _ := proxywasm.GetPluginConfiguration()
	p.steps = strings.Fields(string(data))
	abuse()
	return types.OnPluginStartStatusOK
}

func (p *plugin) OnTick() { say("tick") }

func (p *plugin) NewHttpContext(id uint32) types.HttpContext {
	say("new stream")
	props()
	return &stream{p: p}
}

// stream does at every callback what the request header x-steps says, as "request-headers:deny,response-body:pause".
type stream struct {
	types.DefaultHttpContext
	p     *plugin
	steps map[string][]string
	held  bool
}

func say(format string, args ...any) { proxywasm.LogInfo(fmt.Sprintf(format, args...)) }

func (s *stream) at(name string, size int, end bool) types.Action {
	say("-- %s %d %t", name, size, end)
	if s.steps["props"] != nil {
		props()
	}
	if s.steps["quiet"] == nil {
		maps() // asking for the size of trailers makes them, at the end of a body
	}
	say("body %s %s", buffer(0), buffer(1))
	action := types.ActionContinue
	for _, step := range s.steps[name] {
		step, arg, _ := strings.Cut(step, "=")
		switch step {
		case "pause":
			action = types.ActionPause
		case "pause-until-end":
			if !end {
				action = types.ActionPause
			}
		case "deny":
			say("deny %v", proxywasm.SendHttpResponse(403, [][2]string{{"x-why", name}, {"content-type", "text/x"}}, []byte("no"), -1))
		case "deny-empty":
			say("deny %v", proxywasm.SendHttpResponse(403, [][2]string{{"content-type", "text/x"}}, nil, -1))
		case "deny-grpc":
			say("deny %v", proxywasm.SendHttpResponse(403, nil, []byte("no way"), 7))
		case "resume-request":
			say("resume %v", proxywasm.ResumeHttpRequest())
		case "resume-response":
			say("resume %v", proxywasm.ResumeHttpResponse())
		case "close":
			say("close %d", closeStream(0))
		case "callout":
			_, err := proxywasm.DispatchHttpCall("callout", [][2]string{{":method", "GET"}, {":path", "/callout"}, {":authority", "callout"}}, nil, nil, 5000,
				func(headers, body, trailers int) {
					say("callout %d %d %s", body, trailers, buffer(4))
					maps()
					if strings.HasPrefix(name, "request") {
						say("resume %v", proxywasm.ResumeHttpRequest())
					} else {
						say("resume %v", proxywasm.ResumeHttpResponse())
					}
					maps()
				})
			say("dispatch %v", err)
		case "callout-at-end":
			if end {
				_, err := proxywasm.DispatchHttpCall("callout", [][2]string{{":method", "GET"}, {":path", "/callout"}, {":authority", "callout"}}, nil, nil, 5000,
					func(headers, body, trailers int) { say("resume %v", proxywasm.ResumeHttpRequest()) })
				say("dispatch %v", err)
			}
		case "callout-trap":
			_, err := proxywasm.DispatchHttpCall("callout", [][2]string{{":method", "GET"}, {":path", "/callout"}, {":authority", "callout"}}, nil, nil, 5000,
				func(headers, body, trailers int) { panic("in the callout") })
			say("dispatch %v", err)
		case "callout-deny":
			_, err := proxywasm.DispatchHttpCall("callout", [][2]string{{":method", "GET"}, {":path", "/callout"}, {":authority", "callout"}}, nil, nil, 5000,
				func(headers, body, trailers int) {
					say("deny %v", proxywasm.SendHttpResponse(403, nil, []byte("callout says no"), -1))
				})
			say("dispatch %v", err)
		case "prepend":
			say("prepend %s", status(setBuffer(which(name), 0, 0, arg)))
		case "append":
			say("append %s", status(setBuffer(which(name), 1<<30, 0, arg)))
		case "replace":
			say("replace %s", status(setBuffer(which(name), 0, 1<<30, arg)))
		case "replace2":
			say("replace2 %s", status(setBuffer(which(name), 0, 2, arg)))
		case "middle":
			say("middle %s", status(setBuffer(which(name), 1, 1, arg)))
		case "add":
			k, v, _ := strings.Cut(arg, "+")
			say("add %v", proxywasm.AddHttpRequestHeader(k, v))
			say("add %v", proxywasm.AddHttpResponseHeader(k, v))
			maps()
		case "set":
			k, v, _ := strings.Cut(arg, "+")
			say("set %v", proxywasm.ReplaceHttpRequestHeader(k, v))
			say("set %v", proxywasm.ReplaceHttpResponseHeader(k, v))
			maps()
		case "del":
			say("del %v", proxywasm.RemoveHttpRequestHeader(arg))
			say("del %v", proxywasm.RemoveHttpResponseHeader(arg))
			maps()
		case "setall":
			say("setall %v", proxywasm.ReplaceHttpRequestHeaders([][2]string{{":path", "/all"}, {":method", "PUT"}, {":authority", "all"}, {"B", "2"}, {"a", "1"}, {":scheme", "http"}}))
			maps()
		case "trailer":
			say("trailer %v", proxywasm.AddHttpRequestTrailer("x-t", "1"))
			say("trailer %v", proxywasm.AddHttpResponseTrailer("x-t", "1"))
		case "setprop":
			say("setprop %v", proxywasm.SetProperty([]string{"mine", "own"}, []byte("v")))
			v, err := proxywasm.GetProperty([]string{"mine", "own"})
			say("getprop %q %v", v, err)
			say("setprop %v", proxywasm.SetProperty([]string{"single"}, []byte("v")))
			v, err = proxywasm.GetProperty([]string{"single"})
			say("getprop %q %v", v, err)
		case "trap":
			panic("as told")
		case "abuse":
			abuse()
		}
	}
	return action
}

func which(name string) uint32 {
	if strings.HasPrefix(name, "request") {
		return 0
	}
	return 1
}

func (s *stream) OnHttpRequestHeaders(n int, end bool) types.Action {
	s.steps = map[string][]string{}
	v, _ := proxywasm.GetHttpRequestHeader("x-steps")
	for _, part := range strings.Split(v, ",") {
		name, step, _ := strings.Cut(strings.TrimSpace(part), ":")
		if name != "" {
			s.steps[name] = append(s.steps[name], step)
		}
	}
	return s.at("request-headers", n, end)
}
func (s *stream) OnHttpRequestBody(n int, end bool) types.Action { return s.at("request-body", n, end) }
func (s *stream) OnHttpRequestTrailers(n int) types.Action       { return s.at("request-trailers", n, true) }
func (s *stream) OnHttpResponseHeaders(n int, end bool) types.Action {
	return s.at("response-headers", n, end)
}
func (s *stream) OnHttpResponseBody(n int, end bool) types.Action {
	return s.at("response-body", n, end)
}
func (s *stream) OnHttpResponseTrailers(n int) types.Action {
	return s.at("response-trailers", n, true)
}
func (s *stream) OnHttpStreamDone() { s.at("log", 0, false) }

var names = [...]string{"OK", "NOT_FOUND", "BAD_ARGUMENT", "SERIALIZATION", "PARSE", "BAD_EXPRESSION", "INVALID_MEMORY", "EMPTY", "CAS_MISMATCH", "RESULT_MISMATCH", "INTERNAL", "BROKEN", "UNIMPLEMENTED"}

func status(s uint32) string {
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprint(s)
}

//go:wasmimport env proxy_get_buffer_bytes
func getBufferBytes(t, start, size uint32, ptr, n unsafe.Pointer) uint32

//go:wasmimport env proxy_get_buffer_status
func getBufferStatus(t uint32, n, flags unsafe.Pointer) uint32

//go:wasmimport env proxy_set_buffer_bytes
func setBufferBytes(t, start, size uint32, ptr unsafe.Pointer, n uint32) uint32

//go:wasmimport env proxy_get_header_map_pairs
func getPairs(t uint32, ptr, n unsafe.Pointer) uint32

//go:wasmimport env proxy_get_header_map_size
func getMapSize(t uint32, n unsafe.Pointer) uint32

//go:wasmimport env proxy_get_header_map_value
func getMapValue(t uint32, k unsafe.Pointer, kn uint32, ptr, n unsafe.Pointer) uint32

//go:wasmimport env proxy_add_header_map_value
func addMapValue(t uint32, k unsafe.Pointer, kn uint32, v unsafe.Pointer, vn uint32) uint32

//go:wasmimport env proxy_get_property
func getProperty(p unsafe.Pointer, pn uint32, ptr, n unsafe.Pointer) uint32

//go:wasmimport env proxy_close_stream
func closeStream(t uint32) uint32

//go:wasmimport env proxy_continue_stream
func continueStream(t uint32) uint32

//go:wasmimport env proxy_get_status
func getStatus(code, ptr, n unsafe.Pointer) uint32

//go:wasmimport env proxy_log
func log(level uint32, p unsafe.Pointer, n uint32) uint32

//go:wasmimport env proxy_define_metric
func defineMetric(t uint32, p unsafe.Pointer, n uint32, id unsafe.Pointer) uint32

//go:wasmimport env proxy_increment_metric
func incrementMetric(id uint32, offset int64) uint32

//go:wasmimport env proxy_record_metric
func recordMetric(id uint32, value uint64) uint32

//go:wasmimport env proxy_get_metric
func getMetric(id uint32, value unsafe.Pointer) uint32

//go:wasmimport env proxy_set_effective_context
func setEffective(id uint32) uint32

//go:wasmimport env proxy_done
func done() uint32

//go:wasmimport env proxy_http_call
func httpCall(u unsafe.Pointer, un uint32, h unsafe.Pointer, hn uint32, b unsafe.Pointer, bn uint32, t unsafe.Pointer, tn uint32, ms uint32, token unsafe.Pointer) uint32

//go:wasmimport env proxy_grpc_call
func grpcCall(s unsafe.Pointer, sn uint32, a unsafe.Pointer, an uint32, m unsafe.Pointer, mn uint32, i unsafe.Pointer, in uint32, r unsafe.Pointer, rn uint32, ms uint32, token unsafe.Pointer) uint32

//go:wasmimport env proxy_grpc_stream
func grpcStream(s unsafe.Pointer, sn uint32, a unsafe.Pointer, an uint32, m unsafe.Pointer, mn uint32, i unsafe.Pointer, in uint32, token unsafe.Pointer) uint32

//go:wasmimport env proxy_grpc_send
func grpcSend(token uint32, p unsafe.Pointer, n uint32, end uint32) uint32

//go:wasmimport env proxy_grpc_cancel
func grpcCancel(token uint32) uint32

//go:wasmimport env proxy_grpc_close
func grpcClose(token uint32) uint32

//go:wasmimport env proxy_call_foreign_function
func foreign(f unsafe.Pointer, fn uint32, a unsafe.Pointer, an uint32, ptr, n unsafe.Pointer) uint32

//go:wasmimport env proxy_get_shared_data
func getShared(k unsafe.Pointer, kn uint32, ptr, n, cas unsafe.Pointer) uint32

//go:wasmimport env proxy_set_shared_data
func setShared(k unsafe.Pointer, kn uint32, v unsafe.Pointer, vn uint32, cas uint32) uint32

//go:wasmimport env proxy_dequeue_shared_queue
func dequeue(token uint32, ptr, n unsafe.Pointer) uint32

//go:wasmimport env proxy_enqueue_shared_queue
func enqueue(token uint32, p unsafe.Pointer, n uint32) uint32

//go:wasmimport env proxy_resolve_shared_queue
func resolve(v unsafe.Pointer, vn uint32, q unsafe.Pointer, qn uint32, token unsafe.Pointer) uint32

//go:wasmimport env proxy_set_property
func setProperty(k unsafe.Pointer, kn uint32, v unsafe.Pointer, vn uint32) uint32

//go:wasmimport wasi_snapshot_preview1 path_open
func pathOpen(fd, dirFlags uint32, p unsafe.Pointer, n uint32, oflags uint32, base, inheriting uint64, flags uint32, out unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 fd_read
func fdRead(fd uint32, iovs unsafe.Pointer, n uint32, out unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 fd_seek
func fdSeek(fd uint32, offset int64, whence uint32, out unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 poll_oneoff
func pollOneoff(in, out unsafe.Pointer, n uint32, nevents unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 fd_close
func fdClose(fd uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_fdstat_get
func fdstatGet(fd uint32, out unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 fd_fdstat_set_flags
func fdstatSetFlags(fd, flags uint32) uint32

//go:wasmimport wasi_snapshot_preview1 fd_prestat_get
func prestatGet(fd uint32, out unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 fd_prestat_dir_name
func prestatDirName(fd uint32, p unsafe.Pointer, n uint32) uint32

//go:wasmimport wasi_snapshot_preview1 random_get
func randomGet(p unsafe.Pointer, n uint32) uint32

//go:wasmimport wasi_snapshot_preview1 clock_time_get
func clockTimeGet(id uint32, precision uint64, out unsafe.Pointer) uint32

//go:wasmimport wasi_snapshot_preview1 sched_yield
func schedYield() uint32

var (
	ptr, size uint32
	word      uint32
	long      uint64
	area      [64]byte
)

var (
	pp = unsafe.Pointer(&ptr)
	pn = unsafe.Pointer(&size)
	pw = unsafe.Pointer(&word)
	pl = unsafe.Pointer(&long)
	pa = unsafe.Pointer(&area)
)

func str(s string) (unsafe.Pointer, uint32) {
	if s == "" {
		return nil, 0
	}
	return unsafe.Pointer(unsafe.StringData(s)), uint32(len(s))
}

func result(st uint32) string {
	if st != 0 {
		return status(st)
	}
	if ptr == 0 {
		return fmt.Sprintf("nil/%d", size)
	}
	return fmt.Sprintf("%q", unsafe.Slice((*byte)(unsafe.Pointer(uintptr(ptr))), size))
}

func buffer(t uint32) string {
	ptr, size = 77, 77
	st := getBufferBytes(t, 0, 1<<20, pp, pn)
	all := result(st)
	word, size = 77, 77
	st = getBufferStatus(t, pn, pw)
	return fmt.Sprintf("%s[%s %d %d]", all, status(st), size, word)
}

func setBuffer(t, start, length uint32, s string) uint32 {
	p, n := str(s)
	return setBufferBytes(t, start, length, p, n)
}

// maps logs every header map.
func maps() {
	for t := uint32(0); t <= 8; t++ {
		ptr, size = 77, 77
		st := getPairs(t, pp, pn)
		var out string
		switch {
		case st != 0:
			out = status(st)
		case ptr == 0:
			out = fmt.Sprintf("nil/%d", size)
		default:
			out = pairs(unsafe.Slice((*byte)(unsafe.Pointer(uintptr(ptr))), size))
		}
		word = 77
		st = getMapSize(t, pw)
		k, kn := str("X-Steps")
		ptr, size = 77, 77
		st2 := getMapValue(t, k, kn, pp, pn)
		say("map %d %s size %s value %s", t, out, status(st), result(st2))
	}
}

// volatile are headers whose values differ from run to run.
var volatile = map[string]bool{"x-request-id": true, "date": true, "x-envoy-upstream-service-time": true}

func pairs(b []byte) string {
	n := binary.LittleEndian.Uint32(b)
	pos := 4 + 8*n
	var out []string
	for i := uint32(0); i < n; i++ {
		kn, vn := binary.LittleEndian.Uint32(b[4+8*i:]), binary.LittleEndian.Uint32(b[8+8*i:])
		k := string(b[pos : pos+kn])
		pos += kn + 1
		v := string(b[pos : pos+vn])
		pos += vn + 1
		if volatile[k] {
			v = "*"
		}
		out = append(out, k+"="+v)
	}
	return "[" + strings.Join(out, " | ") + "]"
}

var paths = []string{
	"plugin_name", "plugin_root_id", "plugin_vm_id", "cluster_name", "route_name", "listener_direction", "connection_id",
	"node.id", "node.cluster", "node.metadata", "node.locality", "node.user_agent_name", "node", "cluster_metadata", "route_metadata", "listener_metadata", "upstream_host_metadata",
	"request", "request.path", "request.url_path", "request.query", "request.host", "request.scheme", "request.method", "request.referer",
	"request.useragent", "request.protocol", "request.size", "request.total_size", "request.headers", "request.headers.x-steps", "request.headers.X-Steps",
	"request.headers.x-multi", "request.headers.nothing", "request.nothing",
	"request.id", "request.time", "request.duration",
	"response", "response.code", "response.code_details", "response.size", "response.total_size", "response.flags", "response.grpc_status", "response.headers",
	"response.headers.x-a", "response.trailers", "response.backend_latency",
	"connection.id", "connection.mtls", "connection.requested_server_name", "connection.tls_version", "connection.termination_details",
	"connection.transport_failure_reason", "connection.subject_local_certificate",
	"source.address", "source.port", "destination.address", "destination.port",
	"upstream.address", "upstream.port", "upstream.transport_failure_reason", "upstream.local_address", "upstream.tls_version", "upstream.request_attempt_count", "upstream.cx_pool_ready_duration",
	"metadata", "filter_state", "upstream_filter_state", "xds", "xds.cluster_name", "xds.route_name", "xds.virtual_host_name", "xds.filter_chain_name", "xds.listener_direction", "xds.node", "xds.node.id", "xds.upstream_host_metadata", "nothing", "", "plugin_name.x",
}

// varying properties differ between the two backends, or from run to run: only their length is logged.
var varying = map[string]bool{
	"request.time": true, "request.duration": true, "request.id": true, "source.address": true, "source.port": true, "destination.address": true,
	"destination.port": true, "upstream.address": true, "upstream.port": true, "upstream.local_address": true, "connection_id": true, "connection.id": true,
	"response.backend_latency": true, "upstream.cx_pool_ready_duration": true, "node": true, "xds.node": true, "node.metadata": true, "node.user_agent_name": true,
	"response.total_size": true, "response.headers": true, "request.headers": true, "request.total_size": true,
}

func props() {
	var out []string
	for _, path := range paths {
		p, n := str(strings.ReplaceAll(path, ".", "\x00"))
		ptr, size = 77, 77
		st := getProperty(p, n, pp, pn)
		v := result(st)
		if st == 0 && varying[path] {
			v = "*"
			if path == "node" || path == "xds.node" || path == "node.metadata" {
				v = "set"
			}
		}
		out = append(out, path+"="+v)
	}
	sort.Strings(out)
	say("props %s", strings.Join(out, "; "))
}

// abuse makes calls with bad arguments, and logs what they return.
func abuse() {
	bad := unsafe.Pointer(uintptr(0xfffffff0))
	k, kn := str("key")
	v, vn := str("value")
	results := []struct {
		name string
		st   uint32
	}{
		{"log bad level", log(9, k, kn)},
		{"log bad memory", log(2, bad, 100)},
		{"buffer type", getBufferBytes(9, 0, 1, pp, pn)},
		{"buffer overflow", getBufferBytes(6, 0xffffffff, 0xffffffff, pp, pn)},
		{"buffer bad memory", getBufferBytes(6, 0, 10, bad, bad)},
		{"buffer status type", getBufferStatus(9, pn, pw)},
		{"set config", setBufferBytes(7, 0, 0, k, kn)},
		{"set vm config", setBufferBytes(6, 0, 0, k, kn)},
		{"set call data", setBufferBytes(8, 0, 0, k, kn)},
		{"set downstream", setBufferBytes(2, 0, 0, k, kn)},
		{"set bad memory", setBufferBytes(0, 0, 0, bad, 100)},
		{"set type", setBufferBytes(9, 0, 0, k, kn)},
		{"pairs type", getPairs(9, pp, pn)},
		{"value type", getMapValue(9, k, kn, pp, pn)},
		{"value bad memory", getMapValue(0, bad, 100, pp, pn)},
		{"add type", addMapValue(9, k, kn, v, vn)},
		{"add callout map", addMapValue(6, k, kn, v, vn)},
		{"add grpc map", addMapValue(4, k, kn, v, vn)},
		{"add bad memory", addMapValue(0, bad, 100, v, vn)},
		{"property bad memory", getProperty(bad, 100, pp, pn)},
		{"property result", getProperty(k, kn, bad, bad)},
		{"set property bad memory", setProperty(bad, 100, v, vn)},
		{"continue type", continueStream(9)},
		{"continue downstream", continueStream(2)},
		{"continue upstream", continueStream(3)},
		{"close type", closeStream(9)},
		{"get status", getStatus(pw, pp, pn)},
		{"get status memory", getStatus(bad, pp, pn)},
		{"metric type", defineMetric(9, k, kn, pw)},
		{"metric memory", defineMetric(0, bad, 100, pw)},
		{"metric increment unknown", incrementMetric(4000, 1)},
		{"metric increment unknown gauge", incrementMetric(4001, 1)},
		{"metric increment histogram", incrementMetric(4002, 1)},
		{"metric increment type 3", incrementMetric(4003, 1)},
		{"metric record unknown", recordMetric(4000, 1)},
		{"metric record histogram", recordMetric(4002, 1)},
		{"metric record type 3", recordMetric(4003, 1)},
		{"metric get unknown", getMetric(4000, pl)},
		{"metric get histogram", getMetric(4002, pl)},
		{"metric get type 3", getMetric(4003, pl)},
		{"effective unknown", setEffective(1 << 30)},
		{"done", done()},
		{"http cluster", httpCall(k, kn, nil, 0, nil, 0, nil, 0, 1000, pw)},
		{"http timeout", httpCall(k, kn, nil, 0, nil, 0, nil, 0, 0xffffffff, pw)},
		{"http memory", httpCall(bad, 100, nil, 0, nil, 0, nil, 0, 1000, pw)},
		{"http token", httpCall(k, kn, nil, 0, nil, 0, nil, 0, 1000, bad)},
		{"http no headers", httpCallTo("upstream", nil)},
		{"http no path", httpCallTo("upstream", [][2]string{{":method", "GET"}, {":authority", "a"}})},
		{"http no method", httpCallTo("upstream", [][2]string{{":path", "/"}, {":authority", "a"}})},
		{"http no authority", httpCallTo("upstream", [][2]string{{":path", "/"}, {":method", "GET"}})},
		{"grpc call", grpcCall(k, kn, k, kn, k, kn, nil, 0, nil, 0, 1000, pw)},
		{"grpc call memory", grpcCall(bad, 100, k, kn, k, kn, nil, 0, nil, 0, 1000, pw)},
		{"grpc stream", grpcStream(k, kn, k, kn, k, kn, nil, 0, pw)},
		{"grpc send 1", grpcSend(1, k, kn, 0)},
		{"grpc send 2", grpcSend(2, k, kn, 0)},
		{"grpc send 4", grpcSend(4, k, kn, 0)},
		{"grpc cancel 1", grpcCancel(1)},
		{"grpc cancel 2", grpcCancel(2)},
		{"grpc cancel 4", grpcCancel(4)},
		{"grpc close 1", grpcClose(1)},
		{"grpc close 2", grpcClose(2)},
		{"grpc close 3", grpcClose(3)},
		{"foreign", foreign(k, kn, nil, 0, pp, pn)},
		{"foreign memory", foreign(bad, 100, nil, 0, pp, pn)},
		{"shared get", getShared(k, kn, pp, pn, pw)},
		{"shared get memory", getShared(bad, 100, pp, pn, pw)},
		{"shared set memory", setShared(bad, 100, v, vn, 0)},
		{"dequeue", dequeue(12345, pp, pn)},
		{"enqueue", enqueue(12345, k, kn)},
		{"resolve", resolve(nil, 0, k, kn, pw)},
		{"path_open", pathOpen(3, 0, k, kn, 0, 0, 0, 0, pw)},
		{"fd_read", fdRead(0, nil, 0, pw)},
		{"fd_seek", fdSeek(1, 0, 0, pl)},
		{"poll_oneoff", pollOneoff(nil, nil, 0, pw)},
		{"fd_close", fdClose(9)},
		{"fd_fdstat_get 0", fdstatGet(0, pa)},
		{"fd_fdstat_get 1", fdstatGet(1, pa)},
		{"fd_fdstat_get 2", fdstatGet(2, pa)},
		{"fd_fdstat_get 3", fdstatGet(3, pa)},
		{"fd_fdstat_set_flags", fdstatSetFlags(1, 0)},
		{"fd_prestat_get", prestatGet(3, pa)},
		{"fd_prestat_dir_name", prestatDirName(3, pa, 8)},
		{"random_get 0", randomGet(nil, 0)},
		{"random_get much", randomGet(pa, 65537)},
		{"random_get bad", randomGet(bad, 64)},
		{"clock 2", clockTimeGet(2, 0, pl)},
		{"clock bad", clockTimeGet(0, 0, bad)},
		{"sched_yield", schedYield()},
	}
	for _, r := range results {
		say("abuse %s: %s", r.name, status(r.st))
	}
	metrics()
	empty()
}

// metrics defines, changes and reads metrics.
func metrics() {
	var ids [3]uint32
	for t, name := range []string{"probe.counter", "probe.gauge", "probe.histogram"} {
		p, n := str(name)
		st := defineMetric(uint32(t), p, n, unsafe.Pointer(&ids[t]))
		say("define %s: %s type %d", name, status(st), ids[t]&3)
	}
	for _, id := range ids {
		for _, offset := range []int64{1, 0, -1} {
			say("increment %d by %d: %s", id&3, offset, status(incrementMetric(id, offset)))
		}
		say("record %d: %s", id&3, status(recordMetric(id, 5)))
		long = 77
		st := getMetric(id, pl)
		if id&3 == 0 {
			long = 0 // the counter is shared by all VMs
		}
		say("get %d: %s %d", id&3, status(st), long)
	}
}

// empty tries empty values and keys.
func empty() {
	k, kn := str("k0")
	say("shared set empty: %s", status(setShared(k, kn, nil, 0, 0)))
	ptr, size, word = 77, 77, 0
	st := getShared(k, kn, pp, pn, pw)
	say("shared get empty: %s cas %t", result(st), word != 0)
	v, vn := str("v")
	say("shared set wrong cas: %s", status(setShared(k, kn, v, vn, word+1000)))
	say("shared set right cas: %s", status(setShared(k, kn, v, vn, word)))
	k, kn = str("new key")
	say("shared set new key with cas: %s", status(setShared(k, kn, v, vn, 99)))
}

func httpCallTo(cluster string, headers [][2]string) uint32 {
	u, un := str(cluster)
	var h unsafe.Pointer
	var hn uint32
	if headers != nil {
		b := make([]byte, 4)
		binary.LittleEndian.PutUint32(b, uint32(len(headers)))
		for _, kv := range headers {
			b = binary.LittleEndian.AppendUint32(b, uint32(len(kv[0])))
			b = binary.LittleEndian.AppendUint32(b, uint32(len(kv[1])))
		}
		for _, kv := range headers {
			b = append(append(b, kv[0]...), 0)
			b = append(append(b, kv[1]...), 0)
		}
		h, hn = unsafe.Pointer(&b[0]), uint32(len(b))
	}
	return httpCall(u, un, h, hn, nil, 0, nil, 0, 1000, pw)
}
