package mcpinterop

import (
	"context"
	"net"
	"sort"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	mcp "istio.io/api/mcp/v1alpha1"
	rpc "istio.io/gogo-genproto/googleapis/google/rpc"

	"github.com/waft-project/waft/tools/wafttest"
)

const (
	filters  = "waft/v1/filters"
	chains   = "waft/v1/chains"
	prefetch = "waft/v1/prefetch"
)

// tooMany is more requests than one node may make at once.
const tooMany = 300

// sink is Istio's end of a stream, as a client of ResourceSource and as the server of ResourceSink.
type sink interface {
	Send(*mcp.RequestResources) error
	Recv() (*mcp.Resources, error)
}

// end says what ends a stream, and frees what it holds.
type opened struct {
	sink
	t     *testing.T
	close func()
	in    chan *mcp.Resources
	ended chan error
}

func open(t *testing.T, s sink, closeIt func()) *opened {
	o := &opened{sink: s, t: t, close: closeIt, in: make(chan *mcp.Resources, 100), ended: make(chan error, 1)}
	go func() {
		for {
			m, err := s.Recv()
			if err != nil {
				o.ended <- err
				return
			}
			o.in <- m
		}
	}()
	return o
}

func (o *opened) request(r *mcp.RequestResources) {
	o.t.Helper()
	r.SinkNode = &mcp.SinkNode{Id: "old-istio", Annotations: map[string]string{"mesh": "old"}}
	if err := o.Send(r); err != nil {
		o.t.Fatal(err)
	}
}

func (o *opened) ack(m *mcp.Resources) {
	o.t.Helper()
	o.request(&mcp.RequestResources{Collection: m.Collection, ResponseNonce: m.Nonce, Incremental: m.Incremental})
}

// next is the next message of a collection; those of others are acknowledged.
func (o *opened) next(collection string) *mcp.Resources {
	o.t.Helper()
	for {
		select {
		case m := <-o.in:
			if m.Collection == collection {
				return m
			}
			if m.Collection != "" {
				o.ack(m)
			}
		case err := <-o.ended:
			o.t.Fatalf("the stream ended, and nothing came of %s: %v", collection, err)
		case <-time.After(wafttest.Patience):
			o.t.Fatalf("nothing came of %s", collection)
		}
	}
}

func versions(m *mcp.Resources) map[string]string {
	out := map[string]string{}
	for _, r := range m.Resources {
		out[r.Metadata.Name] = r.Metadata.Version
	}
	return out
}

func names(m *mcp.Resources) string {
	var out []string
	for name := range versions(m) {
		out = append(out, name)
	}
	sort.Strings(out)
	return strings.Join(out, " ")
}

