package sdk

import (
	"context"
	"slices"
	"testing"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// The tests of this file want each host call to count for the stream that it is meant for.

// TestGoFromPromptHandler wants work that a handler which cannot wait begins to start in the same callback.
func TestGoFromPromptHandler(t *testing.T) {
	t.Parallel()
	var ran bool
	h := newLedger(t, func(p *Plugin) Filter {
		return prompt(func(*Request) Action {
			p.Go(func(context.Context) { ran = true })
			return Continue
		})
	})
	if h.begin(2); !ran {
		t.Error("the work waits for another callback")
	}
}

// TestKeepAfterOthersRan has a handler wake the task of another stream, which then runs in the callback of the first.
func TestKeepAfterOthersRan(t *testing.T) {
	t.Parallel()
	var wake context.CancelFunc
	var kept string
	h := newLedger(t, func(*Plugin) Filter {
		return awaiting(func(ctx context.Context, r *Request) Action {
			if wake == nil {
				ctx, wake = WithTimeout(ctx, DefaultFetchTimeout)
				fetchOnce(ctx)
				r.Headers().Set("x-woken", "1")
				return Continue
			}
			r.Headers().Keep()
			wake()
			return Continue
		})
	})
	if h.begin(2) != abi.PauseAll || h.begin(3) != abi.Continue {
		t.Fatal("the first stream must wait, the second must not")
	}
	h.on(3, func() { kept, _ = h.vm.streams.get(3).request.headers.Get("x-id") })
	if kept != "3" {
		t.Errorf("stream 3 kept the headers of stream %s", kept)
	}
	if want := []string{"fetch 2 c4", "set 2 x-woken=1", "continue 2 0"}; !slices.Equal(h.wrote, want) {
		t.Errorf("calls %q, want %q", h.wrote, want)
	}
}

// TestDoneAfterOthersRan has the end of a stream wake the task of another one.
func TestDoneAfterOthersRan(t *testing.T) {
	t.Parallel()
	var wake context.CancelFunc
	h := newLedger(t, func(*Plugin) Filter {
		return &doneAware{request: func(ctx context.Context, r *Request) Action {
			if wake == nil {
				ctx, wake = WithTimeout(ctx, DefaultFetchTimeout)
				fetchOnce(ctx)
				return Continue
			}
			defer wake()
			fetchOnce(ctx)
			return Continue
		}}
	})
	h.begin(2)
	h.begin(3)
	h.end(3)
	if want := "property 3 done=1"; !slices.Contains(h.wrote, want) {
		t.Errorf("calls %q, want %q among them", h.wrote, want)
	}
}

// doneAware sets a property at the end of its stream.
type doneAware struct {
	request func(ctx context.Context, r *Request) Action
}

func (d *doneAware) NewHandler() Handler { return d }
func (d *doneAware) OnRequestHeaders(ctx context.Context, r *Request) Action {
	return d.request(ctx, r)
}
func (d *doneAware) OnStreamDone(s *Stream) { s.Properties().Set("done", []byte("1")) }

// TestSharedGRPCStream has a plugin open a stream of messages, to which the handlers of requests send.
func TestSharedGRPCStream(t *testing.T) {
	t.Parallel()
	var stream *GRPCStream
	h := newLedger(t, func(p *Plugin) Filter {
		p.Go(func(ctx context.Context) {
			stream, _ = OpenGRPC(ctx, GRPCRequest{Cluster: "c", Service: "s", Method: "m"})
			stream.Receive(ctx)
		})
		return prompt(func(r *Request) Action {
			stream.Send([]byte("m"), false)
			r.Headers().Set("x-sent", "1")
			stream.Close()
			return r.Reply(Reply{Status: 403})
		})
	})
	h.begin(2)
	want := []string{"open 1 4", "send 1 4mfalse", "set 2 x-sent=1", "cancel 1 4", "reply 2 403"}
	if !slices.Equal(h.wrote, want) {
		t.Errorf("calls %q, want %q", h.wrote, want)
	}
}

// TestHandleOfAnother uses what belongs to one stream in the callbacks of another, and after its end, when the memory of it
// may serve a third.
func TestHandleOfAnother(t *testing.T) {
	t.Parallel()
	var first, use *Request
	var properties Properties
	var read []string
	h := newLedger(t, func(p *Plugin) Filter {
		return prompt(func(r *Request) Action {
			if first == nil {
				first, properties = r, r.Properties()
				r.Headers().Keep()
				return Continue
			}
			p.Go(func(context.Context) {
				for _, r := range []*Request{r, use} {
					v, ok := r.Headers().Get("x-id")
					if ok {
						read = append(read, v)
					}
					read = append(read, r.Headers().Values("x-id")...)
					if size, err := r.Headers().Size(); err == nil {
						t.Errorf("size %d", size)
					}
					if v, err := properties.String("request.id"); err == nil {
						read = append(read, v)
					}
					if r.Headers().Set("a", "") == nil || r.Headers().Add("a", "") == nil || r.Headers().Remove("a") == nil || r.Headers().Replace(nil) == nil {
						t.Error("a change of another stream's headers is no error")
					}
					if r.Properties().Set("p", nil) == nil || r.ClearRouteCache() == nil {
						t.Error("a change of another stream is no error")
					}
					body := r.body
					body.stream, body.size = r.stream, 1
					if data, err := body.Bytes(); err == nil {
						read = append(read, string(data))
					}
					if body.Replace(nil) == nil {
						t.Error("a change of another stream's body is no error")
					}
					r.Reply(Reply{Status: 403})
				}
			})
			return Continue
		})
	})
	h.begin(2)
	use = first
	h.begin(3)
	h.end(2)
	h.begin(4)
	h.end(4)
	h.end(3)
	if len(h.wrote) > 0 || len(read) > 0 {
		t.Errorf("calls %q, read %q, want none", h.wrote, read)
	}
}
