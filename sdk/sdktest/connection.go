package sdktest

import (
	"testing"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/internal/abi"
)

// NewNetwork is [New] for a filter of connections.
func NewNetwork[C any](t testing.TB, configure func(*sdk.Plugin, *C) (sdk.NetworkFilter, error), config string, opts ...Option) *Filter {
	t.Helper()
	f, err := newFilter(t, sdk.NewNetworkGuest(configure), config, opts)
	if err != nil {
		t.Fatalf("configure with %s: %v", config, err)
	}
	return f
}

// Connection is a client's connection through a filter of connections.
type Connection struct {
	x *exchange
	// Upstream and Downstream are what the filter let pass to each side.
	Upstream, Downstream string
	pending              [2][]byte
}

// Connect opens a connection. Properties are those of [Request].
func (f *Filter) Connect(properties map[string]any) *Connection {
	c := &Connection{x: f.open(properties)}
	x := c.x
	if x.guest.NewConnection(x.id) != abi.Continue && !x.stream.reset {
		x.wait()
	}
	f.host.stream = nil
	return c
}

// Closed reports whether the filter closed the connection.
func (c *Connection) Closed() bool { return c.x.stream.reset }

// Send sends data from the client, and the end of its side behind it where last says so. Callouts that the handler waits for are answered; one
// that sleeps is not woken: what it does then, scenarios show.
func (c *Connection) Send(data string, last bool) {
	c.Upstream += c.data(0, abi.DownstreamData, data, last, c.x.guest.DownstreamData)
}

// Answer sends data from the upstream.
func (c *Connection) Answer(data string, last bool) {
	c.Downstream += c.data(1, abi.UpstreamData, data, last, c.x.guest.UpstreamData)
}

func (c *Connection) data(side int, kind abi.BufferType, data string, last bool, callback func(id, size uint32, end bool) abi.Action) string {
	s, h := c.x.stream, c.x.host
	if s.reset {
		return ""
	}
	h.stream = s
	s.body, s.bodyKind, s.bodyOpen = append(c.pending[side], data...), kind, true
	s.continued = false
	action := callback(c.x.id, uint32(len(s.body)), last)
	if action != abi.Continue {
		c.x.linger()
	}
	s.bodyOpen, h.stream = false, nil
	c.pending[side] = nil
	switch {
	case s.reset:
		return ""
	case action == abi.Continue, s.continued:
		return string(s.body)
	}
	c.pending[side] = s.body
	return ""
}

// Close closes the connection, by the client where the filter has not.
func (c *Connection) Close() {
	peer := abi.RemotePeer
	if c.Closed() {
		peer = abi.LocalPeer
	}
	x := c.x
	x.host.stream = x.stream
	x.guest.DownstreamClose(x.id, peer)
	x.stream.done = true
	x.guest.Delete(x.id)
	x.host.stream = nil
	delete(x.host.streams, x.id)
}
