package main

import (
	"net"
	"net/http"
	"strings"

	"github.com/corazawaf/coraza/v3/types"

	"github.com/waft-project/waft/sdk"
)

// inspection inspects one stream.
type inspection struct {
	filter *filter
	policy *policy
	// tx is nil for a stream that is not inspected.
	tx       types.Transaction
	protocol string
	// bodies and responses say whether bodies of requests, and responses, are inspected.
	bodies, responses bool
	// judged is set once the request was judged as a whole.
	judged bool
	// detected is set where the stream would have been answered, had the policy not been only to watch.
	detected bool
}

// OnRequestHeaders inspects headers and query. Where no body is to be inspected, it is the last word on the request.
func (i *inspection) OnRequestHeaders(r *sdk.Request) sdk.Action {
	i.policy = i.filter.policyOf(r)
	if i.policy.Mode == modeOff {
		return sdk.Continue
	}
	if bytes := headerBytes(r); bytes > i.policy.HeadersLimit {
		return i.longHeaders(r, bytes)
	}
	i.filter.inspected.Inc()
	i.begin(r)
	if action, over := i.decide(r.Reply, i.tx.ProcessRequestHeaders(), nil); over {
		return action
	}
	i.bodies = !r.End() && i.policy.RequestBody.Inspect && i.tx.IsRequestBodyAccessible()
	if i.bodies {
		return sdk.Continue
	}
	return i.endOfRequest(r)
}

// headerBytes is the length of all names and values.
func headerBytes(r *sdk.Request) int {
	n := 0
	for name, value := range r.Headers().All() {
		n += len(name) + len(value)
	}
	return n
}

// longHeaders refuses a request whose headers would take too long to inspect. Who only watches lets it pass.
func (i *inspection) longHeaders(r *sdk.Request, bytes int) sdk.Action {
	i.filter.log.Warnf("request headers of %d bytes are over the limit of %d", bytes, i.policy.HeadersLimit)
	if i.policy.Mode == modeDetect {
		i.filter.detected.Inc()
		return sdk.Continue
	}
	i.filter.blocked.Inc()
	return r.Reply(refusal(http.StatusRequestHeaderFieldsTooLarge, "waf_request_headers_too_long"))
}

// begin starts the transaction and tells it all that is known of the request.
func (i *inspection) begin(r *sdk.Request) {
	attributes := r.Properties()
	// What cannot be read is left empty: these are for the log and for rules of the user's.
	id, _ := r.Headers().Get("x-request-id")
	i.protocol, _ = attributes.Request().Protocol()
	source, _ := attributes.Connection().SourceAddress()
	sourcePort, _ := attributes.Connection().SourcePort()
	destination, _ := attributes.Connection().DestinationAddress()
	destinationPort, _ := attributes.Connection().DestinationPort()

	i.tx = i.filter.engine.waf.NewTransactionWithID(i.policy.mark + id)
	i.tx.ProcessConnection(host(source), int(sourcePort), host(destination), int(destinationPort))
	i.tx.ProcessURI(r.Path(), r.Method(), i.protocol)
	for name, value := range r.Headers().All() {
		if !strings.HasPrefix(name, ":") {
			i.tx.AddRequestHeader(name, value)
		}
	}
	if authority := r.Authority(); authority != "" {
		i.tx.AddRequestHeader("host", authority)
		i.tx.SetServerName(host(authority))
	}
	i.responses = i.policy.Response.Inspect
}

// host is an address without its port.
func host(address string) string {
	if name, _, err := net.SplitHostPort(address); err == nil {
		return name
	}
	return address
}

// RequestBodyLimit has the body held back if it is to be inspected.
func (i *inspection) RequestBodyLimit() int {
	if !i.bodies {
		return sdk.PassBody
	}
	return i.policy.RequestBody.Limit
}

// OnBufferedRequestBody inspects the body, and so all of the request.
func (i *inspection) OnBufferedRequestBody(r *sdk.Request, body *sdk.Body) sdk.Action {
	return i.requestBody(r, body, body.Len())
}

