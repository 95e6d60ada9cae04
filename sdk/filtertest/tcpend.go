package filtertest

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"
)

// tcpEnd is one end of a real connection. It may be used concurrently.
type tcpEnd struct {
	conn *net.TCPConn
	done chan struct{} // closed when nothing more is read

	mu   sync.Mutex
	got  []byte
	seen Closing
}

// newTCPEnd begins to read. Close it.
func newTCPEnd(conn *net.TCPConn) *tcpEnd {
	e := &tcpEnd{conn: conn, done: make(chan struct{}), seen: ClosedNever}
	go e.read()
	return e
}

// dialTCP connects a client.
func dialTCP(ctx context.Context, address string) (*tcpEnd, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return newTCPEnd(conn.(*net.TCPConn)), nil
}

func (e *tcpEnd) read() {
	defer close(e.done)
	buf := make([]byte, 64<<10)
	for {
		n, err := e.conn.Read(buf)
		e.mu.Lock()
		if len(e.got) < maxAnswer {
			e.got = append(e.got, buf[:n]...)
		}
		switch {
		case errors.Is(err, io.EOF):
			e.seen = ClosedEnd
		case errors.Is(err, syscall.ECONNRESET):
			e.seen = ClosedReset
		}
		e.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// send writes. That the other end is gone is seen by reading.
func (e *tcpEnd) send(data string) {
	_ = e.conn.SetWriteDeadline(time.Now().Add(envoyAnswer))
	_, _ = io.WriteString(e.conn, data)
}

// end sends no more.
func (e *tcpEnd) end() { _ = e.conn.CloseWrite() }

// reset breaks the connection off, and waits for the reader.
func (e *tcpEnd) reset() {
	_ = e.conn.SetLinger(0)
	_ = e.conn.Close()
	<-e.done
}

func (e *tcpEnd) observe() ObservedEnd {
	e.mu.Lock()
	defer e.mu.Unlock()
	return ObservedEnd{Data: string(e.got), Closed: e.seen}
}

// tcpUpstream is where connections go. It may be used concurrently.
type tcpUpstream struct {
	listener *net.TCPListener
	stopped  chan struct{} // closed when it accepts no more

	mu   sync.Mutex
	ends []*tcpEnd // accepted and not taken
}

// startTCPUpstream starts the server on loopback. Stop it.
func startTCPUpstream() (*tcpUpstream, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	u := &tcpUpstream{listener: l, stopped: make(chan struct{})}
	go u.accept()
	return u, nil
}

func (u *tcpUpstream) accept() {
	defer close(u.stopped)
	for {
		conn, err := u.listener.AcceptTCP()
		if err != nil {
			return
		}
		u.mu.Lock()
		u.ends = append(u.ends, newTCPEnd(conn))
		u.mu.Unlock()
	}
}

// take gives the connection that came last, and breaks off earlier ones: they are of scenarios that are over. nil: there is none.
func (u *tcpUpstream) take() *tcpEnd {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := len(u.ends)
	if n == 0 {
		return nil
	}
	last := u.ends[n-1]
	for _, e := range u.ends[:n-1] {
		e.reset()
	}
	u.ends = nil
	return last
}

// stop ends the server and the connections that nobody took.
func (u *tcpUpstream) stop() {
	_ = u.listener.Close()
	<-u.stopped
	if e := u.take(); e != nil {
		e.reset()
	}
}
