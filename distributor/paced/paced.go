package paced

import (
	"context"
	"sync"
	"time"
)

// Nodes holds how many requests each node may still send, over all streams that it opens: one that connects again does not
// begin anew. It may be used concurrently. Make it with New.
type Nodes struct {
	// rate in requests a second, burst in requests.
	rate  float64
	burst int

	mu    sync.Mutex
	nodes map[string]*Pace
}

// New has each node send perSecond requests in a second, once it has sent as many as burst.
func New(perSecond float64, burst int) *Nodes {
	return &Nodes{rate: perSecond, burst: burst, nodes: map[string]*Pace{}}
}

// Pace is what one node may still send.
type Pace struct {
	of *Nodes
	// streams that use it; Nodes.mu guards it.
	streams int

	mu sync.Mutex
	// tokens are the requests that it may send at once, as of at; below zero, those that wait. No more than burst wait in turn, so that no client, however many streams
	// it opens, has another one of its node wait for longer than burst takes.
	tokens float64
	at     time.Time
}

// Turn is the place that a request has in the pace of its node.
type Turn struct {
	// Wait is how long the node is to wait for the next request to be read; 0 mostly.
	Wait time.Duration
	// of took a token for it; nil: none was left to take.
	of *Pace
}

// Take takes a request that the node has sent.
func (p *Pace) Take() Turn {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fill(time.Now())
	turn := Turn{}
	if p.tokens-1 >= -float64(p.of.burst) {
		p.tokens--
		turn.of = p
	}
	if p.tokens < 0 {
		turn.Wait = p.of.during(-p.tokens)
	}
	return turn
}

// Rest waits until it is the turn of the request with which a stream begins, unless the stream, whose context ctx is, or the server ends before, which is the
// error then; the request does not count in that case.
func (t Turn) Rest(ctx, stop context.Context) error {
	if t.Wait <= 0 {
		return nil
	}
	due := time.NewTimer(t.Wait)
	defer due.Stop()
	select {
	case <-due.C:
		return nil
	case <-stop.Done():
		t.giveBack()
		return stop.Err()
	case <-ctx.Done():
		t.giveBack()
		return ctx.Err()
	}
}

// giveBack has the request not count, which nobody has read: its stream ended while it waited.
func (t Turn) giveBack() {
	if t.of == nil {
		return
	}
	t.of.mu.Lock()
	defer t.of.mu.Unlock()
	t.of.fill(time.Now())
	t.of.tokens = min(t.of.tokens+1, float64(t.of.of.burst))
}

// missing is how long it takes until what the node did makes no difference any more.
func (p *Pace) missing() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fill(time.Now())
	return p.of.during(float64(p.of.burst) - p.tokens)
}

// fill gives the tokens of the time that has passed; mu is held.
func (p *Pace) fill(now time.Time) {
	p.tokens = min(p.tokens+max(now.Sub(p.at), 0).Seconds()*p.of.rate, float64(p.of.burst))
	p.at = now
}

// during is how long so many requests take.
func (p *Nodes) during(requests float64) time.Duration {
	return time.Duration(requests / p.rate * float64(time.Second))
}

// Join gives the pace of a node to a stream of it, which must Leave it.
func (p *Nodes) Join(node string) *Pace {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.nodes[node]
	if one == nil {
		one = &Pace{of: p, tokens: float64(p.burst), at: time.Now()}
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
	missing := one.missing()
	if missing <= 0 {
		p.forget(node, one)
		return
	}
	time.AfterFunc(missing, func() {
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
