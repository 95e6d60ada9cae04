package wasmhost

import (
	"context"
	"fmt"
)

// Connection is one TCP connection seen by one plugin: Envoy's network filter chain with a single Wasm filter before the TCP proxy, and the
// upstream behind that (source/common/network/filter_manager_impl.cc). The caller feeds what the client and the upstream send; what
// passes the filter is in ToUpstream and ToDownstream. Not for concurrent use; one goroutine at a time may use what is in one VM.
type Connection struct {
	plugin *Plugin
	vm     *VM
	ctx    *guestContext // nil if the filter is skipped (FAIL_OPEN after a crash)
	info   ConnectionInfo

	down, up  flow
	connected bool // the TCP proxy has been asked to connect upstream
	closed    bool
	early     early             // what the client did while on_new_connection pauses
	state     map[string]string // filter state: what set_property wrote
}

// early is what a client did while nobody reads: Envoy comes upon it all at once later.
type early struct {
	data        []byte
	end, closed bool
}

func (e early) empty() bool { return len(e.data) == 0 && !e.end && !e.closed }

// flow is one direction of a connection.
type flow struct {
	buffer []byte // what the filter holds back: it sees it again, with what comes next
	passed []byte
	ended  bool // the end has come in
	end    bool // the end has passed
	total  int
}

// ConnectionInfo is what a filter can learn of a connection. The zero value is usable.
type ConnectionInfo struct {
	// Source and Destination are addresses as "127.0.0.1:4711"; empty: 127.0.0.1:40000 and 127.0.0.1:10000.
	Source, Destination string
	// UpstreamAddress is upstream.address; empty: 127.0.0.1:8080.
	UpstreamAddress string
	// ClusterName is xds.cluster_name.
	ClusterName string
	// Properties adds properties, or replaces ones that the host knows, as in StreamInfo.
	Properties map[string][]byte
}

// streamInfo is the part that connections and streams have in common.
func (i ConnectionInfo) streamInfo() StreamInfo {
	return StreamInfo{Source: i.Source, Destination: i.Destination, UpstreamAddress: i.UpstreamAddress, ClusterName: i.ClusterName,
		Properties: i.Properties}
}

// CloseType says who closed a connection (proxy_close_type_t).
type CloseType uint32

// The close types of the ABI.
const (
	CloseUnknown CloseType = iota
	CloseLocal
	CloseRemote
)

// NewConnection opens a connection: on_context_create, on_new_connection. If the latter pauses, nothing connects upstream, and nothing is read
// from the client, until the filter continues. After a crash the connection is what the failure policy says: one on a fresh VM, one that is closed at once, or one
// without the filter. The error is the guest's crash.
func (p *Plugin) NewConnection(ctx context.Context, info ConnectionInfo) (*Connection, error) {
	c := &Connection{plugin: p, vm: p.vm, info: info}
	if c.ctx = p.newContext(ctx, nil, c); c.ctx == nil {
		c.connected = true
		return c, nil
	}
	g := c.ctx
	g.create(ctx)
	if c.failed(ctx) {
		return c, g.in.err()
	}
	stop := false
	if f := g.in.fn.newConnection; f != nil {
		stop = c.call(ctx, "proxy_on_new_connection", f, uint64(g.id))
	}
	c.connected = c.connected || !stop && !c.closed
	return c, g.in.err()
}

// Downstream gives the filter what the client sent; end says that it sends no more. While on_new_connection pauses Envoy does not read, and
// then reads all at once: several calls become one callback.
func (c *Connection) Downstream(ctx context.Context, data []byte, end bool) error {
	if !c.connected && !c.closed {
		if c.early.end || c.early.closed {
			return fmt.Errorf("data after the end of the connection: %w", ErrOutOfOrder)
		}
		c.early.data, c.early.end = append(c.early.data, data...), end
		return c.err()
	}
	return c.data(ctx, &c.down, BufferDownstreamData, data, end)
}

// Upstream gives the filter what the upstream sent. With end on_upstream_connection_close follows, as in Envoy, which has no other sign
// of an upstream that closes.
func (c *Connection) Upstream(ctx context.Context, data []byte, end bool) error {
	if err := c.data(ctx, &c.up, BufferUpstreamData, data, end); err != nil {
		return err
	}
	if g := c.ctx; g != nil && end && g.in.failure == nil && g.in.fn.upstreamClose != nil && !c.closed {
		g.in.callback(ctx, g, "proxy_on_upstream_connection_close", g.in.fn.upstreamClose, uint64(g.id), uint64(CloseUnknown))
	}
	return c.err()
}

