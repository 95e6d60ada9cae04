package cluster

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// Limits of what is passed on.
const (
	// leaderWait is how long a call waits for a leader: as long as it may take until there is one again.
	leaderWait = 5 * time.Second
	// leaderPause is between attempts to reach one.
	leaderPause = 50 * time.Millisecond
	// handover is over how long streams end whose leader has gone, so that their sinks do not all come back at once: for as long as so many need, streamTurn
	// each, since until then nothing is delivered to them. The most is what half a fleet of 10,000 gets, with two streams a node.
	handover   = time.Second
	streamTurn = 100 * time.Microsecond
	// drainage is over how long they end while this replica stops: they are served until then, so that nobody is in a hurry.
	drainage = 4 * time.Second
	// lastAnswers is for how long a leader whose leadership has ended may still answer the calls with one answer that were passed on to it: for as long as it has itself
	// for that, and to say of those that were not carried out in that time that nobody knows.
	lastAnswers = 700 * time.Millisecond
	// finishing is how long a call may take in any case while this replica stops.
	finishing = 2 * time.Second // of a stream; a call with one answer takes as long as it takes
	// A connection to the leader carries the streams of a whole fleet.
	streamWindow     = 1 << 20
	connectionWindow = 16 << 20
)

// Relay passes gRPC calls on to the leader. It may be used concurrently.
type Relay struct {
	member *Member
	// largest is how many bytes one message from the leader may have.
	largest int
	log     *slog.Logger
	// lost is called each time that the leader was lost; nil: nobody needs to know.
	lost func()
	// carried counts the clients' streams that there are, here answered or passed on.
	carried atomic.Int64

	mu sync.Mutex
	// lead is the way to the leader; nil: there is none, or it is this replica. link is what is known of it, whichever connection it is.
	lead *upstream
	link link
	// draining is closed when this replica stops.
	draining chan struct{}
	drain    sync.Once
}

// upstream is a connection to one leader, for as long as it leads and is reached.
type upstream struct {
	replica Replica
	conn    *grpc.ClientConn
	// done ends with its leadership, or when it is not reached, and linked with the latter alone.
	done, linked context.Context
	cancel, cut  context.CancelFunc
}

// end ends the streams of an upstream, and a little later the other calls, which the leader may be about to answer.
func (up *upstream) end() {
	up.cancel()
	time.AfterFunc(lastAnswers, func() { _ = up.conn.Close() })
}

// lose ends all calls of an upstream that is not reached.
func (up *upstream) lose() {
	up.cut()
	up.cancel()
	_ = up.conn.Close()
}

// NewRelay makes a relay; largest bounds a message from the leader, in bytes. lost is called each time that the leader is not reached, after its calls were ended; nil:
// nobody needs to know. Run keeps the relay up to date.
func NewRelay(m *Member, largest int, lost func(), log *slog.Logger) *Relay {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Relay{member: m, largest: largest, lost: lost, log: log, draining: make(chan struct{})}
}

// Run follows the leadership until ctx ends. Calls of a leader that leads no more end.
func (r *Relay) Run(ctx context.Context) {
	defer r.become(Replica{})
	for {
		view, changed := r.member.View()
		r.become(view.Leader)
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// Drain ends what is passed on, one call after the other, so that the sinks find other replicas a few at a time. It may be called more than once.
func (r *Relay) Drain() { r.drain.Do(func() { close(r.draining) }) }

func (r *Relay) become(leader Replica) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lead != nil {
		if r.lead.replica.ID == leader.ID {
			return
		}
		r.lead.end()
		r.lead = nil
	}
	r.link = link{}
	if leader.ID == "" || leader.ID == r.member.self.ID {
		return
	}
	if r.lead = r.connect(leader); r.lead != nil {
		r.log.Info("calls go to the leader", "leader", leader.Name, "address", leader.Address)
	}
}

// connect makes a connection to a leader, and has it asked whether it is there; mu is held. It is nil where no connection to it can be thought of.
func (r *Relay) connect(leader Replica) *upstream {
	conn, err := grpc.NewClient("passthrough:"+leader.Address,
		grpc.WithTransportCredentials(credentials.NewTLS(r.member.theirs(leader, protocolHTTP2))),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return (&net.Dialer{Timeout: peerDialTimeout}).DialContext(ctx, "tcp", address)
		}),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: peerDialTimeout,
			Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}}),
		grpc.WithInitialWindowSize(streamWindow), grpc.WithInitialConnWindowSize(connectionWindow),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(Codec{}), grpc.MaxCallRecvMsgSize(r.largest)))
	if err != nil {
		r.log.Error("the leader cannot be reached", "leader", leader.Name, "address", leader.Address, "error", err)
		return nil
	}
	up := &upstream{replica: leader, conn: conn}
	up.done, up.cancel = context.WithCancel(context.Background())
	up.linked, up.cut = context.WithCancel(context.Background())
	conn.Connect()
	go r.listen(up)
	return up
}

func (r *Relay) current() *upstream {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lead
}

// both are the directions of a call.
var both = &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}

