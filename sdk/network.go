package sdk

import (
	"context"
	"time"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// RegisterNetwork is [Register] for a filter of TCP connections, which Envoy runs as envoy.filters.network.wasm.
func RegisterNetwork[C any](configure func(p *Plugin, config *C) (NetworkFilter, error)) {
	abi.SetGuest(NewNetworkGuest(configure))
}

// NewNetworkGuest makes the guest that [RegisterNetwork] registers. It is for package sdktest; filters have no use for it.
func NewNetworkGuest[C any](configure func(p *Plugin, config *C) (NetworkFilter, error)) func(abi.Host) abi.Guest {
	return NewGuest(func(p *Plugin, config *C) (Filter, error) {
		filter, err := configure(p, config)
		if filter == nil || err != nil {
			return nil, err
		}
		return networkFilter{filter}, nil
	})
}

// NetworkFilter is a configured filter of connections: it makes the handler of each.
type NetworkFilter interface {
	// NewConnection is called when a connection begins, before anything of it can be read. The handler implements the
	// interfaces of the events that it wants. nil lets the connection pass untouched.
	NewConnection() ConnectionHandler
}

// networkFilter is a NetworkFilter as a [Filter].
type networkFilter struct{ filter NetworkFilter }

func (f networkFilter) NewHandler() Handler { return f.filter.NewConnection() }

// ConnectionHandler handles one TCP connection and the one to its upstream. It implements any of [NewConnectionHandler],
// [AwaitingNewConnectionHandler], [DownstreamDataHandler], [AwaitingDownstreamDataHandler], [UpstreamDataHandler],
// [DownstreamCloseHandler], [UpstreamCloseHandler] and [ConnectionDoneHandler].
type ConnectionHandler any

// NeedMore keeps data where it is until more comes: the handler is called again with all of it. Connection handlers return
// it; for HTTP streams there are the handlers of buffered bodies. Envoy's per_connection_buffer_limit_bytes, 1 MiB by default, bounds
// what is kept.
const NeedMore = hold

// NewConnectionHandler is called when a client has connected, before its data.
type NewConnectionHandler interface {
	OnNewConnection(c *Connection) Action
}

// AwaitingNewConnectionHandler is a [NewConnectionHandler] that may wait, and the client's data with it; see
// [AwaitingRequestHeadersHandler].
type AwaitingNewConnectionHandler interface {
	OnNewConnection(ctx context.Context, c *Connection) Action
}

// DownstreamDataHandler is called with what the client sent. It goes to the upstream when the method returns [Continue].
type DownstreamDataHandler interface {
	OnDownstreamData(c *Connection, data *Body) Action
}

// AwaitingDownstreamDataHandler is a [DownstreamDataHandler] that may wait; see [AwaitingRequestHeadersHandler]. Nothing of the client's goes
// on meanwhile, and the wait ends when the client breaks the connection off. What the client sends during a wait comes next: after
// [Continue] the method is called with that alone, after [NeedMore] with all that it has not let go. The data can be read and changed until
// the method returns.
//
// Hosts cannot hold the upstream's data for a wait, so there is no such handler for it.
type AwaitingDownstreamDataHandler interface {
	OnDownstreamData(ctx context.Context, c *Connection, data *Body) Action
}

// UpstreamDataHandler is called with what the upstream sent. It goes to the client when the method returns [Continue].
type UpstreamDataHandler interface {
	OnUpstreamData(c *Connection, data *Body) Action
}

// DownstreamCloseHandler is called when the connection to the client is closed.
type DownstreamCloseHandler interface {
	OnDownstreamClose(c *Connection, by Peer)
}

// UpstreamCloseHandler is called when the connection to the upstream is closed.
type UpstreamCloseHandler interface {
	OnUpstreamClose(c *Connection, by Peer)
}

// ConnectionDoneHandler is called when the connection is complete: the place for access logs and metrics.
type ConnectionDoneHandler interface {
	OnConnectionDone(c *Connection)
}

// Peer is a side of a connection.
type Peer = abi.PeerType

// Who closed a connection.
const (
	// PeerUnknown: the host does not say.
	PeerUnknown = abi.UnknownPeer
	// PeerLocal: Envoy.
	PeerLocal = abi.LocalPeer
	// PeerRemote: the other end.
	PeerRemote = abi.RemotePeer
)

// Connection is a client's connection and the one to its upstream. It is valid until [ConnectionDoneHandler] has returned.
type Connection struct{ stream *Stream }

// Plugin is the configuration that the connection runs under.
func (c *Connection) Plugin() *Plugin { return c.stream.plugin }

// Properties reads and writes the properties of the connection, such as source.address.
func (c *Connection) Properties() Properties { return c.stream.Properties() }

// Log writes to the host's log.
func (c *Connection) Log() Logger { return c.stream.Log() }

// Now is the host's clock.
func (c *Connection) Now() time.Time { return c.stream.Now() }

// SharedData is [Stream.SharedData].
func (c *Connection) SharedData() SharedData { return c.stream.SharedData() }

// Close closes the connection to the client; nothing more is sent. The handler returns what Close returns.
func (c *Connection) Close() Action {
	s := c.stream
	switch {
	case s.gone:
	case !s.own():
		s.Log().Error("close connection: " + ErrOtherStream.Error())
	default:
		s.state = streamAnswered
		s.reset()
	}
	return stop
}

// connection finds the stream of a connection's callback.
func (v *vm) connection(id uint32) *Stream {
	s := v.stream(id)
	s.network = true
	s.connection.stream = s
	return s
}

// NewConnection is the callback proxy_on_new_connection.
func (v *vm) NewConnection(id uint32) abi.Action {
	action := v.connection(id).onNewConnection()
	v.drive()
	return wireNetwork(action)
}

func (s *Stream) onNewConnection() (action Action) {
	if s.state != streamOpen {
		return s.settled(true)
	}
	switch h := s.handler.(type) {
	case NewConnectionHandler:
		defer s.guard(&action)
		return s.passed(h.OnNewConnection(&s.connection))
	case AwaitingNewConnectionHandler:
		action := s.await(abi.DownstreamStream, func(t *task) Action { return h.OnNewConnection(&t.scope, &s.connection) })
		s.early.waits = action == hold
		return action
	}
	return Continue
}

// DownstreamData is the callback proxy_on_downstream_data.
func (v *vm) DownstreamData(id, size uint32, end bool) abi.Action {
	action := v.connection(id).onDownstreamData(int(size), end)
	v.drive()
	return wireNetwork(action)
}

func (s *Stream) onDownstreamData(size int, end bool) (action Action) {
	if s.early.waits {
		s.early.came, s.early.end = true, end
		return hold
	}
	if s.state != streamOpen {
		return s.settled(true)
	}
	switch h := s.handler.(type) {
	case DownstreamDataHandler:
		defer s.guard(&action)
		return s.passed(h.OnDownstreamData(&s.connection, s.request.chunk(abi.DownstreamData, size, end)))
	case AwaitingDownstreamDataHandler:
		return s.awaitData(h, size, end)
	}
	return Continue
}

// earlyData is what a client sent before the handler of its new connection had returned. Hosts deliver it although the
// connection is held back, and would let it pass.
type earlyData struct {
	// waits: the handler has not returned. came, end: there is data, and it is the last.
	waits, came, end bool
}

// admit is called when the handler of a new connection has returned, after it had waited. It hands over what came meanwhile,
// since the host goes on behind this filter, and reports whether the connection goes on.
func (s *Stream) admit() bool {
	early := s.early
	s.early = earlyData{}
	if !early.came {
		return true
	}
	size, ok := s.heldData()
	return ok && s.onDownstreamData(size, early.end) == Continue
}

// heldData asks the host how much it holds of what the client sent. A host that does not say has the connection closed.
func (s *Stream) heldData() (size int, ok bool) {
	size, status := s.host.BufferSize(abi.DownstreamData)
	if err := hostError(status, "size of", "downstream data"); err != nil {
		s.Log().Error(err.Error())
		s.reset()
		return 0, false
	}
	return size, true
}

// UpstreamData is the callback proxy_on_upstream_data.
func (v *vm) UpstreamData(id, size uint32, end bool) abi.Action {
	s := v.connection(id)
	action := s.onUpstreamData(s.response.chunk(abi.UpstreamData, int(size), end))
	v.drive()
	return wireNetwork(action)
}

func (s *Stream) onUpstreamData(data *Body) (action Action) {
	if s.state != streamOpen {
		return s.settled(true)
	}
	h, ok := s.handler.(UpstreamDataHandler)
	if !ok {
		return Continue
	}
	defer s.guard(&action)
	return s.passed(h.OnUpstreamData(&s.connection, data))
}

// DownstreamClose is the callback proxy_on_downstream_connection_close.
func (v *vm) DownstreamClose(id uint32, peer abi.PeerType) {
	v.connection(id).onDownstreamClose(peer)
	v.drive()
}

func (s *Stream) onDownstreamClose(peer abi.PeerType) {
	if h, ok := s.handler.(DownstreamCloseHandler); ok {
		defer s.guardDone()
		h.OnDownstreamClose(&s.connection, peer)
	}
}

// UpstreamClose is the callback proxy_on_upstream_connection_close.
func (v *vm) UpstreamClose(id uint32, peer abi.PeerType) {
	v.connection(id).onUpstreamClose(peer)
	v.drive()
}

func (s *Stream) onUpstreamClose(peer abi.PeerType) {
	if h, ok := s.handler.(UpstreamCloseHandler); ok {
		defer s.guardDone()
		h.OnUpstreamClose(&s.connection, peer)
	}
}

// onConnectionDone tells the handler of the end; hosts call no log callback for a connection.
func (s *Stream) onConnectionDone() {
	if h, ok := s.handler.(ConnectionDoneHandler); ok {
		defer s.guardDone()
		h.OnConnectionDone(&s.connection)
	}
}

// passed is what a connection handler's answer comes to: unlike [Stream.outcome], it may hold.
func (s *Stream) passed(action Action) Action {
	if s.state != streamOpen {
		return stop
	}
	if action == NeedMore {
		return hold
	}
	return Continue
}

// wireNetwork is an Action in the words of the callbacks of connections.
func wireNetwork(a Action) abi.Action {
	if a == Continue {
		return abi.Continue
	}
	return abi.Pause
}
