package filtertest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/waft-project/waft/envoy"
)

// Counters of Envoy by which the harness knows how far a connection has come: that of bytes is raised right before the callbacks with them, the
// others after the callbacks that they tell of.
const (
	statOver         = "listener." + envoy.DefaultStatPrefix + ".downstream_cx_destroy"
	statClientRead   = "tcp." + envoy.DefaultStatPrefix + ".downstream_cx_rx_bytes_total"
	statConnected    = "cluster." + envoy.UpstreamCluster + ".upstream_cx_total"
	statUpstreamRead = "cluster." + envoy.UpstreamCluster + ".upstream_cx_rx_bytes_total"
	// statLengths is a histogram of the connections that are over. It is merged with those of guests.
	statLengths = "listener." + envoy.DefaultStatPrefix + ".downstream_cx_length_ms"
)

// connectionCounters are the counters.
var connectionCounters = url.Values{
	"format": {"json"}, "type": {"Counters"},
	"filter": {"^(" + strings.ReplaceAll(strings.Join([]string{statOver, statClientRead, statConnected, statUpstreamRead}, "|"), ".", `\.`) + ")$"},
}

// tcpTraffic are the connections of a file's scenarios.
type tcpTraffic struct{ *tcpUpstream }

func (t tcpTraffic) address() string { return t.listener.Addr().String() }
func (tcpTraffic) script(Scenario)   {}
func (tcpTraffic) finished() string  { return statLengths }

func (t tcpTraffic) exchange(ctx context.Context, s *envoySession, sc Scenario) (Exchange, error) {
	w := &envoyWire{session: s, server: t.tcpUpstream, sent: map[Party]int64{}}
	var err error
	if w.before, err = w.counters(ctx); err != nil {
		return Exchange{}, err
	}
	if w.client, err = dialTCP(ctx, s.listener); err != nil {
		return Exchange{}, err
	}
	seen, err := play(ctx, w, sc.Connection)
	return Exchange{Connection: &seen}, err
}

// barrierListener is a listener of Envoy that answers whoever connects, and closes.
const barrierListener = "barrier"

// addBarrier adds the listener to a bootstrap.
func addBarrier(bootstrap map[string]any) {
	static := member(bootstrap, "static_resources", "staticResources")
	listeners, _ := static["listeners"].([]any)
	static["listeners"] = append(listeners, map[string]any{
		"name": barrierListener, "stat_prefix": barrierListener,
		"address": map[string]any{"socket_address": map[string]any{"address": "127.0.0.1", "port_value": 0}},
		"filter_chains": []any{map[string]any{"filters": []any{map[string]any{
			"name": "envoy.filters.network.direct_response",
			"typed_config": map[string]any{
				"@type":    "type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config",
				"response": map[string]any{"inline_string": "."},
			},
		}}}},
	})
}

// barrierRounds is how often a barrier is passed: what was sent before may reach Envoy's one worker in the same round of its event loop as the
// first, behind it.
const barrierRounds = 2

// barrier returns when Envoy's worker has dealt with all that was sent to it before, as far as it reads: it takes events in the order in which they
// come, so once it has answered a connection that was made later, their callbacks are over.
func (s *envoySession) barrier(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, envoyAnswer)
	defer cancel()
	for range barrierRounds {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.barrierAddress)
		if err != nil {
			return fmt.Errorf("wait for Envoy's worker: %w", err)
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		_, err = io.Copy(io.Discard, conn)
		stop()
		_ = conn.Close()
		if err != nil {
			return fmt.Errorf("wait for Envoy's worker: %w", err)
		}
	}
	return nil
}

// envoyWire is a connection through a real Envoy.
type envoyWire struct {
	session  *envoySession
	server   *tcpUpstream
	client   *tcpEnd
	upstream *tcpEnd // nil until it has come
	before   map[string]int64
	sent     map[Party]int64
	stuck    bool // something did not come in time
}

// counters reads the counters.
func (w *envoyWire) counters(ctx context.Context) (map[string]int64, error) {
	return readStats(ctx, w.session.admin, connectionCounters)
}

