package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// The tests of this file want tasks, and what they wait for, to end when what they belong to ends.

// scopeName is a key of values in contexts.
type scopeName struct{}

const nothingHeld = "0 streams, 0 callouts, 0 timers, 0 ready"

// TestNothingLeft ends a stream whose handler waits, in all the ways in which a handler can hold on.
func TestNothingLeft(t *testing.T) {
	t.Parallel()
	tests := map[string]func(ctx context.Context, r *Request){
		"a fetch":                         func(ctx context.Context, _ *Request) { fetchOnce(ctx) },
		"a sleep":                         func(ctx context.Context, _ *Request) { Sleep(ctx, time.Hour) },
		"a context that is not cancelled": func(ctx context.Context, _ *Request) { fetchOnce(context.WithoutCancel(ctx)) },
		"a sleep that is not cancelled":   func(ctx context.Context, _ *Request) { Sleep(context.WithoutCancel(ctx), time.Hour) },
		"a limit that nobody cancels": func(ctx context.Context, _ *Request) {
			ctx, _ = WithTimeout(ctx, time.Hour)
			fetchOnce(ctx)
		},
		"a second wait in a defer": func(ctx context.Context, _ *Request) {
			defer func() { Sleep(context.WithoutCancel(ctx), time.Hour) }()
			fetchOnce(ctx)
		},
		"all, nested": func(ctx context.Context, _ *Request) {
			defer All(context.WithoutCancel(ctx), fetchOnce)
			All(ctx, fetchOnce, func(ctx context.Context) error { return All(ctx, fetchOnce, fetchOnce) })
		},
		"a panic in a defer": func(ctx context.Context, _ *Request) {
			defer func() { panic("boom") }()
			fetchOnce(ctx)
		},
		"a loop that never gives up": func(ctx context.Context, _ *Request) { forever(ctx, fetchOnce) },
		"a loop of All that never gives up": func(ctx context.Context, _ *Request) {
			forever(ctx, func(ctx context.Context) error { return All(ctx, fetchOnce) })
		},
		"a stream of messages": func(ctx context.Context, _ *Request) {
			s, _ := OpenGRPC(ctx, GRPCRequest{Cluster: "c"})
			s.Receive(ctx)
		},
		"a stream of messages that is left alone": func(ctx context.Context, _ *Request) {
			OpenGRPC(ctx, GRPCRequest{Cluster: "c"})
			fetchOnce(ctx)
		},
		"a standard context": func(ctx context.Context, _ *Request) {
			ctx, cancel := context.WithCancel(context.WithValue(ctx, scopeName{}, "v"))
			defer cancel()
			All(ctx, fetchOnce, fetchOnce)
		},
	}
	for name, wait := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newLedger(t, func(*Plugin) Filter {
				return awaiting(func(ctx context.Context, r *Request) Action {
					wait(ctx, r)
					return r.Reply(Reply{Status: 403})
				})
			})
			for id := uint32(2); id < 5; id++ {
				if h.begin(id) != abi.PauseAll {
					t.Fatal("it does not wait")
				}
				h.end(id)
				if got := h.vm.held(); got != nothingHeld {
					t.Errorf("left: %s", got)
				}
				if h.vm.running != nil || len(h.vm.plugins[1].tasks.tasks) > 0 {
					t.Error("a task is left")
				}
			}
			if slices.ContainsFunc(h.wrote, func(call string) bool { return strings.HasPrefix(call, "reply") }) {
				t.Errorf("a stream that ended was answered: %q", h.wrote)
			}
		})
	}
}

// forever calls f until it succeeds.
func forever(ctx context.Context, f func(ctx context.Context) error) {
	for f(ctx) != nil {
	}
}

// TestStreamEndsWithItsTask wants a gRPC stream that a handler left open to be closed when the handler returns.
func TestStreamEndsWithItsTask(t *testing.T) {
	t.Parallel()
	h := newLedger(t, func(*Plugin) Filter {
		return awaiting(func(ctx context.Context, _ *Request) Action {
			OpenGRPC(ctx, GRPCRequest{Cluster: "c"})
			return Continue
		})
	})
	h.begin(2)
	if want := []string{"open 2 4", "cancel 2 4"}; !slices.Equal(h.wrote, want) || h.vm.callees.size() > 0 {
		t.Errorf("calls %q, want %q; %s", h.wrote, want, h.vm.held())
	}
}

