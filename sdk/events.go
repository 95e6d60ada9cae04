package sdk

import "github.com/waft-project/waft/sdk/internal/abi"

// The events of a stream. Each finds the stream, drops what was read of it before, and calls the handler if it has a
// method for the event.

// RequestHeaders is the callback proxy_on_request_headers. It and [vm.ResponseHeaders] come with every request, so they call as few
// functions as they can: in Wasm each that calls others begins with a jump through a table.
func (v *vm) RequestHeaders(id uint32, end bool) (answer abi.Action) {
	s := v.stream(id)
	s.renew()
	s.request.end = end
	action := Continue
	switch {
	case s.state != streamOpen:
		action = s.settled(true)
	case s.dispatch.requestHeaders != nil:
		inside := true
		defer func() {
			if inside { // to ask the runtime for a panic costs more than the look at this
				s.panicked(recover(), &answer)
			}
		}()
		action = s.outcome(as[RequestHeadersHandler](&s.handler, s.dispatch.requestHeaders).OnRequestHeaders(&s.request))
		inside = false
	case s.dispatch.awaitingRequestHeaders != nil:
		action, s.waiting = s.attend(abi.RequestStream, awaitRequestHeaders)
	}
	if s.request.headers.keep && action != hold {
		s.request.headers.settle()
	}
	v.drive()
	return wireHeaders(action)
}

func awaitRequestHeaders(t *task) Action {
	s := t.stream
	return as[AwaitingRequestHeadersHandler](&s.handler, s.dispatch.awaitingRequestHeaders).OnRequestHeaders(&t.scope, &s.request)
}

// RequestBody is the callback proxy_on_request_body.
func (v *vm) RequestBody(id uint32, size uint32, end bool) abi.Action {
	s := v.stream(id)
	s.renew()
	s.request.end = end
	action := s.onRequestBodyEvent(int(size), end)
	v.drive()
	return action
}

func (s *Stream) onRequestBodyEvent(size int, end bool) abi.Action {
	if s.state != streamOpen {
		return wireBody(s.settled(true))
	}
	body := s.request.chunk(abi.RequestBody, size, end)
	if h, ok := s.handler.(requestBodyLimiter); ok {
		return s.holdRequest(h, body)
	}
	if h, ok := s.handler.(RequestBodyHandler); ok {
		return wireBody(s.onRequestBody(h, body))
	}
	return abi.Continue
}

func (s *Stream) onRequestBody(h RequestBodyHandler, body *Body) (action Action) {
	defer s.guard(&action)
	return s.outcome(h.OnRequestBody(&s.request, body))
}

// holdRequest keeps the body back until it is whole.
func (s *Stream) holdRequest(h requestBodyLimiter, body *Body) abi.Action {
	limit := h.RequestBodyLimit()
	if s.passRequest = s.passRequest || limit == PassBody; s.passRequest {
		s.heldRequest = false
		return abi.Continue
	}
	if body.size > bodyLimit(limit) {
		s.heldRequest = false
		return wireBody(s.onLongRequestBody(body))
	}
	if s.heldRequest = !body.end; s.heldRequest {
		return abi.Pause
	}
	return wireBody(s.onBufferedRequestBody(body, nil))
}

// onLongRequestBody asks the handler about a body that is over its limit; without a word of its own it is refused.
func (s *Stream) onLongRequestBody(body *Body) (action Action) {
	h, ok := s.handler.(LongRequestBodyHandler)
	if !ok {
		return s.reply(Reply{Status: 413, Details: "waft_request_body_too_large"})
	}
	defer s.guard(&action)
	s.passRequest = true
	return s.outcome(h.OnLongRequestBody(&s.request, body))
}

// bodyLimit is what a handler's limit means.
func bodyLimit(limit int) int {
	if limit > 0 {
		return limit
	}
	return DefaultBodyLimit
}

// onBufferedRequestBody hands a whole body to the handler, and goes on with what follows it in the same event.
func (s *Stream) onBufferedRequestBody(body *Body, then func() Action) (action Action) {
	follow := func(action Action) Action {
		if action = s.outcome(action); action == Continue && then != nil {
			return then()
		}
		return action
	}
	switch h := s.handler.(type) {
	case BufferedRequestBodyHandler:
		defer s.guard(&action)
		return follow(h.OnBufferedRequestBody(&s.request, body))
	case AwaitingBufferedRequestBodyHandler:
		return s.await(abi.RequestStream, func(t *task) Action {
			return follow(h.OnBufferedRequestBody(&t.scope, &s.request, body))
		})
	}
	return Continue
}

// RequestTrailers is the callback proxy_on_request_trailers. A body that is held is whole now.
func (v *vm) RequestTrailers(id uint32) abi.Action {
	s := v.stream(id)
	s.renew()
	s.request.end = true
	action := s.onRequestTrailersEvent()
	v.drive()
	return wireTrailers(action)
}

func (s *Stream) onRequestTrailersEvent() Action {
	if s.state != streamOpen {
		return s.settled(true)
	}
	if s.heldRequest {
		s.heldRequest = false
		body, err := s.request.heldBody(abi.RequestBody)
		if err != nil {
			s.Log().Error(err.Error())
			return s.fail()
		}
		return s.linger(abi.RequestStream, s.onBufferedRequestBody(body, s.onRequestTrailers))
	}
	return s.onRequestTrailers()
}

func (s *Stream) onRequestTrailers() (action Action) {
	h, ok := s.handler.(RequestTrailersHandler)
	if !ok || s.state != streamOpen {
		return Continue
	}
	defer s.guard(&action)
	return s.outcome(h.OnRequestTrailers(&s.request))
}