// Close closes the connection: on_downstream_connection_close, then on_done, on_log and on_delete. More calls do nothing. While
// on_new_connection pauses, Envoy does not notice that the client closes: the close waits until the filter continues.
func (c *Connection) Close(ctx context.Context, by CloseType) error {
	if c.closed {
		return c.err()
	}
	if by == CloseRemote && !c.connected {
		c.early.closed = true
		return c.err()
	}
	c.closed = true
	g := c.ctx
	if g == nil {
		return nil
	}
	defer g.in.contexts.remove(g.id)
	if g.in.failure == nil && g.in.fn.downstreamClose != nil {
		g.in.callback(ctx, g, "proxy_on_downstream_connection_close", g.in.fn.downstreamClose, uint64(g.id), uint64(by))
	}
	g.done(ctx)
	if g.in.failure == nil && g.in.fn.onLog != nil {
		g.in.callback(ctx, g, "proxy_on_log", g.in.fn.onLog, uint64(g.id))
	}
	g.delete(ctx)
	return c.err()
}

// Closed says whether the connection was closed, by the caller or by the filter.
func (c *Connection) Closed() bool { return c.closed }

// Connected says whether the filter has let the TCP proxy connect upstream.
func (c *Connection) Connected() bool { return c.connected }

// ToUpstream is what of the client's bytes has passed the filter, and whether their end has.
func (c *Connection) ToUpstream() (data []byte, end bool) { return c.down.passed, c.down.end }

// ToDownstream is what of the upstream's bytes has passed the filter, and whether their end has.
func (c *Connection) ToDownstream() (data []byte, end bool) { return c.up.passed, c.up.end }

func (c *Connection) err() error {
	if c.ctx == nil {
		return nil
	}
	return c.ctx.in.err()
}

// data feeds one direction.
func (c *Connection) data(ctx context.Context, f *flow, t BufferType, data []byte, end bool) error {
	if c.closed || f.ended {
		return fmt.Errorf("data after the end of the connection: %w", ErrOutOfOrder)
	}
	f.buffer = append(f.buffer, data...)
	f.total += len(data)
	f.ended = end
	if c.ctx == nil {
		f.pass()
		return nil
	}
	g := c.ctx
	if c.failed(ctx) {
		return c.err()
	}
	fn, name := g.in.fn.downstreamData, "proxy_on_downstream_data"
	if t == BufferUpstreamData {
		fn, name = g.in.fn.upstreamData, "proxy_on_upstream_data"
	}
	g.network[t-BufferDownstreamData] = &f.buffer
	stop := false
	if fn != nil {
		stop = c.call(ctx, name, fn, uint64(g.id), uint64(len(f.buffer)), boolArg(end))
	}
	if !stop {
		g.network[t-BufferDownstreamData] = nil
		if !c.closed {
			c.connected = true
			f.pass()
		}
	}
	return c.err()
}

// call runs a callback of the connection, and what it left to do. It says whether the filter holds back what it was about.
func (c *Connection) call(ctx context.Context, name string, f guestFunc, args ...uint64) (stop bool) {
	g := c.ctx
	r := g.in.call(ctx, g, name, f, args...)
	failed := c.failed(ctx)
	g.in.finish()
	return failed || uint32(r) != 0
}

// failed says whether the VM has crashed, and closes the connection then.
func (c *Connection) failed(ctx context.Context) bool {
	if c.ctx.in.failure == nil {
		return false
	}
	_ = c.Close(ctx, CloseLocal)
	return true
}

// pass lets go what is held.
func (f *flow) pass() {
	f.passed = append(f.passed, f.buffer...)
	f.buffer = nil
	f.end = f.end || f.ended
}

// resume lets the client's bytes go on past the filter, once the running callback has returned (Envoy: continueReading).
func (c *Connection) resume() {
	if c.closed {
		return
	}
	c.connected = true
	c.down.pass()
	e := c.early
	c.early = early{}
	if e.empty() {
		return
	}
	ctx, passed := context.Background(), len(c.down.passed)
	if len(e.data) > 0 || e.end {
		_ = c.data(ctx, &c.down, BufferDownstreamData, e.data, e.end) // a crash shows in the next call
	}
	if e.closed && !c.closed {
		if c.vm.module.profile.resetsUpstream {
			// The connection to the upstream is broken off before anything of this is written to it.
			c.down.passed, c.down.end = c.down.passed[:passed], false
		}
		_ = c.Close(ctx, CloseRemote)
	}
}
