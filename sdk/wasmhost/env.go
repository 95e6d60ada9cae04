package wasmhost

import (
	"context"
	"time"
)

// envFunction is a function of module env.
type envFunction struct {
	hostFunction
	abis string // the last digits of the ABI versions that have it, as "012" for 0.1.0, 0.2.0 and 0.2.1
}

// inABI says whether modules of an ABI version are offered the function.
func (f envFunction) inABI(abi string) bool {
	digit := map[string]byte{"0.1.0": '0', "0.2.0": '1', "0.2.1": '2'}[abi]
	for i := range len(f.abis) {
		if f.abis[i] == digit {
			return true
		}
	}
	return false
}

const (
	allABIs = "012"
	abi01   = "0"
	abi02   = "12"
	abi021  = "2"
)

// statusFunc makes a host function of one that returns a Status.
func statusFunc(f func(in *instance, s []uint64) Status) func(*instance, []uint64) {
	return func(in *instance, s []uint64) { s[0] = uint64(f(in, s)) }
}

// envFunctions are the host functions of module env: proxy-wasm's, and two for modules from Emscripten.
var envFunctions = []envFunction{
	{hostFunction{"pthread_equal", "ii:i", func(_ *instance, s []uint64) { s[0] = boolArg(uint32(s[0]) == uint32(s[1])) }}, allABIs},
	{hostFunction{"emscripten_notify_memory_growth", "i", func(*instance, []uint64) {}}, allABIs},

	proxyFunc("log", "iii", allABIs, hostLog),
	proxyFunc("get_log_level", "i", abi021, hostGetLogLevel),
	proxyFunc("get_status", "iii", allABIs, hostGetStatus),
	proxyFunc("done", "", allABIs, hostDone),
	proxyFunc("set_effective_context", "i", allABIs, hostSetEffectiveContext),
	proxyFunc("set_tick_period_milliseconds", "i", allABIs, hostSetTickPeriod),
	proxyFunc("get_current_time_nanoseconds", "i", allABIs, hostGetCurrentTime),
	proxyFunc("get_property", "iiii", allABIs, hostGetProperty),
	proxyFunc("set_property", "iiii", allABIs, hostSetProperty),
	proxyFunc("get_configuration", "ii", abi01, hostGetConfiguration),

	proxyFunc("get_buffer_bytes", "iiiii", allABIs, hostGetBufferBytes),
	proxyFunc("get_buffer_status", "iii", allABIs, hostGetBufferStatus),
	proxyFunc("set_buffer_bytes", "iiiii", allABIs, hostSetBufferBytes),

	proxyFunc("get_header_map_size", "ii", allABIs, hostGetHeaderMapSize),
	proxyFunc("get_header_map_pairs", "iii", allABIs, hostGetHeaderMapPairs),
	proxyFunc("set_header_map_pairs", "iii", allABIs, hostSetHeaderMapPairs),
	proxyFunc("get_header_map_value", "iiiii", allABIs, hostGetHeaderMapValue),
	proxyFunc("add_header_map_value", "iiiii", allABIs, hostAddHeaderMapValue),
	proxyFunc("replace_header_map_value", "iiiii", allABIs, hostReplaceHeaderMapValue),
	proxyFunc("remove_header_map_value", "iii", allABIs, hostRemoveHeaderMapValue),

	proxyFunc("continue_stream", "i", abi02, hostContinueStream),
	proxyFunc("close_stream", "i", abi02, hostCloseStream),
	proxyFunc("continue_request", "", abi01, func(in *instance, _ []uint64) Status { return in.target().continueStream(StreamRequest) }),
	proxyFunc("continue_response", "", abi01, func(in *instance, _ []uint64) Status { return in.target().continueStream(StreamResponse) }),
	proxyFunc("clear_route_cache", "", abi01, func(*instance, []uint64) Status { return StatusOK }),
	proxyFunc("send_local_response", "iiiiiiii", allABIs, hostSendLocalResponse),

	proxyFunc("http_call", "iiiiiiiiii", allABIs, hostHTTPCall),
	proxyFunc("grpc_call", "iiiiiiiiiiii", allABIs, hostGRPCCall),
	proxyFunc("grpc_stream", "iiiiiiiii", allABIs, hostGRPCStream),
	proxyFunc("grpc_send", "iiii", allABIs, hostGRPCSend),
	proxyFunc("grpc_cancel", "i", allABIs, hostGRPCCancel),
	proxyFunc("grpc_close", "i", allABIs, hostGRPCClose),

	proxyFunc("get_shared_data", "iiiii", allABIs, hostGetSharedData),
	proxyFunc("set_shared_data", "iiiii", allABIs, hostSetSharedData),
	proxyFunc("register_shared_queue", "iii", allABIs, hostRegisterSharedQueue),
	proxyFunc("resolve_shared_queue", "iiiii", allABIs, hostResolveSharedQueue),
	proxyFunc("dequeue_shared_queue", "iii", allABIs, hostDequeueSharedQueue),
	proxyFunc("enqueue_shared_queue", "iii", allABIs, hostEnqueueSharedQueue),

	proxyFunc("define_metric", "iiii", allABIs, hostDefineMetric),
	proxyFunc("increment_metric", "il", allABIs, func(in *instance, s []uint64) Status { return in.metrics.increment(uint32(s[0]), int64(s[1])) }),
	proxyFunc("record_metric", "il", allABIs, func(in *instance, s []uint64) Status { return in.metrics.record(uint32(s[0]), s[1]) }),
	proxyFunc("get_metric", "ii", allABIs, hostGetMetric),

	proxyFunc("call_foreign_function", "iiiiii", allABIs, hostCallForeignFunction),
}

