package port_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/waft-project/waft/distributor/inbox"
	"github.com/waft-project/waft/distributor/port"
)

// until waits for what is to be so.
func until(t testing.TB, what string, so func() bool) {
	t.Helper()
	for late := time.Now().Add(patience); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("not so after %s: %s", patience, what)
		}
	}
}

// A graceful stop takes nobody new, lets calls go on, and returns after the last.
func TestGracefulStop(t *testing.T) {
	s := serve(t, port.Config{})
	conn := s.conn(t)
	stream, err := testgrpc.NewTestServiceClient(conn).FullDuplexCall(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	exchange := func() {
		t.Helper()
		if err := stream.Send(duplex([]byte("x"))); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	exchange()
	stopped := make(chan struct{})
	go func() { s.GracefulStop(); close(stopped) }()
	until(t, "the client knows", func() bool { return conn.GetState() != connectivity.Ready })
	exchange()
	if c, err := net.Dial("tcp", s.address); err == nil {
		c.Close()
		t.Error("a new connection is taken")
	}
	select {
	case <-stopped:
		t.Error("it does not wait for the call")
	default:
	}
	_ = stream.CloseSend()
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the call ended with %v", err)
	}
	await(t, stopped)
	if err := s.Serve(nothing{}); !errors.Is(err, grpc.ErrServerStopped) {
		t.Errorf("served again: %v", err)
	}
}

// nothing is a listener.
type nothing struct{ net.Listener }

func (nothing) Close() error { return nil }

// A stop ends what goes on, also while a graceful one waits.
func TestStop(t *testing.T) {
	s := serve(t, port.Config{})
	stream, err := s.client(t).FullDuplexCall(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	seen := await(t, s.echo.seen)
	stopped := make(chan struct{})
	go func() { s.GracefulStop(); close(stopped) }()
	s.Stop()
	await(t, stopped)
	await(t, seen.Done())
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("%v", err)
	}
}

// A connection that is old enough is ended, its calls after a while, too; its client makes another one.
func TestAge(t *testing.T) {
	s := serve(t, port.Config{Age: 50 * time.Millisecond, Grace: 50 * time.Millisecond})
	c := s.client(t)
	stream, err := c.FullDuplexCall(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the call ended with %v", err)
	}
	if _, err := c.UnaryCall(bounded(t), simple("x"), grpc.WaitForReady(true)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// A client that answers stays, however long nothing is said.
func TestSilentClientsAreAsked(t *testing.T) {
	s := serve(t, port.Config{Silence: 20 * time.Millisecond, Answer: 10 * time.Second})
	conn := s.conn(t)
	stream, err := testgrpc.NewTestServiceClient(conn).FullDuplexCall(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	raw := dial(t, s.address)
	raw.begin()
	raw.expect("a ping", func(f frame) bool { return f.is("PING") })
	time.Sleep(100 * time.Millisecond) // some questions' time
	if err := stream.Send(duplex([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Error(err)
	}
}

func TestClientsThatDoNotAnswerAreDropped(t *testing.T) {
	s := serve(t, port.Config{Silence: 20 * time.Millisecond, Answer: 20 * time.Millisecond})
	c := dial(t, s.address)
	c.begin()
	c.expectEnd()
}

// A client may ask whether the server is there, but not all the time.
func TestClientsThatAskAllTheTimeAreDropped(t *testing.T) {
	s := serve(t, port.Config{MinPing: time.Hour})
	c := dial(t, s.address)
	c.begin()
	for range 10 {
		c.write(func() error { return c.framer.WritePing(false, [8]byte{1}) })
	}
	c.expect("a farewell that says why", func(f frame) bool { return f.is("GOAWAY") && strings.Contains(f.text, "too_many_pings") })

	patient := serve(t, port.Config{MinPing: time.Nanosecond})
	conn := patient.conn(t, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, PermitWithoutStream: true}))
	if _, err := testgrpc.NewTestServiceClient(conn).UnaryCall(bounded(t), simple("x")); err != nil {
		t.Error(err)
	}
}

// A client that does not open its window, and one that does not read its connection, are dropped; one that reads slowly gets all.
func TestClientsThatDoNotRead(t *testing.T) {
	large := &testgrpc.StreamingOutputCallRequest{}
	for range 30 {
		large.ResponseParameters = append(large.ResponseParameters, &testgrpc.ResponseParameters{Size: 1 << 20})
	}
	t.Run("the window stays shut", func(t *testing.T) {
		s := serve(t, port.Config{Patience: 50 * time.Millisecond})
		c := dial(t, s.address)
		c.begin()
		c.call(1, "/grpc.testing.TestService/StreamingOutputCall")
		c.message(1, true, large)
		if err := await(t, s.echo.ended); status.Code(err) != codes.Canceled {
			t.Errorf("%v", err)
		}
		c.expectEnd()
	})
	t.Run("the connection is not read", func(t *testing.T) {
		s := serve(t, port.Config{Patience: 50 * time.Millisecond})
		c := dial(t, s.address)
		c.begin()
		c.open(1<<31 - 1 - 65535)
		c.call(1, "/grpc.testing.TestService/StreamingOutputCall")
		c.message(1, true, large)
		if err := await(t, s.echo.ended); status.Code(err) != codes.Canceled {
			t.Errorf("%v", err)
		}
	})
	t.Run("slowly", func(t *testing.T) {
		s := serve(t, port.Config{Patience: 2 * time.Second})
		stream, err := s.client(t).StreamingOutputCall(bounded(t), large)
		if err != nil {
			t.Fatal(err)
		}
		for range large.GetResponseParameters() {
			time.Sleep(80 * time.Millisecond) // it is slow on purpose; longer in all than the patience
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What is promised of goroutines: two for a node whose handler has one that receives, one where it has an inbox, and none after it has gone.
func TestGoroutinesOfANode(t *testing.T) {
	answer := func(stream grpc.ServerStream, m *testgrpc.SimpleRequest) error {
		return stream.SendMsg(&testgrpc.SimpleResponse{Payload: m.GetPayload()})
	}
	receive := func(stream grpc.ServerStream) (*testgrpc.SimpleRequest, error) {
		m := &testgrpc.SimpleRequest{}
		return m, stream.RecvMsg(m)
	}
	t.Run("with a receiver", func(t *testing.T) {
		goroutinesOfANode(t, 2, func(_ any, stream grpc.ServerStream) error {
			got, failed := make(chan *testgrpc.SimpleRequest), make(chan error, 1)
			go func() {
				for {
					m, err := receive(stream)
					if err != nil {
						failed <- err
						return
					}
					got <- m
				}
			}()
			for {
				select {
				case m := <-got:
					if err := answer(stream, m); err != nil {
						return err
					}
				case err := <-failed:
					return err
				}
			}
		})
	})
	t.Run("with an inbox", func(t *testing.T) {
		var crew inbox.Crew
		goroutinesOfANode(t, 1, func(_ any, stream grpc.ServerStream) error {
			return inbox.New(stream.Context(), &crew, func() (*testgrpc.SimpleRequest, error) { return receive(stream) }, inbox.Handler[*testgrpc.SimpleRequest]{
				Request: func(m *testgrpc.SimpleRequest) error { return answer(stream, m) },
			}).Run()
		})
	})
}

// goroutinesOfANode wants each node of a handler to have so many.
func goroutinesOfANode(t *testing.T, each int, handler grpc.StreamHandler) {
	const nodes = 50
	s := serve(t, port.Config{Unknown: handler})
	first := dial(t, s.address) // so that what is the server's own is there
	first.begin()
	first.write(func() error { return first.framer.WritePing(false, [8]byte{}) })
	first.expect("an answer", func(f frame) bool { return f.is("PING") })
	before := runtime.NumGoroutine()
	for range 50 { // whoever has written that answer is about to end
		time.Sleep(time.Millisecond)
		before = min(before, runtime.NumGoroutine())
	}
	var all []*raw
	for range nodes {
		c := dial(t, s.address)
		c.begin()
		c.call(1, "/any/Node")
		all = append(all, c)
	}
	until(t, "a node that has said something has no more", func() bool {
		for i, c := range all {
			c.message(1, false, simple(fmt.Sprint(i)))
			c.expect("an answer", func(f frame) bool { return f.is("DATA") })
		}
		return runtime.NumGoroutine() <= before+each*nodes
	})
	if n := runtime.NumGoroutine(); n < before+each*nodes {
		t.Errorf("%d goroutines more for %d nodes: what is counted?", n-before, nodes)
	}
	for _, c := range all {
		c.Close()
	}
	until(t, "they are gone with their nodes", func() bool { return runtime.NumGoroutine() <= before })
}

// Connections that are half open are ended in time.
func TestHandshakesEnd(t *testing.T) {
	s := serve(t, port.Config{Handshake: 50 * time.Millisecond})
	for _, beginning := range []string{"", "PRI * HT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"} {
		c := dial(t, s.address)
		if _, err := c.Write([]byte(beginning)); err != nil {
			t.Fatal(err)
		}
		c.expectEnd()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := s.client(t).UnaryCall(ctx, simple("x")); err != nil {
		t.Error(err)
	}
}
