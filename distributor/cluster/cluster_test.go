package cluster

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/waft-project/waft/distributor/store"
	"github.com/waft-project/waft/distributor/store/etcdtest"
)

const patience = 60 * time.Second

// joined is a member in a test, with its port for others.
type joined struct {
	*Member
	listener *Listener
	// leading counts its leaderships that run; leave ends it as SIGTERM does.
	leading atomic.Int32
	leave   func()
}

// join runs a member. While it leads, serve is called with the context of that.
func join(t *testing.T, etcd *etcdtest.Cluster, name string, serve func(context.Context) error) *joined {
	t.Helper()
	return joinBehind(t, etcd, name, func(l net.Listener) net.Listener { return l }, serve)
}

// joinBehind runs one whose port others reach by something else.
func joinBehind(t *testing.T, etcd *etcdtest.Cluster, name string, by func(net.Listener) net.Listener, serve func(context.Context) error) *joined {
	t.Helper()
	client, err := store.Connect(store.External{Endpoints: etcd.Endpoints}, nil)
	if err != nil {
		t.Fatal(err)
	}
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m, err := Join(Config{Client: client, Self: Replica{Name: name, Address: port.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	j := &joined{Member: m, listener: m.Listen(by(port))}
	ctx, cancel := context.WithCancel(context.Background())
	served, done := make(chan error, 1), make(chan error, 1)
	go func() { served <- j.listener.Serve() }()
	go func() {
		done <- m.Run(ctx, func(ctx context.Context, _ Term) error {
			j.leading.Add(1)
			defer j.leading.Add(-1)
			if serve != nil {
				return serve(ctx)
			}
			<-ctx.Done()
			return nil
		})
	}()
	left := false
	j.leave = func() {
		if left {
			return
		}
		left = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := errors.Join(j.listener.Close(), <-served); err != nil {
			t.Errorf("Serve: %v", err)
		}
		_ = client.Close()
	}
	t.Cleanup(j.leave)
	return j
}

// view waits until a member sees it so.
func view(t *testing.T, m *joined, what string, so func(View) bool) View {
	t.Helper()
	late := time.After(patience)
	for {
		v, changed := m.View()
		if so(v) {
			return v
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("%s does not see that %s; it sees %+v", m.Self().Name, what, v)
		}
	}
}

func leaderIs(name string) func(View) bool { return func(v View) bool { return v.Leader.Name == name } }

// A replica can be stopped while etcd is away, whether it leads or not.
func TestLeavesWithoutEtcd(t *testing.T) {
	etcd := etcdtest.Start(t, 1)
	a := join(t, etcd, "a", nil)
	view(t, a, "it leads", leaderIs("a"))
	b := join(t, etcd, "b", nil)
	view(t, b, "a leads two", func(v View) bool { return leaderIs("a")(v) && len(v.Replicas) == 2 })
	etcd.Stop(0)
	for _, m := range []*joined{b, a} {
		left := make(chan struct{})
		go func() { defer close(left); m.leave() }()
		select {
		case <-left:
		case <-time.After(patience):
			t.Fatalf("%s cannot be stopped", m.Self().Name)
		}
	}
}

// One leads, the others know whom; when it leaves, the next one does at once, and nobody beside it.
func TestOneLeads(t *testing.T) {
	etcd := etcdtest.Start(t, 1)
	a := join(t, etcd, "a", nil)
	view(t, a, "it leads", leaderIs("a"))
	b := join(t, etcd, "b", nil)
	c := join(t, etcd, "c", nil)
	for _, m := range []*joined{a, b, c} {
		view(t, m, "a leads three", func(v View) bool { return leaderIs("a")(v) && len(v.Replicas) == 3 })
	}
	a.leave()
	// What it had in etcd is gone with it: nobody waits for its lease.
	left, err := b.client.Get(t.Context(), prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range left.Kvs {
		var of Replica
		if err := json.Unmarshal(key.Value, &of); err != nil || of.Name == a.Self().Name {
			t.Errorf("%s is left: %s, %v", key.Key, key.Value, err)
		}
	}
	v := view(t, c, "another leads", func(v View) bool { return v.Leader.Name != "" && v.Leader.Name != "a" })
	next, other := b, c
	if v.Leader.Name == "c" {
		next, other = c, b
	}
	for late := time.Now().Add(patience); next.leading.Load() != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("who is elected does not lead")
		}
	}
	if a.leading.Load() != 0 || other.leading.Load() != 0 {
		t.Error("more than one leads")
	}
	view(t, c, "a has gone", func(v View) bool { return len(v.Replicas) == 2 })
}

// Whoever cannot lead lets others.
func TestLeaderThatFails(t *testing.T) {
	etcd := etcdtest.Start(t, 1)
	var tried atomic.Int32
	a := join(t, etcd, "a", func(context.Context) error { tried.Add(1); return errors.New("its disk is broken") })
	view(t, a, "it is there", func(v View) bool { return len(v.Replicas) == 1 && tried.Load() > 0 })
	b := join(t, etcd, "b", nil)
	view(t, a, "b leads", leaderIs("b"))
	b.leave()
	before := tried.Load()
	for late := time.Now().Add(patience); tried.Load() == before; time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("it does not try again")
		}
	}
}

