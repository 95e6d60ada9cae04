package distributor

import (
	"context"
	"io"
	"math"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/peer"
)

// DefaultPatience is how long a client may take to read a part of what it is sent.
const DefaultPatience = 30 * time.Second

// patientPart is how much is written with one deadline, in bytes, where the operating system copies a file to a client: a client that takes 4 KB a second is
// slow, and no more.
const patientPart = 128 << 10

// patience ends the connections of clients that do not read, so that what they are to be sent does not wait in memory for ever. There are two kinds: those
// whose kernel takes no more bytes, which a deadline for each write finds; and those whose HTTP/2 window stays shut although the connection lives. The gRPC port finds
// both by itself (port.Config.Patience). It may be used concurrently.
type patience struct {
	limit time.Duration
	// keepalive finds clients that are not there any more.
	keepalive keepalive

	mu sync.Mutex
	// open are the connections by both addresses: a client may use one of its ports for both of ours.
	open map[ends]net.Conn
}

// ends are the addresses of a connection, ours and the client's.
type ends struct{ local, remote string }

func endsOf(local, remote net.Addr) ends { return ends{local.String(), remote.String()} }

func newPatience(limit time.Duration) *patience {
	return &patience{limit: limit, keepalive: clientKeepalive, open: map[ends]net.Conn{}}
}

// count is how many connections are open.
func (p *patience) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open)
}

// register shows that.
func (p *patience) register(r prometheus.Registerer) error {
	return r.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "waft_connections", Help: "Connections of clients that are open, of both ports."}, func() float64 {
		return float64(p.count())
	}))
}

// listener gives connections with deadlines.
func (p *patience) listener(l net.Listener) net.Listener { return patientListener{l, p, false} }

// watched gives connections whose server sees by itself how long each write takes.
func (p *patience) watched(l net.Listener) net.Listener { return patientListener{l, p, true} }

type patientListener struct {
	net.Listener
	patience *patience
	watched  bool
}

// Accept is net.Listener's.
func (l patientListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	_ = l.patience.keepalive.set(c) // one that has ended already has its reader say so
	conn := &patientConn{Conn: c, patience: l.patience, watched: l.watched}
	l.patience.mu.Lock()
	defer l.patience.mu.Unlock()
	l.patience.open[endsOf(c.LocalAddr(), c.RemoteAddr())] = conn
	return conn, nil
}

// patientConn gives each write a deadline, unless it is watched.
type patientConn struct {
	net.Conn
	patience *patience
	watched  bool
}

// Write is net.Conn's.
func (c *patientConn) Write(b []byte) (int, error) {
	if c.watched {
		return c.Conn.Write(b)
	}
	if err := c.SetWriteDeadline(time.Now().Add(c.patience.limit)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// ReadFrom lets the operating system copy a file, a part at a time.
func (c *patientConn) ReadFrom(r io.Reader) (total int64, err error) {
	to, ok := c.Conn.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	// Whoever serves a part of a file says so by a LimitedReader, and the operating system knows a file through one of them only.
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		limited = &io.LimitedReader{R: r, N: math.MaxInt64}
	}
	for {
		if err := c.SetWriteDeadline(time.Now().Add(c.patience.limit)); err != nil {
			return total, err
		}
		part := min(limited.N, patientPart)
		n, err := to.ReadFrom(&io.LimitedReader{R: limited.R, N: part})
		total += n
		limited.N -= n
		if err != nil || n < part || limited.N == 0 {
			return total, err
		}
	}
}

// CloseWrite is *net.TCPConn's, which servers look for.
func (c *patientConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// NetConn is the connection beneath, as of a tls.Conn.
func (c *patientConn) NetConn() net.Conn { return c.Conn }

// Close is net.Conn's.
func (c *patientConn) Close() error {
	p, at := c.patience, endsOf(c.LocalAddr(), c.RemoteAddr())
	p.mu.Lock()
	if p.open[at] == c {
		delete(p.open, at)
	}
	p.mu.Unlock()
	return c.Conn.Close()
}

// drop ends the connection that a call came over.
func (p *patience) drop(ctx context.Context) {
	from, ok := peer.FromContext(ctx)
	if !ok || from.Addr == nil || from.LocalAddr == nil {
		return
	}
	p.mu.Lock()
	conn := p.open[endsOf(from.LocalAddr, from.Addr)]
	p.mu.Unlock()
	if conn != nil {
		_ = conn.Close() // its reader says what there is to say
	}
}
