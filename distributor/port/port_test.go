package port_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/reflection"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/waft-project/waft/distributor/port"
)

// patience bounds what a test waits for.
const patience = 20 * time.Second

// echo is the service of these tests: it sends back what it is sent, and does what the payload says.
type echo struct {
	testgrpc.UnimplementedTestServiceServer
	// seen gets the context of each call, where there is room.
	seen chan context.Context
	// ended gets why receiving ended, of each call that receives to the end, where there is room.
	ended chan error
}

func newEcho() *echo {
	return &echo{seen: make(chan context.Context, 100), ended: make(chan error, 100)}
}

func (e *echo) came(ctx context.Context) {
	select {
	case e.seen <- ctx:
	default:
	}
}

const (
	headerKey, trailerKey = "x-header", "x-trailer-bin"
)

func (e *echo) UnaryCall(ctx context.Context, req *testgrpc.SimpleRequest) (*testgrpc.SimpleResponse, error) {
	e.came(ctx)
	_ = grpc.SetHeader(ctx, metadata.Pairs(headerKey, "unary"))
	_ = grpc.SetTrailer(ctx, metadata.Pairs(trailerKey, "\x00unary"))
	switch body := string(req.GetPayload().GetBody()); {
	case body == "fail":
		s, err := status.New(codes.FailedPrecondition, "no: 100 % \u2603\n").WithDetails(wrapperspb.String("a detail"))
		if err != nil {
			return nil, err
		}
		return nil, s.Err()
	case body == "wait":
		<-ctx.Done()
		return nil, ctx.Err()
	case body == "plain error":
		return nil, errors.New("it is no status")
	}
	return &testgrpc.SimpleResponse{Payload: req.GetPayload()}, nil
}

func (e *echo) StreamingInputCall(stream grpc.ClientStreamingServer[testgrpc.StreamingInputCallRequest, testgrpc.StreamingInputCallResponse]) error {
	e.came(stream.Context())
	total := 0
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(&testgrpc.StreamingInputCallResponse{AggregatedPayloadSize: int32(total)})
		}
		if err != nil {
			e.ended <- err
			return err
		}
		total += len(req.GetPayload().GetBody())
	}
}

func (e *echo) StreamingOutputCall(req *testgrpc.StreamingOutputCallRequest, stream grpc.ServerStreamingServer[testgrpc.StreamingOutputCallResponse]) error {
	e.came(stream.Context())
	for _, p := range req.GetResponseParameters() {
		if err := stream.Send(&testgrpc.StreamingOutputCallResponse{Payload: &testgrpc.Payload{Body: make([]byte, p.GetSize())}}); err != nil {
			e.ended <- err
			return err
		}
	}
	return nil
}

func (e *echo) FullDuplexCall(stream grpc.BidiStreamingServer[testgrpc.StreamingOutputCallRequest, testgrpc.StreamingOutputCallResponse]) error {
	e.came(stream.Context())
	if err := stream.SetHeader(metadata.Pairs(headerKey, "stream")); err != nil {
		return err
	}
	stream.SetTrailer(metadata.Pairs(trailerKey, "\x00stream"))
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			e.ended <- err
			return err
		}
		if err := stream.Send(&testgrpc.StreamingOutputCallResponse{Payload: req.GetPayload()}); err != nil {
			return err
		}
	}
}

// served is a server that serves.
type served struct {
	*port.Server
	echo    *echo
	address string
}

func serve(t testing.TB, cfg port.Config) *served {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &served{port.NewServer(cfg), newEcho(), l.Addr().String()}
	testgrpc.RegisterTestServiceServer(s, s.echo)
	reflection.Register(s.Server)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *served) client(t testing.TB, options ...grpc.DialOption) testgrpc.TestServiceClient {
	t.Helper()
	return testgrpc.NewTestServiceClient(s.conn(t, options...))
}

func (s *served) conn(t testing.TB, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	options = append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, options...)
	conn, err := grpc.NewClient(s.address, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// bounded ends with what a test waits for. It has no deadline, of which the server would be told: receivers of calls that have one do not read for others.
func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	late := time.AfterFunc(patience, cancel)
	t.Cleanup(func() {
		late.Stop()
		cancel()
	})
	return ctx
}

func await[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("it does not come")
		panic("")
	}
}

func simple(body string) *testgrpc.SimpleRequest {
	return &testgrpc.SimpleRequest{Payload: &testgrpc.Payload{Body: []byte(body)}}
}

