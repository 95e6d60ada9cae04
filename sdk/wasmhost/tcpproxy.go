package wasmhost

import "context"

// ProxiedConnection is a connection with all that is around the filter: a client, an upstream, and Envoy's TCP proxy between them
// (source/common/tcp_proxy). What one end does reaches the other past the filter. Not for concurrent use, like its Connection.
type ProxiedConnection struct {
	conn *Connection
	// ended says that an end has ended its side, broke that it has broken the connection off. 0 is the client, 1 the upstream.
	ended, broke [2]bool
}

// ConnectionEnd is what one end of a connection got. The zero value: nothing yet.
type ConnectionEnd struct {
	// Data are the bytes. They are the connection's: do not change them.
	Data []byte
	// Ended says that Envoy has ended its side (FIN), Reset that it broke the connection off (RST). An end that has broken it off itself
	// hears no more.
	Ended, Reset bool
}

const (
	clientEnd = iota
	upstreamEnd
)

// Connect has a client connect; see Plugin.NewConnection.
func (p *Plugin) Connect(ctx context.Context, info ConnectionInfo) (*ProxiedConnection, error) {
	conn, err := p.NewConnection(ctx, info)
	return &ProxiedConnection{conn: conn}, err
}

// Closed says whether the connection is over on both sides.
func (c *ProxiedConnection) Closed() bool { return c.conn.Closed() }

// Connected says whether the filter has let the connection in: there is a connection to the upstream, and the client's bytes are read.
func (c *ProxiedConnection) Connected() bool { return c.conn.Connected() }

// ClientSends has the client send data. Like all that an end does after its own end, or after the connection is over, it does nothing then.
func (c *ProxiedConnection) ClientSends(ctx context.Context, data []byte) error {
	if c.silent(clientEnd) {
		return c.conn.err()
	}
	return c.conn.Downstream(ctx, data, false)
}

// ClientEnds has the client end its side; it goes on reading.
func (c *ProxiedConnection) ClientEnds(ctx context.Context) error {
	if c.silent(clientEnd) {
		return c.conn.err()
	}
	c.ended[clientEnd] = true
	if err := c.conn.Downstream(ctx, nil, true); err != nil {
		return err
	}
	return c.finish(ctx, CloseRemote)
}

// ClientResets has the client break the connection off. While on_new_connection pauses Envoy does not notice.
func (c *ProxiedConnection) ClientResets(ctx context.Context) error {
	if c.silent(clientEnd) {
		return c.conn.err()
	}
	c.broke[clientEnd] = true
	return c.conn.Close(ctx, CloseRemote)
}

// UpstreamSends has the upstream send data. What the upstream does before there is a connection to it does nothing.
func (c *ProxiedConnection) UpstreamSends(ctx context.Context, data []byte) error {
	if c.silent(upstreamEnd) {
		return c.conn.err()
	}
	return c.conn.Upstream(ctx, data, false)
}

// UpstreamEnds has the upstream end its side; it goes on reading.
func (c *ProxiedConnection) UpstreamEnds(ctx context.Context) error {
	if c.silent(upstreamEnd) {
		return c.conn.err()
	}
	c.ended[upstreamEnd] = true
	if err := c.conn.Upstream(ctx, nil, true); err != nil {
		return err
	}
	return c.finish(ctx, CloseLocal)
}

// UpstreamResets has the upstream break the connection off: the TCP proxy closes the client's.
func (c *ProxiedConnection) UpstreamResets(ctx context.Context) error {
	if c.silent(upstreamEnd) {
		return c.conn.err()
	}
	c.broke[upstreamEnd] = true
	return c.conn.Close(ctx, CloseLocal)
}

// Abort closes the connection where nobody did, as if the client had broken it off, even if Envoy would not notice yet.
func (c *ProxiedConnection) Abort(ctx context.Context) error {
	if c.conn.Closed() {
		return c.conn.err()
	}
	c.conn.connected = true
	return c.conn.Close(ctx, CloseRemote)
}

// silent says whether what an end does has no effect any more, or none yet.
func (c *ProxiedConnection) silent(end int) bool {
	return c.conn.Closed() || c.ended[end] || c.broke[clientEnd] || c.broke[upstreamEnd] || end == upstreamEnd && !c.conn.Connected()
}

// finish closes the connection once both ends have ended, and that shows on one side at least: a filter may hold back an end.
func (c *ProxiedConnection) finish(ctx context.Context, last CloseType) error {
	if !c.ended[clientEnd] || !c.ended[upstreamEnd] || !c.conn.down.end && !c.conn.up.end {
		return c.conn.err()
	}
	return c.conn.Close(ctx, last)
}

// Client is what the client got.
func (c *ProxiedConnection) Client() ConnectionEnd {
	e := c.end(&c.conn.up, clientEnd)
	// A socket that is closed with bytes in it that nobody has read breaks off.
	e.Reset = e.Reset || e.Ended && c.conn.Closed() && len(c.conn.early.data) > 0
	return e.clean()
}

// Upstream is what the upstream got. ok is false if nothing has connected to it.
func (c *ProxiedConnection) Upstream() (e ConnectionEnd, ok bool) {
	if !c.conn.Connected() {
		return e, false
	}
	return c.end(&c.conn.down, upstreamEnd).clean(), true
}

// end is what an end got by the direction to it.
func (c *ProxiedConnection) end(f *flow, end int) ConnectionEnd {
	e := ConnectionEnd{Data: f.passed, Ended: f.end}
	if f.end || !c.conn.Closed() || c.broke[end] {
		return e
	}
	resets := [2]bool{c.conn.vm.module.profile.resetsClient, c.conn.vm.module.profile.resetsUpstream}
	e.Ended, e.Reset = true, c.broke[1-end] && resets[end]
	return e
}

// clean leaves one way of closing.
func (e ConnectionEnd) clean() ConnectionEnd {
	e.Ended = e.Ended && !e.Reset
	return e
}
