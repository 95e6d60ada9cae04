package chaos

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// proxy passes TCP connections on, and can be told to do that badly: the kernel's own means (netem) need rights that a test does
// not have. It may be used from any goroutine.
type proxy struct {
	listener net.Listener
	// to are where it passes a connection on: the first that takes it.
	to      []string
	workers sync.WaitGroup

	mu    sync.Mutex
	mode  FaultKind // "" for well
	clear chan struct{}
	conns map[net.Conn]struct{}
	shut  bool
}

const (
	// slowPiece is what passes at once while the network is slow, in bytes, and slowDelay what each piece waits: some 160 kB/s.
	slowPiece = 4 << 10
	slowDelay = 25 * time.Millisecond
	// cutEvery is how often a connection is reset while connections are cut, on average.
	cutEvery = 300 * time.Millisecond
)

// newProxy listens on a port of the kernel's choice.
func newProxy(to ...string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{listener: l, to: to, conns: map[net.Conn]struct{}{}, clear: make(chan struct{})}
	close(p.clear)
	p.workers.Go(p.accept)
	return p, nil
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		p.workers.Go(func() { p.pass(c) })
	}
}

// set begins a mode; "" ends it.
func (p *proxy) set(mode FaultKind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mode == "" && mode != "" {
		p.clear = make(chan struct{})
	}
	if p.mode != "" && mode == "" {
		close(p.clear)
	}
	p.mode = mode
	if mode == Cut {
		for c := range p.conns {
			reset(c)
		}
	}
}

func (p *proxy) now() (FaultKind, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode, p.clear
}

// keep notes a connection, so that it can be reset; false when everything is over.
func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *proxy) drop(c net.Conn) {
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
	_ = c.Close()
}

// reset ends a connection as a network does that lost it: no orderly end.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

func (p *proxy) pass(from net.Conn) {
	if !p.keep(from) {
		reset(from)
		return
	}
	defer p.drop(from)
	if mode, _ := p.now(); mode == Cut && rand.IntN(2) == 0 {
		reset(from)
		return
	}
	to, err := p.dial()
	if err != nil {
		reset(from)
		return
	}
	if !p.keep(to) {
		reset(to)
		return
	}
	defer p.drop(to)
	var both sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	both.Go(func() { p.copy(ctx, to, from); stop(); reset(to); reset(from) })
	both.Go(func() { p.copy(ctx, from, to); stop(); reset(to); reset(from) })
	both.Wait()
}

// dial connects to the first that takes it, beginning with any.
func (p *proxy) dial() (to net.Conn, err error) {
	from := rand.IntN(len(p.to))
	for i := range p.to {
		if to, err = net.Dial("tcp", p.to[(from+i)%len(p.to)]); err == nil {
			return to, nil
		}
	}
	return nil, err
}

func (p *proxy) copy(ctx context.Context, to, from net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		for piece := buffer[:n]; len(piece) > 0; {
			// What the mode is now counts, not what it was when the read began.
			mode, clear := p.now()
			passes := len(piece)
			switch mode {
			case Slow:
				passes = min(passes, slowPiece)
				wait(ctx, clear, slowDelay)
			case Stall:
				wait(ctx, clear, time.Hour)
			case Cut:
				if rand.IntN(3) == 0 {
					return
				}
				wait(ctx, clear, rand.N(cutEvery))
			}
			if _, err := to.Write(piece[:passes]); err != nil {
				return
			}
			piece = piece[passes:]
		}
		if err != nil {
			return
		}
	}
}

// wait is over when the mode is, when the connection is, or after d.
func wait(ctx context.Context, clear <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-clear:
	case <-ctx.Done():
	case <-timer.C:
	}
}

// close ends the proxy with everything that passes through it.
func (p *proxy) close() {
	_ = p.listener.Close()
	p.set("")
	p.mu.Lock()
	p.shut = true
	for c := range p.conns {
		reset(c)
	}
	p.mu.Unlock()
	p.workers.Wait()
}
