package wasmhost

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Request is an HTTP request.
type Request struct {
	Headers  Headers // with :method, :path and :authority
	Body     []byte
	Trailers Headers
	Info     StreamInfo
}

// Response is an HTTP response.
type Response struct {
	Headers  Headers // with :status
	Body     []byte
	Trailers Headers

	// Delay is the time that the answer takes. With a VirtualClock it passes on the clock, and what falls due meanwhile happens first: a
	// callout that runs over its timeout gets Envoy's 504. With a real clock nobody waits: answers come in the order of their delays.
	Delay time.Duration

	// BodyDelay is, of the answer to a callout, the time that body and trailers take after the headers. A timeout in between breaks the
	// callout off.
	BodyDelay time.Duration
}

// Upstream answers a request. An error stands for an upstream that cannot be reached: the client, or the callout, gets 503. For what else
// can become of a callout see ErrCalloutReset and ErrNoAnswer.
type Upstream func(ctx context.Context, r Request) (Response, error)

// Outcome is what came of an exchange.
type Outcome struct {
	// Upstream is the request as the upstream got it; nil if it did not get there.
	Upstream *Request
	// Response is what the client got; nil if the stream was reset or is stuck.
	Response *Response
	// LocalReply says that the response was not the upstream's; Details are its response code details.
	LocalReply bool
	Details    string
	// Reset says that the stream was reset by the guest, or because a reply came too late.
	Reset bool
	// Stuck says that the client waits for ever (in Envoy, until a timeout): the filter paused and nothing was left that could have made
	// it go on, or a content-length promises more than there is.
	Stuck bool
	// Pauses lists the callbacks that paused the stream.
	Pauses []Pause
	// Logs are the messages of the VM during the exchange, and LogsDropped counts those over the limit.
	Logs        []Log
	LogsDropped int
}

// Exchange sends one request through the plugin to the upstream, and the response back, as Envoy does with a client that sends its body
// in one piece. Callouts and gRPC calls are answered from the Proxy's clusters, queues are run. If the Proxy has a VirtualClock, it moves
// forward as far as is needed: to what the stream waits for, ticks on the way included, but for no longer than StreamIdleTimeout without
// anything but ticks. The error is the guest's crash (the Outcome then tells what the client got) or the end of ctx.
func (p *Plugin) Exchange(ctx context.Context, r Request, upstream Upstream) (Outcome, error) {
	var out Outcome
	s := p.NewStream(ctx, r.Info)
	s.proxied = true
	err := s.exchange(ctx, r, upstream, &out)
	if cerr := s.Close(ctx); err == nil {
		err = cerr
	}
	if _, serr := s.vm.settle(ctx, nil); err == nil {
		err = serr
	}
	d := s.Downstream()
	out.LocalReply, out.Details = s.LocalReply()
	out.Reset = s.reset
	out.Pauses = s.pauses
	if d.Complete && !s.reset {
		out.Response = &Response{Headers: d.Headers, Body: d.Body, Trailers: d.Trailers}
	}
	method, _ := r.Headers.Get(":method")
	if out.Response != nil && !out.Response.read(method) {
		out.Response = nil
	}
	out.Stuck = out.Response == nil && !s.reset
	if err == nil {
		err = s.misuse
	}
	if err == nil {
		err = p.vm.misuse
	}
	out.Logs, out.LogsDropped = p.vm.TakeLogs()
	return out, err
}

// read cuts the body to what the client reads. It is false if the client would wait for more for ever.
func (r *Response) read(method string) bool {
	status, _ := r.Headers.Get(":status")
	if noBody(method, status) {
		r.Body, r.Trailers = nil, nil
		return true
	}
	body, ok := wireBody(r.Headers, r.Body)
	r.Body, r.Trailers = body, wireTrailers(r.Headers, r.Trailers)
	return ok
}

