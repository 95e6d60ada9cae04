package mcpinterop

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gogo/protobuf/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	mcp "istio.io/api/mcp/v1alpha1"

	"github.com/waft-project/waft/tools/wafttest"
)

// source is Istio's end of a stream, as the server of ResourceSource and as a client of ResourceSink.
type source interface {
	Send(*mcp.Resources) error
	Recv() (*mcp.RequestResources, error)
}

// update is what mcpsink prints.
type update struct {
	Collection, Version string
	Incremental         bool
	Resources           []struct {
		Name, Version, Type string
		Body                []byte
	}
	Changed, Removed []string
}

func (u update) names() string {
	var out []string
	for _, r := range u.Resources {
		out = append(out, r.Name+"="+r.Version)
	}
	return strings.Join(out, " ")
}

// mcpsink starts waft's sink and gives its standard output.
func mcpsink(t *testing.T, flags ...string) *bufio.Reader {
	t.Helper()
	cmd := exec.Command(wafttest.Need(t, "MCPSINK"), append([]string{"-node", "new-waft", "-collections", "any/v1/things,any/v1/others"}, flags...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	wafttest.Program(t, cmd)
	return bufio.NewReader(out)
}

// updates reads what the sink prints.
func updates(t *testing.T, out *bufio.Reader) <-chan update {
	c := make(chan update, 100)
	go func() {
		for decoder := json.NewDecoder(out); ; {
			var u update
			if err := decoder.Decode(&u); err != nil {
				return
			}
			c <- u
		}
	}()
	return c
}

func printed(t *testing.T, c <-chan update) update {
	t.Helper()
	select {
	case u := <-c:
		return u
	case <-time.After(wafttest.Patience):
		t.Fatal("the sink prints nothing")
		panic("unreachable")
	}
}

func resource(t *testing.T, name, version string) mcp.Resource {
	t.Helper()
	body, err := types.MarshalAny(&types.StringValue{Value: name + version})
	if err != nil {
		t.Fatal(err)
	}
	return mcp.Resource{Metadata: &mcp.Metadata{Name: name, Version: version, CreateTime: types.TimestampNow(), Labels: map[string]string{"a": "b"}}, Body: body}
}

// serving is their server of ResourceSource: it hands out each stream until that is to end.
type serving struct{ streams chan given }

type given struct {
	source
	close func()
}

func (s serving) EstablishResourceStream(stream mcp.ResourceSource_EstablishResourceStreamServer) error {
	done := make(chan struct{})
	s.streams <- given{stream, func() { close(done) }}
	select {
	case <-done:
	case <-stream.Context().Done():
	}
	return nil
}

// Their server of ResourceSource, which waft's sink dials.
func TestSourceThatIsDialled(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := serving{make(chan given, 10)}
	server := grpc.NewServer()
	mcp.RegisterResourceSourceServer(server, s)
	go server.Serve(l)
	defer server.Stop()
	feed(t, updates(t, mcpsink(t, "-source", l.Addr().String())), func() given {
		select {
		case g := <-s.streams:
			return g
		case <-time.After(wafttest.Patience):
			t.Fatal("the sink does not dial")
			panic("unreachable")
		}
	})
}

// Their client of ResourceSink, which dials waft's sink.
func TestSourceThatDials(t *testing.T) {
	out := mcpsink(t, "-listen", "127.0.0.1:0")
	address, err := out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.Dial(strings.TrimSpace(address), grpc.WithInsecure())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	feed(t, updates(t, out), func() given {
		ctx, cancel := context.WithCancel(context.Background())
		stream, err := mcp.NewResourceSinkClient(conn).EstablishResourceStream(ctx)
		if err != nil {
			t.Fatal(err)
		}
		// Istio's source began with a message of no collection, and its sink refused it.
		if err := stream.Send(&mcp.Resources{}); err != nil {
			t.Fatal(err)
		}
		return given{&greeted{stream, t, false}, cancel}
	})
}

// greeted takes the refusal of the first message out of what a sink sends.
type greeted struct {
	mcp.ResourceSink_EstablishResourceStreamClient
	t    *testing.T
	done bool
}

func (g *greeted) Recv() (*mcp.RequestResources, error) {
	r, err := g.ResourceSink_EstablishResourceStreamClient.Recv()
	if err != nil || r.Collection != "" {
		return r, err
	}
	if g.done || r.ErrorDetail == nil || codes.Code(r.ErrorDetail.Code) != codes.Unimplemented {
		g.t.Errorf("the sink answers the first message with %v", r)
	}
	g.done = true
	return g.Recv()
}

// feed is a source: it answers what the sink asks for, in changes and in full state, and says what no source may.
func feed(t *testing.T, printedBySink <-chan update, dial func() given) {
	const things, others = "any/v1/things", "any/v1/others"
	s := dial()
	heard := func() *mcp.RequestResources {
		t.Helper()
		r, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if r.SinkNode == nil || r.SinkNode.Id != "new-waft" {
			t.Errorf("it calls itself %v", r.SinkNode)
		}
		return r
	}
	say := func(m *mcp.Resources) {
		t.Helper()
		if err := s.Send(m); err != nil && err != io.EOF {
			t.Fatal(err)
		}
	}
	answered := func(collection, nonce string, code codes.Code) {
		t.Helper()
		r := heard()
		got := codes.OK
		if r.ErrorDetail != nil {
			got = codes.Code(r.ErrorDetail.Code)
		}
		if r.Collection != collection || r.ResponseNonce != nonce || got != code || (r.ErrorDetail != nil) != (code != codes.OK) {
			t.Errorf("answered %v; want nonce %s of %s and %s", r, nonce, collection, code)
		}
	}
	for _, want := range []string{things, others} {
		if r := heard(); r.Collection != want || r.ResponseNonce != "" || !r.Incremental || len(r.InitialResourceVersions) != 0 || r.ErrorDetail != nil {
			t.Errorf("first request %v", r)
		}
	}
	// Full state, although changes are welcome.
	say(&mcp.Resources{Collection: things, SystemVersionInfo: "v1", Nonce: "1", Resources: []mcp.Resource{resource(t, "ns/a", "1"), resource(t, "ns/b", "1")}})
	answered(things, "1", codes.OK)
	u := printed(t, printedBySink)
	value := &types.StringValue{}
	if u.names() != "ns/a=1 ns/b=1" || u.Version != "v1" || u.Incremental || u.Resources[0].Type != "type.googleapis.com/google.protobuf.StringValue" {
		t.Errorf("printed %+v", u)
	} else if err := value.Unmarshal(u.Resources[0].Body); err != nil || value.Value != "ns/a1" {
		t.Errorf("body %q, %v", value.Value, err)
	}
	// Changes.
	say(&mcp.Resources{Collection: things, Nonce: "2", Incremental: true, Resources: []mcp.Resource{resource(t, "ns/c", "1")}, RemovedResources: []string{"ns/b"}})
	answered(things, "2", codes.OK)
	if u := printed(t, printedBySink); u.names() != "ns/a=1 ns/c=1" || strings.Join(u.Removed, " ") != "ns/b" || strings.Join(u.Changed, " ") != "ns/c" || !u.Incremental {
		t.Errorf("printed %+v", u)
	}
	// What it refuses, and what it never asked for. The other collection is not held up.
	say(&mcp.Resources{Collection: things, Nonce: "3", Incremental: true, Resources: []mcp.Resource{resource(t, "refuse-me", "1")}})
	answered(things, "3", codes.InvalidArgument)
	say(&mcp.Resources{Collection: "any/v1/strangers", Nonce: "4"})
	answered("any/v1/strangers", "4", codes.Unimplemented)
	say(&mcp.Resources{Collection: others, Nonce: "5", Resources: []mcp.Resource{resource(t, "o", "1")}})
	answered(others, "5", codes.OK)
	if u := printed(t, printedBySink); u.Collection != others || u.names() != "o=1" {
		t.Errorf("printed %+v", u)
	}
	// The stream ends; on the next one the sink says what it holds, without what it refused.
	s.close()
	s = dial()
	for _, want := range []map[string]string{{"ns/a": "1", "ns/c": "1"}, {"o": "1"}} {
		r := heard()
		if len(r.InitialResourceVersions) != len(want) {
			t.Errorf("it holds %v, want %v", r.InitialResourceVersions, want)
		}
		for name, version := range want {
			if r.InitialResourceVersions[name] != version {
				t.Errorf("it holds %v, want %v", r.InitialResourceVersions, want)
			}
		}
	}
	say(&mcp.Resources{Collection: things, Nonce: "1", Incremental: true, RemovedResources: []string{"ns/a"}})
	answered(things, "1", codes.OK)
	if u := printed(t, printedBySink); u.names() != "ns/c=1" {
		t.Errorf("printed %+v", u)
	}
	s.close()
}
