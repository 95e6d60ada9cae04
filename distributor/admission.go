package distributor

import (
	"container/list"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/waft-project/waft/distributor/access"
)

// A whole fleet may come at once: after a network was away, or this process. What is too much then is refused while that costs next to nothing, instead of waiting
// with all the others until each is too late; who is refused comes again a little later, each at its own time.
const (
	// handshakesPerCPU bounds the connections of a port that are between having been accepted and having shown who they are. It is a second's work or so.
	handshakesPerCPU = 512
	// handshakeGrace is how long one may take before a newer one may have its place: those who open connections and say nothing keep nobody out.
	handshakeGrace = 3 * time.Second
	// arrivalsPerCPU bounds the streams of nodes that wait for what they are to be sent first.
	arrivalsPerCPU = 256
	// arrivalGrace is for how long a stream counts as one of those: what it waits for then is no work of ours, such as a release that its node was never given.
	arrivalGrace = 2 * time.Second
	// A node whose stream was refused is told to come again after pushbackMin, and up to as much again, by chance.
	pushbackMin = 500 * time.Millisecond
)

// admission decides whether a port takes another connection, or another stream, now. It may be used concurrently; nil takes all.
type admission struct {
	grpc, http handshakes
	arrivals   chan struct{}
	refused    *prometheus.CounterVec
}

// Labels of the metric, beside the ports'.
const (
	stageHandshake = "handshake"
	stageStream    = "stream"
)

func newAdmission(metrics prometheus.Registerer) (*admission, error) {
	cpus := runtime.GOMAXPROCS(0)
	a := &admission{
		arrivals: make(chan struct{}, arrivalsPerCPU*cpus),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "waft_refused_arrivals_total",
			Help: "Connections (stage handshake) and streams of nodes (stage stream) that were refused because too many others came at the same time, by port.",
		}, []string{"port", "stage"}),
	}
	a.grpc = handshakes{most: handshakesPerCPU * cpus, refused: a.refused.WithLabelValues(portGRPC, stageHandshake)}
	a.http = handshakes{most: handshakesPerCPU * cpus, refused: a.refused.WithLabelValues(portHTTP, stageHandshake)}
	a.refused.WithLabelValues(portGRPC, stageStream)
	return a, metrics.Register(a.refused)
}

// handshakes are the connections of a port that have not shown yet who they are.
type handshakes struct {
	most    int
	refused prometheus.Counter

	mu sync.Mutex
	// waiting are they, the oldest first: *handshake.
	waiting list.List
	// known are those that somebody else tells of, by the connection.
	known map[net.Conn]*list.Element
}

// handshake is one of them.
type handshake struct {
	conn  net.Conn
	since time.Time
}

// begin takes a connection in, where there is room: or where the oldest has had its time, which loses its place.
func (h *handshakes) begin(conn net.Conn, now time.Time) (*list.Element, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting.Len() >= h.most {
		oldest := h.waiting.Front()
		if now.Sub(oldest.Value.(*handshake).since) < handshakeGrace {
			h.refused.Inc()
			return nil, false
		}
		h.waiting.Remove(oldest)
		h.refused.Inc()
		_ = oldest.Value.(*handshake).conn.Close() // whoever waits for it finds out
	}
	return h.waiting.PushBack(&handshake{conn, now}), true
}

// end gives a place back. It may have been lost before.
func (h *handshakes) end(e *list.Element) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting.Remove(e) // nothing, where it is there no longer
}

// credentials have each handshake ask first.
func (a *admission) credentials(c credentials.TransportCredentials) credentials.TransportCredentials {
	if a == nil {
		return c
	}
	return admittedCredentials{c, a}
}

type admittedCredentials struct {
	credentials.TransportCredentials
	admission *admission
}

var errBusy = errors.New("too many connections come at the same time")

// ServerHandshake is credentials.TransportCredentials'.
func (c admittedCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	place, ok := c.admission.grpc.begin(conn, time.Now())
	if !ok {
		return nil, nil, errBusy // the connection is closed by whoever asked
	}
	defer c.admission.grpc.end(place)
	return c.TransportCredentials.ServerHandshake(conn)
}

// Clone is credentials.TransportCredentials'.
func (c admittedCredentials) Clone() credentials.TransportCredentials {
	return admittedCredentials{c.TransportCredentials.Clone(), c.admission}
}

// connState is http.Server.ConnState: a connection is new until its first request comes, and TLS is in between.
func (a *admission) connState(conn net.Conn, state http.ConnState) {
	h := &a.http
	if state == http.StateNew {
		place, ok := h.begin(conn, time.Now())
		if !ok {
			_ = conn.Close() // before anything was read of it
			return
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.known == nil {
			h.known = map[net.Conn]*list.Element{}
		}
		h.known[conn] = place
		return
	}
	h.mu.Lock()
	place := h.known[conn]
	delete(h.known, conn)
	h.mu.Unlock()
	if place != nil {
		h.end(place)
	}
}

// interceptors bound the streams of nodes that wait for their first answer: from their first message on, since until then nothing is done for them.
func (a *admission) interceptors() around {
	if a == nil {
		return around{}
	}
	return around{stream: func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		if access.OfMethod(info.FullMethod) != access.Connect {
			return handle(srv, stream)
		}
		arriving := &arrival{ServerStream: stream, admission: a}
		defer arriving.settle()
		return handle(srv, arriving)
	}}
}

// arrival is a stream until it was sent something.
type arrival struct {
	grpc.ServerStream
	admission *admission
	// began is whoever receives' alone: the first message has come.
	began bool
	// left gives its place back; nil: it has none, or not any more.
	left atomic.Pointer[func()]
}

// RecvMsg is grpc.ServerStream's.
func (s *arrival) RecvMsg(m any) error {
	if err := s.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	if s.began {
		return nil
	}
	s.began = true
	select {
	case s.admission.arrivals <- struct{}{}:
	default:
		s.admission.refused.WithLabelValues(portGRPC, stageStream).Inc()
		s.SetTrailer(pushback(pushbackMin + rand.N(pushbackMin)))
		return status.Error(codes.Unavailable, "too many nodes come at the same time; connect again in a moment")
	}
	leave := sync.OnceFunc(func() { <-s.admission.arrivals })
	timer := time.AfterFunc(arrivalGrace, leave)
	settled := func() {
		timer.Stop()
		leave()
	}
	s.left.Store(&settled)
	return nil
}

// SendMsg is grpc.ServerStream's.
func (s *arrival) SendMsg(m any) error {
	err := s.ServerStream.SendMsg(m)
	s.settle()
	return err
}

// settle ends the waiting, once.
func (s *arrival) settle() {
	if s.left.Load() == nil {
		return // mostly
	}
	if settled := s.left.Swap(nil); settled != nil {
		(*settled)()
	}
}
