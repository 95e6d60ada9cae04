package mcp

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
)

// listening runs a sink that waits to be dialled, on a connection in memory.
func listening(t *testing.T, register func(grpc.ServiceRegistrar)) *grpc.ClientConn {
	t.Helper()
	l := bufconn.Listen(1 << 20)
	server := grpc.NewServer(grpc.MaxRecvMsgSize(MaxResourcesBytes))
	register(server)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient("passthrough:sink",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// dialled has a source dial a sink until the test ends.
func dialled(t *testing.T, source *Source, conn *grpc.ClientConn, node string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- source.Dial(ctx, DialConfig{Conn: conn, Node: node, MinBackoff: time.Millisecond, MaxBackoff: 2 * time.Millisecond})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestSourceDialsASink(t *testing.T) {
	b := newTable()
	b.set(filters("a", "1"))
	_, source, registry := serve(t, b)
	updates, states := make(chan Update, 100), make(chan SinkState, 100)
	counted := prometheus.NewRegistry()
	metrics, err := NewMetrics(counted)
	if err != nil {
		t.Fatal(err)
	}
	sink, err := NewSinkServer(SinkConfig{
		Node: "node-1", Metrics: metrics, Labels: map[string]string{"zone": "a"}, Collections: []string{filtersName, chainsName},
		OnState: func(s SinkState) { states <- s },
		Apply: func(_ context.Context, u Update) error {
			updates <- u
			if strings.Contains(strings.Join(names(u), " "), "bad") {
				return errors.New("the disk is full")
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	dialled(t, source, listening(t, sink.Register), "node-1")
	wantUpdate(t, receive(t, updates), true, []string{"a=1"}, []string{"a"}, nil)
	wantUpdate(t, receive(t, updates), true, nil, nil, nil) // no chain yet
	if s := receive(t, states); !s.Connected {
		t.Errorf("state %+v", s)
	}
	b.set(filters("a", "bad"))
	receive(t, updates)
	b.set(filters("a", "2"))
	wantUpdate(t, receive(t, updates), true, []string{"a=2"}, []string{"a"}, nil)
	b.mu.Lock()
	if len(b.refusals) != 1 || b.refusals[0] != "node-1  waft/v1/filters the disk is full" {
		t.Errorf("refusals %q", b.refusals)
	}
	if b.nodes["node-1"]["zone"] != "a" {
		t.Errorf("labels %v", b.nodes)
	}
	// The stream ends, and the source dials again: the sink says what it holds, and is sent the rest.
	b.sessions["node-1"].end()
	b.sessions["node-1"] = nil
	b.current = nil
	b.mu.Unlock()
	if s := receive(t, states); s.Connected || s.Err == nil {
		t.Errorf("state %+v", s)
	}
	wantUpdate(t, receive(t, updates), true, nil, nil, []string{"a"})
	if n := total(t, registry, "istio_mcp_reconnections", "source"); n < 1 {
		t.Errorf("%v reconnections", n)
	}
	// What a sink answers to the message that begins a stream is neither an ACK nor a NACK.
	for end, r := range map[string]*prometheus.Registry{"source": registry, "sink": counted} {
		if n := total(t, r, "istio_mcp_request_nacks_total"); n != 1 {
			t.Errorf("the %s counts %v NACKs, want 1", end, n)
		}
	}
}

// sinkScript is a sink that says what a test tells it to, and hands on what it hears.
type sinkScript struct {
	mcpv1.UnimplementedResourceSinkServer
	say   []*mcpv1.RequestResources
	heard chan *mcpv1.Resources
	ended chan error
}

func (s *sinkScript) EstablishResourceStream(stream grpc.BidiStreamingServer[mcpv1.Resources, mcpv1.RequestResources]) error {
	// As a server that hears of a stream only by its first message.
	for i := 0; ; i++ {
		m, err := stream.Recv()
		if err != nil {
			s.ended <- err
			return err
		}
		s.heard <- m
		if i > 0 {
			continue
		}
		for _, r := range s.say {
			if err := stream.Send(r); err != nil {
				return err
			}
		}
	}
}

// A sink that is dialled may say no more at once than one that dials: its stream ends.
func TestDialledSinkThatSaysTooMuch(t *testing.T) {
	_, source, _ := serve(t, newTable())
	sink := &sinkScript{heard: make(chan *mcpv1.Resources, 10), ended: make(chan error, 10), say: []*mcpv1.RequestResources{
		{SinkNode: &mcpv1.SinkNode{Id: "node-1"}, Collection: filtersName, InitialResourceVersions: map[string]string{"a": strings.Repeat("v", MaxRequestBytes)}},
	}}
	conn := listening(t, func(r grpc.ServiceRegistrar) { mcpv1.RegisterResourceSinkServer(r, sink) })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := source.dial(ctx, DialConfig{Conn: conn, Node: "node-1"}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("its stream ends with %v", err)
	}
}

func TestSourceBeginsWithAGreeting(t *testing.T) {
	b := newTable()
	b.set(filters("a", "1"))
	_, source, _ := serve(t, b)
	// The refusal of the greeting comes first, as from a sink that is asked before it asks.
	s := &sinkScript{heard: make(chan *mcpv1.Resources, 10), ended: make(chan error, 10), say: []*mcpv1.RequestResources{
		{ErrorDetail: status.New(codes.Unimplemented, "no").Proto()},
		{SinkNode: &mcpv1.SinkNode{Id: "node-1"}, Collection: filtersName},
		{ErrorDetail: status.New(codes.Unimplemented, "no").Proto()},
	}}
	dialled(t, source, listening(t, func(r grpc.ServiceRegistrar) { mcpv1.RegisterResourceSinkServer(r, s) }), "node-1")
	if m := receive(t, s.heard); m.GetCollection() != "" || m.GetNonce() != "" {
		t.Errorf("began with %v", m)
	}
	if m := receive(t, s.heard); m.GetCollection() != filtersName || m.GetNonce() != "1" {
		t.Errorf("then %v", m)
	}
	b.set(filters("a", "2"))
	b.settle(t, 2)
	select {
	case err := <-s.ended:
		t.Errorf("the stream ended: %v", err)
	default:
	}
}

func TestSourceGivesADialledSinkItsOwnNodeOnly(t *testing.T) {
	b := newTable()
	b.set(filters("secret", "1"))
	_, source, _ := serve(t, b)
	s := &sinkScript{heard: make(chan *mcpv1.Resources, 1000), ended: make(chan error, 1000), say: []*mcpv1.RequestResources{
		{SinkNode: &mcpv1.SinkNode{Id: "node-2"}, Collection: filtersName},
	}}
	dialled(t, source, listening(t, func(r grpc.ServiceRegistrar) { mcpv1.RegisterResourceSinkServer(r, s) }), "node-1")
	for range 3 { // it tries again, and gives nothing each time
		receive(t, s.ended)
	}
	for len(s.heard) > 0 {
		if m := <-s.heard; m.GetCollection() != "" {
			t.Errorf("node-2 was sent %v", m)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.nodes) != 0 {
		t.Errorf("connected: %v", b.nodes)
	}
}

func TestSinkServerListensToTheNewestSource(t *testing.T) {
	sink, err := NewSinkServer(SinkConfig{Node: "node-1", Collections: []string{filtersName}, Apply: func(context.Context, Update) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	client := mcpv1.NewResourceSinkClient(listening(t, sink.Register))
	open := func() grpc.BidiStreamingClient[mcpv1.Resources, mcpv1.RequestResources] {
		stream, err := client.EstablishResourceStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if req, err := stream.Recv(); err != nil || req.GetSinkNode().GetId() != "node-1" || req.GetCollection() != filtersName {
			t.Fatalf("first request %v, %v", req, err)
		}
		return stream
	}
	old := open()
	young := open()
	if _, err := old.Recv(); status.Code(err) != codes.Aborted {
		t.Errorf("the older one ended with %v", err)
	}
	if err := young.Send(&mcpv1.Resources{Collection: filtersName, Nonce: "n"}); err != nil {
		t.Fatal(err)
	}
	if req, err := young.Recv(); err != nil || req.GetResponseNonce() != "n" || req.GetErrorDetail() != nil {
		t.Errorf("got %v, %v", req, err)
	}
	if _, err := NewSinkServer(SinkConfig{Conn: &grpc.ClientConn{}, Node: "n", Collections: []string{"a"}, Apply: sink.sink.cfg.Apply}); err == nil {
		t.Error("one with a connection was taken")
	}
}

func TestDialRefuses(t *testing.T) {
	_, source, _ := serve(t, newTable())
	for name, cfg := range map[string]DialConfig{"no connection": {Node: "n"}, "no node": {Conn: &grpc.ClientConn{}}} {
		if err := source.Dial(t.Context(), cfg); err == nil {
			t.Errorf("%s: it was taken", name)
		}
	}
}
