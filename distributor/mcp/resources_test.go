package mcp

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
)

// own is a collection of a user's with the versions given as name=version; the message of each is its name and version.
func own(name string, versions ...string) model.Collection {
	c := model.Collection{Name: name, Version: fmt.Sprint("v", versions)}
	for i := 0; i+1 < len(versions); i += 2 {
		c.Resources = append(c.Resources, model.Resource{Name: versions[i], Version: versions[i+1], Any: &model.AnyBody{
			Type: "type.example/acme.Flag", Bytes: []byte(versions[i] + versions[i+1]),
		}})
	}
	return c
}

// chainNaming is a chain that names resources, COLLECTION:NAME@VERSION.
func chainNaming(hash string, generation int64, resources ...string) model.Collection {
	c := chain(hash, generation)
	for _, r := range resources {
		key, version, _ := strings.Cut(r, "@")
		collection, name, _ := strings.Cut(key, ":")
		c.Resources[0].Chain.Resources = append(c.Resources[0].Chain.Resources, model.RenderedResource{
			ResourceSpec: model.ResourceSpec{Collection: collection, Name: name, ResourceBody: model.ResourceBody{Descriptors: "sha256:d"}}, Version: version,
		})
	}
	return c
}

// asks is a first request for changes, holding nothing.
func (w wire) asks(collection string) {
	w.t.Helper()
	w.send(&mcpv1.RequestResources{SinkNode: &mcpv1.SinkNode{Id: "node-1"}, Collection: collection, Incremental: true})
}

// at are names and versions.
func at(pairs ...string) []string { return pairs }

func (b *table) offered() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.stored)
}

// A user's messages travel as they are, in a collection that may be asked for before there is any such.
func TestCollectionsOfUsers(t *testing.T) {
	b := newTable()
	conn, _, _ := serve(t, b)
	w := open(t, conn)
	w.asks("flags")
	w.want("flags", "1", true, nil)
	w.ack("flags", "1", true)
	b.settle(t, 2)
	b.set(own("flags", "a", "1", "b", "1"))
	msg := w.want("flags", "2", true, at("a", "1", "b", "1"))
	if body := msg.GetResources()[0].GetBody(); body.GetTypeUrl() != "type.example/acme.Flag" || string(body.GetValue()) != "a1" {
		t.Errorf("the message is %v", body)
	}
	w.ack("flags", "2", true)
	b.settle(t, 2)
	b.set(own("flags", "a", "2"))
	w.want("flags", "3", true, at("a", "2"), "b")
	w.ack("flags", "3", true)
	b.settle(t, 2)
	b.set() // a chain without any
	w.want("flags", "4", true, nil, "a")
}

// The chain comes after what it names, whatever the order in which it was asked for.
func TestResourcesComeBeforeTheChainThatNamesThem(t *testing.T) {
	b := newTable()
	conn, _, _ := serve(t, b)
	w := open(t, conn)
	w.asks(model.CollectionChains)
	w.want(model.CollectionChains, "1", true, nil)
	w.ack(model.CollectionChains, "1", true)
	w.asks("flags")
	w.want("flags", "2", true, nil)
	w.ack("flags", "2", true)
	b.settle(t, 4)
	b.set(chainNaming("h", 1, "flags:a@1"), own("flags", "a", "1"))
	w.want("flags", "3", true, at("a", "1"))
	msg := w.want(model.CollectionChains, "4", true, at("node-1", "h1"))
	var c waftv1.Chain
	if err := Body(msg.GetResources()[0], &c); err != nil {
		t.Fatal(err)
	}
	if len(c.GetResources()) != 1 || c.GetResources()[0].GetCollection() != "flags" || c.GetResources()[0].GetName() != "a" || c.GetResources()[0].GetVersion() != "1" || c.GetResources()[0].GetDescriptors() != "sha256:d" {
		t.Errorf("the chain names %v", c.GetResources())
	}
}