// OnLongRequestBody refuses a body over the limit. Who only watches inspects the beginning.
func (i *inspection) OnLongRequestBody(r *sdk.Request, head *sdk.Body) sdk.Action {
	i.filter.log.Warnf("request body over the limit of %d bytes; tx %q", i.policy.RequestBody.Limit, i.tx.ID())
	if i.policy.Mode == modeDetect {
		i.detected = true
		return i.requestBody(r, head, i.policy.RequestBody.Limit)
	}
	i.filter.blocked.Inc()
	return r.Reply(refusal(http.StatusRequestEntityTooLarge, "waf_request_body_too_long"))
}

func (i *inspection) requestBody(r *sdk.Request, body *sdk.Body, length int) sdk.Action {
	data, err := body.Bytes()
	var verdict *types.Interruption
	if err == nil {
		verdict, _, err = i.tx.WriteRequestBody(data[:min(length, len(data))])
	}
	if action, over := i.decide(r.Reply, verdict, err); over {
		return action
	}
	return i.endOfRequest(r)
}

// endOfRequest judges the request as a whole.
func (i *inspection) endOfRequest(r *sdk.Request) sdk.Action {
	i.judged = true
	verdict, err := i.tx.ProcessRequestBody()
	action, _ := i.decide(r.Reply, verdict, err)
	return action
}

// OnRequestTrailers judges a request that has trailers and no body. Coraza knows no trailers, so they are not inspected.
func (i *inspection) OnRequestTrailers(r *sdk.Request) sdk.Action {
	if i.tx == nil || i.judged {
		return sdk.Continue
	}
	return i.endOfRequest(r)
}

// OnResponseHeaders inspects the response's headers.
func (i *inspection) OnResponseHeaders(r *sdk.Response) sdk.Action {
	if i.tx == nil || !i.responses {
		return sdk.Continue
	}
	for name, value := range r.Headers().All() {
		if !strings.HasPrefix(name, ":") {
			i.tx.AddResponseHeader(name, value)
		}
	}
	if action, over := i.decide(r.Reply, i.tx.ProcessResponseHeaders(r.Status(), i.protocol), nil); over {
		return action
	}
	if r.End() || !i.tx.IsResponseBodyAccessible() || !i.tx.IsResponseBodyProcessable() {
		i.responses = false
		return i.endOfResponse(r)
	}
	return sdk.Continue
}

// ResponseBodyLimit has the body held back if it is to be inspected.
func (i *inspection) ResponseBodyLimit() int {
	if i.tx == nil || !i.responses {
		return sdk.PassBody
	}
	return i.policy.Response.Limit
}

// OnBufferedResponseBody inspects the body. It can only end the stream, since the response's status is gone by now.
func (i *inspection) OnBufferedResponseBody(r *sdk.Response, body *sdk.Body) sdk.Action {
	return i.responseBody(r, body)
}

// OnLongResponseBody inspects the beginning of a body over the limit.
func (i *inspection) OnLongResponseBody(r *sdk.Response, head *sdk.Body) sdk.Action {
	return i.responseBody(r, head)
}

func (i *inspection) responseBody(r *sdk.Response, body *sdk.Body) sdk.Action {
	data, err := body.Bytes()
	var verdict *types.Interruption
	if err == nil {
		verdict, _, err = i.tx.WriteResponseBody(data[:min(i.policy.Response.Limit, len(data))])
	}
	if action, over := i.decide(r.Reply, verdict, err); over {
		return action
	}
	return i.endOfResponse(r)
}

// endOfResponse judges the response as a whole.
func (i *inspection) endOfResponse(r *sdk.Response) sdk.Action {
	verdict, err := i.tx.ProcessResponseBody()
	action, _ := i.decide(r.Reply, verdict, err)
	return action
}

// OnStreamDone counts what was found, and lets go of the transaction.
func (i *inspection) OnStreamDone(*sdk.Stream) {
	if i.tx == nil {
		return
	}
	i.tx.ProcessLogging()
	if i.detected || wouldInterrupt(i.tx) {
		i.filter.detected.Inc()
	}
	i.filter.countAttacks(i.tx.MatchedRules())
	id := i.tx.ID()
	if err := i.tx.Close(); err != nil {
		i.filter.log.Errorf("close tx %q: %v", id, err)
	}
	i.tx = nil
}
