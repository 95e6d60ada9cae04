package mcp

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
)

// runSink runs a sink whose updates come out of a channel; what apply returns answers them.
func runSink(t *testing.T, cfg SinkConfig, apply func(Update) error) (updates chan Update, states chan SinkState) {
	t.Helper()
	updates, states = make(chan Update, 100), make(chan SinkState, 100)
	cfg.MinBackoff, cfg.MaxBackoff = time.Millisecond, 2*time.Millisecond
	cfg.Apply = func(_ context.Context, u Update) error {
		err := apply(u)
		updates <- u
		return err
	}
	cfg.OnState = func(s SinkState) { states <- s }
	sink, err := NewSink(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sink.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v", err)
		}
	})
	return updates, states
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func names(u Update) (out []string) {
	for _, r := range u.Resources {
		out = append(out, r.GetMetadata().GetName()+"="+r.GetMetadata().GetVersion())
	}
	return out
}

func wantUpdate(t *testing.T, u Update, incremental bool, resources, changed, removed []string) {
	t.Helper()
	if u.Incremental != incremental || !slices.Equal(names(u), resources) || !slices.Equal(u.Changed, changed) || !slices.Equal(u.Removed, removed) {
		t.Fatalf("incremental %v resources %v changed %v removed %v\nwant %v %v %v %v",
			u.Incremental, names(u), u.Changed, u.Removed, incremental, resources, changed, removed)
	}
}

func accept(Update) error { return nil }

func TestSinkFollowsASource(t *testing.T) {
	for name, fullState := range map[string]bool{"incremental": false, "full state": true} {
		t.Run(name, func(t *testing.T) {
			b := newTable()
			b.set(filters("a", "1", "b", "1"))
			conn, _, _ := serve(t, b)
			updates, states := runSink(t, SinkConfig{Conn: conn, Node: "node-1", Labels: map[string]string{"zone": "a"}, Collections: []string{filtersName}, FullState: fullState}, accept)
			u := receive(t, updates)
			wantUpdate(t, u, !fullState, []string{"a=1", "b=1"}, []string{"a", "b"}, nil)
			if s := receive(t, states); !s.Connected || s.Err != nil {
				t.Errorf("state %+v", s)
			}
			f := &waftv1.Filter{}
			if err := Body(u.Resources[0], f); err != nil {
				t.Fatal(err)
			}
			want := &waftv1.Filter{Name: "a", Module: &waftv1.ModuleRef{Digest: "sha256:1", Size: 1}, Config: []byte(`{"v":"1"}`),
				Phase: waftv1.Phase_AUTHN, FailurePolicy: waftv1.FailurePolicy_FAIL_CLOSED}
			if !proto.Equal(f, want) {
				t.Errorf("got %v\nwant %v", f, want)
			}
			b.set(filters("b", "2", "c", "1"))
			wantUpdate(t, receive(t, updates), !fullState, []string{"b=2", "c=1"}, []string{"b", "c"}, []string{"a"})
			b.set(filters())
			wantUpdate(t, receive(t, updates), !fullState, nil, nil, []string{"b", "c"})
		})
	}
}

func TestSinkThatRefusesKeepsWhatItHeld(t *testing.T) {
	b := newTable()
	b.set(filters("a", "1"))
	conn, _, _ := serve(t, b)
	updates, _ := runSink(t, SinkConfig{Conn: conn, Node: "node-1", Collections: []string{filtersName}}, func(u Update) error {
		if strings.Contains(strings.Join(names(u), " "), "bad") {
			return errors.New("the disk is full")
		}
		return nil
	})
	receive(t, updates)
	b.set(filters("a", "bad", "b", "1"))
	wantUpdate(t, receive(t, updates), true, []string{"a=bad", "b=1"}, []string{"a", "b"}, nil)
	b.set(filters("a", "2"))
	// As if the refused one had never been: b was not held, so it is not removed.
	wantUpdate(t, receive(t, updates), true, []string{"a=2"}, []string{"a"}, nil)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.refusals) != 1 || b.refusals[0] != "node-1  waft/v1/filters the disk is full" {
		t.Errorf("refusals %q", b.refusals)
	}
}

