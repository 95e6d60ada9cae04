package port_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/waft-project/waft/distributor/port"
)

// What honest clients do, and what was taken amiss.

// more is more frames than a budget has, and than is given back while they are sent.
const more = 5000

const anyMethod = "/any/Thing"

// A client that measures its way pings once for each time that it is sent something, and may.
func TestPingsOfAClientThatIsSentSomething(t *testing.T) {
	s := serve(t, port.Config{MinPing: time.Hour})
	c := dial(t, s.address)
	c.begin()
	c.open(1 << 30)
	c.call(1, "/grpc.testing.TestService/FullDuplexCall")
	for range more {
		c.message(1, false, duplex(nil))
		c.expect("an answer", func(f frame) bool { return f.is("DATA") })
		c.write(func() error { return c.framer.WritePing(false, [8]byte{1}) })
		c.expect("an answer to a ping", func(f frame) bool { return f.is("PING") && f.Flags.Has(http2.FlagPingAck) })
	}
}

// What is on its way to a call that the server has ended is nobody's fault.
func TestDataForACallThatHasEnded(t *testing.T) {
	s := serve(t, port.Config{Unknown: func(any, grpc.ServerStream) error { return status.Error(codes.ResourceExhausted, "no") }})
	t.Run("by the server", func(t *testing.T) {
		c := dial(t, s.address)
		c.begin()
		c.call(1, anyMethod)
		c.expect("the end", func(f frame) bool { return f.is("RST_STREAM") && f.code == http2.ErrCodeNo })
		for range more {
			c.message(1, false, duplex([]byte("0123456789")))
		}
		c.write(func() error { return c.framer.WritePing(false, [8]byte{1}) })
		c.expect("an answer to a ping, and no other reset", func(f frame) bool {
			if f.is("RST_STREAM") || f.is("GOAWAY") {
				t.Fatalf("%v %s %s", f.FrameHeader, f.code, f.text)
			}
			return f.is("PING")
		})
	})
	t.Run("by the client", func(t *testing.T) {
		c := dial(t, s.address)
		c.begin()
		c.headers(1, calling(anyMethod), true)
		c.expect("the end", func(f frame) bool { return f.is("HEADERS") && f.Flags.Has(http2.FlagHeadersEndStream) })
		c.message(1, false, duplex(nil))
		c.expect("a reset", func(f frame) bool { return f.is("RST_STREAM") && f.code == http2.ErrCodeStreamClosed })
	})
	t.Run("empty, for ever", func(t *testing.T) {
		c := dial(t, s.address)
		c.begin()
		c.call(1, anyMethod)
		c.expect("the end", func(f frame) bool { return f.is("RST_STREAM") })
		go func() {
			for range 4 * more {
				c.write(func() error { return c.framer.WriteData(1, false, nil) })
			}
		}()
		c.expect("a farewell", func(f frame) bool { return f.is("GOAWAY") && f.code == http2.ErrCodeEnhanceYourCalm })
	})
}

// The last answer of a connection arrives whole, although its client goes on sending while it reads.
func TestTheLastAnswerArrives(t *testing.T) {
	entered, answer := make(chan struct{}), make(chan struct{})
	s := serve(t, port.Config{Unknown: func(_ any, stream grpc.ServerStream) error {
		close(entered)
		<-answer
		return stream.SendMsg(&testgrpc.StreamingOutputCallResponse{Payload: &testgrpc.Payload{Body: make([]byte, 1<<20)}})
	}})
	c := dial(t, s.address)
	_ = c.Conn.(*net.TCPConn).SetReadBuffer(64 << 10) // so that much of it waits at the server
	c.begin()
	c.open(16 << 20)
	c.headers(1, calling(anyMethod), true)
	await(t, entered)
	stopped := make(chan struct{})
	go func() { s.GracefulStop(); close(stopped) }()
	ping := c.expect("a ping", func(f frame) bool { return f.is("PING") })
	c.write(func() error { return c.framer.WritePing(true, ping.data) })
	c.expect("the last farewell", func(f frame) bool { return f.is("GOAWAY") && f.last == 1 })
	close(answer)
	got := 0
	c.expect("all of the answer", func(f frame) bool {
		if f.is("DATA") {
			if got += int(f.Length); got < 200<<10 { // as every client does, and later than the server has written all
				time.Sleep(10 * time.Millisecond)
				c.write(func() error { return c.framer.WriteWindowUpdate(0, f.Length) })
			}
		}
		return f.is("HEADERS") && f.Flags.Has(http2.FlagHeadersEndStream)
	})
	c.expectEnd()
	select {
	case <-stopped:
		t.Error("the stop has not waited for the client")
	default:
	}
	c.Close()
	await(t, stopped)
}

