package wasmhost

import (
	"context"
	"slices"
	"time"
)

// guestContext is a context of the proxy-wasm ABI: the VM's (id 0), a plugin's (a root context), or a stream's.
type guestContext struct {
	in      *instance
	id      uint32
	root    *guestContext // the plugin's context; itself for one
	plugin  *Plugin       // nil for the VM's context
	stream  *Stream       // nil but for a stream's
	conn    *Connection   // nil but for a connection's
	created bool          // the guest has been told of it, or would have been

	*rootState         // nil but for a root context
	lastBuffer  buffer // that a host call asked for
	configuring bool   // of a root context: on_configure is running, and the plugin configuration can be read
	starting    bool   // of a root context: on_context_create is running at the start of the VM

	// Of a stream's context: what the callbacks may see at the moment. Index 0 is the request, 1 the response.
	headers   [2]*headerMap
	trailers  [2]*headerMap
	body      [2]*[]byte // the frame that the callback is about
	buffering [2]bool    // the callback paused before: it sees the stream's buffer instead
	end       bool       // end_of_stream of the last callback
	network   [2]*[]byte // of a connection: what on_downstream_data and on_upstream_data are about
	logging   bool       // on_log is running: maps are read-only, and complete
	failSent  bool       // the 503 for a crash has been sent
}

// rootState is what a plugin's context has besides, and the VM's.
type rootState struct {
	tickPeriod   time.Duration
	ticker       *appointment     // the next tick
	callResponse *CalloutResponse // during on_http_call_response
	grpcCalls    map[uint32]*GRPCCall
	grpcInitial  *headerMap // during on_grpc_receive_initial_metadata
	grpcTrailing *headerMap // during on_grpc_receive_trailing_metadata
	grpcReceive  *[]byte    // during on_grpc_receive
	calling      bool       // on_foreign_function is running
	callData     []byte     // what it is about
	statusCode   uint32
	statusText   string
}

// contextTable finds the contexts that live. Ids are given one after the other, so that those of a few streams differ in their last bits.
type contextTable struct {
	near [nearContexts]*guestContext
	far  map[uint32]*guestContext // those whose place is taken
}

const nearContexts = 64

// get is nil for an id that no context has.
func (t *contextTable) get(id uint32) *guestContext {
	if c := t.near[id%nearContexts]; c != nil && c.id == id {
		return c
	}
	return t.far[id]
}

func (t *contextTable) put(c *guestContext) {
	if place := &t.near[c.id%nearContexts]; *place == nil {
		*place = c
		return
	}
	if t.far == nil {
		t.far = map[uint32]*guestContext{}
	}
	t.far[c.id] = c
}

func (t *contextTable) remove(id uint32) {
	if place := &t.near[id%nearContexts]; *place != nil && (*place).id == id {
		*place = nil
		return
	}
	delete(t.far, id)
}

// enter gives a context its id.
func (in *instance) enter(c *guestContext) *guestContext {
	for in.nextID == 0 || in.contexts.get(in.nextID) != nil {
		in.nextID++
	}
	c.in, c.id = in, in.nextID
	if c.root == nil {
		c.root = c
	}
	in.nextID++
	in.contexts.put(c)
	return c
}

// create tells the guest of a stream's context, once.
func (c *guestContext) create(ctx context.Context) {
	if c.created {
		return
	}
	c.created = true
	if c.in.failure == nil && c.in.fn.contextCreate != nil {
		c.in.callback(ctx, c, "proxy_on_context_create", c.in.fn.contextCreate, uint64(c.id), uint64(c.root.id))
	}
}

// done tells the guest that a context ends. A plugin's may put off its deletion by returning false.
func (c *guestContext) done(ctx context.Context) bool {
	if c.in.failure != nil || c.in.fn.done == nil {
		return true
	}
	return c.in.callback(ctx, c, "proxy_on_done", c.in.fn.done, uint64(c.id)) != 0
}

// delete tells the guest that a context is gone.
func (c *guestContext) delete(ctx context.Context) {
	if c.created && c.in.failure == nil && c.in.fn.delete != nil {
		c.in.callback(ctx, c, "proxy_on_delete", c.in.fn.delete, uint64(c.id))
	}
	c.in.contexts.remove(c.id)
	if c.root == c {
		c.release()
	}
}