func duplex(body []byte) *testgrpc.StreamingOutputCallRequest {
	return &testgrpc.StreamingOutputCallRequest{Payload: &testgrpc.Payload{Body: body}}
}

// noise is bytes that no frame is a multiple of, and whose order shows.
func noise(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

// sizes are around those at which something changes: of a buffer, a frame, a window.
var sizes = []int{0, 1, 4, 5, 100, 16374, 16375, 16376, 16384, 65534, 65535, 65536, 1 << 17, 1<<17 + 1, 1 << 20, 3 << 20}

func TestCallsWithOneAnswer(t *testing.T) {
	s := serve(t, port.Config{})
	c := s.client(t)
	for _, n := range sizes {
		body := noise(n)
		var header, trailer metadata.MD
		got, err := c.UnaryCall(bounded(t), simple(string(body)), grpc.Header(&header), grpc.Trailer(&trailer))
		if err != nil || !bytes.Equal(got.GetPayload().GetBody(), body) {
			t.Fatalf("%d bytes: %d, %v", n, len(got.GetPayload().GetBody()), err)
		}
		if h, tr := header.Get(headerKey), trailer.Get(trailerKey); !slices.Equal(h, []string{"unary"}) || !slices.Equal(tr, []string{"\x00unary"}) {
			t.Errorf("headers %q, trailers %q", h, tr)
		}
		if ct := header.Get("content-type"); !slices.Equal(ct, []string{"application/grpc"}) {
			t.Errorf("content type %q", ct)
		}
	}
}

func TestStreams(t *testing.T) {
	for name, window := range map[string]uint32{"least window": 0, "larger window": 256 << 10} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, port.Config{Window: window}).client(t)
			t.Run("in", func(t *testing.T) {
				stream, err := c.StreamingInputCall(bounded(t))
				if err != nil {
					t.Fatal(err)
				}
				want := 0
				for _, n := range sizes {
					if err := stream.Send(&testgrpc.StreamingInputCallRequest{Payload: &testgrpc.Payload{Body: noise(n)}}); err != nil {
						t.Fatal(err)
					}
					want += n
				}
				if got, err := stream.CloseAndRecv(); err != nil || int(got.GetAggregatedPayloadSize()) != want {
					t.Errorf("%d of %d, %v", got.GetAggregatedPayloadSize(), want, err)
				}
			})
			t.Run("out", func(t *testing.T) {
				req := &testgrpc.StreamingOutputCallRequest{}
				for _, n := range sizes {
					req.ResponseParameters = append(req.ResponseParameters, &testgrpc.ResponseParameters{Size: int32(n)})
				}
				stream, err := c.StreamingOutputCall(bounded(t), req)
				if err != nil {
					t.Fatal(err)
				}
				for _, n := range sizes {
					if got, err := stream.Recv(); err != nil || len(got.GetPayload().GetBody()) != n {
						t.Fatalf("%d of %d bytes, %v", len(got.GetPayload().GetBody()), n, err)
					}
				}
				if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
					t.Errorf("after the last: %v", err)
				}
			})
			t.Run("both ways", func(t *testing.T) {
				stream, err := c.FullDuplexCall(bounded(t))
				if err != nil {
					t.Fatal(err)
				}
				for _, n := range sizes {
					if err := stream.Send(duplex(noise(n))); err != nil {
						t.Fatal(err)
					}
					if got, err := stream.Recv(); err != nil || !bytes.Equal(got.GetPayload().GetBody(), noise(n)) {
						t.Fatalf("%d of %d bytes, %v", len(got.GetPayload().GetBody()), n, err)
					}
				}
				if err := stream.CloseSend(); err != nil {
					t.Fatal(err)
				}
				if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
					t.Errorf("after the last: %v", err)
				}
				header, err := stream.Header()
				if h, tr := header.Get(headerKey), stream.Trailer().Get(trailerKey); err != nil || !slices.Equal(h, []string{"stream"}) || !slices.Equal(tr, []string{"\x00stream"}) {
					t.Errorf("headers %q (%v), trailers %q", h, err, tr)
				}
			})
		})
	}
}

