package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// Limits of connections between replicas.
const (
	// handshakeTimeout bounds the TLS handshake of one that connects, and maxHandshakes how many there are at once: strangers reach the port, too.
	handshakeTimeout = 5 * time.Second
	maxHandshakes    = 64
	// maxOfHost is how many of these one address may have, so that a stranger does not keep replicas out.
	maxOfHost = 16
	// peerDialTimeout bounds an attempt to connect to another replica. They are close to each other.
	peerDialTimeout = 2 * time.Second
	// peerHeaderTimeout is how long another replica may take to begin an answer; the registry may have to fetch a module first.
	peerHeaderTimeout = 60 * time.Second
	peerIdleTimeout   = 90 * time.Second
)

// The protocols of the port, by the names that TLS has for them (RFC 7301).
const (
	protocolHTTP2 = "h2"
	protocolHTTP1 = "http/1.1"
)

// Listener is the port for other replicas, as two listeners: one for gRPC and one for HTTP/1.1. Who connects has proved to be a replica.
type Listener struct {
	port       net.Listener
	config     *tls.Config
	grpc, http *queue
	closed     chan struct{}

	mu sync.Mutex
	// busy are the handshakes under way, busyOf those of each address.
	busy   int
	busyOf map[string]int

	close sync.Once
}

// Listen makes it of a TCP listener, which it closes.
func (m *Member) Listen(port net.Listener) *Listener {
	closed := make(chan struct{})
	queueOf := func() *queue { return &queue{conns: make(chan net.Conn), closed: closed, addr: port.Addr()} }
	l := &Listener{
		port: port, config: m.identity.config(m.knows, protocolHTTP2, protocolHTTP1), closed: closed,
		grpc: queueOf(), http: queueOf(), busyOf: map[string]int{},
	}
	l.grpc.listener, l.http.listener = l, l
	return l
}

// GRPC and HTTP are the two.
func (l *Listener) GRPC() net.Listener { return l.grpc }

// HTTP is the one for HTTP/1.1.
func (l *Listener) HTTP() net.Listener { return l.http }

// Serve takes connections until the listener is closed; nil then.
func (l *Listener) Serve() error {
	for {
		conn, err := l.port.Accept()
		if err != nil {
			select {
			case <-l.closed:
				return nil
			default:
			}
			var passing net.Error
			if errors.As(err, &passing) && passing.Timeout() {
				continue
			}
			return err
		}
		if !l.enter(conn) {
			_ = conn.Close() // replicas try again; strangers need no answer
			continue
		}
		go func() {
			defer l.leave(conn)
			l.take(conn)
		}()
	}
}

// enter counts a connection whose handshake begins; false where there are too many.
func (l *Listener) enter(conn net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	host := hostOf(conn)
	if l.busy >= maxHandshakes || l.busyOf[host] >= maxOfHost {
		return false
	}
	l.busy++
	l.busyOf[host]++
	return true
}

func (l *Listener) leave(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	host := hostOf(conn)
	l.busy--
	if l.busyOf[host]--; l.busyOf[host] == 0 {
		delete(l.busyOf, host)
	}
}

func hostOf(conn net.Conn) string {
	host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
	if err != nil {
		return ""
	}
	return host
}

// take proves who has connected, and gives the connection to the server that speaks its protocol.
func (l *Listener) take(raw net.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	conn := tls.Server(raw, l.config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return
	}
	to := l.http
	if conn.ConnectionState().NegotiatedProtocol == protocolHTTP2 {
		to = l.grpc
	}
	select {
	case to.conns <- conn:
	case <-l.closed:
		_ = raw.Close()
	case <-ctx.Done():
		_ = raw.Close()
	}
}

// Close ends both listeners. It may be called more than once.
func (l *Listener) Close() error {
	var err error
	l.close.Do(func() {
		close(l.closed)
		err = l.port.Close()
	})
	return err
}

// queue is a listener of connections that somebody else has accepted.
type queue struct {
	listener *Listener
	conns    chan net.Conn
	closed   chan struct{}
	addr     net.Addr
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener: it closes the port, both halves of it.
func (q *queue) Close() error { return q.listener.Close() }

// Addr implements net.Listener.
func (q *queue) Addr() net.Addr { return q.addr }

// theirs is TLS to one other replica: the one that is meant, and no other that may have its address by now.
func (m *Member) theirs(r Replica, protocol string) *tls.Config {
	return m.identity.config(func(fingerprint string) bool { return fingerprint == r.Fingerprint }, protocol)
}

// Transport is the way to the HTTP of one other replica, by requests to the host that is its ID; the scheme is http, TLS is below it. The caller closes its
// idle connections.
func (m *Member) Transport() *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, host string) (net.Conn, error) {
			id, _, err := net.SplitHostPort(host)
			if err != nil {
				return nil, err
			}
			for _, r := range m.Others() {
				if r.ID == id {
					dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: peerDialTimeout}, Config: m.theirs(r, protocolHTTP1)}
					return dialer.DialContext(ctx, "tcp", r.Address)
				}
			}
			return nil, errGone
		},
		ResponseHeaderTimeout: peerHeaderTimeout, IdleConnTimeout: peerIdleTimeout, MaxIdleConnsPerHost: 16,
		DisableCompression: true,
	}
}

var errGone = errors.New("the replica is not in etcd any more")
