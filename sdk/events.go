package sdk

import "github.com/waft-project/waft/sdk/internal/abi"

// The events of a stream. Each finds the stream, drops what was read of it before, and calls the handler if it has a
// method for the event.

// RequestHeaders is the callback proxy_on_request_headers.
func (v *vm) RequestHeaders(id uint32, end bool) abi.Action {
	s := v.stream(id)
	s.renew()
	s.request.end = end
	action := s.onRequestHeaders()
	s.request.headers.settle()
	return wireHeaders(action)
}

func (s *Stream) onRequestHeaders() (action Action) {
	if action, ok := s.settled(true); ok {
		return action
	}
	h, ok := s.handler.(RequestHeadersHandler)
	if !ok {
		return Continue
	}
	defer s.guard(&action)
	return s.outcome(h.OnRequestHeaders(&s.request))
}

// RequestBody is the callback proxy_on_request_body.
func (v *vm) RequestBody(id uint32, size uint32, end bool) abi.Action {
	s := v.stream(id)
	s.renew()
	s.request.end = end
	if action, ok := s.settled(true); ok {
		return wireBody(action)
	}
	body := s.chunk(abi.RequestBody, int(size), end)
	if h, ok := s.handler.(BufferedRequestBodyHandler); ok {
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
func (s *Stream) holdRequest(h BufferedRequestBodyHandler, body *Body) abi.Action {
	if body.size > s.requestLimit(h) {
		return wireBody(s.reply(Reply{Status: 413, Details: "waft_request_body_too_large"}))
	}
	if s.heldRequest = !body.end; s.heldRequest {
		return abi.Pause
	}
	return wireBody(s.onBufferedRequestBody(h, body))
}

func (s *Stream) requestLimit(h BufferedRequestBodyHandler) int {
	if limit := h.RequestBodyLimit(); limit > 0 {
		return limit
	}
	return DefaultBodyLimit
}

func (s *Stream) onBufferedRequestBody(h BufferedRequestBodyHandler, body *Body) (action Action) {
	defer s.guard(&action)
	return s.outcome(h.OnBufferedRequestBody(&s.request, body))
}

// RequestTrailers is the callback proxy_on_request_trailers. A body that is held is whole now.
func (v *vm) RequestTrailers(id uint32) abi.Action {
	s := v.stream(id)
	s.renew()
	s.request.end = true
	if action, ok := s.settled(true); ok {
		return wireTrailers(action)
	}
	if h, ok := s.handler.(BufferedRequestBodyHandler); ok && s.heldRequest {
		s.heldRequest = false
		body, err := s.held(abi.RequestBody)
		if err != nil {
			s.Log().Error(err.Error())
			return wireTrailers(s.fail())
		}
		if action := s.onBufferedRequestBody(h, body); action != Continue {
			return wireTrailers(action)
		}
	}
	return wireTrailers(s.onRequestTrailers())
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
func (v *vm) ResponseHeaders(id uint32, end bool) abi.Action {
	s := v.stream(id)
	s.renew()
	s.response.end = end
	action := s.onResponseHeaders()
	s.response.headers.settle()
	s.responded = s.responded || action == Continue
	return wireHeaders(action)
}

func (s *Stream) onResponseHeaders() (action Action) {
	if action, ok := s.settled(false); ok {
		return action
	}
	h, ok := s.handler.(ResponseHeadersHandler)
	if !ok {
		return Continue
	}
	defer s.guard(&action)
	return s.outcome(h.OnResponseHeaders(&s.response))
}

// ResponseBody is the callback proxy_on_response_body.
func (v *vm) ResponseBody(id uint32, size uint32, end bool) abi.Action {
	s := v.stream(id)
	s.renew()
	s.response.end = end
	if action, ok := s.settled(false); ok {
		return wireBody(action)
	}
	body := s.chunk(abi.ResponseBody, int(size), end)
	if h, ok := s.handler.(BufferedResponseBodyHandler); ok {
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
func (s *Stream) holdResponse(h BufferedResponseBodyHandler, body *Body) abi.Action {
	if body.size > s.responseLimit(h) {
		s.Log().Error("response body is longer than the filter's limit; the stream is reset")
		return wireBody(s.reply(Reply{Status: 502, Details: "waft_response_body_too_large"}))
	}
	if s.heldResponse = !body.end; s.heldResponse {
		return abi.Pause
	}
	return wireBody(s.onBufferedResponseBody(h, body))
}

func (s *Stream) responseLimit(h BufferedResponseBodyHandler) int {
	if limit := h.ResponseBodyLimit(); limit > 0 {
		return limit
	}
	return DefaultBodyLimit
}

func (s *Stream) onBufferedResponseBody(h BufferedResponseBodyHandler, body *Body) (action Action) {
	defer s.guard(&action)
	return s.outcome(h.OnBufferedResponseBody(&s.response, body))
}

// ResponseTrailers is the callback proxy_on_response_trailers. A body that is held is whole now.
func (v *vm) ResponseTrailers(id uint32) abi.Action {
	s := v.stream(id)
	s.renew()
	s.response.end = true
	if action, ok := s.settled(false); ok {
		return wireTrailers(action)
	}
	if h, ok := s.handler.(BufferedResponseBodyHandler); ok && s.heldResponse {
		s.heldResponse = false
		body, err := s.held(abi.ResponseBody)
		if err != nil {
			s.Log().Error(err.Error())
			return wireTrailers(s.fail())
		}
		if action := s.onBufferedResponseBody(h, body); action != Continue {
			return wireTrailers(action)
		}
	}
	return wireTrailers(s.onResponseTrailers())
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
	s, ok := v.streams[id]
	if !ok {
		return
	}
	s.release()
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

// chunk is the body of an event. Each stream has one, which its events use in turn.
func (s *Stream) chunk(kind abi.BufferType, size int, end bool) *Body {
	s.body = Body{host: s.host, kind: kind, size: size, end: end}
	return &s.body
}

// held is a body that the host holds while trailers arrive.
func (s *Stream) held(kind abi.BufferType) (*Body, error) {
	body := s.chunk(kind, 0, true)
	size, status := s.host.BufferSize(kind)
	body.size = size
	return body, hostError(status, "size of", body.what())
}