func proxyFunc(name, params, abis string, f func(*instance, []uint64) Status) envFunction {
	return envFunction{hostFunction{"proxy_" + name, params + ":i", statusFunc(f)}, abis}
}

func hostLog(in *instance, s []uint64) Status {
	level := LogLevel(s[0])
	if level > LogCritical {
		return StatusBadArgument
	}
	msg, ok := in.readString(s[1], s[2])
	if !ok {
		return StatusInvalidMemoryAccess
	}
	in.log(in.target(), level, msg)
	return StatusOK
}

func hostGetLogLevel(in *instance, s []uint64) Status {
	if !in.putU32(s[0], uint32(in.vm.proxy.LogLevel)) {
		return StatusInvalidMemoryAccess
	}
	return StatusOK
}

func hostGetStatus(in *instance, s []uint64) Status {
	root := in.target().root
	if !in.putU32(s[0], root.statusCode) {
		return StatusInvalidMemoryAccess
	}
	return in.give(root.statusText, s[1], s[2])
}

// hostDone ends a plugin whose on_done returned false.
func hostDone(in *instance, _ []uint64) Status {
	p := in.target().plugin
	if p == nil || !p.pendingDone {
		return StatusNotFound
	}
	p.pendingDone = false
	in.later(func() { p.root.delete(context.Background()) })
	return StatusOK
}

func hostSetEffectiveContext(in *instance, s []uint64) Status {
	id := uint32(s[0])
	if in.contexts.get(id) == nil {
		return StatusBadArgument
	}
	in.effective = id
	return StatusOK
}

func hostSetTickPeriod(in *instance, s []uint64) Status {
	in.target().root.setTickPeriod(time.Duration(uint32(s[0])) * time.Millisecond)
	return StatusOK
}

func hostGetCurrentTime(in *instance, s []uint64) Status {
	if !in.putU64(s[0], uint64(in.vm.proxy.now().UnixNano())) {
		return StatusInvalidMemoryAccess
	}
	return StatusOK
}

func hostGetConfiguration(in *instance, s []uint64) Status {
	c := in.target()
	if b, ok := c.findBuffer(BufferPluginConfiguration); ok {
		return in.giveBytes(b.bytes, s[0], s[1])
	}
	return in.giveBytes(in.vm.cfg.Configuration, s[0], s[1])
}

