package main

import (
	"context"
	"net"
	"sync"

	"github.com/waft-project/waft/distributor"
	"github.com/waft-project/waft/distributor/delivery"
	"github.com/waft-project/waft/distributor/mcp"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/xds"
)

// waft is the port of waft serve with what it serves sinks by, fed by hand: a change is no rollout here, as it is none in the other server.
type waft struct {
	port *distributor.Port
	feed *feed
}

func openWaft(ctx context.Context, s settings) (server, error) {
	port, err := distributor.NewPort(s.tls, nil)
	if err != nil {
		return nil, err
	}
	w := &waft{port: port, feed: &feed{watchers: map[chan struct{}]func(){}}}
	mcp.NewFedSource(ctx, w.feed, nil, nil).Register(port)
	xds.NewDialects(xds.NewFedServer(ctx, w.feed, nil, nil), nil).Register(port)
	return w, nil
}

func (w *waft) serve(l net.Listener) error { return w.port.Serve(l) }

func (w *waft) prepare(number, bytes int) (func() error, error) {
	chain, err := chainOf(number, bytes)
	if err != nil {
		return nil, err
	}
	return func() error { w.feed.publish(chain); return nil }, nil
}

// feed gives every node the same chain, as the service does: the collections are made when a node asks.
type feed struct {
	mu         sync.RWMutex
	chain      model.Chain
	generation int64
	watchers   map[chan struct{}]func()
	maker      delivery.Maker
}

func (f *feed) publish(c model.Chain) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.chain = c
	f.generation++
	for w, call := range f.watchers {
		select {
		case w <- struct{}{}:
			call()
		default:
		}
	}
}

// Collections is mcp.Feed's and xds.Feed's.
func (f *feed) Collections(_ context.Context, node string) ([]model.Collection, error) {
	f.mu.RLock()
	chain, generation := f.chain, f.generation
	f.mu.RUnlock()
	return f.maker.Collections(model.Node{ID: node, Generation: generation}, chain, nil), nil
}

// Watch is mcp.Feed's and xds.Feed's.
func (f *feed) Watch(_ string, call func()) (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	c <- struct{}{}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watchers[c] = call
	return c, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watchers, c)
	}
}