// ResponseHeaders is the callback proxy_on_response_headers.
func (v *vm) ResponseHeaders(id uint32, end bool) (answer abi.Action) {
	s := v.stream(id)
	s.renew()
	s.response.end = end
	if s.waiting != nil {
		s.overtake()
	}
	action := Continue
	switch {
	case s.state != streamOpen:
		action = s.settled(false)
	case s.dispatch.responseHeaders != nil:
		inside := true
		defer func() {
			if inside { // to ask the runtime for a panic costs more than the look at this
				s.panicked(recover(), &answer)
			}
		}()
		action = s.outcome(as[ResponseHeadersHandler](&s.handler, s.dispatch.responseHeaders).OnResponseHeaders(&s.response))
		inside = false
	case s.dispatch.awaitingResponseHeaders != nil:
		action = s.await(abi.ResponseStream, awaitResponseHeaders)
	}
	if s.response.headers.keep && action != hold {
		s.response.headers.settle()
	}
	s.responded = s.responded || action == Continue
	v.drive()
	return wireHeaders(action)
}

func awaitResponseHeaders(t *task) Action {
	s := t.stream
	return as[AwaitingResponseHeadersHandler](&s.handler, s.dispatch.awaitingResponseHeaders).OnResponseHeaders(&t.scope, &s.response)
}

// ResponseBody is the callback proxy_on_response_body.
func (v *vm) ResponseBody(id uint32, size uint32, end bool) abi.Action {
	s := v.stream(id)
	s.renew()
	s.response.end = end
	action := s.onResponseBodyEvent(int(size), end)
	v.drive()
	return action
}

func (s *Stream) onResponseBodyEvent(size int, end bool) abi.Action {
	if s.state != streamOpen {
		return wireBody(s.settled(false))
	}
	body := s.response.chunk(abi.ResponseBody, size, end)
	if h, ok := s.handler.(responseBodyLimiter); ok {
		return s.holdResponse(h, body)
	}
	if h, ok := s.handler.(ResponseBodyHandler); ok {
		return wireBody(s.onResponseBody(h, body))
	}
	return abi.Continue
}

func (s *Stream) onResponseBody(h ResponseBodyHandler, body *Body) (action Action) {
	defer s.guard(&action)
	return s.outcome(h.OnResponseBody(&s.response, body))
}

// holdResponse keeps the body back until it is whole.
func (s *Stream) holdResponse(h responseBodyLimiter, body *Body) abi.Action {
	limit := h.ResponseBodyLimit()
	if s.passResponse = s.passResponse || limit == PassBody; s.passResponse {
		s.heldResponse = false
		return abi.Continue
	}
	if body.size > bodyLimit(limit) {
		s.heldResponse = false
		return wireBody(s.onLongResponseBody(body))
	}
	if s.heldResponse = !body.end; s.heldResponse {
		return abi.Pause
	}
	return wireBody(s.onBufferedResponseBody(body, nil))
}

// onLongResponseBody asks the handler about a body that is over its limit; without a word of its own the stream is reset.
func (s *Stream) onLongResponseBody(body *Body) (action Action) {
	h, ok := s.handler.(LongResponseBodyHandler)
	if !ok {
		s.Log().Error("response body is longer than the filter's limit; the stream is reset")
		return s.reply(Reply{Status: 502, Details: "waft_response_body_too_large"})
	}
	defer s.guard(&action)
	s.passResponse = true
	return s.outcome(h.OnLongResponseBody(&s.response, body))
}

// onBufferedResponseBody hands a whole body to the handler, and goes on with what follows it in the same event.
func (s *Stream) onBufferedResponseBody(body *Body, then func() Action) (action Action) {
	follow := func(action Action) Action {
		if action = s.outcome(action); action == Continue && then != nil {
			return then()
		}
		return action
	}
	switch h := s.handler.(type) {
	case BufferedResponseBodyHandler:
		defer s.guard(&action)
		return follow(h.OnBufferedResponseBody(&s.response, body))
	case AwaitingBufferedResponseBodyHandler:
		return s.await(abi.ResponseStream, func(t *task) Action {
			return follow(h.OnBufferedResponseBody(&t.scope, &s.response, body))
		})
	}
	return Continue
}

// ResponseTrailers is the callback proxy_on_response_trailers. A body that is held is whole now.
func (v *vm) ResponseTrailers(id uint32) abi.Action {
	s := v.stream(id)
	s.renew()
	s.response.end = true
	action := s.onResponseTrailersEvent()
	v.drive()
	return wireTrailers(action)
}

func (s *Stream) onResponseTrailersEvent() Action {
	if s.state != streamOpen {
		return s.settled(false)
	}
	if s.heldResponse {
		s.heldResponse = false
		body, err := s.response.heldBody(abi.ResponseBody)
		if err != nil {
			s.Log().Error(err.Error())
			return s.fail()
		}
		return s.linger(abi.ResponseStream, s.onBufferedResponseBody(body, s.onResponseTrailers))
	}
	return s.onResponseTrailers()
}

func (s *Stream) onResponseTrailers() (action Action) {
	h, ok := s.handler.(ResponseTrailersHandler)
	if !ok || s.state != streamOpen {
		return Continue
	}
	defer s.guard(&action)
	return s.outcome(h.OnResponseTrailers(&s.response))
}

// Log is the callback proxy_on_log: the stream is complete. A handler that panicked hears no more.
func (v *vm) Log(id uint32) {
	v.context = id
	if s := v.streams.get(id); s != nil {
		s.leave()
		s.release()
		s.onDone()
	}
	v.drive()
}

func (s *Stream) onDone() {
	if s.state == streamFailed || s.state == streamRefused {
		return
	}
	h, ok := s.handler.(StreamDoneHandler)
	if !ok {
		return
	}
	defer s.guardDone()
	h.OnStreamDone(s)
}
