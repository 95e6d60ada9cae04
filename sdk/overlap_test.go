package sdk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// The tests of this file have events come while others are under way, and in orders that a host may choose.

// bothWays is a handler of both directions.
type bothWays struct {
	request  func(ctx context.Context, r *Request) Action
	response func(ctx context.Context, r *Response) Action
}

func (b *bothWays) NewHandler() Handler { return b }
func (b *bothWays) OnRequestHeaders(ctx context.Context, r *Request) Action {
	return b.request(ctx, r)
}
func (b *bothWays) OnResponseHeaders(ctx context.Context, r *Response) Action {
	return b.response(ctx, r)
}

// TestResponseWhileRequestWaits has Envoy answer a request, as it does when its time is over, while the handler still waits.
// What the handler says then comes too late: the answer must pass as it is.
func TestResponseWhileRequestWaits(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]func(ctx context.Context, r *Request) Action{
		"a reply": func(_ context.Context, r *Request) Action { return r.Reply(Reply{Status: 403}) },
		"a reply of a part": func(ctx context.Context, r *Request) Action {
			All(ctx, func(context.Context) error { r.Reply(Reply{Status: 403}); return nil })
			return Continue
		},
		"go on": func(context.Context, *Request) Action { return Continue },
		"panic": func(context.Context, *Request) Action { panic("boom") },
	} {
		for _, waits := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", waits), func(t *testing.T) {
				t.Parallel()
				var err error
				h := newLedger(t, func(*Plugin) Filter {
					return &bothWays{
						request: func(ctx context.Context, r *Request) Action {
							err = fetchOnce(ctx)
							return late(ctx, r)
						},
						response: func(ctx context.Context, r *Response) Action {
							if waits {
								fetchOnce(ctx)
							}
							r.Headers().Set("x-seen", "1")
							return Continue
						},
					}
				})
				h.begin(2)
				h.on(2, func() { h.vm.ResponseHeaders(2, true) })
				h.answer(2, 4)
				h.answer(2, 8)
				want := []string{"fetch 2 c4", "set 2 x-seen=1"}
				if waits {
					want = []string{"fetch 2 c4", "fetch 2 c8", "set 2 x-seen=1", "continue 2 1"}
				}
				if !slices.Equal(h.wrote, want) || !errors.Is(err, context.Canceled) {
					t.Errorf("calls %q, want %q; the wait ended with %v", h.wrote, want, err)
				}
				h.end(2)
				if got := h.vm.held(); got != nothingHeld {
					t.Errorf("left: %s", got)
				}
			})
		}
	}
}

// TestLoopOverHeadersThatWaits has other events of the stream come while a handler waits inside of a loop over its headers.
func TestLoopOverHeadersThatWaits(t *testing.T) {
	t.Parallel()
	var seen []string
	h := newLedger(t, func(*Plugin) Filter {
		return &bothWays{
			request: func(_ context.Context, r *Request) Action { return Continue },
			response: func(ctx context.Context, r *Response) Action {
				for name := range r.Headers().All() {
					seen = append(seen, name)
					fetchOnce(ctx)
				}
				return Continue
			},
		}
	})
	h.begin(2)
	h.on(2, func() { h.vm.ResponseHeaders(2, false) })
	h.on(2, func() { h.vm.RequestTrailers(2) })
	h.answer(2, 4)
	h.answer(2, 8)
	if want := []string{"x-id", ":status"}; !slices.Equal(seen, want) {
		t.Errorf("saw %q, want %q", seen, want)
	}
}