func TestSinkComesBackWithWhatItHolds(t *testing.T) {
	b := newTable()
	b.set(filters("a", "1", "b", "1"))
	conn, _, registry := serve(t, b)
	metrics, err := NewMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	updates, states := runSink(t, SinkConfig{Conn: conn, Node: "node-1", Collections: []string{filtersName}, Metrics: metrics}, accept)
	receive(t, updates)
	receive(t, states)
	// Another stream of the node makes the source end this one.
	b.mu.Lock()
	b.sessions["node-1"].end()
	b.sessions["node-1"] = nil
	b.current = []model.Collection{filters("a", "1", "b", "2")}
	b.mu.Unlock()
	if s := receive(t, states); s.Connected || status.Code(s.Err) != codes.Aborted || s.RetryIn <= 0 {
		t.Errorf("state %+v", s)
	}
	u := receive(t, updates)
	wantUpdate(t, u, true, []string{"a=1", "b=2"}, []string{"b"}, nil)
	if s := receive(t, states); !s.Connected {
		t.Errorf("state %+v", s)
	}
	if n := total(t, registry, "istio_mcp_clients_total"); n != 1 {
		t.Errorf("%v clients", n)
	}

	// A new life of the sink, with what the old one stored: nothing is sent again.
	again, _ := runSink(t, SinkConfig{Conn: conn, Node: "node-2", Collections: []string{filtersName}, Held: map[string][]*mcpv1.Resource{filtersName: u.Resources}}, accept)
	wantUpdate(t, receive(t, again), true, []string{"a=1", "b=2"}, nil, nil)
}

// script is a source that says what a test tells it to.
type script struct {
	mcpv1.UnimplementedResourceSourceServer
	say   []*mcpv1.Resources
	heard chan *mcpv1.RequestResources
}

func (s *script) EstablishResourceStream(stream grpc.BidiStreamingServer[mcpv1.RequestResources, mcpv1.Resources]) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	for _, m := range s.say {
		if err := stream.Send(m); err != nil {
			return err
		}
		req, err := stream.Recv()
		if err != nil {
			return err
		}
		s.heard <- req
	}
	<-stream.Context().Done()
	return nil
}

func TestSinkRefusesWhatNoSourceMaySend(t *testing.T) {
	resource := func(name string) *mcpv1.Resource {
		return &mcpv1.Resource{Metadata: &mcpv1.Metadata{Name: name, Version: "1"}}
	}
	for name, tc := range map[string]struct {
		message   *mcpv1.Resources
		fullState bool
		code      codes.Code
		says      string
	}{
		"another collection": {&mcpv1.Resources{Collection: "x", Nonce: "n"}, false, codes.Unimplemented, `collection "x" was not asked for`},
		"a resource without a name": {&mcpv1.Resources{Collection: filtersName, Nonce: "n", Resources: []*mcpv1.Resource{{}}}, false,
			codes.InvalidArgument, "resource 0 has no name"},
		"a resource twice": {&mcpv1.Resources{Collection: filtersName, Nonce: "n", Resources: []*mcpv1.Resource{resource("a"), resource("a")}}, false,
			codes.InvalidArgument, `resource "a" is there twice`},
		"sent and removed": {&mcpv1.Resources{Collection: filtersName, Nonce: "n", Incremental: true, Resources: []*mcpv1.Resource{resource("a")}, RemovedResources: []string{"a"}}, false,
			codes.InvalidArgument, `resource "a" is both sent and removed`},
		"removed in full state": {&mcpv1.Resources{Collection: filtersName, Nonce: "n", RemovedResources: []string{"a"}}, false,
			codes.InvalidArgument, "removed_resources in a message of full state"},
		"changes that were not asked for": {&mcpv1.Resources{Collection: filtersName, Nonce: "n", Incremental: true}, true,
			codes.InvalidArgument, "changes were sent, full state was asked for"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{say: []*mcpv1.Resources{tc.message}, heard: make(chan *mcpv1.RequestResources, 1)}
			conn := serveScript(t, s)
			runSink(t, SinkConfig{Conn: conn, Node: "node-1", Collections: []string{filtersName}, FullState: tc.fullState}, func(Update) error {
				t.Error("it was applied")
				return nil
			})
			got := receive(t, s.heard)
			if got.GetResponseNonce() != "n" || got.GetCollection() != tc.message.GetCollection() || got.GetErrorDetail().GetCode() != int32(tc.code) ||
				!strings.Contains(got.GetErrorDetail().GetMessage(), tc.says) {
				t.Errorf("heard %v", got)
			}
		})
	}
}

