package sdktest

import (
	"errors"
	"strconv"
	"time"

	"github.com/waft-project/waft/sdk"
	"github.com/waft-project/waft/sdk/internal/abi"
)

// Cluster makes a cluster that the filter can fetch from. answer gives what it answers: a nil response without an error
// is none, so that the callout times out; with an error, the connection breaks. A fetch from a cluster that was not made
// is refused, as Envoy refuses it.
func Cluster(name string, answer func(request sdk.FetchRequest) (*sdk.FetchResponse, error)) Option {
	return func(o *options) { o.clusters[name] = answer }
}

// GRPCCluster makes a cluster that the filter can make unary gRPC calls to. answer gives the serialised answer, or an error,
// which is the call's status when it is a [*sdk.GRPCError] and status 14 (unavailable) otherwise. Streams are for scenarios;
// here they are refused.
func GRPCCluster(name string, answer func(request sdk.GRPCRequest) ([]byte, error)) Option {
	return func(o *options) { o.grpcClusters[name] = answer }
}

// callout is a call of the filter's that has not been answered.
type callout struct {
	id, token uint32
	deadline  time.Time
	http      func() (*sdk.FetchResponse, error)
	grpc      func() ([]byte, error)
}

// calloutAnswer is what the callback of a callout shows.
type calloutAnswer struct {
	maps   map[abi.MapType][]sdk.Header
	bytes  map[abi.BufferType][]byte
	status sdk.GRPCError
}

func (h *host) HTTPCall(cluster string, headers, body, trailers []byte, timeoutMillis uint32) (uint32, abi.Status) {
	respond, ok := h.clusters[cluster]
	if !ok {
		return 0, abi.BadArgument
	}
	pairs, err := abi.ParsePairs(nil, string(headers))
	if err != nil {
		return 0, abi.SerializationFailure
	}
	ending, err := abi.ParsePairs(nil, string(trailers))
	if err != nil {
		return 0, abi.SerializationFailure
	}
	timeout := time.Duration(timeoutMillis) * time.Millisecond
	request := sdk.FetchRequest{Cluster: cluster, Body: []byte(string(body)), Trailers: ending, Timeout: timeout}
	for _, p := range pairs {
		switch p.Name {
		case ":method":
			request.Method = p.Value
		case ":path":
			request.Path = p.Value
		case ":authority":
			request.Authority = p.Value
		default:
			request.Headers = append(request.Headers, p)
		}
	}
	if request.Method == "" || request.Path == "" || request.Authority == "" {
		return 0, abi.BadArgument
	}
	return h.dispatch(&callout{deadline: h.now.Add(timeout), http: func() (*sdk.FetchResponse, error) { return respond(request) }}), abi.OK
}

func (h *host) GRPCCall(service, name, method string, metadata, message []byte, timeoutMillis uint32) (uint32, abi.Status) {
	cluster, ok := clusterOf(service)
	respond, known := h.grpcClusters[cluster]
	if !ok || !known {
		return 0, abi.ParseFailure
	}
	pairs, err := abi.ParsePairs(nil, string(metadata))
	if err != nil {
		return 0, abi.SerializationFailure
	}
	timeout := time.Duration(timeoutMillis) * time.Millisecond
	request := sdk.GRPCRequest{Cluster: cluster, Service: name, Method: method, Metadata: pairs, Message: []byte(string(message)), Timeout: timeout}
	return h.dispatch(&callout{deadline: h.now.Add(timeout), grpc: func() ([]byte, error) { return respond(request) }}), abi.OK
}

func (h *host) GRPCStream(_, _, _ string, _ []byte) (uint32, abi.Status) { return 0, abi.Unimplemented }
func (h *host) GRPCSend(uint32, []byte, bool) abi.Status                 { return abi.BadArgument }
func (h *host) GRPCClose(token uint32) abi.Status                        { return h.GRPCCancel(token) }

func (h *host) GRPCCancel(token uint32) abi.Status {
	for i, c := range h.callouts {
		if c.token == token {
			h.callouts = append(h.callouts[:i], h.callouts[i+1:]...)
			return abi.OK
		}
	}
	return abi.NotFound
}

