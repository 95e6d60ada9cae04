package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// fleet is nodes that are connected, or connect.
type fleet struct {
	dialect dialect
	address string
	tls     *tls.Config
	size    int
	// generation moves the nodes' own addresses, so that their ports are not those of connections that ended a moment ago.
	generation int

	buffers sync.Pool
	nodes   []*node
	running sync.WaitGroup
	ending  atomic.Bool
	// stubborn has a node that is lost connect again, and not fail the run; again counts them.
	stubborn bool
	again    atomic.Int64
	// sessions are of TLS, of each node one that it resumes; nil: every handshake is a whole one. resumed counts them.
	sessions []tls.ClientSessionCache
	resumed  atomic.Int64
	// failed is why the first node was lost.
	failed chan error

	mu sync.Mutex
	// now is the change that is waited for.
	now *round
}

// round is one change, until every node has accepted it.
type round struct {
	number int
	// at is when each node accepted it, in nanoseconds since 1970.
	at   []atomic.Int64
	left atomic.Int64
	done chan struct{}
}

func newFleet(d dialect, address string, tlsConfig *tls.Config, size, generation int) *fleet {
	return &fleet{
		dialect: d, address: address, tls: tlsConfig, size: size, generation: generation, failed: make(chan error, 1),
		buffers: sync.Pool{New: func() any { return new([]byte) }},
	}
}

// newSessions gives each node a place for its session of TLS.
func newSessions(nodes int) []tls.ClientSessionCache {
	all := make([]tls.ClientSessionCache, nodes)
	for i := range all {
		all[i] = tls.NewLRUClientSessionCache(1)
	}
	return all
}

// security is the TLS of a node.
func (f *fleet) security(index int) *tls.Config {
	if f.sessions == nil {
		return f.tls
	}
	own := f.tls.Clone()
	own.ClientSessionCache = f.sessions[index]
	return own
}

// nodesOfSource is how many nodes have one address of their own: the ports of an address are fewer than 30,000, and one that was used rests for a minute.
const nodesOfSource = 2500

func (f *fleet) source(index int) net.IP {
	return net.IPv4(127, 0, byte(1+f.generation), byte(1+index/nodesOfSource))
}

// expect begins to wait for a change.
func (f *fleet) expect(number int) *round {
	r := &round{number: number, at: make([]atomic.Int64, f.size), done: make(chan struct{})}
	r.left.Store(int64(f.size))
	f.mu.Lock()
	f.now = r
	f.mu.Unlock()
	return r
}

// accepted notes that a node has accepted a change. That of an earlier one does not count, and no node counts twice.
func (f *fleet) accepted(index, change int, at time.Time) {
	f.mu.Lock()
	r := f.now
	f.mu.Unlock()
	if r == nil || change != r.number || !r.at[index].CompareAndSwap(0, at.UnixNano()) {
		return
	}
	if r.left.Add(-1) == 0 {
		close(r.done)
	}
}

// wait waits until every node has accepted the change.
func (f *fleet) wait(ctx context.Context, r *round) error {
	select {
	case <-r.done:
		return nil
	case err := <-f.failed:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%d of %d nodes have not accepted change %d: %w", r.left.Load(), f.size, r.number, ctx.Err())
	}
}

// connect connects all nodes, so many at a time, and returns when each has been heard to be connected. One that cannot connect tries again until ctx ends.
func (f *fleet) connect(ctx context.Context, atOnce int) error {
	f.nodes = make([]*node, f.size)
	slots := make(chan struct{}, atOnce)
	var starting sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for i := range f.size {
		slots <- struct{}{}
		starting.Go(func() {
			n := &node{fleet: f, index: i}
			err := n.insist(ctx)
			<-slots
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = errors.Join(failed, err)
				return
			}
			f.nodes[i] = n
			f.running.Go(func() {
				err := n.serve()
				for f.stubborn && !f.ending.Load() && ctx.Err() == nil {
					f.again.Add(1)
					if err = n.insist(ctx); err == nil {
						err = n.serve()
					}
				}
				if !f.ending.Load() {
					f.lost(fmt.Errorf("%s was lost: %w", nodeName(i), err))
				}
			})
		})
	}
	starting.Wait()
	return failed
}

// insist connects, as often as it takes until ctx ends.
func (n *node) insist(ctx context.Context) error {
	err := n.connect(ctx)
	for err != nil && ctx.Err() == nil && !n.fleet.ending.Load() {
		n.fleet.again.Add(1)
		time.Sleep(retryPause)
		err = n.connect(ctx)
	}
	return err
}

// retryPause is between two attempts of a node to connect.
const retryPause = 100 * time.Millisecond

func (f *fleet) lost(err error) {
	select {
	case f.failed <- err:
	default:
	}
}

// close ends all nodes at once.
func (f *fleet) close() {
	f.ending.Store(true)
	for _, n := range f.nodes {
		if n != nil {
			n.close()
		}
	}
	f.running.Wait()
}