// A client that sends all before it reads anything has the server's answers wait for its window, and its own messages for the server's: both go on.
func TestBothWindowsShut(t *testing.T) {
	c := serve(t, port.Config{}).client(t)
	stream, err := c.FullDuplexCall(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	const count = 200
	sent := make(chan error, 1)
	go func() {
		for range count {
			if err := stream.Send(duplex(noise(10_000))); err != nil {
				sent <- err
				return
			}
		}
		sent <- stream.CloseSend()
	}()
	for i := range count {
		if got, err := stream.Recv(); err != nil || !bytes.Equal(got.GetPayload().GetBody(), noise(10_000)) {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	if err := await(t, sent); err != nil {
		t.Error(err)
	}
}

// Many streams on one connection, each with its own pace, all get what is theirs.
func TestManyStreamsOnAConnection(t *testing.T) {
	s := serve(t, port.Config{MaxStreams: 1000})
	c := s.client(t)
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			if i%2 == 0 {
				body := fmt.Sprint("call ", i, strings.Repeat(".", i*100))
				if got, err := c.UnaryCall(bounded(t), simple(body)); err != nil || string(got.GetPayload().GetBody()) != body {
					t.Errorf("call %d: %v", i, err)
				}
				return
			}
			stream, err := c.FullDuplexCall(bounded(t))
			if err != nil {
				t.Error(err)
				return
			}
			for n := range 20 {
				body := fmt.Appendf(nil, "stream %d, message %d", i, n)
				if err := stream.Send(duplex(body)); err != nil {
					t.Error(err)
					return
				}
				if got, err := stream.Recv(); err != nil || !bytes.Equal(got.GetPayload().GetBody(), body) {
					t.Errorf("stream %d: %q, %v", i, got.GetPayload().GetBody(), err)
					return
				}
			}
			_ = stream.CloseSend()
			if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
				t.Errorf("stream %d ended with %v", i, err)
			}
		})
	}
	all.Wait()
}

