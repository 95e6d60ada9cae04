package certfile

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// judged is a client's side of a connection by TLS, of which a write that fails says what the server has said, if it has.
//
// With TLS 1.3 a server sees a client's certificate when that is done with its handshake. Where it does not take it, it sends an alert and closes; whoever writes
// by then learns that the connection is closed ("broken pipe"), and not why, unless it reads. That alert is the first thing that comes, so that nothing is read once
// something came: gRPC goes on reading after a write has failed, for the last messages and for why the server ends.
type judged struct {
	net.Conn
	// begun: something has come.
	begun atomic.Bool
	// turn is taken by whoever reads.
	turn chan struct{}
	// early is what came where an alert was looked for, and is still to be read. It belongs to whoever has the turn.
	early []byte

	mu sync.Mutex
	// until is the reader's own deadline.
	until time.Time
}

func newJudged(conn net.Conn) *judged { return &judged{Conn: conn, turn: make(chan struct{}, 1)} }

const (
	// verdictWait bounds the reading of an alert, which has come before the connection was closed: it is there, or there is none.
	verdictWait = 100 * time.Millisecond
	// earlyBytes bounds what is read where an alert is looked for.
	earlyBytes = 512
)

func (c *judged) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if timeout := net.Error(nil); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		return n, err
	}
	if alert := c.alert(); alert != nil {
		return n, alert
	}
	return n, err
}

func (c *judged) Read(p []byte) (int, error) {
	c.turn <- struct{}{}
	defer func() { <-c.turn }()
	if len(c.early) > 0 {
		n := copy(p, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.begun.Store(true)
	}
	return n, err
}

// alert is what the server has sent, if that is the first thing that came. TLS keeps the error for whoever reads next.
func (c *judged) alert() error {
	if c.begun.Load() {
		return nil
	}
	wait := time.NewTimer(verdictWait)
	defer wait.Stop()
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-wait.C:
		return nil // somebody reads, and nothing has come
	}
	if c.begun.Load() || c.Conn.SetReadDeadline(time.Now().Add(verdictWait)) != nil {
		return nil
	}
	defer c.restoreDeadline()
	first := make([]byte, earlyBytes)
	n, err := c.Conn.Read(first)
	if n > 0 {
		c.begun.Store(true)
		c.early = first[:n]
	}
	// The word for an alert in crypto/tls.
	if op := (*net.OpError)(nil); errors.As(err, &op) && op.Op == "remote error" {
		return err
	}
	return nil
}

// SetReadDeadline is that of the connection.
func (c *judged) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = t
	return c.Conn.SetReadDeadline(t)
}

// SetDeadline is that of the connection.
func (c *judged) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = t
	return c.Conn.SetDeadline(t)
}

func (c *judged) restoreDeadline() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.Conn.SetReadDeadline(c.until) // it fails on a connection that is closed only
}
