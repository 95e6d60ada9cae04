package port

import (
	"errors"
	"fmt"
	"net"
	"reflect"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// Server serves gRPC. What is registered is registered before Serve. It may be used concurrently.
type Server struct {
	cfg    Config
	unary  grpc.UnaryServerInterceptor
	stream grpc.StreamServerInterceptor

	mu        sync.Mutex
	services  map[string]*service
	listeners map[net.Listener]struct{}
	// conns are those that have begun: they are in their handshake, or serve.
	conns map[*conn]struct{}
	// state only goes on.
	state state
	// gone tells that a connection has; it is of mu.
	gone sync.Cond
	// ended ends the watch.
	ended chan struct{}
	// over: there are no connections any more, and none will come.
	over     chan struct{}
	overOnce sync.Once
	// handlers are those that run.
	handlers sync.WaitGroup
}

// state of a server.
type state int

const (
	idle state = iota
	serving
	draining
	stopped
)

// NewServer makes a server that serves nothing yet.
func NewServer(cfg Config) *Server {
	cfg = cfg.withDefaults()
	s := &Server{
		cfg: cfg, unary: cfg.unary(), stream: cfg.stream(),
		services: map[string]*service{}, listeners: map[net.Listener]struct{}{}, conns: map[*conn]struct{}{}, ended: make(chan struct{}), over: make(chan struct{}),
	}
	s.gone.L = &s.mu
	return s
}

// RegisterService is grpc.ServiceRegistrar's. It panics where the service is no implementation of what the description says, is there already, or comes too
// late, since each is a bug of whoever calls.
func (s *Server) RegisterService(d *grpc.ServiceDesc, impl any) {
	if impl != nil {
		want := reflect.TypeOf(d.HandlerType).Elem()
		if have := reflect.TypeOf(impl); !have.Implements(want) {
			panic(fmt.Sprintf("port: %v is registered for %s and does not implement %v", have, d.ServiceName, want))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != idle {
		panic("port: " + d.ServiceName + " is registered after Serve")
	}
	if s.services[d.ServiceName] != nil {
		panic("port: " + d.ServiceName + " is registered twice")
	}
	s.services[d.ServiceName] = newService(d, impl)
}

// GetServiceInfo is reflection.ServiceInfoProvider's.
func (s *Server) GetServiceInfo() map[string]grpc.ServiceInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]grpc.ServiceInfo, len(s.services))
	for name, one := range s.services {
		all[name] = one.info()
	}
	return all
}

// The time between two attempts to accept a connection, after one has failed.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// Serve serves what comes to a listener, and closes it. It returns nil when the server is stopped, and Stop or GracefulStop about to return; grpc.ErrServerStopped
// when it was before, and an error when the listener fails for good.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.state >= draining {
		s.mu.Unlock()
		_ = l.Close()
		return grpc.ErrServerStopped
	}
	if s.state == idle {
		s.state = serving
		go s.watch()
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
		_ = l.Close() // Stop may have
	}()
	pause := time.Duration(0)
	for {
		nc, err := l.Accept()
		if err == nil {
			pause = 0
			s.begin(nc)
			continue
		}
		if s.stopping() {
			<-s.over
			return nil
		}
		if failed, ok := errors.AsType[interface {
			error
			Temporary() bool
		}](err); !ok || !failed.Temporary() { // such as no more open files
			return fmt.Errorf("accept a connection at %s: %w", l.Addr(), err)
		}
		pause = min(max(2*pause, minAcceptPause), maxAcceptPause)
		s.cfg.Log.Warn("a connection could not be accepted", "error", err, "again", pause)
		select {
		case <-time.After(pause):
		case <-s.ended:
			<-s.over
			return nil
		}
	}
}

func (s *Server) stopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state >= draining
}

// begin takes a connection.
func (s *Server) begin(nc net.Conn) {
	c := newConn(s, nc)
	s.mu.Lock()
	if s.state >= draining {
		s.mu.Unlock()
		_ = nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	go c.open()
}

// forget lets a connection go.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.gone.Broadcast()
}

// all are the connections that there are.
func (s *Server) all(into []*conn) []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		into = append(into, c)
	}
	return into
}

// leave goes on to a state, and closes the listeners.
func (s *Server) leave(to state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state < stopped && to == stopped {
		close(s.ended)
	}
	s.state = max(s.state, to)
	for l := range s.listeners {
		_ = l.Close()
	}
}

// empty waits until there are no connections.
func (s *Server) empty() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.conns) > 0 {
		s.gone.Wait()
	}
	s.overOnce.Do(func() { close(s.over) })
}

// Stop ends all connections, and the contexts of the calls on them, at once. It does not wait for handlers.
func (s *Server) Stop() {
	s.leave(stopped)
	for _, c := range s.all(nil) {
		c.end(errStopped)
	}
	s.empty()
}

// GracefulStop takes no connection and no call any more, and returns when the last has ended: all at once with Stop, if that is called meanwhile.
func (s *Server) GracefulStop() {
	s.leave(draining)
	for _, c := range s.all(nil) {
		c.drain(time.Time{})
	}
	s.empty()
	s.leave(stopped)
	s.handlers.Wait()
}

var errStopped = errors.New("the server stops")
