package wasmhost

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// This file is Envoy's gRPC client (source/common/grpc/async_client_impl.cc) with a scripted server behind it.

// GRPCServer answers the gRPC calls and streams to one cluster. It is called once for each, when the guest's callback that began it has
// returned; what it wants to say it says through the call, at once or, after GRPCCall.Wait, later. It must not keep ctx.
type GRPCServer func(ctx context.Context, call *GRPCCall)

// GRPCReply is an answer that is always the same: headers, messages, then the status. The zero value is an OK without a message, which a
// unary call takes for an error.
type GRPCReply struct {
	Delay    time.Duration // before anything is sent
	Headers  Headers       // besides :status and content-type. Without headers and messages the status comes alone ("trailers only")
	Messages [][]byte      // a unary call takes the last
	Status   uint32        // the gRPC status; 0 is OK
	Message  string        // its text, as it is sent: percent-encoded where it must be
	Trailers Headers       // besides grpc-status and grpc-message
}

// Server is the reply as a GRPCServer. A stream gets it when it begins.
func (r GRPCReply) Server() GRPCServer {
	return func(_ context.Context, call *GRPCCall) {
		call.Wait(r.Delay)
		if len(r.Headers) > 0 {
			call.SendHeaders(r.Headers)
		}
		for _, m := range r.Messages {
			call.Send(m)
		}
		call.Close(r.Status, r.Message, r.Trailers)
	}
}

// GRPCCall is a gRPC call or stream that a guest began, seen from the server. It belongs to its VM: only the goroutine that uses the VM
// may use it. As in Envoy it goes on when the HTTP stream that it was made for has ended.
type GRPCCall struct {
	Token                    uint32
	Cluster, Service, Method string
	Metadata                 Headers       // the initial metadata that the guest gave
	Streaming                bool          // begun with proxy_grpc_stream
	Message                  []byte        // the request of a unary call
	Timeout                  time.Duration // of a unary call; 0 for none

	// OnMessage, OnEnd and OnCancel are for a server of streams to set: the guest sent a message, ended its side, or cancelled the call
	// (proxy_grpc_cancel, proxy_grpc_close of a unary call, a time-out, or the end of the plugin).
	OnMessage func(message []byte)
	OnEnd     func()
	OnCancel  func()

	root        *guestContext
	script      time.Time // when what the server says next comes
	asked       bool
	inbox       []func() // what the guest did that the server has not heard of
	headersSent bool
	response    []byte // of a unary call
	responded   bool
	localClosed bool
	grpcClosed  bool // proxy_grpc_close was called
	closed      bool // both sides are gone: nothing more is delivered
	deadline    *appointment
	coming      []*appointment
}

// Wait lets time pass before what the server says next. What it says comes in the order in which it says it, whatever it hears meanwhile.
func (c *GRPCCall) Wait(d time.Duration) { c.script = c.script.Add(d) }

// SendHeaders sends initial metadata, besides :status and content-type. Without it, the first message sends those two.
func (c *GRPCCall) SendHeaders(metadata Headers) {
	c.arrives(func(ctx context.Context) { c.initial(ctx, metadata) })
}

// Send sends a message.
func (c *GRPCCall) Send(message []byte) {
	message = slices.Clone(message)
	c.arrives(func(ctx context.Context) { c.message(ctx, message) })
}

// Close ends the call with a gRPC status, its text as it is sent (the guest gets it so), and further trailers.
func (c *GRPCCall) Close(status uint32, text string, trailers Headers) {
	c.arrives(func(ctx context.Context) { c.trailers(ctx, status, text, trailers, viaUpstream) })
}

// Reset breaks the call off. The guest gets UNAVAILABLE (14) if nothing was sent before, INTERNAL (13) otherwise.
func (c *GRPCCall) Reset() {
	c.arrives(func(ctx context.Context) {
		if !c.headersSent {
			c.local(ctx, http.StatusServiceUnavailable, resetText, "upstream_reset_before_response_started{remote_reset}")
			return
		}
		c.broken(ctx, grpcInternal, "upstream_reset_after_response_started{remote_reset}")
	})
}

// Refuse answers with an HTTP status other than 200 and no gRPC status, as a server does that does not know gRPC.
func (c *GRPCCall) Refuse(status int) {
	c.arrives(func(ctx context.Context) {
		c.headersSent = true
		c.receiveInitial(ctx, nil)
		c.broken(ctx, uint32(httpToGRPC(uint32(status))), viaUpstream)
	})
}

// viaUpstream are the response code details of an answer that is the upstream's.
const viaUpstream = "via_upstream"