// A leader whose key somebody has removed leads no more.
func TestLeaderWithoutItsKey(t *testing.T) {
	etcd := etcdtest.Start(t, 1)
	ended := make(chan struct{}, 10)
	a := join(t, etcd, "a", func(ctx context.Context) error { <-ctx.Done(); ended <- struct{}{}; return nil })
	view(t, a, "it leads", leaderIs("a"))
	if _, err := a.client.Delete(t.Context(), electionKey+"/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("it leads on")
	}
}

// So does one whose key is gone before it is known to lead.
func TestLeaderWhoseKeyIsGoneAtOnce(t *testing.T) {
	etcd := etcdtest.Start(t, 1)
	ended := make(chan struct{}, 10)
	var client atomic.Pointer[clientv3.Client]
	a := join(t, etcd, "a", func(ctx context.Context) error {
		for client.Load() == nil {
			time.Sleep(time.Millisecond)
		}
		if _, err := client.Load().Delete(ctx, electionKey+"/", clientv3.WithPrefix()); err != nil && ctx.Err() == nil {
			return err
		}
		<-ctx.Done()
		ended <- struct{}{}
		return nil
	})
	client.Store(a.client)
	for range 3 { // each leadership
		select {
		case <-ended:
		case <-time.After(patience):
			t.Fatal("it leads on")
		}
	}
}

// The port for replicas is closed to whoever does not stand in etcd, and a replica speaks to nobody else at the address of another.
func TestStrangersAtThePort(t *testing.T) {
	etcd := etcdtest.Start(t, 1)
	a := join(t, etcd, "a", nil)
	b := join(t, etcd, "b", nil)
	view(t, a, "there are two", func(v View) bool { return len(v.Replicas) == 2 })
	view(t, b, "there are two", func(v View) bool { return len(v.Replicas) == 2 })
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "a") }), ReadHeaderTimeout: time.Minute}
	go func() { _ = web.Serve(a.listener.HTTP()) }()
	ask := func(from *joined, whom string) (string, error) {
		transport := from.Transport()
		defer transport.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+whom+"/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return string(text), err
	}
	if text, err := ask(b, a.Self().ID); err != nil || text != "a" {
		t.Fatalf("a replica gets %q (%v)", text, err)
	}

	stranger, err := newIdentity("b")
	if err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]*tls.Config{
		"a certificate of its own": stranger.config(func(string) bool { return true }, protocolHTTP1),
		"no certificate":           {InsecureSkipVerify: true, NextProtos: []string{protocolHTTP1}},
	} {
		conn, err := tls.Dial("tcp", a.Self().Address, config)
		if err == nil {
			// By TLS 1.3 a client learns with the first read that it is not taken.
			_ = conn.SetDeadline(time.Now().Add(patience))
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			var b [1]byte
			_, err = conn.Read(b[:])
			_ = conn.Close()
		}
		if err == nil {
			t.Errorf("%s: a stranger is served", name)
		}
	}

	// Somebody else has taken the address of a replica that stands in etcd.
	b.mu.Lock()
	for i := range b.view.Replicas {
		if b.view.Replicas[i].ID == a.Self().ID {
			b.view.Replicas[i].Fingerprint = stranger.fingerprint
		}
	}
	b.mu.Unlock()
	if _, err := ask(b, a.Self().ID); !errors.Is(err, errStranger) {
		t.Errorf("a replica speaks to somebody else: %v", err)
	}
}

// slowHealth answers about one service when it is told to.
type slowHealth struct {
	*health.Server
	asked, answer chan struct{}
}

