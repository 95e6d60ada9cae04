package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/mcp"
	"github.com/waft-project/waft/distributor/model"
)

// fleet is nodes that run.
type fleet struct {
	// serving is how many say that they serve a chain which has filters, and failures how many streams were lost.
	serving, failures atomic.Int64
	first             atomic.Pointer[string] // why the first of them was
	taken             taken
	// stubborn has nodes that are refused, or do not get in for another reason, come again; refused counts how often.
	stubborn bool
	refused  atomic.Int64

	// running ends with the fleet.
	running context.Context
	cancel  context.CancelFunc
	nodes   sync.WaitGroup
	conns   []*grpc.ClientConn
}

// windowBytes is the window that an agent has.
const windowBytes = 1 << 20

// connecting is how many nodes connect at a time.
const connecting = 50

// launch connects a fleet and returns when the distributor has greeted every node.
func launch(ctx context.Context, address string, count int, step time.Duration) (*fleet, error) {
	f := newFleet(ctx)
	if err := f.open(address, count, step, connecting); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func newFleet(ctx context.Context) *fleet {
	f := &fleet{}
	f.running, f.cancel = context.WithCancel(ctx)
	return f
}

// open connects nodes, so many at a time, and returns when the distributor has greeted every one.
func (f *fleet) open(address string, count int, step time.Duration, atOnce int) error {
	connect := func(id string) (*grpc.ClientConn, error) { return f.connect(f.running, address, id, step) }
	if f.stubborn {
		connect = func(id string) (*grpc.ClientConn, error) { return f.insist(address, id, step) }
	}
	var mu sync.Mutex
	var failed error
	slots := make(chan struct{}, atOnce)
	var starting sync.WaitGroup
	for i := range count {
		slots <- struct{}{}
		starting.Go(func() {
			defer func() { <-slots }()
			conn, err := connect(fmt.Sprintf("node-%05d", i))
			mu.Lock()
			defer mu.Unlock()
			if conn != nil {
				f.conns = append(f.conns, conn)
			}
			failed = errors.Join(failed, err)
		})
	}
	starting.Wait()
	return failed
}

// close ends all nodes.
func (f *fleet) close() {
	f.cancel()
	for _, c := range f.conns {
		_ = c.Close() // its streams have ended
	}
	f.nodes.Wait()
}

// lost counts a stream that ended while the fleet runs.
func (f *fleet) lost(ctx context.Context, err error) {
	if ctx.Err() != nil || err == nil {
		return
	}
	if f.failures.Add(1) == 1 {
		text := err.Error()
		f.first.Store(&text)
	}
}

// err says that nodes were lost: figures of such a run are worth nothing.
func (f *fleet) err() error {
	if first := f.first.Load(); first != nil {
		return fmt.Errorf("%d streams of nodes were lost, the first by: %s", f.failures.Load(), *first)
	}
	return nil
}

// node is one of them. Its own goroutine is the only one that sends.
type node struct {
	fleet      *fleet
	step       time.Duration
	reports    grpc.BidiStreamingClient[waftv1.ReportRequest, waftv1.ReportResponse]
	updates    chan mcp.Update
	directives chan *waftv1.ReportResponse

	have map[string]bool
	// chain is the one it is to run, and state how far it is; serving the one that serves.
	chain    *waftv1.Chain
	state    waftv1.ChainState
	serving  *waftv1.Chain
	requests int64
}

// connect starts a node.
func (f *fleet) connect(ctx context.Context, address, id string, step time.Duration) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStaticStreamWindowSize(windowBytes), grpc.WithStaticConnWindowSize(windowBytes))
	if err != nil {
		return nil, err
	}
	labels := map[string]string{"env": "prod"}
	n := &node{
		fleet: f, step: step, updates: make(chan mcp.Update, 1), directives: make(chan *waftv1.ReportResponse, 1),
		have: map[string]bool{}, serving: &waftv1.Chain{},
	}
	if n.reports, err = waftv1.NewReportServiceClient(conn).Report(ctx); err != nil {
		return conn, err
	}
	hello := &waftv1.Hello{Node: id, Labels: labels, EnvoyVersion: "1.40.0", EnvoyBuild: "simulated", AgentVersion: "simulated"}
	if err := n.reports.Send(&waftv1.ReportRequest{Report: &waftv1.ReportRequest_Hello{Hello: hello}}); err != nil {
		return conn, err
	}
	greeting, err := n.reports.Recv()
	if err != nil {
		return conn, err
	}
	n.directives <- greeting
	sink, err := mcp.NewSink(mcp.SinkConfig{
		Conn: conn, Node: id, Labels: labels,
		Collections: []string{model.CollectionPrefetch, model.CollectionFilters, model.CollectionChains},
		Apply: func(ctx context.Context, u mcp.Update) error {
			select {
			case n.updates <- u:
			case <-ctx.Done():
			}
			return nil
		},
		OnState: func(s mcp.SinkState) {
			if f.stubborn && s.Err != nil {
				f.refused.Add(1) // it comes again by itself
				return
			}
			f.lost(ctx, s.Err)
		},
	})
	if err != nil {
		return conn, err
	}
	f.nodes.Go(func() { _ = sink.Run(ctx) }) // OnState says what it lost
	f.nodes.Go(func() { f.lost(ctx, n.listen(ctx)) })
	f.nodes.Go(func() { f.lost(ctx, n.run(ctx)) })
	return conn, nil
}