// exchange feeds the stream until nothing more happens.
func (s *Stream) exchange(ctx context.Context, r Request, upstream Upstream, out *Outcome) error {
	// A crash does not end an exchange: what the client gets then is a part of the outcome.
	var crash error
	note := func(err error) {
		if crash == nil {
			crash = err
		}
	}
	hasBody, hasTrailers := len(r.Body) > 0, len(r.Trailers) > 0
	note(s.RequestHeaders(ctx, r.Headers, !hasBody && !hasTrailers))
	if hasBody {
		note(s.RequestBody(ctx, r.Body, false))
		if !hasTrailers {
			note(s.RequestBody(ctx, nil, true))
		}
	}
	if hasTrailers {
		note(s.RequestTrailers(ctx, r.Trailers))
	}
	if _, err := s.vm.settle(ctx, func() bool { return s.dirs[request].out.Complete || s.aborted || s.reset }); err != nil {
		note(err)
	}
	up := s.Upstream()
	body, whole := wireBody(up.Headers, up.Body)
	if up.Headers != nil && up.Complete && whole && !s.aborted && !s.reset {
		out.Upstream = &Request{Headers: up.Headers.Clone(), Body: body, Trailers: wireTrailers(up.Headers, up.Trailers)}
		s.connected = true
		resp, err := upstream(ctx, *out.Upstream)
		if ctx.Err() != nil {
			return fmt.Errorf("exchange: %w", context.Cause(ctx))
		}
		if s.late(ctx, &resp, errors.Is(err, ErrNoAnswer)) {
			s.reply(ctx, localReply{code: 504, body: timeoutText, grpc: -1, details: "response_timeout"})
		} else if err != nil {
			text, details := s.vm.module.profile.unreachable(), "upstream_reset_before_response_started{remote_connection_failure}"
			if errors.Is(err, ErrCalloutReset) {
				text, details = resetText, "upstream_reset_before_response_started{remote_reset}"
			}
			s.reply(ctx, localReply{code: 503, body: text, grpc: -1, details: details})
		} else {
			note(s.respond(ctx, resp))
		}
	}
	if _, err := s.vm.settle(ctx, func() bool { return s.dirs[response].out.Complete || s.reset }); err != nil {
		note(err)
	}
	return crash
}

// respond feeds the upstream's response.
func (s *Stream) respond(ctx context.Context, r Response) error {
	hasBody, hasTrailers := len(r.Body) > 0, len(r.Trailers) > 0
	if err := s.ResponseHeaders(ctx, r.Headers, !hasBody && !hasTrailers); err != nil {
		return err
	}
	if hasBody {
		if err := s.ResponseBody(ctx, r.Body, false); err != nil {
			return err
		}
		if !hasTrailers {
			return s.ResponseBody(ctx, nil, true)
		}
	}
	if hasTrailers {
		return s.ResponseTrailers(ctx, r.Trailers)
	}
	return nil
}

// late lets the time pass that the upstream takes. It says whether the route's timeout was over before.
func (s *Stream) late(ctx context.Context, r *Response, never bool) bool {
	v, ok := s.dirs[request].headers.get(routeTimeoutHeader)
	ms, err := strconv.ParseUint(v, 10, 31)
	timeout := time.Duration(ms) * time.Millisecond
	if ok = ok && err == nil && timeout > 0; !ok && never {
		return true // for ever; the caller has nothing better to show
	}
	over := never || ok && r.Delay >= timeout
	if !over {
		timeout = r.Delay
	}
	if _, virtual := s.vm.proxy.Clock.(*VirtualClock); virtual && timeout > 0 {
		answer := s.vm.at(s.vm.proxy.now().Add(timeout), func(context.Context) {})
		for a := s.vm.next(nil); a != nil && ctx.Err() == nil; a = s.vm.next(nil) {
			s.vm.keep(ctx, a)
			s.vm.RunEvents(ctx)
			_ = s.vm.serve(ctx)
			if a == answer {
				break
			}
		}
	}
	return over
}
