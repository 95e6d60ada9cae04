package mcp

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// paces holds how many requests each node may still send, over all streams that it opens: one that connects again does not
// begin anew. It may be used concurrently.
type paces struct {
	// rate in requests a second, burst in requests.
	rate  rate.Limit
	burst int

	mu    sync.Mutex
	nodes map[string]*pace
}

// pace is what one node may still send.
type pace struct {
	*rate.Limiter
	// streams that use it; paces.mu guards it.
	streams int
}

// join gives the pace of a node to a stream of it, which must leave it.
func (p *paces) join(node string) *pace {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.nodes == nil {
		p.nodes = map[string]*pace{}
	}
	one := p.nodes[node]
	if one == nil {
		one = &pace{Limiter: rate.NewLimiter(p.rate, p.burst)}
		p.nodes[node] = one
	}
	one.streams++
	return one
}

// leave ends the use of a stream. What a node did is remembered until it makes no difference any more.
func (p *paces) leave(node string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.nodes[node]
	one.streams--
	missing := float64(p.burst) - one.Tokens()
	if missing <= 0 {
		p.forget(node, one)
		return
	}
	time.AfterFunc(time.Duration(missing/float64(p.rate)*float64(time.Second)), func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.forget(node, one)
	})
}

// forget removes a node's pace that no stream uses; mu is held.
func (p *paces) forget(node string, one *pace) {
	if one.streams == 0 && p.nodes[node] == one {
		delete(p.nodes, node)
	}
}
