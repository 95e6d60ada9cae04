package distributor

import (
	"context"
	"net"
	"net/http"
	"sync"

	"github.com/waft-project/waft/registry"
)

// serveInside serves a handler on connections inside the process until ctx ends, and gives the transport that leads to it.
func serveInside(ctx context.Context, h http.Handler) http.RoundTripper {
	l := newInsideListener()
	server := &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout}
	go func() { _ = server.Serve(l) }() // ends with Close, below
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return &http.Transport{
		DialContext:           l.dial,
		ResponseHeaderTimeout: registry.HeaderTimeout,
		DisableCompression:    true,
	}
}

// insideListener is a net.Listener whose connections are pipes. An HTTP server takes deadlines back all the time, which
// net.Pipe does as it must; with bufconn, of gRPC, one that was taken back may still strike, and cut a request off.
type insideListener struct {
	conns  chan net.Conn
	closed chan struct{}
	close  sync.Once
}

func newInsideListener() *insideListener {
	return &insideListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *insideListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Accept implements net.Listener.
func (l *insideListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *insideListener) Close() error {
	l.close.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *insideListener) Addr() net.Addr { return insideAddr{} }

type insideAddr struct{}

func (insideAddr) Network() string { return "inside" }
func (insideAddr) String() string  { return "inside" }