func TestNewSinkRefuses(t *testing.T) {
	whole := func() SinkConfig {
		return SinkConfig{Conn: &grpc.ClientConn{}, Node: "n", Collections: []string{"a"}, Apply: func(context.Context, Update) error { return nil }}
	}
	for name, change := range map[string]func(*SinkConfig){
		"no connection":  func(c *SinkConfig) { c.Conn = nil },
		"no node":        func(c *SinkConfig) { c.Node = "" },
		"no apply":       func(c *SinkConfig) { c.Apply = nil },
		"no collections": func(c *SinkConfig) { c.Collections = nil },
		"twice":          func(c *SinkConfig) { c.Collections = []string{"a", "a"} },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := whole()
			change(&cfg)
			if _, err := NewSink(cfg); err == nil {
				t.Error("it was taken")
			}
		})
	}
	if _, err := NewSink(whole()); err != nil {
		t.Error(err)
	}
}

// FuzzResources has a sink read what any source may send: it never panics, and a message that is refused changes nothing.
func FuzzResources(f *testing.F) {
	seed := &mcpv1.Resources{Collection: filtersName, Incremental: true, RemovedResources: []string{"b"},
		Resources: []*mcpv1.Resource{{Metadata: &mcpv1.Metadata{Name: "a", Version: "1"}}}}
	raw, err := proto.Marshal(seed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw, true)
	f.Fuzz(func(t *testing.T, raw []byte, incremental bool) {
		msg := &mcpv1.Resources{}
		if proto.Unmarshal(raw, msg) != nil {
			return
		}
		held := map[string]*mcpv1.Resource{"b": {Metadata: &mcpv1.Metadata{Name: "b", Version: "1"}}}
		next, u, err := merge(held, msg, incremental)
		if len(held) != 1 || held["b"].GetMetadata().GetVersion() != "1" {
			t.Fatal("what is held was changed")
		}
		if err != nil {
			return
		}
		if len(next) != len(u.Resources) {
			t.Fatalf("%d resources, %d told", len(next), len(u.Resources))
		}
		for _, r := range u.Resources {
			_ = Body(r, &waftv1.Filter{})
		}
	})
}

// FuzzRequest has a source read what any sink may send.
func FuzzRequest(f *testing.F) {
	raw, err := proto.Marshal(&mcpv1.RequestResources{SinkNode: &mcpv1.SinkNode{Id: "a"}, Collection: filtersName, ResponseNonce: "1", Incremental: true, InitialResourceVersions: map[string]string{"a": "1"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw, raw)
	f.Fuzz(func(t *testing.T, one, two []byte) {
		s := &subscription{collection: filtersName}
		for i, raw := range [][]byte{one, two} {
			req := &mcpv1.RequestResources{}
			if proto.Unmarshal(raw, req) != nil {
				return
			}
			_, _, _ = nodeOf(req.GetSinkNode())
			kind, offer := s.take(req, MaxHeldBytes)
			if (kind == answerACK || kind == answerNACK) != (offer != nil) {
				t.Fatalf("answer %d with offer %v", kind, offer)
			}
			c := filters("a", "1")
			if ch, due := s.next(c); due {
				if ch.incremental != (s.incremental && s.held != nil) {
					t.Fatal("changes for a sink that wants full state")
				}
				s.sent(string(rune('1'+i)), c, "")
			} else if kind == answerFirst {
				t.Fatal("a first request was not answered")
			}
		}
	})
}
