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
	"github.com/waft-project/waft/distributor/api"
)

// A whole fleet may come at once: after a network was away, or this process. What is too much then is refused while that costs next to nothing, instead of waiting
// with all the others until each is too late; who is refused comes again a little later, each at its own time.
//
// A handshake costs both ends far more than waiting for it does, and a client that is refused has begun with it. So those that can be served in time wait
// for their turn, the first that came first, and only those beyond are refused.
const (
	// handshakesPerCPU bounds the connections of the gRPC port that shake hands at the same time. With keys of RSA, 4,096 bits, which sign in 10 ms, they are little more than a second of work, so that none of
	// them takes as long as handshakeGrace because of the others.
	handshakesPerCPU = 128
	// handshakeGrace is how long one may take before another may have its place: those who open connections and say nothing keep nobody out.
	handshakeGrace = 3 * time.Second
	// turnsPerCPU bounds those of the gRPC port that wait for their turn, and turnWait for how long: about what can be served meanwhile. A client that goes away
	// meanwhile costs nothing more.
	turnsPerCPU = 8192
	turnWait    = 10 * time.Second
	// newcomersPerCPU bounds the connections of the HTTP port whose first request has not come. Nobody waits for a turn there.
	newcomersPerCPU = 512
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
	// arrivals has one for each stream that waits for its first answer; nil: they are not bounded.
	arrivals chan struct{}
	refused  *prometheus.CounterVec
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
	queued := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "waft_queued_arrivals_total",
		Help: "Connections of the gRPC port that waited for their turn to shake hands because too many others came at the same time.",
	})
	a.grpc = handshakes{
		most: handshakesPerCPU * cpus, grace: handshakeGrace, turns: turnsPerCPU * cpus, wait: turnWait, queued: queued,
		refused: a.refused.WithLabelValues(portGRPC, stageHandshake),
	}
	a.http = handshakes{most: newcomersPerCPU * cpus, grace: handshakeGrace, refused: a.refused.WithLabelValues(portHTTP, stageHandshake)}
	a.refused.WithLabelValues(portGRPC, stageStream)
	return a, errors.Join(metrics.Register(a.refused), metrics.Register(queued))
}

// handshakes are the connections of a port that have not shown yet who they are.
type handshakes struct {
	// most bounds those that shake hands, of which each may take grace until another may have its place.
	most  int
	grace time.Duration
	// turns bounds those that wait until they may, which is for as long as wait says; 0: none waits.
	turns           int
	wait            time.Duration
	queued, refused prometheus.Counter

	mu sync.Mutex
	// running are those that shake hands: *handshake; and waiting those that will: *turn. In both the oldest is first.
	running, waiting list.List
	// look gives places away that nobody has given back; nil: nobody has waited yet.
	look *time.Timer
	// known are those that somebody else tells of, by the connection.
	known map[net.Conn]*list.Element
}

// handshake is one of them.
type handshake struct {
	conn  net.Conn
	since time.Time
}

// turn is a connection that waits for a place, which it is given by a channel that holds it.
type turn struct {
	conn  net.Conn
	place chan *list.Element
}

// begin takes a connection in, where there is room: or where the oldest has had its time, which loses its place. Else it is to await its turn. False: it is refused.
func (h *handshakes) begin(conn net.Conn, now time.Time) (place, waits *list.Element, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting.Len() == 0 && h.room(now) {
		return h.running.PushBack(&handshake{conn, now}), nil, true
	}
	if h.waiting.Len() >= h.turns {
		h.refused.Inc()
		return nil, nil, false
	}
	h.queued.Inc()
	waits = h.waiting.PushBack(&turn{conn, make(chan *list.Element, 1)})
	h.lookAgain(now)
	return nil, waits, true
}

// room says whether one more may shake hands, for whom the oldest has to go if it has had its time; mu is held.
func (h *handshakes) room(now time.Time) bool {
	if h.running.Len() < h.most {
		return true
	}
	oldest := h.running.Front()
	if now.Sub(oldest.Value.(*handshake).since) < h.grace {
		return false
	}
	h.running.Remove(oldest)
	h.refused.Inc()
	_ = oldest.Value.(*handshake).conn.Close() // whoever waits for it finds out
	return true
}

// next gives places to those whose turn it is; mu is held.
func (h *handshakes) next(now time.Time) {
	for h.waiting.Len() > 0 && h.room(now) {
		t := h.waiting.Remove(h.waiting.Front()).(*turn)
		t.place <- h.running.PushBack(&handshake{t.conn, now})
	}
	h.lookAgain(now)
}

// lookAgain looks when the oldest has had its time, where somebody waits for its place; mu is held.
func (h *handshakes) lookAgain(now time.Time) {
	if h.waiting.Len() == 0 {
		return
	}
	after := h.running.Front().Value.(*handshake).since.Add(h.grace).Sub(now)
	if h.look == nil {
		h.look = time.AfterFunc(after, func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.next(time.Now())
		})
		return
	}
	h.look.Reset(after)
}

// await waits for a turn that begin has given. False: it took too long, and the connection is refused.
func (h *handshakes) await(waits *list.Element) (place *list.Element, ok bool) {
	mine := waits.Value.(*turn)
	over := time.NewTimer(h.wait)
	defer over.Stop()
	select {
	case place = <-mine.place:
		return place, true
	case <-over.C:
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case place = <-mine.place: // meanwhile
		return place, true
	default:
	}
	h.waiting.Remove(waits)
	h.refused.Inc()
	return nil, false
}

// enter takes a connection in, when its turn comes. False: it is refused.
func (h *handshakes) enter(conn net.Conn) (place *list.Element, ok bool) {
	place, waits, ok := h.begin(conn, time.Now())
	if !ok || waits == nil {
		return place, ok
	}
	return h.await(waits)
}

// end gives a place back. It may have been lost before.
func (h *handshakes) end(e *list.Element) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running.Remove(e) // nothing, where it is there no longer
	h.next(time.Now())
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

// Why there is no handshake; the connection is closed by whoever asked for it.
var (
	errBusy = errors.New("too many connections come at the same time")
	errGone = errors.New("the client has gone while it waited for its turn")
)

// ServerHandshake is credentials.TransportCredentials'.
func (c admittedCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	place, ok := c.admission.grpc.enter(conn)
	if !ok {
		return nil, nil, errBusy
	}
	defer c.admission.grpc.end(place)
	if endedAlready(conn) {
		return nil, nil, errGone
	}
	// It has its time from now on.
	if err := conn.SetDeadline(time.Now().Add(api.HandshakeTimeout)); err != nil {
		return nil, nil, err
	}
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
		place, ok := h.enter(conn) // at once: nobody waits for a turn there
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
	if a == nil || a.arrivals == nil {
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