// release ends what a plugin's context has begun: its ticks, its callouts, its gRPC calls.
func (root *guestContext) release() {
	v := root.in.vm
	v.cancel(root.ticker)
	for _, c := range v.Callouts() {
		if c.root == root {
			c.done = true
			v.cancel(c.answer, c.timeout)
		}
	}
	v.callouts = slices.DeleteFunc(v.callouts, func(c *Callout) bool { return c.root == root })
	for _, c := range v.GRPCCalls() {
		if c.root == root {
			c.cancelled()
		}
	}
}

// readMap is the map that a host call may read; nil if the guest may not see it now.
func (c *guestContext) readMap(t MapType) *headerMap {
	switch t {
	case MapRequestHeaders, MapResponseHeaders:
		d := int(t / 2)
		if c.logging {
			return c.stream.dirs[d].headers
		}
		return c.headers[d]
	case MapRequestTrailers:
		if c.logging {
			return nil
		}
		return c.trailers[0]
	case MapResponseTrailers:
		if c.logging {
			return c.stream.dirs[1].trailers
		}
		return c.trailers[1]
	case MapGRPCInitialMetadata:
		return c.root.grpcInitial
	case MapGRPCTrailingMetadata:
		return c.root.grpcTrailing
	case MapHTTPCallResponseHeaders:
		if r := c.root.callResponse; r != nil {
			return r.headers
		}
	case MapHTTPCallResponseTrailers:
		if r := c.root.callResponse; r != nil {
			return r.trailers
		}
	}
	return nil
}

// writeMap is the map that a host call may change; nil if there is none now. At the end of a body trailers are made by asking for them.
func (c *guestContext) writeMap(t MapType) *headerMap {
	switch t {
	case MapRequestHeaders, MapResponseHeaders:
		return c.headers[t/2]
	case MapRequestTrailers, MapResponseTrailers:
		d := int(t / 2)
		if c.trailers[d] == nil && c.body[d] != nil && c.end && c.stream != nil && !c.stream.closed {
			c.trailers[d] = c.stream.dirs[d].addTrailers()
		}
		return c.trailers[d]
	}
	return nil
}

// buffer is what a host call about a buffer works on. A nil data cannot be changed.
type buffer struct {
	bytes []byte
	data  *[]byte
}

// buffer finds a buffer; ok is false if it does not exist now.
func (c *guestContext) buffer(t BufferType) (buffer, bool) {
	b, ok := c.findBuffer(t)
	if ok {
		c.lastBuffer = b
	}
	return b, ok
}

func (c *guestContext) findBuffer(t BufferType) (b buffer, ok bool) {
	switch t {
	case BufferRequestBody, BufferResponseBody:
		if c.stream == nil {
			return buffer{}, true
		}
		data := c.body[t]
		if c.buffering[t] {
			data = &c.stream.dirs[t].buffer
		}
		if data == nil {
			return buffer{}, true
		}
		return buffer{*data, data}, true
	case BufferGRPCReceive:
		if r := c.root.grpcReceive; r != nil {
			return buffer{*r, r}, true
		}
		return buffer{}, true
	case BufferDownstreamData, BufferUpstreamData:
		if data := c.network[t-BufferDownstreamData]; data != nil {
			return buffer{*data, data}, true
		}
		return buffer{}, true
	case BufferCallData:
		if c.root.calling {
			return buffer{bytes: c.root.callData}, true
		}
		// In Envoy this is the buffer that the context asked for before, whichever that was.
		if c.lastBuffer.data != nil {
			c.lastBuffer.bytes = *c.lastBuffer.data
		}
		return c.lastBuffer, true
	case BufferHTTPCallResponseBody:
		if r := c.root.callResponse; r != nil {
			return buffer{bytes: r.Body}, true
		}
	case BufferVMConfiguration:
		return buffer{bytes: c.in.vm.cfg.Configuration}, true
	case BufferPluginConfiguration:
		if c.plugin != nil && (c.configuring || c.starting) {
			return buffer{bytes: c.plugin.cfg.Configuration}, true
		}
	}
	return buffer{}, false
}

// write replaces the first length bytes of the buffer, prepends (length 0), or appends (start at or after the end).
func (b buffer) write(start, length uint32, data []byte) Status {
	if b.data == nil {
		return StatusBadArgument
	}
	old := *b.data
	switch {
	case start == 0:
		out := make([]byte, 0, len(data)+len(old))
		out = append(out, data...)
		*b.data = append(out, old[min(int64(length), int64(len(old))):]...)
	case int64(start) >= int64(len(old)):
		*b.data = append(old[:len(old):len(old)], data...)
	default:
		return StatusBadArgument
	}
	return StatusOK
}