// gRPC statuses that Envoy's client makes itself.
const (
	grpcOK          = 0
	grpcInternal    = 13
	grpcUnavailable = 14
)

// arrives has something of the server's come to the guest at the script's time.
func (c *GRPCCall) arrives(f func(ctx context.Context)) {
	if c.closed {
		return
	}
	v := c.root.in.vm
	c.script = latest(c.script, v.proxy.now())
	var a *appointment
	a = v.at(c.script, func(ctx context.Context) {
		c.coming = slices.DeleteFunc(c.coming, func(o *appointment) bool { return o == a })
		if !c.closed && c.root.in == v.in {
			f(ctx)
		}
	})
	c.coming = append(c.coming, a)
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// initial delivers the headers, once.
func (c *GRPCCall) initial(ctx context.Context, metadata Headers) {
	if c.headersSent {
		return
	}
	c.headersSent = true
	c.receiveInitial(ctx, append(NewHeaders(":status", "200", "content-type", "application/grpc"), metadata...))
}

func (c *GRPCCall) message(ctx context.Context, message []byte) {
	c.initial(ctx, nil)
	if !c.Streaming {
		c.response, c.responded = message, true
		return
	}
	c.root.receive(ctx, c, message)
}

// trailers delivers the end: as trailers, or as headers if there were none. details are the router's response code details, which Envoy
// appends to the text that proxy_get_status gives.
func (c *GRPCCall) trailers(ctx context.Context, status uint32, text string, trailers Headers, details string) {
	end := NewHeaders("grpc-status", strconv.FormatUint(uint64(status), 10))
	if text != "" {
		end = append(end, Header{"grpc-message", text})
	}
	end = append(end, trailers...)
	if !c.headersSent {
		c.headersSent = true
		c.receiveInitial(ctx, nil)
		end = append(NewHeaders(":status", "200", "content-type", "application/grpc"), end...)
	}
	c.receiveTrailing(ctx, end)
	if text != "" {
		details = text + "{" + details + "}"
	}
	c.finish(ctx, status, details)
}

// local delivers what Envoy's router answers in the server's place.
func (c *GRPCCall) local(ctx context.Context, code uint32, text, details string) {
	c.trailers(ctx, uint32(httpToGRPC(code)), text, nil, details)
}

// broken ends the call without trailers (Envoy: AsyncStreamImpl::streamError).
func (c *GRPCCall) broken(ctx context.Context, status uint32, details string) {
	c.receiveTrailing(ctx, nil)
	c.finish(ctx, status, details)
}

func (c *GRPCCall) receiveInitial(ctx context.Context, hs Headers) {
	if c.Streaming {
		in := c.root.in
		c.root.receiveMetadata(ctx, c, &c.root.grpcInitial, newHeaderMap(hs, responseMap),
			in.fn.grpcInitial, "proxy_on_grpc_receive_initial_metadata")
	}
}

func (c *GRPCCall) receiveTrailing(ctx context.Context, hs Headers) {
	if c.Streaming {
		in := c.root.in
		c.root.receiveMetadata(ctx, c, &c.root.grpcTrailing, newHeaderMap(hs, trailerMap),
			in.fn.grpcTrailing, "proxy_on_grpc_receive_trailing_metadata")
	}
}

// finish ends the call. A unary call that ended well delivers its message instead of a status; one without a message has failed.
func (c *GRPCCall) finish(ctx context.Context, status uint32, text string) {
	c.end()
	if c.Streaming {
		c.root.grpcClose(ctx, c, status, text)
		return
	}
	switch {
	case status != grpcOK:
		c.root.grpcClose(ctx, c, status, text)
	case !c.responded:
		c.root.grpcClose(ctx, c, grpcInternal, "")
	default:
		c.root.receive(ctx, c, c.response)
	}
}

// end takes the call out of the time.
func (c *GRPCCall) end() {
	c.closed, c.localClosed = true, true
	v := c.root.in.vm
	v.cancel(append(c.coming, c.deadline)...)
	c.coming, c.deadline = nil, nil
	v.grpc = slices.DeleteFunc(v.grpc, func(o *GRPCCall) bool { return o == c })
}

// cancelled ends the call from the guest's side: nothing more comes, and the server hears of it.
func (c *GRPCCall) cancelled() {
	if c.closed {
		return
	}
	c.end()
	if c.OnCancel != nil {
		c.OnCancel()
	}
}

// GRPCCalls lists the gRPC calls and streams that have not ended, oldest first.
func (v *VM) GRPCCalls() []*GRPCCall { return slices.Clone(v.grpc) }

// serveGRPC calls the servers for what has come to them.
func (v *VM) serveGRPC(ctx context.Context) {
	for _, c := range v.GRPCCalls() {
		c.script = latest(c.script, v.proxy.now())
		if !c.asked {
			c.asked = true
			if server := v.proxy.GRPC[c.Cluster]; server != nil {
				server(ctx, c)
			} else {
				c.arrives(func(ctx context.Context) {
					c.local(ctx, http.StatusServiceUnavailable, v.module.profile.unreachable(),
						"upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}")
				})
			}
		}
		for len(c.inbox) > 0 && !c.closed {
			f := c.inbox[0]
			c.inbox = c.inbox[1:]
			f()
		}
	}
}

// receiveMetadata runs a callback that shows the guest a header map.
func (root *guestContext) receiveMetadata(ctx context.Context, c *GRPCCall, slot **headerMap, m *headerMap, f guestFunc, name string) {
	in := root.in
	if in.failure != nil || f == nil {
		return
	}
	*slot = m
	in.callback(ctx, root, name, f, uint64(root.id), uint64(c.Token), uint64(len(m.list)))
	*slot = nil
}

// receive runs proxy_on_grpc_receive.
func (root *guestContext) receive(ctx context.Context, c *GRPCCall, message []byte) {
	in := root.in
	if in.failure != nil || in.fn.grpcReceive == nil {
		root.forget(c)
		return
	}
	root.grpcReceive = &message
	in.later(func() {
		root.grpcReceive = nil
		root.forget(c)
	})
	in.callback(ctx, root, "proxy_on_grpc_receive", in.fn.grpcReceive, uint64(root.id), uint64(c.Token), uint64(len(message)))
}

// grpcClose runs proxy_on_grpc_close, after the running callback if there is one.
func (root *guestContext) grpcClose(ctx context.Context, c *GRPCCall, status uint32, text string) {
	in := root.in
	if in.current != nil {
		in.later(func() { root.grpcClose(context.Background(), c, status, text) })
		return
	}
	if in.failure != nil || in.fn.grpcClose == nil {
		root.forgetClosed(c)
		return
	}
	root.statusCode, root.statusText = status, text
	in.later(func() {
		root.statusText = ""
		root.forgetClosed(c)
	})
	in.callback(ctx, root, "proxy_on_grpc_close", in.fn.grpcClose, uint64(root.id), uint64(c.Token), uint64(status))
}

// forget drops a unary call: its token is not known any more.
func (root *guestContext) forget(c *GRPCCall) {
	if !c.Streaming {
		delete(root.grpcCalls, c.Token)
	}
}

// forgetClosed drops a call that the server has closed. A stream is remembered until the guest closes its side.
func (root *guestContext) forgetClosed(c *GRPCCall) {
	if !c.Streaming || c.grpcClosed {
		delete(root.grpcCalls, c.Token)
	}
}

// startGRPC begins a call or a stream (Envoy: Context::grpcCall and grpcStream).
func (root *guestContext) startGRPC(ctx context.Context, service []byte, c *GRPCCall) Status {
	in := root.in
	v := in.vm
	target := parseGRPCService(service)
	if !target.parsed {
		if c.Cluster = string(service); !v.proxy.knows(c.Cluster) {
			return StatusParse
		}
	} else {
		c.Cluster = target.cluster
	}
	next := &in.nextGRPCCall
	if c.Streaming {
		next = &in.nextGRPCStream
	}
	*next += calloutIncrement
	c.Token, c.root = *next, root
	if target.parsed && !target.envoy {
		if !target.google {
			v.misused("a gRPC service without a target (%q): Envoy crashes", service)
		}
		return StatusBadArgument // Google's client is not in this host
	}
	c.Metadata = append(target.metadata, c.Metadata...)
	if !v.proxy.knows(c.Cluster) {
		root.grpcClose(ctx, c, grpcUnavailable, "Cluster not available")
		return StatusInternalFailure
	}
	if v.proxy.Unhealthy[c.Cluster] {
		// The router answers inside the guest's call: a stream hears of the metadata at once, of the status afterwards.
		c.local(ctx, http.StatusServiceUnavailable, unhealthyText, "no_healthy_upstream")
		return StatusInternalFailure
	}
	if root.grpcCalls == nil {
		root.grpcCalls = map[uint32]*GRPCCall{}
	}
	root.grpcCalls[c.Token] = c
	v.grpc = append(v.grpc, c)
	if c.Timeout > 0 {
		c.deadline = v.at(v.proxy.now().Add(c.Timeout), c.timedOut)
	}
	return StatusOK
}

// timedOut ends a call that has run over its timeout: the router answers in the server's place, or resets what has begun.
func (c *GRPCCall) timedOut(ctx context.Context) {
	if c.closed || c.root.in != c.root.in.vm.in {
		return
	}
	cancel := c.OnCancel
	if c.headersSent {
		c.broken(ctx, grpcInternal, "response_timeout")
	} else {
		c.local(ctx, http.StatusGatewayTimeout, timeoutText, "response_timeout")
	}
	if cancel != nil {
		cancel()
	}
}

// grpcCall finds a call of the plugin that a host function is about.
func (root *guestContext) grpcCall(token uint32) (*GRPCCall, Status) {
	switch token & calloutTypeMask {
	case calloutGRPCCall, calloutGRPCStrm:
		if c := root.grpcCalls[token]; c != nil {
			return c, StatusOK
		}
		return nil, StatusNotFound
	}
	return nil, StatusBadArgument
}

func hostGRPCCall(in *instance, s []uint64) Status {
	return grpcStart(in, s, &GRPCCall{Timeout: time.Duration(uint32(s[10])) * time.Millisecond}, s[11])
}

func hostGRPCStream(in *instance, s []uint64) Status {
	return grpcStart(in, s, &GRPCCall{Streaming: true}, s[8])
}

// grpcStart reads what calls and streams have in common: service, service name, method, metadata; a call has a message besides.
func grpcStart(in *instance, s []uint64, c *GRPCCall, tokenPtr uint64) Status {
	service, ok1 := in.read(s[0], s[1])
	name, ok2 := in.readString(s[2], s[3])
	method, ok3 := in.readString(s[4], s[5])
	pairs, ok4 := in.read(s[6], s[7])
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return StatusInvalidMemoryAccess
	}
	if !c.Streaming {
		message, ok := in.read(s[8], s[9])
		if !ok {
			return StatusInvalidMemoryAccess
		}
		c.Message = slices.Clone(message)
	}
	c.Service, c.Method, c.Metadata = name, method, parsePairs(pairs)
	if status := in.target().root.startGRPC(context.Background(), service, c); status != StatusOK {
		return status
	}
	if !in.putU32(tokenPtr, c.Token) {
		return StatusInvalidMemoryAccess
	}
	return StatusOK
}

