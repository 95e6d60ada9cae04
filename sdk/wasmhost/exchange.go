package wasmhost

import (
	"context"
	"fmt"
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
}

// Upstream answers a request. An error stands for an upstream that cannot be reached: the client gets 503, a callout fails.
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
// in one piece. Callouts are answered from the Proxy's clusters, queues are run. The error is the guest's crash (the Outcome then tells
// what the client got) or the end of ctx.
func (p *Plugin) Exchange(ctx context.Context, r Request, upstream Upstream) (Outcome, error) {
	var out Outcome
	s := p.NewStream(ctx, r.Info)
	s.proxied = true
	err := s.exchange(ctx, r, upstream, &out)
	if cerr := s.Close(ctx); err == nil {
		err = cerr
	}
	if _, serr := s.settle(ctx, nil); err == nil {
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
	out.Logs, out.LogsDropped = p.vm.TakeLogs()
	return out, err
}

// read cuts the body to what the client reads. It is false if the client would wait for more for ever.
func (r *Response) read(method string) bool {
	status, _ := r.Headers.Get(":status")
	if noBody(method, status) {
		r.Body = nil
		return true
	}
	body, ok := wireBody(r.Headers, r.Body)
	r.Body = body
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
	note(s.RequestHeaders(ctx, r.Headers.Clone(), !hasBody && !hasTrailers))
	if hasBody {
		note(s.RequestBody(ctx, r.Body, false))
		if !hasTrailers {
			note(s.RequestBody(ctx, nil, true))
		}
	}
	if hasTrailers {
		note(s.RequestTrailers(ctx, r.Trailers))
	}
	if _, err := s.settle(ctx, func() bool { return s.dirs[request].out.Complete || s.aborted || s.reset }); err != nil {
		note(err)
	}
	up := s.Upstream()
	body, whole := wireBody(up.Headers, up.Body)
	if up.Headers != nil && up.Complete && whole && !s.aborted && !s.reset {
		out.Upstream = &Request{Headers: up.Headers.Clone(), Body: body, Trailers: up.Trailers}
		s.connected = true
		resp, err := upstream(ctx, *out.Upstream)
		if ctx.Err() != nil {
			return fmt.Errorf("exchange: %w", context.Cause(ctx))
		}
		if err != nil {
			s.reply(ctx, localReply{code: 503, body: unreachableText, grpc: -1,
				details: "upstream_reset_before_response_started{remote_connection_failure}"})
		} else {
			note(s.respond(ctx, resp))
		}
	}
	if _, err := s.settle(ctx, func() bool { return s.dirs[response].out.Complete || s.reset }); err != nil {
		note(err)
	}
	return crash
}

// respond feeds the upstream's response.
func (s *Stream) respond(ctx context.Context, r Response) error {
	hasBody, hasTrailers := len(r.Body) > 0, len(r.Trailers) > 0
	if err := s.ResponseHeaders(ctx, r.Headers.Clone(), !hasBody && !hasTrailers); err != nil {
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

// settle answers callouts and runs events until enough says so, or nothing more happens.
func (s *Stream) settle(ctx context.Context, enough func() bool) (bool, error) {
	for range maxCallbackRounds {
		if enough != nil && enough() {
			return true, nil
		}
		ran := s.vm.RunEvents(ctx)
		answered, err := s.vm.AnswerCallouts(ctx)
		if err != nil {
			return false, err
		}
		if err := ctx.Err(); err != nil {
			return false, fmt.Errorf("exchange: %w", context.Cause(ctx))
		}
		if !ran && !answered {
			return enough == nil || enough(), nil
		}
	}
	return false, fmt.Errorf("exchange: the filter made callouts or events for %d rounds: %w", maxCallbackRounds, ErrTooLarge)
}
