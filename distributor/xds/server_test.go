package xds

import (
	"context"
	"fmt"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/waft-project/waft/distributor/inbox"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/envoy"
)

// opened is a stream of a node that has the record of it, and serves nothing by itself.
func opened(t *testing.T, s *Server, id, held string) *stream {
	t.Helper()
	session, err := s.backend.connect(t.Context(), service.NodeHello{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	n := &stream{server: s, wire: &fuzzWire{t: t}, inbox: unreadInbox(t), id: id, session: session, sent: make(chan notice, maxSent), build: "build"}
	s.open(n, model.Node{}, "")
	if err := n.begin(request{typeURL: envoy.ExtensionConfigURL, whole: true, names: []string{serves, loads}, held: held}); err != nil {
		t.Fatal(err)
	}
	return n
}

// What a stream still has to say after a newer one of its node has begun changes nothing.
func TestOlderStreamTouchesNothing(t *testing.T) {
	b := newTable()
	b.set("one", "a=1")
	s := newServer(t.Context(), b, nil, nil)
	older := opened(t, s, "n", "")
	if err := older.assign(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := older.step(); err != nil || older.desk.pending == nil {
		t.Fatalf("nothing is offered: %v", err)
	}
	newer := opened(t, s, "n", hashOf("two"))
	for name, act := range map[string]func() error{
		"request":   func() error { return older.request(request{typeURL: envoy.ExtensionConfigURL, nonce: older.nonce}) },
		"assign":    func() error { return older.assign(t.Context()) },
		"fetched":   func() error { return older.fetched(notice{digest: hashOf("1")}) },
		"directive": func() error { return older.directive(service.Directive{Retry: 1}) },
		"step":      func() error { _, err := older.step(); return err },
	} {
		if err := act(); status.Code(err) != codes.Aborted {
			t.Errorf("%s: %v", name, err)
		}
	}
	if m := newer.record.memory; m.held != hashOf("two") || m.retry != 0 || len(m.has) != 0 {
		t.Errorf("it is remembered %+v", m)
	}
	if _, err := newer.step(); err != nil {
		t.Error(err)
	}
	s.close(older)
	if _, err := newer.step(); err != nil {
		t.Error(err)
	}
	// One that begins only after another has taken its place does not get the record.
	late := &stream{server: s, inbox: unreadInbox(t), id: "n", session: older.session, sent: make(chan notice, 1)}
	s.open(late, model.Node{}, "")
	if err := late.begin(request{}); status.Code(err) != codes.Aborted || newer.record.owner != newer {
		t.Errorf("it began: %v", err)
	}
}

// unreadInbox is that of a stream which nobody runs.
func unreadInbox(t testing.TB) *inbox.Inbox[request] {
	return inbox.New(t.Context(), &inbox.Crew{}, nil, inbox.Handler[request]{News: func() error { return nil }})
}

// panicking is a backend whose sessions panic as a stream begins.
type panicking struct {
	*table
	closed, cancelled bool
}

func (b *panicking) connect(ctx context.Context, hello service.NodeHello) (session, error) {
	of, err := b.table.connect(ctx, hello)
	return &panickingSession{of, b}, err
}

func (b *panicking) watch(id string, call func()) (<-chan struct{}, func()) {
	changed, _ := b.table.watch(id, call)
	return changed, func() { b.cancelled = true }
}

type panickingSession struct {
	session
	of *panicking
}

func (*panickingSession) Done() <-chan struct{} { panic("as a test wants it") }
func (s *panickingSession) Close()              { s.of.closed = true }

// A panic, which ends a call and no server, leaves nothing of the stream behind.
func TestAStreamThatPanicsAsItBegins(t *testing.T) {
	b := &panicking{table: newTable()}
	s := newServer(t.Context(), b, nil, nil)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("it has not panicked")
			}
		}()
		_, _, _ = s.join(t.Context(), &fuzzWire{t: t}, unreadInbox(t), &request{node: &corev3.Node{Id: "n"}, typeURL: envoy.ExtensionConfigURL}) // it panics
	}()
	if !b.closed || !b.cancelled || len(s.nodes) != 0 {
		t.Errorf("session closed %v, watch cancelled %v, %d nodes", b.closed, b.cancelled, len(s.nodes))
	}
}

// Notices are for the stream that is there when they come.
func TestNoticesAreOfOneStream(t *testing.T) {
	s := newServer(t.Context(), newTable(), nil, nil)
	s.Fetched("n", "x", false)
	first := opened(t, s, "n", "")
	first.desk.refuse(refusal{version: "bad"}) // so that it is remembered
	s.Fetched("n", "x", false)
	second := opened(t, s, "n", "")
	s.Fetched("n", "x", false)
	s.Fetched("n", "x", false)
	if len(first.sent) != 1 || len(second.sent) != 2 {
		t.Errorf("%d and %d notices wait", len(first.sent), len(second.sent))
	}
	s.close(first)
	s.close(second)
	for range 2 * maxSent {
		s.Fetched("n", "x", false)
	}
	if third := opened(t, s, "n", ""); len(third.sent) != 0 || len(second.sent) != 2 {
		t.Errorf("%d notices wait for a stream from before it", len(third.sent))
	}
}

// A node without a stream is remembered while there are not too many newer ones.
func TestNodesThatAreRemembered(t *testing.T) {
	s := newServer(t.Context(), newTable(), nil, nil)
	s.close(opened(t, s, "nothing of it", ""))
	if len(s.nodes) != 0 {
		t.Error("a node is remembered for nothing")
	}
	kept := opened(t, s, "accepted", "")
	kept.desk.last = chainFor("one", "a=1")
	s.close(kept)
	here := opened(t, s, "here", "")
	here.desk.refuse(refusal{version: "bad"})
	for i := range maxIdle + 10 {
		n := opened(t, s, fmt.Sprint(i), "")
		n.desk.refuse(refusal{version: "bad"})
		s.close(n)
		if i%1000 == 0 {
			s.close(opened(t, s, "accepted", "")) // it comes and goes
		}
	}
	if len(s.nodes) != maxIdle+1 || s.idle.Len() != maxIdle {
		t.Errorf("%d nodes are remembered, %d of them idle", len(s.nodes), s.idle.Len())
	}
	for id, want := range map[string]bool{"here": true, "accepted": true, "0": false, "10": false, "11": true, fmt.Sprint(maxIdle + 9): true} {
		if _, got := s.nodes[id]; got != want {
			t.Errorf("node %s: remembered %v, want %v", id, got, want)
		}
	}
	if again := opened(t, s, "accepted", ""); again.desk.last == nil {
		t.Error("what it accepted is forgotten")
	}
}