func hostGetBufferBytes(in *instance, s []uint64) Status {
	t, start, length := BufferType(s[0]), uint32(s[1]), uint32(s[2])
	if t > maxBufferType {
		return StatusBadArgument
	}
	b, ok := in.target().buffer(t)
	if !ok {
		return StatusNotFound
	}
	size := uint64(len(b.bytes))
	from := min(uint64(start), size)
	to := min(uint64(start)+uint64(length), size)
	return in.giveBytes(b.bytes[from:max(from, to)], s[3], s[4])
}

func hostGetBufferStatus(in *instance, s []uint64) Status {
	t := BufferType(s[0])
	if t > maxBufferType {
		return StatusBadArgument
	}
	b, ok := in.target().buffer(t)
	if !ok {
		return StatusNotFound
	}
	if !in.putU32(s[1], uint32(len(b.bytes))) || !in.putU32(s[2], 0) {
		return StatusInvalidMemoryAccess
	}
	return StatusOK
}

func hostSetBufferBytes(in *instance, s []uint64) Status {
	t := BufferType(s[0])
	if t > maxBufferType {
		return StatusBadArgument
	}
	b, ok := in.target().buffer(t)
	if !ok {
		return StatusNotFound
	}
	data, ok := in.read(s[3], s[4])
	if !ok {
		return StatusInvalidMemoryAccess
	}
	return b.write(uint32(s[1]), uint32(s[2]), data)
}

func hostGetHeaderMapSize(in *instance, s []uint64) Status {
	t := MapType(s[0])
	if t > maxMapType {
		return StatusBadArgument
	}
	m := in.target().writeMap(t)
	if m == nil {
		return StatusBadArgument
	}
	if !in.putU32(s[1], uint32(m.byteSize())) {
		return StatusInvalidMemoryAccess
	}
	return StatusOK
}

func hostGetHeaderMapPairs(in *instance, s []uint64) Status {
	t := MapType(s[0])
	if t > maxMapType {
		return StatusBadArgument
	}
	var list Headers
	if m := in.target().readMap(t); m != nil {
		list = m.list
	}
	return in.givePairs(list, s[1], s[2])
}

func hostSetHeaderMapPairs(in *instance, s []uint64) Status {
	t := MapType(s[0])
	if t > maxMapType {
		return StatusBadArgument
	}
	data, ok := in.read(s[1], s[2])
	if !ok {
		return StatusInvalidMemoryAccess
	}
	m := in.target().writeMap(t)
	if m == nil {
		return StatusBadArgument
	}
	m.list = m.list[:0]
	for _, h := range parsePairs(data) {
		m.add(h.Name, h.Value)
	}
	return StatusOK
}

func hostGetHeaderMapValue(in *instance, s []uint64) Status {
	t := MapType(s[0])
	if t > maxMapType {
		return StatusBadArgument
	}
	c := in.target()
	name, ok := in.read(s[1], s[2])
	if !ok {
		return StatusInvalidMemoryAccess
	}
	m := c.readMap(t)
	if m == nil && !c.logging {
		return StatusBadArgument
	}
	if m != nil {
		if value, ok := m.getBytes(name); ok {
			return in.give(value, s[3], s[4])
		}
	}
	if in.module.info.abi == "0.1.0" {
		return in.give("", s[3], s[4])
	}
	return StatusNotFound
}

// changeMap is what add, replace and remove have in common.
func changeMap(in *instance, s []uint64, values int, change func(m *headerMap, name, value string)) Status {
	t := MapType(s[0])
	if t > maxMapType {
		return StatusBadArgument
	}
	name, ok := in.readString(s[1], s[2])
	if !ok {
		return StatusInvalidMemoryAccess
	}
	var value string
	if values > 0 {
		if value, ok = in.readString(s[3], s[4]); !ok {
			return StatusInvalidMemoryAccess
		}
	}
	m := in.target().writeMap(t)
	if m == nil {
		return StatusBadArgument
	}
	change(m, name, value)
	return StatusOK
}

func hostAddHeaderMapValue(in *instance, s []uint64) Status {
	return changeMap(in, s, 1, (*headerMap).add)
}

func hostReplaceHeaderMapValue(in *instance, s []uint64) Status {
	return changeMap(in, s, 1, (*headerMap).set)
}

