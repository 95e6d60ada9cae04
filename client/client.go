package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/mcp"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
)

// Client keeps an application's collections up to date. Its methods may be called concurrently.
type Client struct {
	cfg   Config
	log   *slog.Logger
	takes []string
	state *stateFolder

	current   atomic.Pointer[Snapshot]
	connected atomic.Pointer[mcp.SinkState]
	rejected  atomic.Pointer[refusal]
	// baseline is nil where nobody counts.
	baseline atomic.Pointer[baseline]

	inbox    *inbox
	reporter *reporter
	taker    taker

	cancel context.CancelFunc
	done   chan struct{}
	// err is what went wrong at the end; read after done is closed.
	err error
}

// Start opens the state folder, and begins to keep the collections up to date until ctx ends or the client is closed. It does not wait for a distributor: what was
// last known to be good is in Snapshot when it returns. Errors are ErrInvalid, ErrLocked, and those of a folder that cannot be made or
// whose record cannot be read, though it may be whole.
//
// The application must Close the client when it ends as it should: one that does not looks like one that crashed.
func Start(ctx context.Context, cfg Config) (*Client, error) {
	cfg, err := cfg.prepared()
	if err != nil {
		return nil, err
	}
	conn, err := dial(cfg) // it does not connect yet
	if err != nil {
		return nil, err
	}
	state, damaged, err := openState(cfg.StateDir)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if damaged != nil {
		cfg.Log.Error("a part of the client's state is damaged; going on with what is left", "error", damaged)
	}
	c := &Client{cfg: cfg, log: cfg.Log, takes: cfg.takes(), state: state, done: make(chan struct{})}
	c.current.Store(&Snapshot{replaced: make(chan struct{})})
	c.reporter = newReporter(conn, cfg.Log, func() *waftv1.Hello {
		return &waftv1.Hello{
			Node: cfg.Node, Labels: cfg.Labels, AgentVersion: cfg.Version, Generation: c.inbox.generation(), Resources: true, Application: true, Collections: c.takes,
		}
	})
	c.reporter.statistics = c.statistics
	raw := c.resume()
	c.inbox = newInbox(cfg, state, c.current.Load())
	sink, err := mcp.NewSink(mcp.SinkConfig{
		Conn: conn, Node: cfg.Node, Labels: cfg.Labels, Collections: append([]string{model.CollectionChains}, c.takes...), Held: held(c.current.Load(), raw),
		Apply: c.inbox.apply, OnState: func(s mcp.SinkState) { c.connected.Store(&s) }, Log: cfg.Log, MinBackoff: retryMin, MaxBackoff: retryMax,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrInvalid, err), state.close(), conn.Close())
	}
	ctx, c.cancel = context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = sink.Run(ctx) }) // ends with ctx only
	running.Go(func() { c.reporter.run(ctx) })
	running.Go(func() { c.run(ctx) })
	go func() {
		running.Wait()
		c.err = c.finish(conn)
		close(c.done)
	}()
	return c, nil
}

// held are the resources of a snapshot, and its chain, which the source need not send again.
func held(s *Snapshot, raw *mcpv1.Resource) map[string][]*mcpv1.Resource {
	out := map[string][]*mcpv1.Resource{}
	for collection, in := range s.sets {
		for _, one := range in {
			out[collection] = append(out[collection], one.resource)
		}
	}
	if raw != nil {
		out[model.CollectionChains] = []*mcpv1.Resource{raw}
	}
	return out
}

// finish gives back what the client has, once nothing of it runs any more.
func (c *Client) finish(conn *grpc.ClientConn) error {
	err := c.state.change(func(r *record) { r.Open = false })
	if err != nil {
		err = fmt.Errorf("close the client: its next start will look like one after a crash: %w", err)
	}
	return errors.Join(err, c.state.close(), conn.Close())
}

// Close ends the client, and returns when nothing of it runs any more. Snapshots stay as they are. It may be called more than once.
func (c *Client) Close() error {
	c.cancel()
	<-c.done
	return c.err
}

// Snapshot is what the application has now. It is never nil; before the node was given a first release its Chain is empty. No lock is taken.
func (c *Client) Snapshot() *Snapshot { return c.current.Load() }

// Snapshots are the present snapshot, and then each newer one, until ctx or the client ends. One that is replaced while the loop's body runs is passed over.
func (c *Client) Snapshots(ctx context.Context) iter.Seq[*Snapshot] {
	return func(yield func(*Snapshot) bool) {
		for {
			s := c.Snapshot()
			if !yield(s) {
				return
			}
			select {
			case <-s.Replaced():
			case <-ctx.Done():
				return
			case <-c.done:
				return
			}
		}
	}
}

// Wait returns a snapshot as soon as the node has been given a release: at once where there is one on disk. Its error is that ctx or the client ended before.
func (c *Client) Wait(ctx context.Context) (*Snapshot, error) {
	for s := range c.Snapshots(ctx) {
		if s.Chain() != "" {
			return s, nil
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("node/%s was given no release yet, and has none on disk: %w", c.cfg.Node, err)
	}
	return nil, fmt.Errorf("node/%s was given no release before its client ended", c.cfg.Node)
}

// Status is how a client is doing, for health checks and for people.
type Status struct {
	// Connected to a distributor. An application that is not goes on with what it has.
	Connected bool
	// Err says why not, once an attempt has failed.
	Err error
	// Rejected is the chain that was rejected last, and Reason why; empty when the application has what it was given, or waits for it.
	Rejected, Reason string
}

// Status is how the client is doing now.
func (c *Client) Status() Status {
	var st Status
	if s := c.connected.Load(); s != nil {
		st.Connected, st.Err = s.Connected, s.Err
	}
	if r := c.rejected.Load(); r != nil {
		st.Rejected, st.Reason = r.Hash, r.Reason
	}
	return st
}

// earliest is the earlier of two times, of which zero is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