// clusterOf reads the cluster's name out of a serialised GrpcService, whose lengths are of one byte here.
func clusterOf(service string) (string, bool) {
	if len(service) < 4 || service[0] != 0x0a || service[2] != 0x0a || int(service[3]) != len(service)-4 {
		return "", false
	}
	return service[4:], true
}

// dispatch keeps a callout until somebody waits for it. Tokens rise by 4, as Envoy's do.
func (h *host) dispatch(c *callout) uint32 {
	h.lastToken += 4
	c.token, c.id = h.lastToken, h.context()
	h.callouts = append(h.callouts, c)
	return c.token
}

// context is the one that host calls count for.
func (h *host) context() uint32 {
	if h.stream != nil {
		return h.stream.id
	}
	return pluginID
}

// pump answers callouts until none is left that is answered, and reports whether it answered any.
func (f *Filter) pump() (progress bool) {
	for i := 0; i < len(f.host.callouts); {
		c := f.host.callouts[i]
		if !f.respond(c, false) {
			i++
			continue
		}
		progress, i = true, 0
	}
	return progress
}

// respond makes the callback of a callout. One without an answer is left alone, unless its time is over.
func (f *Filter) respond(c *callout, over bool) bool {
	h := f.host
	var response *sdk.FetchResponse
	var message []byte
	var err error
	switch {
	case over:
		response = &sdk.FetchResponse{Status: 504, Body: []byte("upstream request timeout")}
		err = &sdk.GRPCError{Code: 4, Message: "deadline exceeded"}
	case c.http != nil:
		if response, err = c.http(); response == nil && err == nil {
			return false
		}
	default:
		if message, err = c.grpc(); message == nil && err == nil {
			return false
		}
	}
	h.GRPCCancel(c.token)
	f.in(c.id, func() {
		if c.http != nil {
			f.fetched(c, response)
		} else {
			f.called(c, message, err)
		}
	})
	return true
}

func (f *Filter) fetched(c *callout, response *sdk.FetchResponse) {
	if response == nil {
		f.guest.HTTPCallResponse(c.id, c.token, 0, 0, 0)
		return
	}
	headers := response.Headers
	if _, ok := first(headers, ":status"); !ok {
		headers = append([]sdk.Header{{Name: ":status", Value: strconv.Itoa(response.Status)}}, headers...)
	}
	f.host.answer = &calloutAnswer{
		maps:  map[abi.MapType][]sdk.Header{abi.CalloutHeaders: headers, abi.CalloutTrailers: response.Trailers},
		bytes: map[abi.BufferType][]byte{abi.CalloutBody: response.Body},
	}
	f.guest.HTTPCallResponse(c.id, c.token, uint32(len(headers)), uint32(len(response.Body)), uint32(len(response.Trailers)))
}

func (f *Filter) called(c *callout, message []byte, err error) {
	if err == nil {
		f.host.answer = &calloutAnswer{bytes: map[abi.BufferType][]byte{abi.GRPCMessage: message}}
		f.guest.GRPCReceive(c.id, c.token, uint32(len(message)))
		return
	}
	status := &sdk.GRPCError{Code: 14, Message: err.Error()}
	errors.As(err, &status)
	f.host.answer = &calloutAnswer{status: *status}
	f.guest.GRPCClose(c.id, c.token, status.Code)
}

// in makes a callback on a context.
func (f *Filter) in(id uint32, callback func()) {
	before := f.host.stream
	f.host.stream = f.host.streams[id]
	callback()
	f.host.stream, f.host.answer = before, nil
}

func (h *host) Status() (uint32, string, abi.Status) {
	if h.answer == nil {
		return 0, "", abi.OK
	}
	return h.answer.status.Code, h.answer.status.Message, abi.OK
}

func first(headers []sdk.Header, name string) (string, bool) {
	for _, h := range headers {
		if h.Name == name {
			return h.Value, true
		}
	}
	return "", false
}