func hostRemoveHeaderMapValue(in *instance, s []uint64) Status {
	return changeMap(in, s, 0, func(m *headerMap, name, _ string) { m.remove(name) })
}

func hostContinueStream(in *instance, s []uint64) Status {
	t := StreamType(s[0])
	if t > maxStreamType {
		return StatusBadArgument
	}
	return in.target().continueStream(t)
}

func hostCloseStream(in *instance, s []uint64) Status {
	t := StreamType(s[0])
	if t > maxStreamType {
		return StatusBadArgument
	}
	c := in.target()
	if conn := c.conn; conn != nil && t >= StreamDownstream {
		in.later(func() { _ = conn.Close(context.Background(), CloseLocal) })
	}
	if st := c.stream; st != nil && t <= StreamResponse {
		in.later(func() {
			if !st.closed {
				if st.details == "" {
					st.details = "wasm_close_stream"
				}
				st.aborted, st.reset = true, true
			}
		})
	}
	return StatusOK
}

// continueStream lets a paused direction go on, once the running callback has returned. Envoy then hides the request's maps and body,
// whichever direction it was.
func (c *guestContext) continueStream(t StreamType) Status {
	switch t {
	case StreamRequest, StreamResponse:
		if s := c.stream; s != nil {
			in := c.in
			in.later(func() {
				ctx := context.Background()
				d := s.dirs[t]
				if t == StreamRequest {
					s.decoding(ctx, func() { s.resume(ctx, d) })
				} else {
					s.resume(ctx, d)
				}
			})
		}
		c.headers[request], c.trailers[request], c.body[request] = nil, nil, nil
		return StatusOK
	case StreamDownstream:
		if c.conn != nil {
			c.in.later(c.conn.resume)
		}
		return StatusOK
	}
	return StatusUnimplemented
}

func hostSendLocalResponse(in *instance, s []uint64) Status {
	details, ok1 := in.readString(s[1], s[2])
	body, ok2 := in.readString(s[3], s[4])
	pairs, ok3 := in.read(s[5], s[6])
	if !ok1 || !ok2 || !ok3 {
		return StatusInvalidMemoryAccess
	}
	c := in.target()
	r := localReply{code: uint32(s[0]), body: body, headers: parsePairs(pairs), grpc: -1, details: underscored(details)}
	if g := uint32(s[7]); g <= maxGRPCStatus {
		r.grpc = int32(g)
	}
	if st := c.stream; st != nil {
		if c.logging {
			st.misused("proxy_send_local_response in proxy_on_log: Envoy crashes")
		}
		in.later(func() { st.guestReply(context.Background(), r) })
	}
	in.stopIteration = true
	return StatusOK
}

// maxGRPCStatus is the highest gRPC status; anything above means none.
const maxGRPCStatus = 16

// underscored replaces white space, as Envoy does in response code details.
func underscored(s string) string {
	b := []byte(s)
	for i, c := range b {
		switch c {
		case ' ', '\t', '\n', '\v', '\f', '\r':
			b[i] = '_'
		}
	}
	return string(b)
}

func hostHTTPCall(in *instance, s []uint64) Status {
	root := in.target().root
	cluster, ok1 := in.readString(s[0], s[1])
	headers, ok2 := in.read(s[2], s[3])
	body, ok3 := in.readString(s[4], s[5])
	trailers, ok4 := in.read(s[6], s[7])
	if !ok1 || !ok2 || !ok3 || !ok4 || !in.putU32(s[9], 0) {
		return StatusInvalidMemoryAccess
	}
	req := CalloutRequest{Cluster: cluster, Headers: parsePairs(headers), Body: []byte(body), Trailers: parsePairs(trailers)}
	token, status := root.httpCall(req, int32(uint32(s[8])))
	in.putU32(s[9], token)
	return status
}

func hostGetSharedData(in *instance, s []uint64) Status {
	key, ok := in.readString(s[0], s[1])
	if !ok {
		return StatusInvalidMemoryAccess
	}
	v, ok := in.vm.proxy.getData(in.vm.cfg.ID, key)
	if !ok {
		return StatusNotFound
	}
	if st := in.give(v.value, s[2], s[3]); st != StatusOK {
		return st
	}
	if !in.putU32(s[4], v.cas) {
		return StatusInvalidMemoryAccess
	}
	return StatusOK
}