func hostGRPCSend(in *instance, s []uint64) Status {
	message, ok := in.read(s[1], s[2])
	if !ok {
		return StatusInvalidMemoryAccess
	}
	if uint32(s[0])&calloutTypeMask != calloutGRPCStrm {
		return StatusBadArgument
	}
	c, status := in.target().root.grpcCall(uint32(s[0]))
	if status != StatusOK {
		return status
	}
	if c.localClosed {
		return StatusOK // sent into nothing
	}
	message = slices.Clone(message)
	c.inbox = append(c.inbox, func() {
		if c.OnMessage != nil {
			c.OnMessage(message)
		}
	})
	if uint32(s[3]) != 0 {
		c.endLocal()
	}
	return StatusOK
}

// endLocal ends the guest's side.
func (c *GRPCCall) endLocal() {
	if c.localClosed {
		return
	}
	c.localClosed = true
	c.inbox = append(c.inbox, func() {
		if c.OnEnd != nil {
			c.OnEnd()
		}
	})
}

// hostGRPCCancel cancels a call, or resets a stream. No callback follows.
func hostGRPCCancel(in *instance, s []uint64) Status {
	root := in.target().root
	c, status := root.grpcCall(uint32(s[0]))
	if status != StatusOK {
		return status
	}
	c.cancelled()
	delete(root.grpcCalls, c.Token)
	return StatusOK
}

// hostGRPCClose cancels a call, or ends the guest's side of a stream.
func hostGRPCClose(in *instance, s []uint64) Status {
	root := in.target().root
	c, status := root.grpcCall(uint32(s[0]))
	if status != StatusOK {
		return status
	}
	if !c.Streaming {
		c.cancelled()
		delete(root.grpcCalls, c.Token)
		return StatusOK
	}
	c.grpcClosed = true
	if c.closed {
		delete(root.grpcCalls, c.Token)
		return StatusOK
	}
	c.endLocal()
	return StatusOK
}

// String names the call for messages.
func (c *GRPCCall) String() string {
	return fmt.Sprintf("gRPC %s/%s to %s", c.Service, c.Method, c.Cluster)
}