func TestStatuses(t *testing.T) {
	s := serve(t, port.Config{})
	c := s.client(t)
	var trailer metadata.MD
	_, err := c.UnaryCall(bounded(t), simple("fail"), grpc.Trailer(&trailer))
	told := status.Convert(err)
	if told.Code() != codes.FailedPrecondition || told.Message() != "no: 100 % \u2603\n" || len(told.Details()) != 1 || !slices.Equal(trailer.Get(trailerKey), []string{"\x00unary"}) {
		t.Errorf("%v with %d details, trailers %v", err, len(told.Details()), trailer)
	}
	if _, err := c.UnaryCall(bounded(t), simple("plain error")); status.Code(err) != codes.Unknown {
		t.Errorf("an error that is no status is %v", err)
	}
	if _, err := c.EmptyCall(bounded(t), &testgrpc.Empty{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("a method that its service does not implement is %v", err)
	}
	for _, method := range []string{"/grpc.testing.TestService/Nothing", "/nobody/Nothing", "/nobody"} {
		if err := s.conn(t).Invoke(bounded(t), method, &testgrpc.Empty{}, &testgrpc.Empty{}); status.Code(err) != codes.Unimplemented {
			t.Errorf("%s is %v", method, err)
		}
	}
}

func TestDeadlinesAndCancellation(t *testing.T) {
	s := serve(t, port.Config{})
	c := s.client(t)
	ctx, cancel := context.WithTimeout(bounded(t), 500*time.Millisecond)
	defer cancel()
	if _, err := c.UnaryCall(ctx, simple("wait")); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("%v", err)
	}
	seen := await(t, s.echo.seen)
	if _, has := seen.Deadline(); !has {
		t.Error("the handler knows of no deadline")
	}
	await(t, seen.Done())

	// A stream with a deadline that receives ends with it.
	ctx, cancel = context.WithTimeout(bounded(t), 500*time.Millisecond)
	defer cancel()
	stream, err := c.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := await(t, s.echo.ended); status.Code(err) != codes.DeadlineExceeded && status.Code(err) != codes.Canceled {
		t.Errorf("receiving ended with %v", err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("%v", err)
	}
	await(t, await(t, s.echo.seen).Done())

	// One that its client cancels, too, whoever reads the connection.
	ctx, cancel = context.WithCancel(t.Context())
	stream, err = c.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(duplex([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	seen = await(t, s.echo.seen)
	cancel()
	await(t, seen.Done())
	if err := await(t, s.echo.ended); status.Code(err) != codes.Canceled {
		t.Errorf("receiving ended with %v", err)
	}
}

// A handler that has gone off with a message and does not come back for the next keeps nobody: others on its connection are served.
func TestAHandlerThatDoesNotReceive(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s := serve(t, port.Config{Unknown: func(_ any, stream grpc.ServerStream) error {
		if err := stream.RecvMsg(&testgrpc.Empty{}); err != nil {
			return err
		}
		if err := stream.SendMsg(&testgrpc.Empty{}); err != nil {
			return err
		}
		if err := stream.RecvMsg(&testgrpc.Empty{}); err != nil { // it waits for this one
			return err
		}
		entered <- struct{}{}
		<-leave
		return nil
	}})
	var streams []grpc.ClientStream
	for range 5 { // each on a connection of its own
		conn := s.conn(t)
		stream, err := conn.NewStream(bounded(t), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/any/Thing")
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.SendMsg(&testgrpc.Empty{}); err != nil {
			t.Fatal(err)
		}
		if err := stream.RecvMsg(&testgrpc.Empty{}); err != nil {
			t.Fatal(err)
		}
		if err := stream.SendMsg(&testgrpc.Empty{}); err != nil {
			t.Fatal(err)
		}
		await(t, entered)
		for range 3 {
			if _, err := testgrpc.NewTestServiceClient(conn).UnaryCall(bounded(t), simple("x")); err != nil {
				t.Fatal(err)
			}
		}
		streams = append(streams, stream)
	}
	close(leave)
	for _, stream := range streams {
		if err := stream.RecvMsg(&testgrpc.Empty{}); !errors.Is(err, io.EOF) {
			t.Errorf("%v", err)
		}
	}
}

func TestLimits(t *testing.T) {
	s := serve(t, port.Config{MaxReceive: 1000, MaxSend: 2000, MaxStreams: 2, MaxHeader: 4000})
	c := s.client(t)
	if _, err := c.UnaryCall(bounded(t), simple(strings.Repeat("x", 1001))); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a message that is too large: %v", err)
	}
	if _, err := c.UnaryCall(bounded(t), simple(strings.Repeat("x", 1<<20))); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one larger than the window: %v", err)
	}
	out, err := c.StreamingOutputCall(bounded(t), &testgrpc.StreamingOutputCallRequest{ResponseParameters: []*testgrpc.ResponseParameters{{Size: 3000}}})
	if err == nil {
		_, err = out.Recv()
	}
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("an answer that is too large: %v", err)
	}
	if _, err := c.UnaryCall(metadata.AppendToOutgoingContext(bounded(t), "x-large", strings.Repeat("x", 5000)), simple("x")); err == nil {
		t.Error("headers that are too large are taken")
	}
	if _, err := c.UnaryCall(bounded(t), simple("x")); err != nil {
		t.Errorf("after all that: %v", err)
	}
	// The third of two streams waits, with a client that knows of the limit.
	for range 2 {
		if _, err := c.FullDuplexCall(bounded(t)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := c.UnaryCall(ctx, simple("x")); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a call too many: %v", err)
	}
}

// What a client compresses is answered in the same way, and is bounded as it is when decompressed.
func TestCompression(t *testing.T) {
	c := serve(t, port.Config{MaxReceive: 1 << 20}).client(t, grpc.WithDefaultCallOptions(grpc.UseCompressor(gzip.Name)))
	body := strings.Repeat("x", 900_000)
	if got, err := c.UnaryCall(bounded(t), simple(body)); err != nil || string(got.GetPayload().GetBody()) != body {
		t.Errorf("%d bytes, %v", len(got.GetPayload().GetBody()), err)
	}
	if _, err := c.UnaryCall(bounded(t), simple(strings.Repeat("x", 8<<20))); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a bomb: %v", err)
	}
	stream, err := c.FullDuplexCall(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := stream.Send(duplex([]byte(body))); err != nil {
			t.Fatal(err)
		}
		if got, err := stream.Recv(); err != nil || string(got.GetPayload().GetBody()) != body {
			t.Fatalf("%d bytes, %v", len(got.GetPayload().GetBody()), err)
		}
	}
}

func TestContexts(t *testing.T) {
	type key struct{}
	s := serve(t, port.Config{
		Door: func(ctx context.Context, info *tap.Info) (context.Context, error) {
			if len(info.Header.Get("x-refuse")) > 0 {
				return nil, status.Error(codes.PermissionDenied, "refused at the door")
			}
			return context.WithValue(ctx, key{}, info.FullMethodName), nil
		},
		Unary: []grpc.UnaryServerInterceptor{
			func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
				_ = grpc.SetTrailer(ctx, metadata.Pairs("x-order", "outer "+info.FullMethod))
				return handle(ctx, req)
			},
			func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
				_ = grpc.SetTrailer(ctx, metadata.Pairs("x-order", "inner"))
				return handle(ctx, req)
			},
		},
		Stream: []grpc.StreamServerInterceptor{
			func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
				method, _ := grpc.MethodFromServerStream(stream)
				stream.SetTrailer(metadata.Pairs("x-method", method, "x-info", info.FullMethod))
				return handle(srv, stream)
			},
		},
	})
	c := s.client(t)
	var trailer metadata.MD
	ctx := metadata.AppendToOutgoingContext(bounded(t), "x-said", "a", "x-said", "b", "x-raw-bin", "\x00\xff")
	if _, err := c.UnaryCall(ctx, simple("x"), grpc.Trailer(&trailer)); err != nil {
		t.Fatal(err)
	}
	if have := trailer.Get("x-order"); !slices.Equal(have, []string{"outer /grpc.testing.TestService/UnaryCall", "inner"}) {
		t.Errorf("interceptors: %q", have)
	}
	seen := await(t, s.echo.seen)
	md, _ := metadata.FromIncomingContext(seen)
	if !slices.Equal(md.Get("x-said"), []string{"a", "b"}) || !slices.Equal(md.Get("x-raw-bin"), []string{"\x00\xff"}) || !slices.Equal(md.Get(":authority"), []string{s.address}) || len(md.Get("user-agent")) != 1 {
		t.Errorf("metadata %v", md)
	}
	if from, ok := peer.FromContext(seen); !ok || from.Addr == nil || from.LocalAddr.String() != s.address {
		t.Errorf("the peer is %v", from)
	}
	if seen.Value(key{}) != "/grpc.testing.TestService/UnaryCall" {
		t.Errorf("the door's value is %v", seen.Value(key{}))
	}
	if _, err := c.UnaryCall(metadata.AppendToOutgoingContext(bounded(t), "x-refuse", "please"), simple("x")); status.Code(err) != codes.PermissionDenied || status.Convert(err).Message() != "refused at the door" {
		t.Errorf("at the door: %v", err)
	}
	stream, err := c.FullDuplexCall(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.CloseSend()
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	const method = "/grpc.testing.TestService/FullDuplexCall"
	if tr := stream.Trailer(); !slices.Equal(tr.Get("x-method"), []string{method}) || !slices.Equal(tr.Get("x-info"), []string{method}) {
		t.Errorf("trailers %v", tr)
	}
}

