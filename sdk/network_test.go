package sdk

import (
	"context"
	"errors"
	"slices"
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