// until waits for what the counters tell, or for the connection to be over, but not for ever, and after one time in vain not again.
func (w *envoyWire) until(ctx context.Context, enough func(grown func(string) int64) bool) error {
	wait, cancel := context.WithTimeout(ctx, envoyAnswer)
	defer cancel()
	ticker := time.NewTicker(envoyPoll)
	defer ticker.Stop()
	for {
		grown, err := w.look(ctx)
		if err != nil {
			return err
		}
		accepted := grown(statConnected) == 0 || w.upstream != nil
		if w.stuck || accepted && (grown(statOver) > 0 || enough(grown)) {
			return nil
		}
		select {
		case <-ticker.C:
		case <-wait.Done():
			if ctx.Err() != nil {
				return fmt.Errorf("run scenarios in Envoy: %w", context.Cause(ctx))
			}
			w.stuck = true
			return nil
		}
	}
}

// look reads by how much the counters have grown, and takes the connection to the upstream where it has come.
func (w *envoyWire) look(ctx context.Context) (grown func(string) int64, err error) {
	now, err := w.counters(ctx)
	if err == nil && now[statOver] > w.before[statOver] {
		// They are not read at one moment: now that it is over, what was before shows too.
		now, err = w.counters(ctx)
	}
	if err != nil {
		return nil, err
	}
	grown = func(name string) int64 { return now[name] - w.before[name] }
	if grown(statConnected) > 0 && w.upstream == nil {
		w.upstream = w.server.take()
	}
	return grown, nil
}

// end is a side's end, nil if there is none.
func (w *envoyWire) end(by Party) *tcpEnd {
	if by == PartyClient {
		return w.client
	}
	return w.upstream
}

func (w *envoyWire) do(ctx context.Context, s Step) error {
	if s.By == PartyUpstream && w.upstream == nil {
		if err := w.until(ctx, func(func(string) int64) bool { return w.upstream != nil }); err != nil {
			return err
		}
	}
	end := w.end(s.By)
	if end == nil {
		return nil
	}
	switch s.Kind {
	case StepSend:
		end.send(s.Data)
		w.sent[s.By] += int64(len(s.Data))
	case StepEnd:
		end.end()
	case StepReset:
		end.reset()
	}
	return nil
}

func (w *envoyWire) pass(ctx context.Context, s Step) error { return pass(ctx, s.Wait) }

func (w *envoyWire) settle(ctx context.Context, s Step) error {
	err := w.until(ctx, func(grown func(string) int64) bool {
		switch {
		case s.Kind == StepSend && s.By == PartyClient:
			return grown(statClientRead) >= w.sent[s.By]
		case s.Kind == StepSend:
			return grown(statUpstreamRead) >= w.sent[s.By]
		case s.Kind == "":
			return w.upstream != nil
		}
		return true
	})
	if err != nil {
		return err
	}
	return w.session.barrier(ctx)
}

func (w *envoyWire) over(ctx context.Context) (bool, error) {
	grown, err := w.look(ctx)
	if err != nil || grown(statOver) == 0 {
		return false, err
	}
	return true, w.heard(ctx)
}

func (w *envoyWire) hears(ctx context.Context) error {
	return w.until(ctx, func(func(string) int64) bool { return w.upstream != nil && w.upstream.observe().Closed != ClosedNever })
}

func (w *envoyWire) finish(ctx context.Context) error {
	if err := w.until(ctx, func(func(string) int64) bool { return false }); err != nil {
		return err
	}
	_, err := w.over(ctx)
	return err
}

// heard waits until the ends that are open have heard that Envoy closed the connection.
func (w *envoyWire) heard(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, envoyAnswer)
	defer cancel()
	for _, e := range []*tcpEnd{w.client, w.upstream} {
		if e == nil {
			continue
		}
		select {
		case <-e.done:
		case <-wait.Done():
		}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("run scenarios in Envoy: %w", context.Cause(ctx))
	}
	return nil
}

func (w *envoyWire) observe() ObservedConnection {
	o := ObservedConnection{Client: w.client.observe()}
	if w.upstream != nil {
		seen := w.upstream.observe()
		o.Upstream = &seen
	}
	return o
}

// close breaks off both ends, so that Envoy forgets the connection.
func (w *envoyWire) close(context.Context) error {
	w.client.reset()
	if w.upstream != nil {
		w.upstream.reset()
	}
	return nil
}