// TestPluginEnds deletes a plugin whose work begins more work when it is cancelled.
func TestPluginEnds(t *testing.T) {
	t.Parallel()
	var late error
	h := newLedger(t, func(p *Plugin) Filter {
		p.Go(func(ctx context.Context) {
			defer p.Go(func(ctx context.Context) { late = Sleep(ctx, time.Hour) })
			Sleep(ctx, time.Hour)
		})
		return prompt(func(*Request) Action { return Continue })
	})
	p := h.vm.plugins[1]
	h.on(1, func() { h.vm.Delete(1) })
	if !errors.Is(late, context.Canceled) || len(p.tasks.tasks) > 0 || len(p.timers().timers) > 0 {
		t.Errorf("error %v, %d tasks and %d timers left", late, len(p.tasks.tasks), len(p.timers().timers))
	}
}

// TestLimitsInALongTask wants a task that runs for ever, and sets limits that it never cancels, to hold on to none of them.
func TestLimitsInALongTask(t *testing.T) {
	t.Parallel()
	var own *scope
	rounds := 0
	h := newLedger(t, func(p *Plugin) Filter {
		p.Go(func(ctx context.Context) {
			own = ctx.(*scope)
			for {
				limited, _ := WithTimeout(ctx, time.Millisecond)
				if err := Sleep(limited, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
					return
				}
				rounds++
			}
		})
		return prompt(func(*Request) Action { return Continue })
	})
	for range 100 {
		h.pass(time.Millisecond)
	}
	if rounds != 100 || len(own.children) > 1 {
		t.Errorf("%d rounds, %d scopes left", rounds, len(own.children))
	}
}

// TestNoTimeLeft wants a limit that is over at once to be seen at once.
func TestNoTimeLeft(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{0, -time.Hour, -1 << 63} {
		var errs []error
		h := newLedger(t, func(*Plugin) Filter {
			return awaiting(func(ctx context.Context, _ *Request) Action {
				ctx, cancel := WithTimeout(ctx, d)
				defer cancel()
				errs = append(errs, ctx.Err(), fetchOnce(ctx), Sleep(ctx, time.Second))
				return Continue
			})
		})
		if h.begin(2) != abi.Continue {
			t.Errorf("%v: it waits", d)
		}
		for _, err := range errs {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v: %v", d, errs)
			}
		}
		if len(h.vm.plugins[1].timers().timers) > 0 || len(h.wrote) > 0 {
			t.Errorf("%v: timers or calls %q", d, h.wrote)
		}
	}
}

// TestDurations sleeps for times at the edges.
func TestDurations(t *testing.T) {
	t.Parallel()
	for d, ticks := range map[time.Duration]int{-1 << 63: 1, 0: 1, 1: 1, time.Millisecond: 1, time.Millisecond + 1: 1, 90 * time.Minute: 2, 1<<63 - 1: -1} {
		over := false
		h := newLedger(t, func(p *Plugin) Filter {
			p.Go(func(ctx context.Context) { Sleep(ctx, d); over = true })
			return prompt(func(*Request) Action { return Continue })
		})
		n := 0
		for ; !over && n < 10; n++ {
			h.pass(h.period)
		}
		if over != (ticks > 0) || over && n != ticks {
			t.Errorf("%v: over %v after %d ticks, want %d", d, over, n, ticks)
		}
	}
}

// TestClockGoesBack sets the host's clock back while a task sleeps: it sleeps on for no longer than a period.
func TestClockGoesBack(t *testing.T) {
	t.Parallel()
	over := false
	h := newLedger(t, func(p *Plugin) Filter {
		p.Go(func(ctx context.Context) { Sleep(ctx, time.Second); over = true })
		return prompt(func(*Request) Action { return Continue })
	})
	h.now = h.now.Add(-time.Hour)
	h.pass(time.Second)
	h.pass(time.Second)
	if !over {
		t.Errorf("it sleeps on, with ticks every %v", h.period)
	}
}