// What was to be said before a connection ended is said.
func TestFarewellsArrive(t *testing.T) {
	t.Run("of a server that stops", func(t *testing.T) {
		s := serve(t, port.Config{})
		c := dial(t, s.address)
		c.begin()
		c.write(func() error { return c.framer.WritePing(false, [8]byte{1}) })
		c.expect("an answer", func(f frame) bool { return f.is("PING") })
		go s.GracefulStop()
		ping := c.expect("a ping", func(f frame) bool { return f.is("PING") })
		c.write(func() error { return c.framer.WritePing(true, ping.data) })
		c.expect("the last farewell", func(f frame) bool { return f.is("GOAWAY") && f.last == 0 })
		c.expectEnd()
	})
	t.Run("although the client goes on writing", func(t *testing.T) {
		s := serve(t, port.Config{})
		c := dial(t, s.address)
		c.begin()
		c.call(2, anyMethod)
		for range 100 {
			c.write(func() error { return c.framer.WriteData(2, false, make([]byte, 1<<10)) })
		}
		c.expect("a farewell", func(f frame) bool { return f.is("GOAWAY") && f.code == http2.ErrCodeProtocol })
		c.expectEnd()
	})
	t.Run("but not whatever it writes", func(t *testing.T) {
		const most = 32 << 20 // more than kernels keep
		s := serve(t, port.Config{})
		c := dial(t, s.address)
		c.begin()
		c.call(2, anyMethod)
		taken := 0
		for b := make([]byte, 64<<10); taken < most; {
			n, err := c.Write(b)
			if taken += n; err != nil {
				return
			}
		}
		t.Errorf("it has taken %d bytes", taken)
	})
	t.Run("and a stop does not wait for them", func(t *testing.T) {
		s := serve(t, port.Config{})
		c := dial(t, s.address)
		c.begin()
		c.call(2, anyMethod)
		c.expect("a farewell", func(f frame) bool { return f.is("GOAWAY") })
		s.Stop()
	})
}