func TestReflection(t *testing.T) {
	s := serve(t, port.Config{})
	stream, err := reflectionpb.NewServerReflectionClient(s.conn(t)).ServerReflectionInfo(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	got, err := stream.Recv()
	if err != nil || len(got.GetListServicesResponse().GetService()) != 3 {
		t.Errorf("%v, %v", got, err)
	}
}

// certify makes the TLS of a server and of its clients.
func certify(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "port"}, DNSNames: []string{"port"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, of, of, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(made)
	own := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	return &tls.Config{Certificates: own, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}, &tls.Config{Certificates: own, RootCAs: pool, ServerName: "port"}
}

func TestTLS(t *testing.T) {
	server, client := certify(t)
	offering := server.Clone()
	offering.NextProtos = []string{port.ALPN}
	for name, with := range map[string]credentials.TransportCredentials{"grpc-go's": credentials.NewTLS(server), "ours": port.TLS(offering)} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, port.Config{Credentials: with, Window: 256 << 10})
			c := s.client(t, grpc.WithTransportCredentials(credentials.NewTLS(client)))
			for _, n := range sizes {
				if got, err := c.UnaryCall(bounded(t), simple(string(noise(n)))); err != nil || !bytes.Equal(got.GetPayload().GetBody(), noise(n)) {
					t.Fatalf("%d bytes: %v", n, err)
				}
			}
			from, _ := peer.FromContext(await(t, s.echo.seen))
			if info, ok := from.AuthInfo.(credentials.TLSInfo); !ok || len(info.State.PeerCertificates) != 1 {
				t.Errorf("who calls is %v", from.AuthInfo)
			}
			for what, options := range map[string][]grpc.DialOption{
				"without TLS": nil, "without a certificate": {grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: client.RootCAs, ServerName: client.ServerName}))},
			} {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				if _, err := s.client(t, options...).UnaryCall(ctx, simple("x")); err == nil {
					t.Errorf("a client %s is served", what)
				}
				cancel()
			}
			other := client.Clone()
			other.NextProtos = nil
			if nc, err := tls.Dial("tcp", s.address, other); err == nil {
				defer nc.Close()
				_ = nc.SetDeadline(time.Now().Add(patience))
				if _, err := io.Copy(io.Discard, nc); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("a client that does not offer HTTP/2 is taken")
				}
			}
		})
	}
}
