package paced

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Nodes holds how many requests each node may still send, over all streams that it opens: one that connects again does not
// begin anew. It may be used concurrently. Make it with New.
type Nodes struct {
	// rate in requests a second, burst in requests.
	rate  rate.Limit
	burst int

	mu    sync.Mutex
	nodes map[string]*Pace
}

// New has each node send perSecond requests in a second, once it has sent as many as burst.
func New(perSecond float64, burst int) *Nodes {
	return &Nodes{rate: rate.Limit(perSecond), burst: burst, nodes: map[string]*Pace{}}
}

// Pace is what one node may still send.
type Pace struct {
	limiter *rate.Limiter
	// streams that use it; Nodes.mu guards it.
	streams int
}

// Take takes a request that the node has sent, and says for how long the node is to wait for the next one to be read; 0 mostly.
func (p *Pace) Take() time.Duration { return p.limiter.Reserve().Delay() }

// Join gives the pace of a node to a stream of it, which must Leave it.
func (p *Nodes) Join(node string) *Pace {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.nodes[node]
	if one == nil {
		one = &Pace{limiter: rate.NewLimiter(p.rate, p.burst)}
		p.nodes[node] = one
	}
	one.streams++
	return one
}

// Leave ends the use of a stream. What a node did is remembered until it makes no difference any more.
func (p *Nodes) Leave(node string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.nodes[node]
	one.streams--
	missing := float64(p.burst) - one.limiter.Tokens()
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
func (p *Nodes) forget(node string, one *Pace) {
	if one.streams == 0 && p.nodes[node] == one {
		delete(p.nodes, node)
	}
}
