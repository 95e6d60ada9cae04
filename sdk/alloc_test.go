package sdk

import (
	"context"
	"testing"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// silent is a ledger that writes nothing down, so that what is allocated is the sdk's.
type silent struct {
	*ledger
	pairs []byte
}

func (h *silent) ReplaceHeader(abi.MapType, string, string) abi.Status    { return abi.OK }
func (h *silent) HeaderValue(abi.MapType, string) (string, abi.Status)    { return "value", abi.OK }
func (h *silent) HeaderPairs(abi.MapType) ([]byte, abi.Status)            { return h.pairs, abi.OK }
func (h *silent) ContinueStream(abi.StreamType) abi.Status                { return abi.OK }
func (h *silent) GetBuffer(abi.BufferType, int, int) ([]byte, abi.Status) { return h.pairs, abi.OK }
func (h *silent) HTTPCall(string, []byte, []byte, []byte, uint32) (uint32, abi.Status) {
	h.lastToken += 4
	return h.lastToken, abi.OK
}

// plain handles every event of a stream that needs no waiting.
type plain struct{ request func(r *Request) }

func (p *plain) NewHandler() Handler { return p }
func (p *plain) OnRequestHeaders(r *Request) Action {
	p.request(r)
	return Continue
}
func (p *plain) OnRequestBody(_ *Request, chunk *Body) Action   { return Continue }
func (p *plain) OnRequestTrailers(*Request) Action              { return Continue }
func (p *plain) OnResponseHeaders(r *Response) Action           { r.Headers().Set("a", "b"); return Continue }
func (p *plain) OnResponseBody(_ *Response, chunk *Body) Action { return Continue }
func (p *plain) OnResponseTrailers(*Response) Action            { return Continue }
func (p *plain) OnStreamDone(*Stream)                           {}

// TestAllocations wants a stream whose handlers do not wait to cost no allocation, and bounds what waiting costs. Strings that
// the host hands over are what the rest is.
func TestAllocations(t *testing.T) {
	tests := []struct {
		name   string
		filter Filter
		want   float64
	}{
		{"set a header", &plain{func(r *Request) { r.Headers().Set("x-a", "1") }}, 0},
		{"read one header", &plain{func(r *Request) { r.Headers().Get("x-a") }}, 0},
		{"read all headers", &plain{func(r *Request) {
			for range r.Headers().All() {
			}
		}}, 1},
		{"peek", &plain{func(r *Request) { r.Headers().Peek() }}, 0},
		{"read two headers", &plain{func(r *Request) { r.Path(); r.Method() }}, 1},
		{"await nothing", awaiting(func(context.Context, *Request) Action { return Continue }), 1},
		{"await a callout", awaiting(func(ctx context.Context, _ *Request) Action { fetchOnce(ctx); return Continue }), 5},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := newLedger(t, func(*Plugin) Filter { return test.filter })
			h := &silent{l, abi.AppendPairs(nil, []abi.Pair{{Name: ":path", Value: "/"}, {Name: ":method", Value: "GET"}})}
			h.vm.host = abi.NewHost(h)
			v, id := h.vm, uint32(2)
			got := testing.AllocsPerRun(1000, func() {
				v.ContextCreate(id, 1)
				if v.RequestHeaders(id, false) != abi.Continue {
					v.HTTPCallResponse(id, h.lastToken, 1, 0, 0)
				}
				v.RequestBody(id, 1, false)
				v.RequestTrailers(id)
				v.ResponseHeaders(id, false)
				v.ResponseBody(id, 1, false)
				v.ResponseTrailers(id)
				v.Done(id)
				v.Log(id)
				v.Delete(id)
				id++
			})
			if got > test.want {
				t.Errorf("%v allocations for a stream, want at most %v", got, test.want)
			}
			t.Logf("%v allocations", got)
		})
	}
}
