package distributor

import (
	"context"
	"net"
	"net/http"
	"time"
)

// connectionOf is the key of a request's connection in its context.
type connectionOf struct{}

// withConnection is an http.Server's ConnContext: its requests know the connection over which they came.
func withConnection(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connectionOf{}, c)
}

const (
	// endTimeout is how long TCP's end may come after TLS's.
	endTimeout = 250 * time.Millisecond
	// endPause is that between two looks.
	endPause = 5 * time.Millisecond
)

// tookAll says whether the client has closed the connection of a request after it had read all that it was sent. That the request's context is done says neither: it
// is also done where this process stops, and where the client gave up. Its kernel tells: who closes before all has come has not acknowledged it, and who closes
// before all of that was read resets the connection. False also where the connection or what the kernel knows of it is not known.
func tookAll(r *http.Request) bool {
	c, _ := r.Context().Value(connectionOf{}).(net.Conn)
	t, ok := tcpOf(c)
	if !ok {
		return false
	}
	for until := time.Now().Add(endTimeout); ; time.Sleep(endPause) {
		switch all, end := howItEnds(t); {
		case end == endedByClient:
			return all
		case end == endedOtherwise || time.Now().After(until):
			return false
		}
	}
}

// endedAlready says whether the client has closed a connection. False also where that is not known.
func endedAlready(c net.Conn) bool {
	t, ok := tcpOf(c)
	if !ok {
		return false
	}
	_, how := howItEnds(t)
	return how == endedByClient
}

// tcpOf is TCP's connection beneath.
func tcpOf(c net.Conn) (*net.TCPConn, bool) {
	for {
		inner, ok := c.(interface{ NetConn() net.Conn }) // TLS's, and who has patience
		if !ok {
			break
		}
		c = inner.NetConn()
	}
	t, ok := c.(*net.TCPConn)
	return t, ok
}

// end is how a connection ended.
type end int

const (
	notEnded end = iota
	endedByClient
	endedOtherwise
)
