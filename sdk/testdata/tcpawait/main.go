// Command tcpawait is a filter of connections for the tests of package sdk: it waits when a client connects, in the way that its
// configuration says, and does to what the ends send what the bytes themselves say.
package main

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/waft-project/waft/sdk"
)

func init() { sdk.RegisterNetwork(configure) }

func main() {}

type config struct {
	// At is when to wait: when a client connects, or with its data.
	At string `json:"at,omitempty" enum:"connect,data" default:"connect"`
	// Way is what to wait for.
	Way string `json:"way,omitempty" enum:"fetch,grpc,sleep,hour,all,panic"`
}

type filter struct {
	plugin  *sdk.Plugin
	at, way string
	// open counts the handlers that wait, ended those that have waited, cancelled those whose wait was cancelled, chunks the callbacks with data,
	// done the connections that are complete.
	open                           sdk.Gauge
	ended, cancelled, chunks, done sdk.Counter
}

func configure(p *sdk.Plugin, c *config) (sdk.NetworkFilter, error) {
	f := &filter{plugin: p, at: c.At, way: c.Way}
	var err error
	if f.open, err = p.Gauge("tcpawait.open"); err != nil {
		return nil, err
	}
	for name, counter := range map[string]*sdk.Counter{"ended": &f.ended, "cancelled": &f.cancelled, "chunks": &f.chunks, "done": &f.done} {
		if *counter, err = p.Counter("tcpawait." + name); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *filter) NewConnection() sdk.ConnectionHandler {
	switch {
	case f.way == "":
		return &connection{filter: f}
	case f.at == "data":
		return &asking{connection{filter: f}}
	}
	return &awaiting{connection{filter: f}}
}

// connection does not wait.
type connection struct{ *filter }

// awaiting waits first.
type awaiting struct{ connection }

func (a *awaiting) OnNewConnection(ctx context.Context, c *sdk.Connection) sdk.Action {
	if err := a.counted(ctx); err != nil {
		c.Log().Warn("not let in: " + err.Error())
		return c.Close()
	}
	c.Log().Info("let in")
	return sdk.Continue
}

// asking waits with the client's data, and marks each piece that it was asked about. "line" needs a line's end first.
type asking struct{ connection }

func (a *asking) OnDownstreamData(ctx context.Context, c *sdk.Connection, data *sdk.Body) sdk.Action {
	a.chunks.Inc()
	sent, err := data.Bytes()
	switch {
	case err != nil:
		c.Log().Error(err.Error())
		return c.Close()
	case len(sent) == 0:
		return sdk.Continue
	case bytes.HasPrefix(sent, []byte("line")) && !bytes.Contains(sent, []byte("\n")):
		return sdk.NeedMore
	}
	if err := errors.Join(data.Prepend([]byte("<")), a.counted(ctx), data.Append([]byte(">"))); err != nil {
		c.Log().Warn("not let go: " + err.Error())
		return c.Close()
	}
	return sdk.Continue
}

// counted waits, and counts who waits.
func (f *filter) counted(ctx context.Context) error {
	f.open.Add(1)
	defer func() {
		f.open.Add(-1)
		f.ended.Inc()
		if ctx.Err() != nil {
			f.cancelled.Inc()
		}
	}()
	return f.wait(ctx)
}

func (f *filter) wait(ctx context.Context) error {
	switch f.way {
	case "fetch":
		return fetch(ctx)
	case "grpc":
		_, err := sdk.CallGRPC(ctx, sdk.GRPCRequest{Cluster: "greeter", Service: "test.Greeter", Method: "Greet", Message: []byte("ann"), Timeout: 1500 * time.Millisecond})
		return err
	case "sleep":
		return sdk.Sleep(ctx, 300*time.Millisecond)
	case "hour":
		return sdk.Sleep(ctx, time.Hour)
	case "all":
		return sdk.All(ctx, fetch, func(ctx context.Context) error { return sdk.Sleep(ctx, 50*time.Millisecond) })
	}
	if err := fetch(ctx); err != nil {
		return err
	}
	panic("after a wait")
}

func fetch(ctx context.Context) error {
	answer, err := sdk.Fetch(ctx, sdk.FetchRequest{Cluster: "gate", Path: "/in", Timeout: 1500 * time.Millisecond})
	if err != nil {
		return err
	}
	if answer.Status != 200 {
		return errors.New("status " + strconv.Itoa(answer.Status))
	}
	return nil
}

// tooMuch is more memory than a VM may have, in bytes.
const tooMuch = 512 << 20

// OnDownstreamData does what the first word says: "bad" closes, "up" sends it in capitals, "line" waits for a line's end, "panic" panics, and
// "die" ends the VM.
func (h *connection) OnDownstreamData(c *sdk.Connection, data *sdk.Body) sdk.Action {
	h.chunks.Inc()
	sent, err := data.Bytes()
	if err != nil {
		c.Log().Error(err.Error())
		return c.Close()
	}
	switch {
	case bytes.HasPrefix(sent, []byte("bad")):
		return c.Close()
	case bytes.HasPrefix(sent, []byte("panic")):
		panic("in data")
	case bytes.HasPrefix(sent, []byte("die")):
		c.Log().Info(string(make([]byte, tooMuch))) // Go's fatal errors cannot be recovered
	case bytes.HasPrefix(sent, []byte("line")) && !bytes.Contains(sent, []byte("\n")):
		return sdk.NeedMore
	case bytes.HasPrefix(sent, []byte("up")):
		if err := data.Replace(bytes.ToUpper(sent)); err != nil {
			c.Log().Error(err.Error())
		}
	}
	return sdk.Continue
}

// OnUpstreamData marks what comes back. "secret" closes.
func (h *connection) OnUpstreamData(c *sdk.Connection, data *sdk.Body) sdk.Action {
	sent, err := data.Bytes()
	if err != nil || bytes.HasPrefix(sent, []byte("secret")) {
		return c.Close()
	}
	if len(sent) > 0 {
		if err := data.Prepend([]byte(">")); err != nil {
			c.Log().Error(err.Error())
		}
	}
	return sdk.Continue
}

var peers = map[sdk.Peer]string{sdk.PeerLocal: "local", sdk.PeerRemote: "remote", sdk.PeerUnknown: "unknown"}

func (h *connection) OnDownstreamClose(c *sdk.Connection, by sdk.Peer) {
	c.Log().Info("downstream closed: " + peers[by])
}

func (h *connection) OnUpstreamClose(c *sdk.Connection, by sdk.Peer) {
	c.Log().Info("upstream closed: " + peers[by])
}

func (h *connection) OnConnectionDone(*sdk.Connection) { h.done.Inc() }
