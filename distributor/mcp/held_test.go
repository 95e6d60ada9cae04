package mcp

import (
	"fmt"
	"testing"

	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
)

// claims are versions that a sink says it holds: so many, the first of them given.
func claims(n, nameBytes int, first ...string) map[string]string {
	held := map[string]string{}
	for i := range n {
		held[fmt.Sprintf("%0*d", nameBytes, i)] = "v"
	}
	for i := 0; i+1 < len(first); i += 2 {
		held[first[i]] = first[i+1]
	}
	return held
}

// What a sink says that it holds is believed as far as a node can hold it, over all its collections; beyond that it is sent the whole collection, which is right
// whatever it holds.
func TestHeldIsBounded(t *testing.T) {
	c := filters("a", "1")
	first := func(held map[string]string) *mcpv1.RequestResources {
		return &mcpv1.RequestResources{Collection: c.Name, Incremental: true, InitialResourceVersions: held}
	}
	for name, tc := range map[string]struct {
		held  map[string]string
		room  int
		whole bool
	}{
		"what it has":         {claims(0, 0, "a", "1"), MaxHeldBytes, false},
		"as many as may be":   {claims(MaxHeld-1, 8, "a", "1"), MaxHeldBytes, false},
		"more than may be":    {claims(MaxHeld, 8, "a", "1"), MaxHeldBytes, true},
		"more bytes":          {claims(100, 1000, "a", "1"), 100_000, true},
		"nothing, of no room": {nil, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := &subscription{collection: c.Name}
			s.take(first(tc.held), tc.room)
			if tc.whole != (s.held == nil) || tc.whole && s.claimed != 0 {
				t.Fatalf("it remembers %d, %d bytes", len(s.held), s.claimed)
			}
			ch, due := s.next(c)
			if !due || ch.incremental == tc.whole {
				t.Fatalf("it sends %+v, %v", ch, due)
			}
			s.sent("1", c, "")
			s.take(&mcpv1.RequestResources{Collection: c.Name, Incremental: true, ResponseNonce: "1"}, 0)
			if len(s.held) != 1 || s.claimed != 0 {
				t.Errorf("after the ACK it remembers %d, of which it claims %d bytes", len(s.held), s.claimed)
			}
		})
	}
}

// Over all collections of a stream, too.
func TestHeldOfAStreamIsBounded(t *testing.T) {
	b := newTable()
	b.set(filters("a", "1"))
	conn, _, _ := serve(t, b)
	w := open(t, conn)
	const each = 900
	for i := range 8 {
		name := fmt.Sprint("flags/", i)
		w.send(&mcpv1.RequestResources{SinkNode: &mcpv1.SinkNode{Id: "node-1"}, Collection: name, Incremental: true, InitialResourceVersions: claims(each, 800)})
		m, err := w.stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		// Each claims some 780 kB, and the answer to the sixth no more says what of that is to go, but that there is nothing.
		if fits := (i+1)*each*(801+heldOverhead) <= MaxHeldBytes; m.GetIncremental() != fits || fits != (len(m.GetRemovedResources()) == each) {
			t.Errorf("collection %d: incremental %v, %d removed", i, m.GetIncremental(), len(m.GetRemovedResources()))
		}
	}
}