// TestCancelByAnotherTask cancels a context of the standard library while another task waits under it.
func TestCancelByAnotherTask(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		wait func(ctx context.Context) error
	}{
		{"itself", fetchOnce},
		{"below All", func(ctx context.Context) error { return All(ctx, fetchOnce) }},
		{"below a value", func(ctx context.Context) error { return fetchOnce(context.WithValue(ctx, scopeName{}, "v")) }},
		{"below a limit", func(ctx context.Context) error {
			ctx, cancel := WithTimeout(ctx, time.Hour)
			defer cancel()
			return Sleep(ctx, time.Minute)
		}},
		{"a message", func(ctx context.Context) error {
			s, err := OpenGRPC(ctx, GRPCRequest{Cluster: "c"})
			if err == nil {
				_, err = s.Receive(ctx)
			}
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var cancel context.CancelFunc
			var got error
			h := newLedger(t, func(p *Plugin) Filter {
				p.Go(func(ctx context.Context) {
					ctx, cancel = context.WithCancel(ctx)
					got = test.wait(ctx)
				})
				return prompt(func(*Request) Action {
					cancel()
					return Continue
				})
			})
			h.begin(2)
			if !errors.Is(got, context.Canceled) {
				t.Errorf("the wait ended with %v", got)
			}
		})
	}
}

// TestTokenUsedAgain has the host use the token of a callout again as soon as it was answered.
func TestTokenUsedAgain(t *testing.T) {
	t.Parallel()
	var log []string
	h := newLedger(t, func(*Plugin) Filter {
		return awaiting(func(ctx context.Context, r *Request) Action {
			id, _ := r.Headers().Get("x-id")
			err := All(ctx, fetchOnce, fetchOnce)
			log = append(log, fmt.Sprint(id, " ", err))
			return Continue
		})
	})
	h.begin(2) // tokens 4 and 8
	h.answer(2, 4)
	h.lastToken = 0
	h.begin(3) // tokens 4 and 8, while 8 of stream 2 is still open
	h.answer(2, 8)
	h.answer(3, 4)
	h.answer(3, 8)
	h.end(2)
	h.end(3)
	if got := h.vm.held(); got != nothingHeld {
		t.Errorf("left: %s, log %q", got, log)
	}
}

// TestMessages drives a gRPC stream in the orders that a host or a server may choose.
func TestMessages(t *testing.T) {
	t.Parallel()
	var log []string
	note := func(v ...any) { log = append(log, strings.TrimSpace(fmt.Sprintln(v...))) }
	var s *GRPCStream
	var second func(ctx context.Context)
	h := newLedger(t, func(*Plugin) Filter {
		return awaiting(func(ctx context.Context, r *Request) Action {
			if s != nil {
				second(ctx)
				return Continue
			}
			s, _ = OpenGRPC(ctx, GRPCRequest{Cluster: "c", Limit: 4})
			for {
				m, err := s.Receive(ctx)
				note(string(m), err, len(s.Metadata()), len(s.Trailers()))
				if err != nil {
					return Continue
				}
			}
		})
	})
	h.begin(2)
	second = func(ctx context.Context) {
		_, err := s.Receive(ctx)
		note("second", err)
		note(s.Send(nil, true), s.Send(nil, false), s.CloseSend())
	}
	h.begin(3)
	h.on(2, func() { h.vm.GRPCReceiveInitialMetadata(2, 4, 1) })
	h.on(2, func() { h.vm.GRPCReceive(2, 4, 4) })
	h.on(2, func() { h.vm.GRPCReceive(2, 4, 0) })
	h.on(2, func() { h.vm.GRPCReceive(2, 4, 5) })
	h.on(2, func() { h.vm.GRPCReceive(2, 4, 1) })
	h.on(2, func() { h.vm.GRPCReceiveTrailingMetadata(2, 4, 1) })
	h.on(2, func() { h.vm.GRPCClose(2, 4, 0) })
	want := []string{
		"second receive from / of cluster c: another task waits for its messages: BAD_ARGUMENT",
		"<nil> send to / of cluster c: its last message was sent: BAD_ARGUMENT <nil>",
		"2 <nil> 2 0",
		"<nil> 2 0",
		"receive from / of cluster c: the answer is larger than its limit 2 0",
	}
	if !slices.Equal(log, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(log, "\n"), strings.Join(want, "\n"))
	}
	if want := []string{"open 2 4", "send 2 4true", "cancel 2 4"}; !slices.Equal(h.wrote[:3], want) {
		t.Errorf("calls %q, want %q", h.wrote, want)
	}
	if err := s.Send(nil, false); !errors.Is(err, io.EOF) {
		t.Errorf("send to a stream that ended: %v", err)
	}
}

