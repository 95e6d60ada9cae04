package wasmhost

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"
)

// CalloutRequest is an HTTP request that a guest sends with proxy_http_call.
type CalloutRequest struct {
	Cluster string
	Headers Headers // with :method, :path and :authority
	Body    []byte
	// Trailers are those that the guest gave. Envoy does not send them: a cluster's Upstream does not see them.
	Trailers Headers
	Timeout  time.Duration // 0 for none
}

// CalloutResponse is its answer.
type CalloutResponse struct {
	Headers  Headers // with :status
	Body     []byte
	Trailers Headers

	headers, trailers *headerMap
}

// Callout is a callout that waits for its answer. As in Envoy it belongs to the plugin's context, not to a stream: it goes on when the
// stream that it was made for has ended, and its answer then comes all the same.
type Callout struct {
	Token   uint32
	Request CalloutRequest

	root    *guestContext
	began   time.Time
	asked   bool // the cluster's script has been asked
	headers bool // the answer's headers have come
	done    bool
	answer  *appointment
	timeout *appointment
}

// What a cluster's Upstream answers a callout with besides a response. Any other error is a cluster that cannot be reached: the guest
// gets Envoy's own 503.
var (
	// ErrCalloutReset breaks the callout off before its headers came: the guest gets Envoy's own 503, with another text.
	ErrCalloutReset = errors.New("callout reset")

	// ErrCalloutBroken breaks it off after its headers came: the guest gets no headers, and the status BROKEN_CONNECTION "reset".
	ErrCalloutBroken = errors.New("callout broken off after its headers")

	// ErrNoAnswer leaves the callout without an answer: after its timeout the guest gets Envoy's own 504. Without a timeout it waits until
	// VM.Respond answers it.
	ErrNoAnswer = errors.New("no answer")
)

// What Envoy's router answers in an upstream's place.
const (
	unreachableText = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
	resetText       = "upstream connect error or disconnect/reset before headers. reset reason: remote reset"
	timeoutText     = "upstream request timeout"
	unhealthyText   = "no healthy upstream"
)

// routerReply is a local reply of Envoy's router to a callout (Http::AsyncStreamImpl::sendLocalReply).
func routerReply(status int, text string) *CalloutResponse {
	return &CalloutResponse{
		Headers: NewHeaders(":status", strconv.Itoa(status), "content-length", strconv.Itoa(len(text)), "content-type", "text/plain"),
		Body:    []byte(text),
	}
}

// refusedText is what Envoy up to 1.37 adds to unreachableText.
const refusedText = ", transport failure reason: delayed connect error: Connection refused"

// unreachable is the text of an answer in the place of an upstream that cannot be reached.
func (p Profile) unreachable() string {
	if p.tellsTransportFailure {
		return unreachableText + refusedText
	}
	return unreachableText
}

// Callouts lists the HTTP callouts that wait for an answer, oldest first.
func (v *VM) Callouts() []*Callout { return slices.Clone(v.callouts) }

// HeadersArrived says that the headers of a callout's answer have come, and the rest has not: a timeout now breaks the callout off (no
// headers, the status BROKEN_CONNECTION "reset") instead of answering it with 504.
func (c *Callout) HeadersArrived() { c.headers = true }

// Respond answers a callout: on_http_call_response runs on the plugin's context. A nil response is one that broke off after its headers.
// Answering a callout again, or after its VM was reloaded, does nothing. The error is the guest's crash.
func (v *VM) Respond(ctx context.Context, c *Callout, response *CalloutResponse) error {
	if c.done || c.root.in != v.in {
		return v.in.err()
	}
	c.done = true
	v.cancel(c.answer, c.timeout)
	v.callouts = slices.DeleteFunc(v.callouts, func(o *Callout) bool { return o == c })
	in, root := v.in, c.root
	if in.failure != nil || in.fn.httpCallResponse == nil {
		return in.err()
	}
	var headers, body, trailers int
	if response == nil {
		root.statusCode, root.statusText = uint32(StatusBrokenConnection), "reset"
		in.later(func() { root.statusText = "" })
	} else {
		r := *response
		r.headers = newHeaderMap(r.Headers, responseMap)
		headers, body = len(r.headers.list), len(r.Body)
		if len(r.Trailers) > 0 {
			r.trailers = newHeaderMap(r.Trailers, trailerMap)
			trailers = len(r.trailers.list)
		}
		root.callResponse = &r
		in.later(func() { root.callResponse = nil })
	}
	in.callback(ctx, root, "proxy_on_http_call_response", in.fn.httpCallResponse,
		uint64(root.id), uint64(c.Token), uint64(headers), uint64(body), uint64(trailers))
	return in.err()
}