// A sink that asks for collections of users alone has accepted a chain when it has accepted what it asks for of it, and not before.
func TestAcceptedWithoutAskingForChains(t *testing.T) {
	b := newTable()
	b.current = []model.Collection{chain("h1", 1), own("flags", "a", "1"), own("limits", "x", "1")}
	conn, _, _ := serve(t, b)
	w := open(t, conn)
	w.asks("flags")
	w.asks("limits")
	w.want("flags", "1", true, at("a", "1"))
	w.want("limits", "2", true, at("x", "1"))
	w.ack("flags", "1", true)
	b.settle(t, 3)
	if got := b.offered(); len(got) != 0 {
		t.Errorf("with one of two accepted it is told %q", got)
	}
	w.ack("limits", "2", true)
	b.settle(t, 1)
	eventually(t, "the first chain", func() bool { return slices.Equal(b.offered(), []string{"node-1 h1"}) })
	// One of them changes.
	b.set(chain("h2", 2), own("flags", "a", "2"), own("limits", "x", "1"))
	w.want("flags", "3", true, at("a", "2"))
	b.settle(t, 1)
	if got := b.offered(); len(got) != 1 {
		t.Errorf("with one unanswered it is told %q", got)
	}
	w.ack("flags", "3", true)
	eventually(t, "the second chain", func() bool { return slices.Equal(b.offered(), []string{"node-1 h1", "node-1 h2"}) })
	// Nothing that it asks for changes.
	b.set(chain("h3", 3), own("flags", "a", "2"), own("limits", "x", "1"))
	eventually(t, "the third chain", func() bool { return slices.Equal(b.offered(), []string{"node-1 h1", "node-1 h2", "node-1 h3"}) })
	// It is told once.
	b.set(chain("h3", 3), own("flags", "a", "2"), own("limits", "x", "1"))
	b.settle(t, 3) // the ACK, and both changes
	if got := b.offered(); len(got) != 3 {
		t.Errorf("it is told %q", got)
	}
	// What is refused is not accepted.
	b.set(chain("h4", 4), own("flags", "a", "3"), own("limits", "x", "1"))
	w.want("flags", "4", true, at("a", "3"))
	// The node is given another chain before the refusal comes, which is about what was sent for this one.
	b.set(chain("h5", 5), own("flags", "a", "3"), own("limits", "x", "1"))
	b.settle(t, 1)
	w.nack("flags", "4", true)
	eventually(t, "the refusal", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return slices.Equal(b.refusals, []string{"node-1 h4 flags no"})
	})
	b.set(chain("h4", 4), own("flags", "a", "3"), own("limits", "x", "2"))
	w.want("limits", "5", true, at("x", "2"))
	w.ack("limits", "5", true)
	b.set(chain("h5", 5), own("flags", "a", "4"), own("limits", "x", "2"))
	w.want("flags", "6", true, at("a", "4"))
	w.ack("flags", "6", true)
	eventually(t, "the fifth chain", func() bool {
		return slices.Equal(b.offered(), []string{"node-1 h1", "node-1 h2", "node-1 h3", "node-1 h5"})
	})
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for !so() {
		select {
		case <-t.Context().Done():
			t.Fatalf("%s: never", what)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestCollectionsThatThereAreNot(t *testing.T) {
	for _, name := range []string{"waft/v1/other", "Flags", "../x", "envoy/other", ""} {
		conn, _, _ := serve(t, newTable())
		w := open(t, conn)
		w.asks("flags")
		w.want("flags", "1", true, nil)
		w.asks(name)
		if got := w.ends(codes.InvalidArgument); !strings.Contains(got, "unknown collection") {
			t.Errorf("%q: %s", name, got)
		}
	}
	conn, _, _ := serve(t, newTable())
	w := open(t, conn)
	for i := range MaxCollections + 1 {
		w.asks(fmt.Sprintf("flags/n%d", i))
		if i < MaxCollections {
			w.want(fmt.Sprintf("flags/n%d", i), fmt.Sprint(i+1), true, nil)
		}
	}
	w.ends(codes.ResourceExhausted)
}

// What is larger than any sink takes is not sent, and the node is told so.
func TestWhatIsTooLargeForASink(t *testing.T) {
	b := newTable()
	large := own("flags", "a", "1")
	large.Resources[0].Any.Bytes = make([]byte, MaxResourcesBytes)
	b.current = []model.Collection{large}
	conn, _, _ := serve(t, b)
	w := open(t, conn)
	w.asks("flags")
	if got := w.ends(codes.ResourceExhausted); !strings.Contains(got, "the limit is 33554432") {
		t.Error(got)
	}
}

// A sink asks for further collections as soon as it knows of them, and with what it holds of them.
func TestSinkAsksForMore(t *testing.T) {
	b := newTable()
	b.current = []model.Collection{chainNaming("h", 1, "flags:a@1"), own("flags", "a", "1", "b", "1")}
	conn, _, _ := serve(t, b)
	var mu sync.Mutex
	var more []string
	held := map[string][]*mcpv1.Resource{"flags": {{Metadata: &mcpv1.Metadata{Name: "a", Version: "1"}}}, "never": {{Metadata: &mcpv1.Metadata{Name: "x", Version: "1"}}}}
	updates, _ := runSink(t, SinkConfig{
		Conn: conn, Node: "node-1", Collections: []string{model.CollectionChains}, Held: held,
		More: func() []string { mu.Lock(); defer mu.Unlock(); return slices.Clone(more) },
	}, func(u Update) error {
		mu.Lock()
		defer mu.Unlock()
		if u.Collection != model.CollectionChains {
			return nil
		}
		var c waftv1.Chain
		if err := Body(u.Resources[0], &c); err != nil {
			return err
		}
		more = nil
		for _, r := range c.GetResources() {
			more = append(more, r.GetCollection())
		}
		return nil
	})
	if u := receive(t, updates); u.Collection != model.CollectionChains {
		t.Fatalf("first it is %+v", u)
	}
	u := receive(t, updates)
	if u.Collection != "flags" {
		t.Fatalf("then it is %+v", u)
	}
	wantUpdate(t, u, true, []string{"a=1", "b=1"}, []string{"b"}, nil)
	b.set(chainNaming("h", 2, "limits:x@1"), own("limits", "x", "1"))
	seen := map[string]Update{}
	for range 3 {
		u := receive(t, updates)
		seen[u.Collection] = u
	}
	wantUpdate(t, seen["flags"], true, nil, nil, []string{"a", "b"})
	wantUpdate(t, seen["limits"], true, []string{"x=1"}, []string{"x"}, nil)
}

// What a sink holds is not said where that does not fit into a request; then all is sent anew.
func TestSinkThatHoldsTooMuchToSay(t *testing.T) {
	b := newTable()
	var versions []string
	var held []*mcpv1.Resource
	for i := range 8 {
		name := fmt.Sprint(i, strings.Repeat("n", MaxRequestBytes/8))
		versions, held = append(versions, name, "1"), append(held, &mcpv1.Resource{Metadata: &mcpv1.Metadata{Name: name, Version: "1"}})
	}
	b.current = []model.Collection{own("flags", versions[:2]...)}
	conn, _, _ := serve(t, b)
	updates, _ := runSink(t, SinkConfig{Conn: conn, Node: "node-1", Collections: []string{"flags"}, Held: map[string][]*mcpv1.Resource{"flags": held}}, accept)
	u := receive(t, updates)
	if len(u.Resources) != 1 || len(u.Changed) != 1 || len(u.Removed) != 0 {
		t.Errorf("%d resources, %d of them changed, %d removed", len(u.Resources), len(u.Changed), len(u.Removed))
	}
}