// open begins the call at the leader. While there is none, or it cannot be reached, it waits; here says that this replica leads by now.
func (r *Relay) open(ctx context.Context, method string, md metadata.MD, here func() bool) (grpc.ClientStream, *upstream, context.CancelFunc, error) {
	ctx = metadata.NewOutgoingContext(ctx, md)
	waiting, stop := context.WithTimeout(ctx, leaderWait)
	defer stop()
	var last error
	for {
		if here() {
			return nil, nil, nil, errHere
		}
		if r.Lost() {
			return nil, nil, nil, ErrNoLeader // it is no use to wait here
		}
		if up := r.current(); up != nil {
			calling, end := context.WithCancel(ctx)
			stream, err := up.conn.NewStream(calling, both, method)
			if err == nil {
				return stream, up, end, nil
			}
			end()
			if status.Code(err) != codes.Unavailable && up.done.Err() == nil {
				return nil, nil, nil, err
			}
			last = err
		}
		pause(waiting, leaderPause)
		if lost := r.current() == nil && !r.member.In(); lost || waiting.Err() != nil {
			if ctx.Err() != nil {
				return nil, nil, nil, status.FromContextError(ctx.Err()).Err()
			}
			if last != nil {
				r.log.Debug("the leader was not reached", "error", last)
			}
			return nil, nil, nil, ErrNoLeader
		}
	}
}

// errHere says that a call is to be answered here.
var errHere = errors.New("this replica leads")

// ErrNoLeader is what calls end with where no replica leads that this one can reach.
var ErrNoLeader = status.Error(codes.Unavailable, "no replica leads, or the one that does cannot be reached; try again in a moment")

// Carry counts a client's stream until the function that it gives is called.
func (r *Relay) Carry() (done func()) {
	r.carried.Add(1)
	return func() { r.carried.Add(-1) }
}

// HandedOver waits as a stream does that ends with a leadership, at a replica or at one that led: each for another while, or until ctx ends.
func (r *Relay) HandedOver(ctx context.Context) { pause(ctx, rand.N(handoverOf(r.carried.Load()))) }

// handoverOf is over how long so many streams end.
func handoverOf(streams int64) time.Duration {
	return min(time.Duration(max(streams, 1))*streamTurn, handover)
}

// Handle passes a call on, with this metadata. handled is false, and nothing was done, where this replica leads by now, which here says. single says that the call
// has one answer: then a stop waits for it.
func (r *Relay) Handle(method string, single bool, stream grpc.ServerStream, md metadata.MD, here func() bool) (handled bool, err error) {
	ctx := stream.Context()
	leader, up, end, err := r.open(ctx, method, md, here)
	if errors.Is(err, errHere) {
		return false, nil
	}
	if err != nil {
		return true, err
	}
	defer end()
	asked := make(chan error, 1)
	go func() { asked <- pass(stream, leader) }()
	type outcome struct {
		err error
		// over: the leader has ended the call.
		over bool
	}
	answered := make(chan outcome, 1)
	go func() {
		over, err := answer(leader, stream)
		answered <- outcome{err, over}
	}()
	begun, draining, turn := time.Now(), r.draining, (<-chan time.Time)(nil)
	var over <-chan struct{}
	if !single {
		over = up.done.Done()
	}
	for {
		select {
		case <-draining:
			draining = nil
			if !single {
				// What has just begun may be about to be answered.
				turn = time.After(rand.N(drainage) + max(finishing-time.Since(begun), 0))
			}
		case <-over:
			over = nil
			end() // what it ends with is told below
		case <-turn:
			end()
			<-answered
			return true, status.Error(codes.Unavailable, "this replica is stopping; connect again, and another one answers")
		case err := <-asked:
			if err != nil {
				end()
				<-answered // it uses the stream, which ends with this call
				return true, err
			}
			asked = nil // the client has said all it had to say
		case out := <-answered:
			err := out.err
			if out.over {
				stream.SetTrailer(leader.Trailer()) // it may be read only then
			}
			if gone(err) {
				switch {
				case up.done.Err() == nil:
				case single:
					err = errUnfinished
				case up.linked.Err() != nil:
					err = ErrNoLeader
				default:
					err = status.Error(codes.Unavailable, "another replica leads now; connect again")
				}
			}
			if status.Code(err) == codes.Unavailable {
				// The leader has gone, or stops: this is said to all its streams at once.
				r.HandedOver(ctx)
			}
			return true, err
		}
	}
}

// gone says whether a call ended with what it ends with when its leader goes; with anything else the leader has answered it.
func gone(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled:
		return true
	}
	return false
}

// pass carries the client's messages to the leader; nil once the client has sent its last, or the leader takes no more, who then says why.
func pass(from grpc.ServerStream, to grpc.ClientStream) error {
	for {
		var f Frame
		if err := from.RecvMsg(&f); err != nil {
			if errors.Is(err, io.EOF) {
				return to.CloseSend()
			}
			return err
		}
		if err := to.SendMsg(&f); err != nil {
			f.free()
			return nil //nolint:nilerr // receiving says why
		}
	}
}

// answer carries the leader's messages to the client; nil when the leader has ended the call in order. over says whether the leader has ended it, and not the
// client.
func answer(from grpc.ClientStream, to grpc.ServerStream) (over bool, err error) {
	header, err := from.Header()
	if err == nil && header != nil {
		err = to.SendHeader(header)
		if err != nil {
			return false, err
		}
	}
	for {
		var f Frame
		if err := from.RecvMsg(&f); err != nil {
			if errors.Is(err, io.EOF) {
				return true, nil
			}
			return true, err
		}
		if err := to.SendMsg(&f); err != nil {
			f.free()
			return false, err
		}
	}
}
