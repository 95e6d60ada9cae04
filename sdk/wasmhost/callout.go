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
	Cluster  string
	Headers  Headers // with :method, :path and :authority
	Body     []byte
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

// Callout is a callout that waits for its answer.
type Callout struct {
	Token   uint32
	Request CalloutRequest

	root *guestContext
	done bool
}

// ErrCalloutReset, as the error of a cluster's Upstream, resets the callout: the guest gets no headers, and the status BROKEN_CONNECTION
// "reset". Any other error is a cluster that cannot be reached: the guest gets Envoy's own 503.
var ErrCalloutReset = errors.New("callout reset")

// unreachableText is Envoy's answer for an upstream that cannot be reached.
const unreachableText = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"

func unreachable() *CalloutResponse {
	return &CalloutResponse{
		Headers: NewHeaders(":status", "503", "content-length", strconv.Itoa(len(unreachableText)), "content-type", "text/plain"),
		Body:    []byte(unreachableText),
	}
}

// Callouts lists the callouts that wait for an answer, oldest first.
func (v *VM) Callouts() []*Callout { return slices.Clone(v.callouts) }

// Respond answers a callout: on_http_call_response runs on the plugin's context. A nil response fails it, as a reset or a timeout does.
// Answering a callout again, or after its VM was reloaded, does nothing. The error is the guest's crash.
func (v *VM) Respond(ctx context.Context, c *Callout, response *CalloutResponse) error {
	if c.done || c.root.in != v.in {
		return v.in.err()
	}
	c.done = true
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

// AnswerCallouts answers every waiting callout from the Proxy's clusters, in their order. It says whether there was any.
func (v *VM) AnswerCallouts(ctx context.Context) (bool, error) {
	waiting := v.Callouts()
	for _, c := range waiting {
		up := v.proxy.Clusters[c.Request.Cluster]
		var response *CalloutResponse
		if up != nil {
			r, err := up(ctx, Request{Headers: c.Request.Headers, Body: c.Request.Body, Trailers: c.Request.Trailers})
			switch {
			case err == nil:
				response = &CalloutResponse{Headers: r.Headers, Body: r.Body, Trailers: r.Trailers}
			case !errors.Is(err, ErrCalloutReset):
				response = unreachable()
			}
		}
		if err := v.Respond(ctx, c, response); err != nil {
			return true, err
		}
	}
	return len(waiting) > 0, nil
}

// httpCall begins a callout for a plugin's context.
func (root *guestContext) httpCall(req CalloutRequest, timeout int32) (uint32, Status) {
	v := root.in.vm
	if timeout < 0 || v.proxy.Clusters[req.Cluster] == nil {
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
	token := root.in.nextHTTPCall
	v.callouts = append(v.callouts, &Callout{Token: token, Request: req, root: root})
	return token, StatusOK
}

// The low two bits of a callout's token say what it is: 0 an HTTP call, 1 a gRPC call, 2 a gRPC stream.
const (
	calloutIncrement = 4
	calloutTypeMask  = 3
	calloutGRPCCall  = 1
	calloutGRPCStrm  = 2
)
