package filtertest

import (
	"context"
	"fmt"
	"strings"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// fuzzConnection is a connection, and what its ends are still to do.
type fuzzConnection struct {
	fuzzItem
	conn    *wasmhost.ProxiedConnection
	pending map[Party][]Step
}

// fuzzParties are the ends, in an order that does not change.
var fuzzParties = [2]Party{PartyClient, PartyUpstream}

// connect begins a connection.
func (r *fuzzRun) connect(ctx context.Context, item fuzzItem) error {
	c := &fuzzConnection{fuzzItem: item, pending: map[Party][]Step{}}
	talk := r.words.talks[r.rng.IntN(len(r.words.talks))]
	for _, by := range fuzzParties {
		c.pending[by] = r.says(by, talk)
	}
	r.note("%s begins", c)
	var err error
	c.conn, err = r.plugin.Connect(ctx, wasmhost.ConnectionInfo{ClusterName: upstreamCluster})
	r.streams = append(r.streams, c)
	return err
}

// says is what an end does: what it says in a scenario, damaged, in random pieces, then its end, or it breaks off.
func (r *fuzzRun) says(by Party, talk []Step) []Step {
	var text strings.Builder
	for _, s := range talk {
		if s.By == by {
			text.WriteString(s.Data)
		}
	}
	data := r.body(text.String())
	var steps []Step
	for len(data) > 0 {
		n := 1 + r.rng.IntN(len(data))
		steps = append(steps, Step{Kind: StepSend, By: by, Data: string(data[:n])})
		data = data[n:]
	}
	last := Step{Kind: StepEnd, By: by}
	if r.one(8) {
		last.Kind = StepReset
	}
	return append(steps, last)
}

func (c *fuzzConnection) String() string { return fmt.Sprintf("connection %d", c.id) }

// ready lists the ends that can do something now: the upstream can when the filter has let the connection in.
func (c *fuzzConnection) ready() []Party {
	var out []Party
	for _, by := range fuzzParties {
		if len(c.pending[by]) > 0 && !c.conn.Closed() && (by == PartyClient || c.conn.Connected()) {
			out = append(out, by)
		}
	}
	return out
}

func (c *fuzzConnection) more() bool  { return len(c.ready()) > 0 }
func (c *fuzzConnection) stuck() bool { return !c.conn.Closed() && !c.more() }

func (c *fuzzConnection) where() string {
	if !c.conn.Connected() {
		return "the filter has not let it in"
	}
	return "both ends have ended, and the filter holds that back"
}

func (c *fuzzConnection) advance(ctx context.Context) error {
	ready := c.ready()
	by := ready[c.run.rng.IntN(len(ready))]
	s := c.pending[by][0]
	c.pending[by] = c.pending[by][1:]
	if s.Kind == StepReset {
		c.pending = nil
	}
	c.run.note("%s: %s", c, s)
	return act(ctx, c.conn, s)
}

// misuse: there is nothing that a filter of connections can do and Envoy does not survive.
func (c *fuzzConnection) misuse() error { return nil }

func (c *fuzzConnection) close(ctx context.Context) error { return c.conn.Abort(ctx) }