// Their client of waft's ResourceSource.
func TestSinkThatDials(t *testing.T) {
	d := wafttest.Serve(t)
	conn, err := grpc.Dial(d.GRPC, grpc.WithInsecure())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	follow(t, d, func() *opened {
		ctx, cancel := context.WithCancel(context.Background())
		stream, err := mcp.NewResourceSourceClient(conn).EstablishResourceStream(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return open(t, stream, cancel)
	}, codes.InvalidArgument)
}

// waiting is their server of ResourceSink: it hands out each stream until that is to end.
type waiting struct {
	streams chan *opened
	t       *testing.T
}

func (w waiting) EstablishResourceStream(stream mcp.ResourceSink_EstablishResourceStreamServer) error {
	done := make(chan struct{})
	closed := false
	w.streams <- open(w.t, stream, func() {
		if !closed {
			closed = true
			close(done)
		}
	})
	select {
	case <-done:
	case <-stream.Context().Done():
	}
	return nil
}

// Their server of ResourceSink, which waft dials.
func TestSinkThatIsDialled(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := waiting{make(chan *opened, 10), t}
	server := grpc.NewServer()
	mcp.RegisterResourceSinkServer(server, w)
	go server.Serve(l)
	defer server.Stop()
	d := wafttest.Serve(t, "--sink", "old-istio="+l.Addr().String())
	follow(t, d, func() *opened {
		for {
			select {
			case o := <-w.streams:
				// waft begins with a message of no collection, as Istio's source did, and Istio's sink refused it so.
				select {
				case m := <-o.in:
					if m.Collection != "" || len(m.Resources) > 0 {
						t.Fatalf("began with %v", m)
					}
					o.request(&mcp.RequestResources{ErrorDetail: &rpc.Status{Code: int32(codes.Unimplemented), Message: "no collection"}})
					return o
				case <-o.ended: // one that ended before it was looked at
				}
			case <-time.After(wafttest.Patience):
				t.Fatal("the sink was not dialled")
			}
		}
	}, codes.Canceled)
}

// follow has a sink follow the distributor through full state, changes, ACKs, NACKs, stale nonces, new streams and too many requests. unknown is how a stream
// ends on which it asks for what there is not.
func follow(t *testing.T, d *wafttest.Distributor, dial func() *opened, unknown codes.Code) {
	s := dial()
	for _, c := range []string{filters, chains, prefetch} {
		s.request(&mcp.RequestResources{Collection: c})
	}
	for _, c := range []string{filters, chains, prefetch} {
		m := s.next(c)
		if len(m.Resources) != 0 || m.Incremental || m.Nonce == "" {
			t.Fatalf("first of %s: %v", c, m)
		}
		s.ack(m)
	}
	if got := d.Node("old-istio").Labels["mesh"]; got != "old" {
		t.Errorf("label mesh=%s", got)
	}

	d.Give("one", "two")
	m := s.next(filters)
	if names(m) != "one two" || m.Incremental || m.Resources[0].Body.GetTypeUrl() != "type.googleapis.com/waft.v1.Filter" || len(m.Resources[0].Body.Value) == 0 {
		t.Fatalf("got %v", m)
	}
	s.ack(m)
	s.ack(s.next(chains))
	wafttest.Wait(t, "the ledger to say offered", func() bool { return strings.EqualFold(d.Node("old-istio").Ledger.State, "offered") })

	// Stale nonces change nothing: one that was never given, one of another collection, one that was answered.
	for _, r := range []*mcp.RequestResources{
		{Collection: filters, ResponseNonce: "never"}, {Collection: chains, ResponseNonce: m.Nonce},
		{Collection: filters, ResponseNonce: m.Nonce, ErrorDetail: &rpc.Status{Code: int32(codes.InvalidArgument), Message: "stale"}},
	} {
		s.request(r)
	}
	wafttest.Wait(t, "the stale nonces to be counted", func() bool { return d.Metric("waft_mcp_stale_nonces_total") == 3 })
	if l := d.Node("old-istio").Ledger; !strings.EqualFold(l.State, "offered") {
		t.Errorf("after stale nonces the ledger says %+v", l)
	}
	for len(s.in) > 0 {
		if m := <-s.in; m.Collection != prefetch { // which was not waited for above
			t.Errorf("after stale nonces this came: %v", m)
		}
	}

	// A NACK: nothing more of that collection until it changes; others go on.
	d.Give("one", "refused")
	refused := s.next(filters)
	if names(refused) != "one refused" {
		t.Fatalf("got %v", refused)
	}
	s.request(&mcp.RequestResources{Collection: filters, ResponseNonce: refused.Nonce, ErrorDetail: &rpc.Status{Code: int32(codes.InvalidArgument), Message: "cannot decode refused"}})
	wafttest.Wait(t, "the ledger to say why", func() bool {
		l := d.Node("old-istio").Ledger
		return strings.EqualFold(l.State, "rejected") && l.Reason == "cannot decode refused"
	})
	d.Give("one")
	m = s.next(filters)
	if names(m) != "one" || m.Nonce == refused.Nonce {
		t.Fatalf("got %v", m)
	}
	s.ack(m)
	s.close()

	// A new stream that opts in to changes, with what it holds: nothing, one that is old, and one that is gone.
	held := versions(m)
	s = dial()
	s.request(&mcp.RequestResources{Collection: filters, Incremental: true, InitialResourceVersions: held})
	m = s.next(filters)
	if !m.Incremental || len(m.Resources) != 0 || len(m.RemovedResources) != 0 {
		t.Fatalf("with all held: %v", m)
	}
	s.ack(m)
	d.Give("one", "three")
	m = s.next(filters)
	if !m.Incremental || names(m) != "one three" || len(m.RemovedResources) != 0 {
		t.Fatalf("changes: %v", m)
	}
	s.ack(m)
	latest := versions(m)
	d.Give()
	m = s.next(filters)
	if !m.Incremental || len(m.Resources) != 0 || strings.Join(m.RemovedResources, " ") != "one three" {
		t.Fatalf("removals: %v", m)
	}
	s.ack(m)
	d.Give("one", "three")
	m = s.next(filters)
	s.close() // not answered: so not held
	latest["gone"], latest["three"] = "x", versions(m)["three"]
	s = dial()
	s.request(&mcp.RequestResources{Collection: filters, Incremental: true, InitialResourceVersions: latest})
	m = s.next(filters)
	if !m.Incremental || names(m) != "one" || strings.Join(m.RemovedResources, " ") != "gone" {
		t.Fatalf("with some held: %v", m)
	}
	s.ack(m)

	// A collection that no release has is empty, until one has it.
	const users = "istio/networking/v1alpha3/gateways"
	s.request(&mcp.RequestResources{Collection: users})
	if m = s.next(users); len(m.Resources) != 0 {
		t.Fatalf("got %v", m)
	}
	s.ack(m)

	// It asks more often than one node may: it is not read from for a while, and is sent what changes all the same.
	for i := 0; i < tooMany; i++ {
		s.request(&mcp.RequestResources{Collection: users})
	}
	wafttest.Wait(t, "the sink to be slowed down", func() bool { return d.Metric("waft_mcp_throttled_requests_total") > 0 })
	d.Give("one", "four")
	m = s.next(filters)
	if !m.Incremental || names(m) != "four one" || strings.Join(m.RemovedResources, " ") != "three" {
		t.Fatalf("after too many requests: %v", m)
	}
	s.ack(m)

	// One that there cannot be.
	s.request(&mcp.RequestResources{Collection: "waft/v2/filters"})
	select {
	case err := <-s.ended:
		if status.Code(err) != unknown {
			t.Errorf("ended with %v, want %s", err, unknown)
		}
	case <-time.After(wafttest.Patience):
		t.Error("asked for what there cannot be, and the stream goes on")
	}
	s.close()
}