// Check is healthpb.HealthServer's.
func (s *slowHealth) Check(ctx context.Context, req *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	if req.GetService() != "slow" {
		return s.Server.Check(ctx, req)
	}
	close(s.asked)
	select {
	case <-s.answer:
		return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Calls of any kind cross, with metadata, errors and their details; they end with the leadership, and those that begin meanwhile wait for the next.
func TestRelay(t *testing.T) {
	etcd := etcdtest.Start(t, 1)
	calls := &Calls{}
	slow := &slowHealth{Server: health.NewServer(), asked: make(chan struct{}), answer: make(chan struct{})}
	healthpb.RegisterHealthServer(calls, slow)
	serve := func(j **joined) func(context.Context) error {
		return func(ctx context.Context) error {
			server := grpc.NewServer(grpc.ForceServerCodecV2(Codec{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
				if v := metadata.ValueFromIncomingContext(stream.Context(), "said"); len(v) != 1 || v[0] != "by the relay" {
					return status.Errorf(codes.Internal, "the metadata is %v", v)
				}
				method, _ := grpc.MethodFromServerStream(stream)
				return calls.Handle(method, stream)
			}))
			go func() { _ = server.Serve((*j).listener.GRPC()) }()
			<-ctx.Done()
			server.Stop()
			return nil
		}
	}
	var a, b *joined
	a = join(t, etcd, "a", func(ctx context.Context) error { return serve(&a)(ctx) })
	view(t, a, "it leads", leaderIs("a"))
	follower := join(t, etcd, "f", func(ctx context.Context) error { return errors.New("it is to follow") })
	b = join(t, etcd, "b", func(ctx context.Context) error { return serve(&b)(ctx) })
	view(t, follower, "a leads", leaderIs("a"))

	relay := NewRelay(follower.Member, 1<<20, nil, nil)
	conn := inFront(t, relay, metadata.Pairs("said", "by the relay"))
	client := healthpb.NewHealthClient(conn)

	got, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil || got.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("a call gets %v (%v)", got, err)
	}
	if _, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "none"}); status.Code(err) != codes.NotFound {
		t.Errorf("an error arrives as %v", err)
	}
	if err := conn.Invoke(t.Context(), "/no.Service/None", &healthpb.HealthCheckRequest{}, &healthpb.HealthCheckResponse{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("a method that is not there gives %v", err)
	}
	stream, err := client.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := stream.Recv(); err != nil || first.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("a stream gets %v (%v)", first, err)
	}

	// The stream ends with the leadership. A call that comes then is answered by the next leader.
	a.leave()
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ends with %v", err)
	}
	limited, stop := context.WithTimeout(t.Context(), leaderWait)
	defer stop()
	if _, err := client.Check(limited, &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("a call between two leaders: %v", err)
	}
	view(t, follower, "b leads", leaderIs("b"))

	// Streams end one after the other when the replica stops; a call that is under way is answered, however long that takes.
	answered := make(chan error, 1)
	go func() {
		_, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "slow"})
		answered <- err
	}()
	<-slow.asked
	if stream, err = client.Watch(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	relay.Drain()
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ends with %v", err)
	}
	if took := time.Since(begun); took > finishing+drainage+time.Second {
		t.Errorf("the stream ends after %v", took)
	}
	time.Sleep(time.Until(begun.Add(finishing + drainage))) // as long as any stream may last
	close(slow.answer)
	if err := <-answered; err != nil {
		t.Errorf("a call that was under way ends with %v", err)
	}
	stop()

	// Where nobody leads, a call is told so, after as long as there may be nobody. It is told at once where this replica is no longer in the cluster,
	// as when a busy machine lets its lease lapse: then it is asked again.
	b.leave()
	view(t, follower, "b has gone", func(v View) bool { return v.Leader.Name != "b" })
	for late := time.Now().Add(patience); ; {
		begun = time.Now()
		_, err := client.Check(t.Context(), &healthpb.HealthCheckRequest{})
		took := time.Since(begun)
		if status.Code(err) != codes.Unavailable {
			t.Fatalf("without a leader, after %v: %v", took, err)
		}
		if took >= leaderWait {
			break
		}
		if time.Now().After(late) {
			t.Fatalf("without a leader no call has waited for one; the last took %v", took)
		}
	}
}

// Nothing is delivered to those that wait to be handed over: a few of them wait for a moment only, and a fleet spreads out, within a bound.
func TestHandoverOf(t *testing.T) {
	for streams, want := range map[int64]time.Duration{
		0: streamTurn, 1: streamTurn, 6: 6 * streamTurn, 5_000: 5_000 * streamTurn, 10_000: handover, 1 << 40: handover,
	} {
		if got := handoverOf(streams); got != want {
			t.Errorf("%d streams end over %v, want %v", streams, got, want)
		}
	}
}

// inFront is a connection to a port whose calls a relay, which follows until the test ends, carries to the leader with that metadata.
func inFront(t *testing.T, relay *Relay, with metadata.MD) *grpc.ClientConn {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	followed := make(chan struct{})
	go func() { defer close(followed); relay.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-followed })
	front := grpc.NewServer(grpc.ForceServerCodecV2(Codec{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		method, _ := grpc.MethodFromServerStream(stream)
		_, err := relay.Handle(method, strings.HasSuffix(method, "/Check"), stream, with, func() bool { return false })
		return err
	}))
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = front.Serve(port) }()
	t.Cleanup(front.Stop)
	conn, err := grpc.NewClient(port.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
