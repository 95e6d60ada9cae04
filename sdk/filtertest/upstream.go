package filtertest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// upstream is a scripted HTTP/1.1 server: it records the requests that reach it and gives the answer that the scenario says.
type upstream struct {
	listener net.Listener
	done     chan struct{} // closed when it stops
	wg       sync.WaitGroup

	mu    sync.Mutex
	reply Reply
	seen  []ObservedRequest
	conns map[net.Conn]bool
	ended bool
}

// startUpstream starts the server on loopback. Stop it.
func startUpstream() (*upstream, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the scripted upstream: %w", err)
	}
	u := &upstream{listener: l, done: make(chan struct{}), conns: map[net.Conn]bool{}}
	u.wg.Go(u.accept)
	return u, nil
}

func (u *upstream) address() string { return u.listener.Addr().String() }

// script sets the answer to what comes from now on.
func (u *upstream) script(r Reply) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.reply = r
}

// take gives the requests since the last call.
func (u *upstream) take() []ObservedRequest {
	u.mu.Lock()
	defer u.mu.Unlock()
	seen := u.seen
	u.seen = nil
	return seen
}

func (u *upstream) accept() {
	for {
		conn, err := u.listener.Accept()
		if err != nil {
			return
		}
		u.mu.Lock()
		if u.ended {
			u.mu.Unlock()
			_ = conn.Close()
			return
		}
		u.conns[conn] = true
		u.mu.Unlock()
		u.wg.Go(func() { u.serve(conn) })
	}
}

// serve answers the requests of one connection. A request that breaks off is not recorded.
func (u *upstream) serve(conn net.Conn) {
	defer func() {
		u.mu.Lock()
		delete(u.conns, conn)
		u.mu.Unlock()
		_ = conn.Close()
	}()
	from := bufio.NewReader(conn)
	for {
		r, err := http.ReadRequest(from)
		if err != nil {
			return
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer))
		if err != nil {
			return
		}
		u.mu.Lock()
		reply := u.reply
		u.seen = append(u.seen, ObservedRequest{
			Method: r.Method, Path: r.RequestURI, Authority: r.Host, Headers: headerMap(flatten(r.Header), ignoredUpstream), Body: string(body),
			Trailers: trailerMap(flatten(r.Trailer)),
		})
		u.mu.Unlock()
		if !u.answer(conn, from, reply, r.Method) {
			return
		}
	}
}

// answer sends a reply, or does what its fault says. It is false when the connection is over.
func (u *upstream) answer(conn net.Conn, from io.Reader, reply Reply, method string) bool {
	timer := time.NewTimer(reply.Delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-u.done:
		return false
	}
	response := wireResponse(reply, method)
	switch reply.Fault {
	case FaultNever:
		_, _ = io.Copy(io.Discard, from) // until the other end gives up, or stop closes the connection
		return false
	case FaultReset:
		return false
	case FaultCut:
		_, _ = io.WriteString(conn, response[:len(response)-min(len(reply.Body), 1)])
		return false
	}
	_, err := io.WriteString(conn, response)
	return err == nil
}

// stop ends the server and waits for its connections.
func (u *upstream) stop() {
	close(u.done)
	u.mu.Lock()
	u.ended = true
	for conn := range u.conns {
		_ = conn.Close()
	}
	u.mu.Unlock()
	_ = u.listener.Close()
	u.wg.Wait()
}
