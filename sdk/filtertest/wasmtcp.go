package filtertest

import (
	"context"
	"fmt"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// converse makes a scenario's connection once.
func converse(ctx context.Context, plugin *wasmhost.Plugin, s Scenario) (Exchange, []wasmhost.Log, error) {
	vm := plugin.VM()
	w := &wasmWire{vm: vm}
	conn, err := plugin.Connect(ctx, wasmhost.ConnectionInfo{ClusterName: upstreamCluster})
	w.note(err)
	w.conn = conn
	seen, err := play(ctx, w, s.Connection)
	if err == nil {
		err = w.crash
	}
	logs, _ := vm.TakeLogs()
	return Exchange{Connection: &seen}, logs, err
}

// wasmWire is a connection through a filter in wazero.
type wasmWire struct {
	vm    *wasmhost.VM
	conn  *wasmhost.ProxiedConnection
	crash error // the first; what the ends get then is a part of what is observed
}

func (w *wasmWire) note(err error) {
	if w.crash == nil {
		w.crash = err
	}
}

func (w *wasmWire) do(ctx context.Context, s Step) error {
	w.note(act(ctx, w.conn, s))
	return ended(ctx)
}

// act has an end of a connection do a step that is no StepWait. The error is the guest's crash.
func act(ctx context.Context, conn *wasmhost.ProxiedConnection, s Step) error {
	type does struct {
		kind StepKind
		by   Party
	}
	switch (does{s.Kind, s.By}) {
	case does{StepSend, PartyClient}:
		return conn.ClientSends(ctx, []byte(s.Data))
	case does{StepSend, PartyUpstream}:
		return conn.UpstreamSends(ctx, []byte(s.Data))
	case does{StepEnd, PartyClient}:
		return conn.ClientEnds(ctx)
	case does{StepEnd, PartyUpstream}:
		return conn.UpstreamEnds(ctx)
	case does{StepReset, PartyClient}:
		return conn.ClientResets(ctx)
	case does{StepReset, PartyUpstream}:
		return conn.UpstreamResets(ctx)
	}
	return nil
}

func (w *wasmWire) pass(ctx context.Context, s Step) error {
	w.note(w.vm.Proxy().Advance(ctx, s.Wait))
	return ended(ctx)
}

func (w *wasmWire) settle(ctx context.Context, _ Step) error {
	w.note(w.vm.Settle(ctx, func() bool { return w.conn.Connected() || w.conn.Closed() }))
	return ended(ctx)
}

func (w *wasmWire) hears(ctx context.Context) error {
	w.note(w.vm.Settle(ctx, func() bool {
		end, _ := w.conn.Upstream()
		return end.Ended || end.Reset || w.conn.Closed()
	}))
	return ended(ctx)
}

func (w *wasmWire) finish(ctx context.Context) error {
	w.note(w.vm.Settle(ctx, w.conn.Closed))
	return ended(ctx)
}

func (w *wasmWire) over(context.Context) (bool, error) { return w.conn.Closed(), nil }

func (w *wasmWire) observe() ObservedConnection {
	o := ObservedConnection{Client: observedEnd(w.conn.Client())}
	if end, ok := w.conn.Upstream(); ok {
		seen := observedEnd(end)
		o.Upstream = &seen
	}
	return o
}

func observedEnd(e wasmhost.ConnectionEnd) ObservedEnd {
	o := ObservedEnd{Data: string(e.Data), Closed: ClosedNever}
	switch {
	case e.Reset:
		o.Closed = ClosedReset
	case e.Ended:
		o.Closed = ClosedEnd
	}
	return o
}

// close breaks off what is left, and lets come to its end what the filter has begun.
func (w *wasmWire) close(ctx context.Context) error {
	w.note(w.conn.Abort(ctx))
	w.note(w.vm.Settle(ctx, nil))
	return ended(ctx)
}

// ended is the end of ctx.
func ended(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("run scenarios in wazero: %w", context.Cause(ctx))
	}
	return nil
}