func hostSetSharedData(in *instance, s []uint64) Status {
	key, ok1 := in.readString(s[0], s[1])
	value, ok2 := in.readString(s[2], s[3])
	if !ok1 || !ok2 {
		return StatusInvalidMemoryAccess
	}
	return in.vm.proxy.setData(in.vm.cfg.ID, key, value, uint32(s[4]))
}

func hostRegisterSharedQueue(in *instance, s []uint64) Status {
	name, ok := in.readString(s[0], s[1])
	if !ok {
		return StatusInvalidMemoryAccess
	}
	v, root := in.vm, in.target().root
	token := v.proxy.registerQueue(v.cfg.ID, name, func(token uint32) {
		v.post(func(ctx context.Context) {
			// The VM may have been reloaded meanwhile: then the context is the one with the same id, if there is one.
			in := v.in
			if c := in.contexts.get(root.id); c != nil && in.failure == nil && in.fn.queueReady != nil {
				in.callback(ctx, c, "proxy_on_queue_ready", in.fn.queueReady, uint64(c.id), uint64(token))
			}
		})
	})
	if !in.putU32(s[2], token) {
		return StatusInvalidMemoryAccess
	}
	return StatusOK
}

func hostResolveSharedQueue(in *instance, s []uint64) Status {
	vmID, ok1 := in.readString(s[0], s[1])
	name, ok2 := in.readString(s[2], s[3])
	if !ok1 || !ok2 {
		return StatusInvalidMemoryAccess
	}
	if vmID == "" {
		vmID = in.vm.cfg.ID
	}
	token, ok := in.vm.proxy.resolveQueue(vmID, name)
	if !ok {
		return StatusNotFound
	}
	if !in.putU32(s[4], token) {
		return StatusInvalidMemoryAccess
	}
	return StatusOK
}

func hostDequeueSharedQueue(in *instance, s []uint64) Status {
	item, status := in.vm.proxy.dequeue(uint32(s[0]))
	if status != StatusOK {
		return status
	}
	return in.give(item, s[1], s[2])
}

func hostEnqueueSharedQueue(in *instance, s []uint64) Status {
	item, ok := in.readString(s[1], s[2])
	if !ok {
		return StatusInvalidMemoryAccess
	}
	return in.vm.proxy.enqueue(uint32(s[0]), item)
}

func hostDefineMetric(in *instance, s []uint64) Status {
	name, ok := in.readString(s[1], s[2])
	if !ok {
		return StatusInvalidMemoryAccess
	}
	id, status := in.metrics.define(in.vm.proxy, MetricType(s[0]), name)
	if status != StatusOK {
		return status
	}
	if !in.putU32(s[3], id) {
		return StatusInvalidMemoryAccess
	}
	return StatusOK
}

func hostGetMetric(in *instance, s []uint64) Status {
	value, status := in.metrics.get(uint32(s[0]))
	if status != StatusOK {
		return status
	}
	if !in.putU64(s[1], value) {
		return StatusInvalidMemoryAccess
	}
	return StatusOK
}

func hostCallForeignFunction(in *instance, s []uint64) Status {
	name, ok1 := in.readString(s[0], s[1])
	args, ok2 := in.read(s[2], s[3])
	if !ok1 || !ok2 {
		return StatusInvalidMemoryAccess
	}
	f := in.foreign(name)
	if f == nil {
		return StatusNotFound
	}
	result, status := f(in.ctx, args)
	var ptr uint32
	if s[4] != 0 && result != nil { // an empty result is allocated all the same, as in Envoy; none is not
		p, buf, ok := in.alloc(uint32(len(result)))
		if !ok {
			return StatusInvalidMemoryAccess
		}
		copy(buf, result)
		ptr = p
	}
	if s[4] != 0 && !in.putU32(s[4], ptr) || s[5] != 0 && !in.putU32(s[5], uint32(len(result))) {
		return StatusInvalidMemoryAccess
	}
	return status
}
