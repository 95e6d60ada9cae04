package sdk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk/internal/abi"
)

// gatekeeper lets a connection in when its callout has an answer. reads says what it does with data.
type gatekeeper struct {
	refuse bool
	reads  func(c *Connection, data *Body) Action
}

func (g *gatekeeper) NewConnection() ConnectionHandler {
	if g.reads == nil {
		return struct{ AwaitingNewConnectionHandler }{g}
	}
	return g
}

func (g *gatekeeper) OnNewConnection(ctx context.Context, c *Connection) Action {
	if err := fetchOnce(ctx); g.refuse || errors.Is(err, context.Canceled) {
		return c.Close()
	}
	return Continue
}

func (g *gatekeeper) OnDownstreamData(c *Connection, data *Body) Action { return g.reads(c, data) }

// TestDataBeforeConnectionIsLetIn sends data while the handler of the connection still waits: not a byte may pass.
func TestDataBeforeConnectionIsLetIn(t *testing.T) {
	t.Parallel()
	seen := func(action Action) func(*Connection, *Body) Action {
		return func(c *Connection, data *Body) Action {
			c.Properties().Set("seen", []byte{'0' + byte(data.Len())})
			if data.End() {
				return c.Close()
			}
			return action
		}
	}
	tests := []struct {
		name  string
		gate  gatekeeper
		end   bool
		calls []string
	}{
		{"no data handler", gatekeeper{}, false, []string{"continue 2 2"}},
		{"the data passes", gatekeeper{reads: seen(Continue)}, false, []string{"property 2 seen=1", "continue 2 2"}},
		{"more is needed", gatekeeper{reads: seen(NeedMore)}, false, []string{"property 2 seen=1"}},
		{"the data is refused", gatekeeper{reads: seen(Continue)}, true, []string{"property 2 seen=1", "close 2 2"}},
		{"a panic", gatekeeper{reads: func(*Connection, *Body) Action { panic("boom") }}, false, []string{"close 2 2"}},
		{"the connection is refused", gatekeeper{refuse: true, reads: seen(Continue)}, false, []string{"close 2 2"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := newLedger(t, func(*Plugin) Filter { return networkFilter{&test.gate} })
			h.create(2, 1)
			h.on(2, func() {
				if h.vm.NewConnection(2) != abi.Pause {
					t.Error("the connection does not wait")
				}
			})
			for range 2 {
				h.on(2, func() {
					if h.vm.DownstreamData(2, 1, test.end) != abi.Pause {
						t.Error("data passes before the connection is let in")
					}
				})
			}
			h.wrote = nil
			h.answer(2, h.lastToken)
			if !slices.Equal(h.wrote, test.calls) {
				t.Errorf("calls %q, want %q", h.wrote, test.calls)
			}
			h.on(2, func() { h.vm.Delete(2) })
			if got, want := h.vm.held(), "0 streams, 0 callouts, 0 timers, 0 ready"; got != want {
				t.Errorf("left: %s", got)
			}
		})
	}
}

// asker waits for a callout with each piece of data, and marks it.
type asker struct {
	say   func(n int) Action
	calls int
}

func (a *asker) NewConnection() ConnectionHandler { return a }

func (a *asker) OnDownstreamData(ctx context.Context, c *Connection, data *Body) Action {
	a.calls++
	n := a.calls
	c.Properties().Set("asked", fmt.Appendf(nil, "%d+%d %v", data.from, data.Len(), data.End()))
	if err := fetchOnce(ctx); errors.Is(err, context.Canceled) {
		return c.Close()
	}
	return a.say(n)
}

// holder is a ledger that holds data of some size.
type holder struct {
	*ledger
	size int
}

func (h *holder) BufferSize(abi.BufferType) (int, abi.Status) { return h.size, abi.OK }

func withoutFetches(calls []string) []string {
	return slices.DeleteFunc(slices.Clone(calls), func(c string) bool { return strings.HasPrefix(c, "fetch ") })
}

