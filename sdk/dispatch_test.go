package sdk

import (
	"context"
	"testing"
)

type plainHandler struct{ n *int }

func (h plainHandler) OnRequestHeaders(*Request) Action { *h.n++; return Continue }

type waitingHandler struct{ n, m int }

func (h *waitingHandler) OnRequestHeaders(context.Context, *Request) Action { h.n++; return Continue }
func (h *waitingHandler) OnResponseHeaders(*Response) Action                { h.m++; return stop }

type wordHandler int

func (wordHandler) OnResponseHeaders(context.Context, *Response) Action { return hold }

// Handlers of several types, in turn, get their own events, whatever their values look like.
func TestDispatch(t *testing.T) {
	t.Parallel()
	v := &vm{}
	var count int
	waiting := &waitingHandler{}
	for round := range 3 {
		for _, h := range []Handler{plainHandler{&count}, waiting, wordHandler(7), &plainHandler{&count}, nil, struct{}{}} {
			s := &Stream{vm: v}
			s.handle(h)
			d := s.dispatch
			_, request := h.(RequestHeadersHandler)
			_, awaitingRequest := h.(AwaitingRequestHeadersHandler)
			_, response := h.(ResponseHeadersHandler)
			_, awaitingResponse := h.(AwaitingResponseHeadersHandler)
			if request != (d.requestHeaders != nil) || awaitingRequest != (d.awaitingRequestHeaders != nil) ||
				response != (d.responseHeaders != nil) || awaitingResponse != (d.awaitingResponseHeaders != nil) {
				t.Errorf("round %d, %T: %+v", round, h, d)
			}
			if request {
				as[RequestHeadersHandler](&s.handler, d.requestHeaders).OnRequestHeaders(nil)
			}
			if awaitingRequest {
				as[AwaitingRequestHeadersHandler](&s.handler, d.awaitingRequestHeaders).OnRequestHeaders(t.Context(), nil)
			}
			if response && as[ResponseHeadersHandler](&s.handler, d.responseHeaders).OnResponseHeaders(nil) != stop {
				t.Errorf("%T: another method was called", h)
			}
			if awaitingResponse && as[AwaitingResponseHeadersHandler](&s.handler, d.awaitingResponseHeaders).OnResponseHeaders(t.Context(), nil) != hold {
				t.Errorf("%T: another method was called", h)
			}
		}
	}
	if count != 6 || waiting.n != 3 || waiting.m != 3 || len(v.dispatches) != 6 {
		t.Errorf("%d, %d and %d calls, %d types; want 6, 3, 3 and 6", count, waiting.n, waiting.m, len(v.dispatches))
	}
}
