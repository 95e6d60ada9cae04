package cluster

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/waft-project/waft/distributor/store/etcdtest"
)

// One question without an answer is none, and a few with one end a loss. What etcd does not answer either does not count, and some more are spared after that.
func TestLink(t *testing.T) {
	const none, one, etcd = missedLeader, heardLeader, missedBoth
	for name, c := range map[string]struct {
		heard []heard
		lost  bool
		// anew is how often another connection was tried.
		anew int
	}{
		"nothing was asked":       {nil, false, 0},
		"all are answered":        {[]heard{one, one, one, one}, false, 0},
		"few are missed":          {[]heard{one, none, none}, false, 0},
		"few, and few again":      {[]heard{none, none, one, none, none}, false, 0},
		"all are missed":          {[]heard{none, none, none}, true, 1},
		"the loss goes on":        {[]heard{none, none, none, none, none}, true, 1},
		"and on":                  {[]heard{none, none, none, none, none, none}, true, 2},
		"one is answered":         {[]heard{none, none, none, one}, true, 1},
		"some are":                {[]heard{none, none, none, one, one, none, one, one}, true, 1},
		"the leader is back":      {[]heard{none, none, none, one, one, one}, false, 1},
		"it is lost once more":    {[]heard{none, none, none, one, one, one, none, none, none}, true, 2},
		"etcd is away, too":       {[]heard{etcd, etcd, etcd, etcd, etcd, etcd}, false, 0},
		"etcd was away, too":      {[]heard{none, etcd, none, none, none, none}, false, 0},
		"etcd is back for long":   {[]heard{none, etcd, none, none, none, none, none}, true, 1},
		"etcd goes during a loss": {[]heard{none, none, none, etcd, etcd}, true, 1},
	} {
		var l link
		tried := 0
		for _, h := range c.heard {
			next, anew := l.after(h)
			l = next
			if anew {
				tried++
			}
		}
		if l.lost != c.lost || tried != c.anew {
			t.Errorf("%s: lost: %v, and %d connections were tried", name, l.lost, tried)
		}
	}
	// Who waits for a leader that is gone is told of the next one by etcd before it is sent away, and who is sent away has time to find another replica.
	const lease = leaseSeconds*time.Second + 500*time.Millisecond
	if least := beatsMissed * beatTimeout; least <= lease || beatInterval+least > 3*time.Second {
		t.Errorf("a leader is lost after %v to %v", least, beatInterval+least)
	}
	if least := (beatsSpared + beatsMissed) * beatTimeout; least <= lease+electionTime {
		t.Errorf("a leader is lost %v after etcd is back, and its lease may last for %v", least, lease+electionTime)
	}
	if hearPause+hearTimeout >= beatTimeout {
		t.Errorf("etcd may answer %v after a question, which is over after %v", hearPause+hearTimeout, beatTimeout)
	}
}

// Whoever answers anything is there.
func TestAnswers(t *testing.T) {
	for code, want := range map[codes.Code]bool{
		codes.OK: true, codes.Unimplemented: true, codes.NotFound: true, codes.PermissionDenied: true,
		codes.Unavailable: false, codes.DeadlineExceeded: false, codes.Canceled: false,
	} {
		if got := answers(status.Error(code, "")); got != want {
			t.Errorf("%v: %v", code, got)
		}
	}
}

// silent is a port that takes connections and, while it is held, neither reads nor says anything: a network that has parted.
type silent struct {
	net.Listener
	held *atomic.Bool
}

// Accept is net.Listener's.
func (s silent) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	return silentConn{c, s.held}, err
}

type silentConn struct {
	net.Conn
	held *atomic.Bool
}

func (c silentConn) wait() {
	for c.held.Load() {
		time.Sleep(time.Millisecond)
	}
}

// Read is net.Conn's.
func (c silentConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.wait()
	return n, err
}

// Write is net.Conn's.
func (c silentConn) Write(b []byte) (int, error) {
	c.wait()
	return c.Conn.Write(b)
}

// A leader that etcd hears of, and this replica does not, is lost: calls end, none waits for it, and when it is reached again it is served by.
func TestLostLeader(t *testing.T) {
	etcd := etcdtest.Start(t, 1)
	var held atomic.Bool
	defer held.Store(false)
	calls := &Calls{}
	healthpb.RegisterHealthServer(calls, health.NewServer())
	var a *joined
	a = joinBehind(t, etcd, "a", func(l net.Listener) net.Listener { return silent{l, &held} }, func(ctx context.Context) error {
		server := grpc.NewServer(grpc.ForceServerCodecV2(Codec{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			method, _ := grpc.MethodFromServerStream(stream)
			return calls.Handle(method, stream)
		}))
		go func() { _ = server.Serve(a.listener.GRPC()) }()
		<-ctx.Done()
		server.Stop()
		return nil
	})
	view(t, a, "it leads", leaderIs("a"))
	follower := join(t, etcd, "f", nil)
	view(t, follower, "a leads", leaderIs("a"))

	var lost atomic.Int32
	relay := NewRelay(follower.Member, 1<<20, func() { lost.Add(1) }, nil)
	client := healthpb.NewHealthClient(inFront(t, relay, metadata.MD{}))
	waiting, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	stream, err := client.Watch(waiting, &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	linked, done := relay.Linked(t.Context())
	defer done()
	if relay.Lost() || linked.Err() != nil {
		t.Fatal("a leader that answers is lost")
	}

	begun := time.Now()
	held.Store(true)
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable || status.Convert(err).Message() != status.Convert(ErrNoLeader).Message() {
		t.Errorf("the stream ends with %v", err)
	}
	t.Logf("the stream has ended after %v", time.Since(begun))
	if !relay.Lost() || lost.Load() == 0 || linked.Err() == nil {
		t.Errorf("lost: %v, told %d times; what goes by the leader ends with %v", relay.Lost(), lost.Load(), linked.Err())
	}
	if view, _ := follower.View(); view.Leader.Name != "a" || !follower.In() {
		t.Fatalf("etcd does not say that a leads: %+v", view)
	}
	begun = time.Now()
	if _, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("a call ends with %v", err)
	}
	if took := time.Since(begun); took >= leaderWait {
		t.Errorf("a call waits for %v for a leader that is not reached", took)
	}

	held.Store(false)
	for late := time.Now().Add(patience); relay.Lost(); time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("the leader stays lost")
		}
	}
	if _, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("a call when it is reached again: %v", err)
	}
}
