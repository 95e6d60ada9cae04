package filtertest

import (
	"context"
	"slices"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// wasmScript is the clusters of a simulated Envoy: what they answer now, and what reached them. It belongs to one VM.
type wasmScript struct {
	profile wasmhost.Profile
	answers map[string]Cluster
	seen    map[string][]ObservedRequest
}

// newWasmScript makes the script of a file's clusters, and gives the proxy their servers.
func newWasmScript(profile wasmhost.Profile, proxy *wasmhost.Proxy, f File) *wasmScript {
	s := &wasmScript{profile: profile}
	s.play(f.Clusters)
	proxy.Clusters = map[string]wasmhost.Upstream{upstreamCluster: func(_ context.Context, r wasmhost.Request) (wasmhost.Response, error) {
		return wasmReply(profile, r, f.Upstream), nil
	}}
	proxy.GRPC = map[string]wasmhost.GRPCServer{}
	proxy.Unhealthy = map[string]bool{}
	for _, c := range f.Clusters {
		switch {
		case c.Reply.Fault == FaultUnhealthy:
			proxy.Unhealthy[c.Name] = true
		case c.GRPC != nil && c.Reply.Fault != FaultUnreachable:
			proxy.GRPC[c.Name] = func(_ context.Context, call *wasmhost.GRPCCall) { s.call(c.Name, call) }
		default:
			proxy.Clusters[c.Name] = func(_ context.Context, r wasmhost.Request) (wasmhost.Response, error) { return s.answer(c.Name, r) }
		}
	}
	return s
}

// play sets what the clusters answer from now on, and forgets what reached them.
func (s *wasmScript) play(clusters []Cluster) {
	s.answers, s.seen = map[string]Cluster{}, map[string][]ObservedRequest{}
	for _, c := range clusters {
		s.answers[c.Name] = c
	}
}

// take gives what reached the clusters.
func (s *wasmScript) take() map[string][]ObservedRequest {
	for _, requests := range s.seen {
		sortCallouts(requests)
	}
	if len(s.seen) == 0 {
		return nil
	}
	return s.seen
}

// answer answers an HTTP callout.
func (s *wasmScript) answer(name string, r wasmhost.Request) (wasmhost.Response, error) {
	reply := s.answers[name].Reply
	if reply.Fault == FaultUnreachable {
		return wasmhost.Response{}, errUnreachable
	}
	s.seen[name] = append(s.seen[name], observedRequest(r))
	switch reply.Fault {
	case FaultNever:
		return wasmhost.Response{}, wasmhost.ErrNoAnswer
	case FaultReset:
		return brokenResponse(reply), nil
	case FaultCut:
		return wasmhost.Response{Delay: reply.Delay}, wasmhost.ErrCalloutReset
	}
	return wasmReply(s.profile, r, reply), nil
}

// call answers a gRPC call or stream.
func (s *wasmScript) call(name string, call *wasmhost.GRPCCall) {
	c := s.answers[name]
	request := ObservedRequest{
		Method: "POST", Path: "/" + call.Service + "/" + call.Method, Authority: name,
		Headers: headerMap(slices.DeleteFunc(call.Metadata.Clone(), func(h wasmhost.Header) bool { return ignoredCall[h.Name] != "" }), ignoredUpstream),
	}
	at := len(s.seen[name])
	s.seen[name] = append(s.seen[name], request)
	got := func(message []byte) {
		if at < len(s.seen[name]) {
			s.seen[name][at].Messages = append(s.seen[name][at].Messages, string(message))
		}
	}
	fault := c.Reply.Fault
	call.OnMessage = func(message []byte) {
		got(message)
		if c.GRPC.Echo && fault == FaultNone {
			call.Send(message)
		}
	}
	if !call.Streaming {
		got(call.Message)
	}
	call.Wait(c.Reply.Delay)
	switch fault {
	case FaultNever:
		return
	case FaultReset:
		call.Reset()
		return
	}
	if len(c.GRPC.Headers) > 0 {
		call.SendHeaders(c.GRPC.Headers)
	}
	finish := func() {
		for _, m := range c.GRPC.Messages {
			call.Send(m)
		}
		call.Close(c.GRPC.Status, c.GRPC.Message, c.GRPC.Trailers)
	}
	if c.GRPC.Echo && call.Streaming {
		call.OnEnd = finish
		return
	}
	if c.GRPC.Echo {
		call.Send(call.Message)
	}
	finish()
}

// errUnreachable is a cluster where nobody listens.
var errUnreachable = &unreachableError{}

type unreachableError struct{}

func (*unreachableError) Error() string { return "nobody listens" }

// brokenText is what Envoy's router answers a callout whose connection broke before the response.
const brokenText = "upstream connect error or disconnect/reset before headers. reset reason: connection termination"

func brokenResponse(r Reply) wasmhost.Response {
	return wasmhost.Response{
		Headers: wasmhost.NewHeaders(":status", "503", "content-length", "95", "content-type", "text/plain"), Body: []byte(brokenText), Delay: r.Delay,
	}
}