// AnswerCallouts asks the Proxy's clusters and gRPC servers for what waits for them, in the order in which it was made, and delivers what
// has arrived: with a VirtualClock what is due by now, with a real clock everything, in the order of delays, without waiting for them.
// It says whether there was anything. The error is the guest's crash or the context's.
func (v *VM) AnswerCallouts(ctx context.Context) (bool, error) {
	_, virtual := v.proxy.Clock.(*VirtualClock)
	any := false
	for range maxCallbackRounds {
		if err := v.serve(ctx); err != nil {
			return any, err
		}
		now := v.proxy.now()
		a := v.next(func(a *appointment) bool { return !a.tick && (!virtual || !a.at.After(now)) })
		if a == nil {
			return any, nil
		}
		any = true
		v.keep(ctx, a)
		if err := v.in.err(); err != nil {
			return true, err
		}
	}
	return any, nil
}

// serve asks scripts for what has come to their servers. What they answer becomes appointments.
func (v *VM) serve(ctx context.Context) error {
	unreachable := v.module.profile.unreachable()
	for _, c := range v.Callouts() {
		if c.asked || c.done {
			continue
		}
		c.asked = true
		up := v.proxy.Clusters[c.Request.Cluster]
		if up == nil {
			v.answerAt(c, 0, routerReply(503, unreachable))
			continue
		}
		r, err := up(ctx, Request{Headers: c.Request.Headers, Body: c.Request.Body})
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil, errors.Is(err, ErrCalloutBroken):
			answer := &CalloutResponse{Headers: r.Headers, Body: r.Body, Trailers: r.Trailers}
			if err != nil {
				answer = nil
			}
			if r.BodyDelay > 0 {
				v.at(c.began.Add(r.Delay), func(context.Context) { c.HeadersArrived() })
			}
			v.answerAt(c, r.Delay+r.BodyDelay, answer)
		case errors.Is(err, ErrNoAnswer):
		case errors.Is(err, ErrCalloutReset):
			v.answerAt(c, r.Delay, routerReply(503, resetText))
		default:
			v.answerAt(c, r.Delay, routerReply(503, unreachable))
		}
	}
	v.serveGRPC(ctx)
	return ctx.Err()
}

// answerAt has a callout answered some time after it was made.
func (v *VM) answerAt(c *Callout, delay time.Duration, r *CalloutResponse) {
	c.answer = v.at(c.began.Add(delay), func(ctx context.Context) { _ = v.Respond(ctx, c, r) })
}

// httpCall begins a callout for a plugin's context.
func (root *guestContext) httpCall(req CalloutRequest, timeout int32) (uint32, Status) {
	v := root.in.vm
	if timeout < 0 || !v.proxy.knows(req.Cluster) {
		return 0, StatusBadArgument
	}
	m := newHeaderMap(req.Headers, requestMap)
	for _, name := range []string{":path", ":method", ":authority"} {
		if _, ok := m.get(name); !ok {
			return 0, StatusBadArgument
		}
	}
	if len(req.Body) > 0 {
		m.set("content-length", strconv.Itoa(len(req.Body)))
	}
	req.Headers = m.list
	req.Timeout = time.Duration(timeout) * time.Millisecond
	root.in.nextHTTPCall += calloutIncrement
	if v.proxy.Unhealthy[req.Cluster] {
		return 0, StatusInternalFailure
	}
	c := &Callout{Token: root.in.nextHTTPCall, Request: req, root: root, began: v.proxy.now()}
	if req.Timeout > 0 {
		c.timeout = v.at(c.began.Add(req.Timeout), func(ctx context.Context) {
			answer := routerReply(504, timeoutText)
			if c.headers {
				answer = nil
			}
			_ = v.Respond(ctx, c, answer)
		})
	}
	v.callouts = append(v.callouts, c)
	return c.Token, StatusOK
}

// knows says whether there is a cluster of that name.
func (p *Proxy) knows(cluster string) bool {
	return p.Clusters[cluster] != nil || p.GRPC[cluster] != nil || p.Unhealthy[cluster]
}

// The low two bits of a callout's token say what it is: 0 an HTTP call, 1 a gRPC call, 2 a gRPC stream.
const (
	calloutIncrement = 4
	calloutTypeMask  = 3
	calloutGRPCCall  = 1
	calloutGRPCStrm  = 2
)