// TestMessagesBeforeTheyAreRead has messages and the end of the stream wait for their reader.
func TestMessagesBeforeTheyAreRead(t *testing.T) {
	t.Parallel()
	var got []string
	h := newLedger(t, func(*Plugin) Filter {
		return awaiting(func(ctx context.Context, r *Request) Action {
			s, _ := OpenGRPC(ctx, GRPCRequest{Cluster: "c"})
			fetchOnce(ctx)
			for {
				m, err := s.Receive(ctx)
				if err != nil {
					got = append(got, err.Error())
					break
				}
				got = append(got, string(m))
			}
			return Continue
		})
	})
	h.begin(2)
	h.on(2, func() { h.vm.GRPCReceive(2, 4, 1) })
	h.on(2, func() { h.vm.GRPCReceive(2, 4, 0) })
	h.on(2, func() { h.vm.GRPCClose(2, 4, 3) })
	h.answer(2, 8)
	if want := []string{"2", "", "receive from / of cluster c: grpc status 3: "}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestCancelledWhileAllGoesOn cancels the context of All, of which one part does not heed it.
func TestCancelledWhileAllGoesOn(t *testing.T) {
	t.Parallel()
	var cancel context.CancelFunc
	var got []string
	h := newLedger(t, func(p *Plugin) Filter {
		p.Go(func(ctx context.Context) {
			ctx, cancel = context.WithCancel(ctx)
			err := All(ctx, fetchOnce, func(ctx context.Context) error { return fetchOnce(context.WithoutCancel(ctx)) })
			got = append(got, fmt.Sprint(err))
		})
		return prompt(func(*Request) Action {
			cancel()
			return Continue
		})
	})
	if h.begin(2); len(got) > 0 {
		t.Errorf("All ended with %q while a part goes on", got)
	}
	h.answer(1, 8)
	if want := []string{"context canceled"}; !slices.Equal(got, want) {
		t.Errorf("All ended with %q, want %q", got, want)
	}
}

// TestFlightOutlivesStream ends a stream that waits for work with a context that is not cancelled: the work goes on, the
// handler does not.
func TestFlightOutlivesStream(t *testing.T) {
	t.Parallel()
	var flights Flights[int]
	var got []string
	h := newLedger(t, func(*Plugin) Filter {
		return awaiting(func(ctx context.Context, _ *Request) Action {
			_, err := flights.Do(context.WithoutCancel(ctx), "k", func(ctx context.Context) (int, error) { return 1, fetchOnce(ctx) })
			got = append(got, fmt.Sprint(err))
			return Continue
		})
	})
	h.begin(2)
	h.begin(3)
	h.end(2)
	if want := []string{"context canceled"}; !slices.Equal(got, want) {
		t.Errorf("after the end of a stream: %q, want %q", got, want)
	}
	h.answer(1, 4)
	if want := []string{"context canceled", "<nil>"}; !slices.Equal(got, want) {
		t.Errorf("after the answer: %q, want %q", got, want)
	}
	if h.end(3); h.vm.held() != nothingHeld {
		t.Errorf("left: %s", h.vm.held())
	}
}