// TestDataWaits has a handler of data wait while more comes, and while the client leaves.
func TestDataWaits(t *testing.T) {
	t.Parallel()
	let := func(int) Action { return Continue }
	type event struct {
		size uint32 // of all that the host holds; 0: the callout of the handler is answered
		end  bool
	}
	for _, test := range []struct {
		name   string
		say    func(n int) Action
		events []event
		calls  []string
	}{
		{"let go", let, []event{{size: 3}, {}}, []string{"property 2 asked=0+3 false", "continue 2 2"}},
		{"more during the wait is another call", let, []event{{size: 3}, {size: 5}, {size: 9, end: true}, {}, {}},
			[]string{"property 2 asked=0+3 false", "property 2 asked=3+6 true", "continue 2 2"}},
		{"the end during the wait", let, []event{{size: 3}, {size: 3, end: true}, {}, {}},
			[]string{"property 2 asked=0+3 false", "property 2 asked=3+0 true", "continue 2 2"}},
		{"more is needed", func(n int) Action { return []Action{NeedMore, Continue}[n-1] }, []event{{size: 3}, {}, {size: 5}, {}},
			[]string{"property 2 asked=0+3 false", "property 2 asked=0+5 false", "continue 2 2"}},
		{"more is needed, and came during the wait", func(n int) Action { return []Action{NeedMore, Continue}[n-1] }, []event{{size: 3}, {size: 5}, {}, {}},
			[]string{"property 2 asked=0+3 false", "property 2 asked=0+5 false", "continue 2 2"}},
		{"what was let go is not asked about again", func(n int) Action { return []Action{Continue, NeedMore, Continue}[n-1] },
			[]event{{size: 3}, {size: 5}, {}, {}, {size: 7}, {}},
			[]string{"property 2 asked=0+3 false", "property 2 asked=3+2 false", "property 2 asked=3+4 false", "continue 2 2"}},
		{"a panic closes", func(int) Action { panic("boom") }, []event{{size: 3}, {size: 5}, {}}, []string{"property 2 asked=0+3 false", "close 2 2"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := &holder{ledger: newLedger(t, func(*Plugin) Filter { return networkFilter{&asker{say: test.say}} })}
			h.vm.host = abi.NewHost(h)
			h.create(2, 1)
			h.on(2, func() { h.vm.NewConnection(2) })
			for _, e := range test.events {
				if e.size == 0 {
					h.answer(2, h.lastToken)
					continue
				}
				h.size = int(e.size)
				h.on(2, func() {
					if h.vm.DownstreamData(2, e.size, e.end) != abi.Pause {
						t.Error("data passes before the handler has returned")
					}
				})
			}
			if got := withoutFetches(h.wrote); !slices.Equal(got, test.calls) {
				t.Errorf("calls %q, want %q", got, test.calls)
			}
			h.on(2, func() { h.vm.Delete(2) })
			if got, want := h.vm.held(), "0 streams, 0 callouts, 0 timers, 0 ready"; got != want {
				t.Errorf("left: %s", got)
			}
		})
	}
	t.Run("the client leaves", func(t *testing.T) {
		h := newLedger(t, func(*Plugin) Filter { return networkFilter{&asker{say: let}} })
		h.create(2, 1)
		h.on(2, func() { h.vm.NewConnection(2) })
		h.on(2, func() { h.vm.DownstreamData(2, 1, false) })
		h.on(2, func() { h.vm.DownstreamClose(2, abi.RemotePeer) })
		h.on(2, func() { h.vm.Delete(2) })
		if got, want := h.vm.held(), "0 streams, 0 callouts, 0 timers, 0 ready"; got != want {
			t.Errorf("left: %s", got)
		}
		if got, want := withoutFetches(h.wrote), []string{"property 2 asked=0+1 false"}; !slices.Equal(got, want) {
			t.Errorf("calls %q, want %q", got, want)
		}
	})
}

// both waits when a connection begins, and may with its data.
type both struct{ wait bool }

func (b *both) NewConnection() ConnectionHandler { return b }
func (b *both) OnNewConnection(ctx context.Context, _ *Connection) Action {
	fetchOnce(ctx)
	return Continue
}

func (b *both) OnDownstreamData(ctx context.Context, c *Connection, d *Body) Action {
	c.Properties().Set("data", []byte(fmt.Sprint(d.Len())))
	if b.wait {
		fetchOnce(ctx)
	}
	return Continue
}

// TestBothWait: data that came while the connection waited begins a task in the midst of what goes on with others.
func TestBothWait(t *testing.T) {
	for _, wait := range []bool{false, true} {
		h := newLedger(t, func(*Plugin) Filter { return networkFilter{&both{wait: wait}} })
		h.create(2, 1)
		h.on(2, func() { h.vm.NewConnection(2) })
		h.on(2, func() { h.vm.DownstreamData(2, 1, false) })
		h.answer(2, h.lastToken)
		if wait {
			h.answer(2, h.lastToken)
		}
		if last := h.wrote[len(h.wrote)-1]; !strings.HasPrefix(last, "continue 2") || h.vm.held() != "1 streams, 0 callouts, 0 timers, 0 ready" {
			t.Errorf("wait %v: wrote %q, holds %s", wait, h.wrote, h.vm.held())
		}
	}
}
