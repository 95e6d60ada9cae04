package service

import (
	"context"
	"sync"

	"github.com/waft-project/waft/distributor/model"
)

// hub tells watchers that something changed. A watcher that is slow gets the newest only. Sends never block.
type hub struct {
	mu     sync.Mutex
	closed bool
	// nodes are the watches of nodes, each with whom it calls.
	nodes    map[string]map[chan struct{}]func()
	rollouts map[string]map[chan model.Rollout]struct{}
	// batch is closed, and replaced, when rows of nodes have been written.
	batch chan struct{}
}

func newHub() *hub {
	return &hub{batch: make(chan struct{}), nodes: map[string]map[chan struct{}]func(){}, rollouts: map[string]map[chan model.Rollout]struct{}{}}
}

// Watch says on the channel that the collections of a node may have changed: once at the beginning, then after each change;
// changes that come together are one. The node need not exist yet. Cancel ends the watch and must be called; the channel
// is closed when the service stops. Call, where it is not nil, is called after each change that is said on the channel, and after the channel was closed, for
// who does not wait for it: it must not block, nor call the service.
func (s *Service) Watch(nodeID string, call func()) (changed <-chan struct{}, cancel func()) {
	if call == nil {
		call = func() {}
	}
	h := s.hub
	c := make(chan struct{}, 1)
	c <- struct{}{}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(c)
		return c, func() {}
	}
	if h.nodes[nodeID] == nil {
		h.nodes[nodeID] = map[chan struct{}]func(){}
	}
	h.nodes[nodeID][c] = call
	return c, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.nodes[nodeID], c)
		if len(h.nodes[nodeID]) == 0 {
			delete(h.nodes, nodeID)
		}
	}
}

func (h *hub) nodeChanged(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c, call := range h.nodes[id] {
		select {
		case c <- struct{}{}:
			call()
		default:
		}
	}
}

// WatchRollout sends the rollout now, and again after each change; a slow reader gets the newest only. The channel is
// closed after the state in which the rollout has ended, when ctx ends, and when the service stops. It must not be
// changed: readers share the values.
func (s *Service) WatchRollout(ctx context.Context, name string) (<-chan model.Rollout, error) {
	h := s.hub
	c := make(chan model.Rollout, 1)
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil, s.Ready()
	}
	if h.rollouts[name] == nil {
		h.rollouts[name] = map[chan model.Rollout]struct{}{}
	}
	h.rollouts[name][c] = struct{}{}
	h.mu.Unlock()

	// The watch is in place before the state is read, so that no change falls between the two.
	now, err := s.GetRollout(ctx, name)
	if err != nil {
		h.unwatch(name, c)
		return nil, err
	}
	h.first(name, c, now)
	context.AfterFunc(ctx, func() { h.unwatch(name, c) })
	return c, nil
}

// first sends the state read when the watch began, unless a newer one has been sent already.
func (h *hub) first(name string, c chan model.Rollout, r model.Rollout) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, watched := h.rollouts[name][c]; !watched {
		return
	}
	if len(c) == 0 {
		c <- r
	}
	if r.Phase.Ended() {
		h.drop(name, c)
	}
}

func (h *hub) rolloutChanged(r model.Rollout) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.rollouts[r.Name] {
		select {
		case <-c:
		default:
		}
		c <- r // never blocks: only holders of mu send, and the buffer has just been emptied
		if r.Phase.Ended() {
			h.drop(r.Name, c)
		}
	}
}

func (h *hub) unwatch(name string, c chan model.Rollout) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(name, c)
}

// drop closes a watch, once; mu is held.
func (h *hub) drop(name string, c chan model.Rollout) {
	if _, watched := h.rollouts[name][c]; !watched {
		return
	}
	close(c)
	delete(h.rollouts[name], c)
	if len(h.rollouts[name]) == 0 {
		delete(h.rollouts, name)
	}
}

func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	for _, watchers := range h.nodes {
		for c, call := range watchers {
			close(c)
			call()
		}
	}
	h.nodes = nil
	for name, watchers := range h.rollouts {
		for c := range watchers {
			h.drop(name, c)
		}
	}
}

// nextStored is closed when the next batch of rows has been written.
func (h *hub) nextStored() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.batch
}

func (h *hub) stored() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.batch)
	h.batch = make(chan struct{})
}
