package filtertest

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// grpcServer is a scripted gRPC server over HTTP/2 without TLS. It is written on net/http, so that it can do what a server that is made
// for services does not: break off, never answer, answer with a status alone.
type grpcServer struct {
	server   *http.Server
	listener net.Listener
	done     chan struct{} // closed when it stops
	wg       sync.WaitGroup

	mu   sync.Mutex
	play Cluster
	seen []*ObservedRequest
}

// startGRPC starts the server on loopback. Stop it.
func startGRPC() (*grpcServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a scripted gRPC server: %w", err)
	}
	s := &grpcServer{listener: l, done: make(chan struct{})}
	s.server = &http.Server{Handler: http.HandlerFunc(s.serve), Protocols: new(http.Protocols), ReadHeaderTimeout: envoyAnswer}
	s.server.Protocols.SetUnencryptedHTTP2(true)
	s.wg.Go(func() { _ = s.server.Serve(l) })
	return s, nil
}

func (s *grpcServer) address() string { return s.listener.Addr().String() }

func (s *grpcServer) script(c Cluster) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.play = c
}

func (s *grpcServer) take() []ObservedRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []ObservedRequest
	for _, r := range s.seen {
		out = append(out, *r)
	}
	s.seen = nil
	return out
}

func (s *grpcServer) stop() {
	close(s.done)
	_ = s.server.Close()
	s.wg.Wait()
}

// serve answers a call.
func (s *grpcServer) serve(w http.ResponseWriter, r *http.Request) {
	hs := flatten(r.Header)
	for name := range ignoredCall {
		hs = without(hs, name)
	}
	seen := &ObservedRequest{Method: r.Method, Path: r.URL.Path, Authority: r.Host, Headers: headerMap(hs, ignoredUpstream)}
	s.mu.Lock()
	play := s.play
	s.seen = append(s.seen, seen)
	s.mu.Unlock()
	reply, fault := *play.GRPC, play.Reply.Fault
	read, first := make(chan struct{}), make(chan struct{})
	var echo io.Writer
	if reply.Echo && fault == FaultNone {
		echo = grpcWriter{w}
		grpcHeaders(w, reply)
		flush(w)
	}
	s.wg.Go(func() {
		defer close(read)
		s.read(r.Body, seen, echo, sync.OnceFunc(func() { close(first) }))
	})
	if !reply.Echo {
		// What the server has seen must not depend on who is faster, its answer or the message behind the call's headers.
		select {
		case <-first:
		case <-read:
		case <-time.After(firstMessage):
		}
		s.wait(r.Context(), play.Reply.Delay)
	}
	switch fault {
	case FaultNever:
		s.wait(r.Context(), time.Hour)
		return
	case FaultReset:
		panic(http.ErrAbortHandler)
	}
	if reply.Echo {
		<-read
	} else {
		grpcHeaders(w, reply)
	}
	for _, m := range reply.Messages {
		_, _ = grpcWriter{w}.Write(m)
	}
	prefix := http.TrailerPrefix
	if !reply.Echo && len(reply.Messages) == 0 && len(reply.Headers) == 0 {
		prefix = "" // the status comes alone
	}
	w.Header().Set(prefix+"Grpc-Status", strconv.FormatUint(uint64(reply.Status), 10))
	if reply.Message != "" {
		w.Header().Set(prefix+"Grpc-Message", grpcMessage(reply.Message))
	}
	for _, h := range reply.Trailers {
		w.Header().Add(prefix+http.CanonicalHeaderKey(h.Name), h.Value)
	}
	if prefix != "" {
		flush(w)
	}
}

// grpcMessage is a status's text as it is sent: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses.
func grpcMessage(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// grpcHeaders sets the response's headers.
func grpcHeaders(w http.ResponseWriter, reply GRPCReply) {
	w.Header().Set("Content-Type", "application/grpc")
	w.Header()["Date"] = nil
	for _, h := range reply.Headers {
		w.Header().Add(h.Name, h.Value)
	}
}

// firstMessage is how long an answer waits for a call's first message. Only a stream whose client wants to hear something first
// has none by then.
const firstMessage = time.Second

// read keeps the messages that come, until the client has ended its side. It calls kept after each.
func (s *grpcServer) read(from io.Reader, seen *ObservedRequest, echo io.Writer, kept func()) {
	for {
		var head [grpcHead]byte
		if _, err := io.ReadFull(from, head[:]); err != nil {
			return
		}
		size := binary.BigEndian.Uint32(head[1:])
		if size > maxAnswer {
			return
		}
		message := make([]byte, size)
		if _, err := io.ReadFull(from, message); err != nil {
			return
		}
		s.mu.Lock()
		seen.Messages = append(seen.Messages, string(message))
		s.mu.Unlock()
		kept()
		if echo != nil {
			_, _ = echo.Write(message)
		}
	}
}

// grpcHead is the size of what stands before a message: a flag and the length.
const grpcHead = 5

// grpcWriter sends a message with each Write.
type grpcWriter struct{ to http.ResponseWriter }

// Write sends a message.
func (w grpcWriter) Write(message []byte) (int, error) {
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	if _, err := w.to.Write(append(frame, message...)); err != nil {
		return 0, err
	}
	flush(w.to)
	return len(message), nil
}

func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// wait lets time pass, unless the client leaves or the server stops.
func (s *grpcServer) wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-s.done:
	}
}