// TestQueueHoldsItems wants items that were there before the filter to be received, and the receiving to start again.
func TestQueueHoldsItems(t *testing.T) {
	t.Parallel()
	var got []string
	var twice error
	h := newLedger(t, func(p *Plugin) Filter {
		p.host.Calls.(*ledger).queue = [][]byte{[]byte("old")}
		p.Receive("jobs", func(ctx context.Context, item []byte) {
			got = append(got, string(item))
			switch string(item) {
			case "wait":
				fetchOnce(ctx)
			case "panic":
				panic("boom")
			}
		})
		_, twice = p.Receive("jobs", func(context.Context, []byte) {})
		return prompt(func(*Request) Action { return Continue })
	})
	push := func(item string) {
		h.queue = append(h.queue, []byte(item))
		h.on(1, func() { h.vm.QueueReady(1, 7) })
	}
	push("wait")
	push("during")
	push("panic")
	h.answer(1, 4)
	push("after")
	if want := []string{"old", "wait", "during", "panic", "after"}; !slices.Equal(got, want) || len(h.queue) > 0 {
		t.Errorf("received %q, want %q; %d left", got, want, len(h.queue))
	}
	if !errors.Is(twice, ErrBadArgument) {
		t.Errorf("receiving from a queue twice: %v", twice)
	}
}

// TestDoneAgain asks a plugin twice whether it is done, while its last work waits and panics.
func TestDoneAgain(t *testing.T) {
	t.Parallel()
	h := newLedger(t, func(p *Plugin) Filter {
		p.OnShutdown(func(ctx context.Context) { fetchOnce(ctx); panic("boom") })
		p.OnShutdown(func(context.Context) { panic("bang") })
		return prompt(func(*Request) Action { return Continue })
	})
	for range 2 {
		h.on(1, func() {
			if h.vm.Done(1) {
				t.Error("it says that it is done while work waits")
			}
		})
	}
	h.answer(1, 4)
	if want := []string{"fetch 1 c4", "done 1 "}; !slices.Equal(h.wrote, want) {
		t.Errorf("calls %q, want %q", h.wrote, want)
	}
	h.on(1, func() {
		if !h.vm.Done(1) {
			t.Error("it has more to do after the end")
		}
		h.vm.Delete(1)
	})
}

// TestConfiguredAgain gives a plugin a second configuration, which it takes or refuses: the work of one goes on, that of the other
// ends.
func TestConfiguredAgain(t *testing.T) {
	t.Parallel()
	for _, refused := range []bool{false, true} {
		var ended []int
		round := 0
		h := newLedger(t, func(p *Plugin) Filter {
			round++
			id := round
			p.Go(func(ctx context.Context) {
				if Sleep(ctx, time.Hour) != nil {
					ended = append(ended, id)
				}
			})
			p.OnShutdown(func(context.Context) { p.Log().Info(fmt.Sprint("shutdown ", id)) })
			if id == 2 && refused {
				panic("refused")
			}
			return prompt(func(*Request) Action { return Continue })
		})
		h.on(1, func() {
			if h.vm.Configure(1, 0) == refused {
				t.Error("the second configuration: wrong answer")
			}
		})
		over, kept := 1, 2
		if refused {
			over, kept = 2, 1
		}
		if !slices.Equal(ended, []int{over}) {
			t.Errorf("refused %v: the work of %v ended, want %d", refused, ended, over)
		}
		h.logs = nil
		h.on(1, func() { h.vm.Done(1) })
		if want := []string{fmt.Sprint("shutdown ", kept)}; !slices.Equal(h.logs, want) {
			t.Errorf("refused %v: %q, want %q", refused, h.logs, want)
		}
	}
}

// TestFailOpenAfterAWait wants a handler that panics after a wait to let the request pass under FAIL_OPEN, and only there.
func TestFailOpenAfterAWait(t *testing.T) {
	t.Parallel()
	for policy, want := range map[FailurePolicy]string{FailOpen: "continue 2 0", FailClosed: "reply 2 500", FailReload: "reply 2 500"} {
		h := newLedger(t, func(*Plugin) Filter {
			return awaiting(func(ctx context.Context, r *Request) Action {
				fetchOnce(ctx)
				panic("boom")
			})
		})
		h.vm.plugins[1].policy = policy
		if h.begin(2) != abi.PauseAll {
			t.Fatal("it does not wait")
		}
		h.answer(2, 4)
		if calls := []string{"fetch 2 c4", want}; !slices.Equal(h.wrote, calls) {
			t.Errorf("%s: calls %q, want %q", policy, h.wrote, calls)
		}
	}
}