// Where each of these kept the next waiting until somebody reads again, they would take longer than a test may.
func TestSomebodyReads(t *testing.T) {
	const calls = 200
	t.Run("after a call has ended", func(t *testing.T) {
		c := serve(t, port.Config{}).client(t)
		ctx := bounded(t)
		for range calls {
			stream, err := c.FullDuplexCall(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.Send(duplex(nil)); err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Recv(); err != nil {
				t.Fatal(err)
			}
			if err := stream.CloseSend(); err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
		}
	})
	t.Run("while a sender waits for a window", func(t *testing.T) {
		s := serve(t, port.Config{Unknown: func(_ any, stream grpc.ServerStream) error {
			asked := make(chan struct{})
			go func() {
				defer close(asked)
				for stream.RecvMsg(&testgrpc.StreamingOutputCallRequest{}) == nil {
					select {
					case asked <- struct{}{}:
					case <-stream.Context().Done():
						return
					}
				}
			}()
			for range asked {
				if err := stream.SendMsg(&testgrpc.StreamingOutputCallResponse{Payload: &testgrpc.Payload{Body: make([]byte, 1<<20)}}); err != nil {
					return err
				}
			}
			return nil
		}})
		conn := s.conn(t, grpc.WithStaticStreamWindowSize(1<<16-1), grpc.WithStaticConnWindowSize(1<<16-1))
		stream, err := conn.NewStream(bounded(t), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, anyMethod)
		if err != nil {
			t.Fatal(err)
		}
		ask := func() {
			if err := stream.SendMsg(duplex(nil)); err != nil {
				t.Fatal(err)
			}
		}
		ask() // one is always on its way
		for range calls {
			ask()
			if err := stream.RecvMsg(&testgrpc.StreamingOutputCallResponse{}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A client that gives up its calls may make as many others, which begin when handlers have ended: there are never more handlers than it may have calls.
func TestCallsAfterManyWereGivenUp(t *testing.T) {
	const most = 2
	var begun atomic.Int64
	entered, leave := make(chan struct{}, 100), make(chan struct{})
	s := serve(t, port.Config{MaxStreams: most, Unknown: func(any, grpc.ServerStream) error {
		begun.Add(1)
		entered <- struct{}{}
		<-leave
		return nil
	}})
	c := dial(t, s.address)
	c.begin()
	id := uint32(1)
	for range most {
		c.headers(id, calling(anyMethod), true)
		await(t, entered)
		c.write(func() error { return c.framer.WriteRSTStream(id, http2.ErrCodeCancel) })
		id += 2
	}
	for range 100 * most { // none of these has a turn
		c.headers(id, calling(anyMethod), true)
		c.write(func() error { return c.framer.WriteRSTStream(id, http2.ErrCodeCancel) })
		id += 2
	}
	first := id
	for range most {
		c.headers(id, calling(anyMethod), true)
		id += 2
	}
	c.headers(id, calling(anyMethod), true)
	c.expect("one too many is refused, and no other", func(f frame) bool {
		if f.is("HEADERS") || f.is("RST_STREAM") && f.StreamID != id {
			t.Fatalf("%v %s", f.FrameHeader, f.code)
		}
		return f.is("RST_STREAM") && f.code == http2.ErrCodeRefusedStream
	})
	if n := begun.Load(); n != most {
		t.Errorf("%d handlers run", n)
	}
	close(leave)
	answered := map[uint32]bool{}
	c.expect("the others are answered", func(f frame) bool {
		if f.is("HEADERS") {
			answered[f.StreamID] = true
		}
		return answered[first] && answered[first+2]
	})
	if n := begun.Load(); n != 2*most {
		t.Errorf("%d handlers have run", n)
	}
}

// Each block of headers says that it needs no table: a client may have said that it keeps none, and must hear then that this is so.
func TestNoTableOfHeaders(t *testing.T) {
	s := serve(t, port.Config{})
	c := dial(t, s.address)
	c.begin(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
	for id := uint32(1); id < 10; id += 2 {
		c.call(id, "/grpc.testing.TestService/UnaryCall")
		c.message(id, true, simple("x"))
		c.expect("trailers", func(f frame) bool {
			if !f.is("HEADERS") {
				return false
			}
			if f.block[0] != 0x20 {
				t.Errorf("stream %d: a block begins with %x", f.StreamID, f.block[0])
			}
			return f.Flags.Has(http2.FlagHeadersEndStream)
		})
	}
}

// narrow gives connections whose kernel keeps little of what is written.
type narrow struct{ net.Listener }

func (n narrow) Accept() (net.Conn, error) {
	c, err := n.Listener.Accept()
	if err == nil {
		_ = c.(*net.TCPConn).SetWriteBuffer(32 << 10)
	}
	return c, err
}

// A client that reads a frame of a large message now and then takes too long for a part of it.
func TestClientsThatReadTooSlowly(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, e := port.NewServer(port.Config{Patience: 500 * time.Millisecond}), newEcho()
	testgrpc.RegisterTestServiceServer(s, e)
	go func() { _ = s.Serve(narrow{l}) }() // Stop ends it
	t.Cleanup(s.Stop)
	c := dial(t, l.Addr().String())
	_ = c.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	c.begin()
	c.open(1<<31 - 1 - 65535)
	c.call(1, "/grpc.testing.TestService/StreamingOutputCall")
	c.message(1, true, &testgrpc.StreamingOutputCallRequest{ResponseParameters: []*testgrpc.ResponseParameters{{Size: 30 << 20}}})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b := make([]byte, 16<<10)
		for {
			if _, err := io.ReadFull(c, b); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond) // it is slow on purpose
		}
	}()
	if err := await(t, e.ended); status.Code(err) != codes.Canceled {
		t.Errorf("%v", err)
	}
	await(t, ended)
}

// Nothing can be said too late.
func TestNoHeadersAfterTheFirstMessage(t *testing.T) {
	got := make(chan [2]error, 1)
	s := serve(t, port.Config{Unknown: func(_ any, stream grpc.ServerStream) error {
		if err := stream.SendMsg(&testgrpc.Empty{}); err != nil {
			return err
		}
		got <- [2]error{stream.SetHeader(metadata.MD{}), stream.SetHeader(metadata.Pairs("a", "b"))}
		return nil
	}})
	stream, err := s.conn(t).NewStream(bounded(t), &grpc.StreamDesc{ServerStreams: true}, anyMethod)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.RecvMsg(&testgrpc.Empty{}); err != nil {
		t.Fatal(err)
	}
	if errs := await(t, got); errs[0] != nil || errs[1] == nil {
		t.Errorf("nothing: %v; something: %v", errs[0], errs[1])
	}
}

// Serve goes on for as long as what it serves does.
func TestServeReturnsLast(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, e := port.NewServer(port.Config{}), newEcho()
	testgrpc.RegisterTestServiceServer(s, e)
	t.Cleanup(s.Stop)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := testgrpc.NewTestServiceClient(conn).FullDuplexCall(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	await(t, e.seen)
	go s.GracefulStop()
	until(t, "nobody new is taken", func() bool {
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	for range 20 {
		select {
		case err := <-served:
			t.Fatalf("it has returned %v while a call goes on", err)
		case <-time.After(time.Millisecond):
		}
	}
	_ = stream.CloseSend()
	if err := await(t, served); err != nil {
		t.Error(err)
	}
}

// Headers that the client does not take are not sent: their handler is told, and the call ends.
func TestHeadersThatTheClientDoesNotTake(t *testing.T) {
	large := metadata.Pairs("x-large", strings.Repeat("x", 2000))
	got := make(chan error, 1)
	s := serve(t, port.Config{Unknown: func(_ any, stream grpc.ServerStream) error {
		if method, _ := grpc.MethodFromServerStream(stream); method == "/any/Trailer" {
			stream.SetTrailer(large)
			return nil
		}
		err := stream.SendHeader(large)
		got <- err
		return err
	}})
	for id, method := range map[uint32]string{1: "/any/Header", 3: "/any/Trailer"} {
		c := dial(t, s.address)
		c.begin(http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 1000})
		c.headers(id, calling(method), true)
		c.expect("a reset, and nothing before it", func(f frame) bool {
			if f.is("HEADERS") {
				t.Fatalf("%s: %v", method, f.fields)
			}
			return f.is("RST_STREAM") && f.StreamID == id && f.code == http2.ErrCodeInternal
		})
		c.headers(5, calling("/grpc.testing.TestService/UnaryCall"), false)
		c.message(5, true, simple("x"))
		c.expect("an answer to another call", func(f frame) bool { return f.is("HEADERS") && f.Flags.Has(http2.FlagHeadersEndStream) })
	}
	if err := await(t, got); status.Code(err) != codes.Internal {
		t.Errorf("its handler is told %v", err)
	}
}