// listen takes what the distributor asks for.
func (n *node) listen(ctx context.Context) error {
	for {
		d, err := n.reports.Recv()
		if err != nil {
			return err
		}
		select {
		case n.directives <- d:
		case <-ctx.Done():
			return nil
		}
	}
}

// run does what an agent would: it fetches, loads, swaps and serves, and says so, until ctx ends.
func (n *node) run(ctx context.Context) error {
	next := time.NewTimer(time.Hour)
	statistics := time.NewTimer(time.Hour)
	next.Stop()
	statistics.Stop()
	var every time.Duration
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case u := <-n.updates:
			var begun bool
			if begun, err = n.take(u); begun {
				next.Reset(n.step)
			}
		case <-next.C:
			if n.state++; n.state < waftv1.ChainState_SERVING {
				next.Reset(n.step)
			} else {
				n.serve()
			}
			if err = n.report(); n.state == waftv1.ChainState_SERVING {
				stamp(&n.fleet.taken.served)
			}
		case d := <-n.directives:
			every = d.GetStatisticsInterval().AsDuration()
			statistics.Stop()
			if every > 0 {
				statistics.Reset(rand.N(every)) // nodes do not speak all at once
			}
		case <-statistics.C:
			statistics.Reset(every)
			err = n.count(every)
		}
		if err != nil {
			return err
		}
	}
}

// take takes an update, and says whether another chain is to be loaded.
func (n *node) take(u mcp.Update) (begun bool, err error) {
	before := len(n.have)
	for _, r := range u.Resources {
		switch u.Collection {
		case model.CollectionPrefetch:
			p := &waftv1.Prefetch{}
			if err := mcp.Body(r, p); err != nil {
				return false, err
			}
			n.have[p.GetModule().GetDigest()] = true
		case model.CollectionFilters:
			f := &waftv1.Filter{}
			if err := mcp.Body(r, f); err != nil {
				return false, err
			}
			n.have[f.GetModule().GetDigest()] = true
		case model.CollectionChains:
			c := &waftv1.Chain{}
			if err := mcp.Body(r, c); err != nil {
				return false, err
			}
			if c.GetHash() == n.chain.GetHash() {
				continue
			}
			stamp(&n.fleet.taken.chain)
			n.chain, n.state = c, waftv1.ChainState_FETCHED
			if err := n.report(); err != nil {
				return false, err
			}
			begun = true
		}
	}
	if len(n.have) == before {
		return begun, nil
	}
	fetched := &waftv1.Fetched{Digests: slices.Collect(maps.Keys(n.have))}
	return begun, n.reports.Send(&waftv1.ReportRequest{Report: &waftv1.ReportRequest_Fetched{Fetched: fetched}})
}

func (n *node) serve() {
	if n.serving.GetHash() == "" {
		n.fleet.serving.Add(1)
	}
	n.serving, n.requests = n.chain, 0
}

// report says how far the node is.
func (n *node) report() error {
	return n.reports.Send(&waftv1.ReportRequest{Report: &waftv1.ReportRequest_Chain{Chain: &waftv1.ChainReport{
		Hash: n.chain.GetHash(), State: n.state, Step: steps[n.state], ServingHash: n.serving.GetHash(), Generation: n.chain.GetGeneration(),
	}}})
}

// steps are what an agent names in each state.
var steps = map[waftv1.ChainState]string{
	waftv1.ChainState_FETCHED: "fetch", waftv1.ChainState_LOADED: "load", waftv1.ChainState_SERVING: "serve",
}

// rate is how many requests a node serves in a second.
const rate = 1000

// count sends statistics: every request was a good one.
func (n *node) count(since time.Duration) error {
	n.requests += int64(rate * since.Seconds())
	return n.reports.Send(&waftv1.ReportRequest{Report: &waftv1.ReportRequest_Statistics{Statistics: &waftv1.Statistics{
		Hash: n.serving.GetHash(), Requests: n.requests, SeenByFilters: n.requests,
	}}})
}
