package storetest

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

func stored(layer model.Layer, collection, name string) model.StoredResource {
	return model.StoredResource{
		Layer: layer, Version: "sha256:" + name, UpdatedAt: at(7), UpdatedBy: "alice", Reason: "why",
		ResourceSpec: model.ResourceSpec{Collection: collection, Name: name, ResourceBody: model.ResourceBody{Type: "a/b", Fields: []byte(`{"x":1}`)}},
	}
}

func collection(layer model.Layer, name string, resources ...string) model.LayerCollection {
	c := model.LayerCollection{Layer: layer, Name: name}
	for _, r := range resources {
		c.Resources = append(c.Resources, stored(layer, name, r))
	}
	return c
}

func collectionsRoundTrip(t *testing.T, s service.Store) {
	a, b, c := collection("global", "flags", "x", "y"), collection("global", "flags/more", "x"), collection("team/pay", "flags", "x")
	declared := model.DeclaredCollection{CollectionSpec: model.CollectionSpec{Name: "flags", Type: "acme.Flag", Lists: []model.ListKey{{Path: "rules", Key: "name"}}}, Version: "1", UpdatedAt: at(3), UpdatedBy: "alice"}
	must(t, s.WriteCollections(t.Context(), model.CollectionChanges{Collections: []model.LayerCollection{c, b, a}, Declarations: []model.DeclaredCollection{declared}},
		[]model.AuditEntry{audit("resource.apply", "collection/flags")}))
	got, err := s.GetCollection(t.Context(), "team/pay", "flags")
	must(t, err)
	if got.Revision == 0 {
		t.Error("it has no revision")
	}
	got.Revision = 0
	same(t, "collection", got, c)
	none, err := s.GetCollection(t.Context(), "team/pay", "none")
	must(t, err)
	same(t, "no collection", none, model.LayerCollection{Layer: "team/pay", Name: "none"})

	var names []string
	for after := ""; ; {
		page, err := s.ListCollections(t.Context(), "", after, 1)
		must(t, err)
		if len(page) == 0 {
			break
		}
		names = append(names, string(page[0].Layer)+" "+page[0].Name)
		after = string(page[0].Layer) + "\n" + page[0].Name
	}
	same(t, "all", names, []string{"global flags", "global flags/more", "team/pay flags"})
	of, err := s.ListCollections(t.Context(), "global", "", 10)
	must(t, err)
	if len(of) != 2 {
		t.Errorf("the layer has %d collections", len(of))
	}
	declarations, err := s.ListDeclarations(t.Context())
	must(t, err)
	if len(declarations) != 1 || declarations[0].Revision == 0 {
		t.Fatalf("declared are %+v", declarations)
	}
	declarations[0].Revision = 0
	same(t, "declaration", declarations[0], declared)
	entries, _, err := s.ListAudit(t.Context(), "collection/flags", 0, 10)
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("the audit has %v", entries)
	}
}

func collectionsSwap(t *testing.T, s service.Store) {
	write := func(collections ...model.LayerCollection) error {
		return s.WriteCollections(t.Context(), model.CollectionChanges{Collections: collections}, []model.AuditEntry{audit("resource.apply", "collection/flags")})
	}
	must(t, write(collection("global", "flags", "x"), collection("global", "other", "x")))
	first, err := s.GetCollection(t.Context(), "global", "flags")
	must(t, err)
	second := collection("global", "flags", "x", "y")
	second.Revision = first.Revision
	must(t, write(second))
	// What is based on the first, or on nothing, is refused, and with it all that comes along.
	wantKind(t, write(second), model.ErrConflict)
	wantKind(t, write(collection("global", "new", "x"), collection("global", "flags", "x")), model.ErrConflict)
	none, err := s.GetCollection(t.Context(), "global", "new")
	must(t, err)
	if len(none.Resources) != 0 {
		t.Error("a part of what was refused was written")
	}
	now, err := s.GetCollection(t.Context(), "global", "flags")
	must(t, err)
	if len(now.Resources) != 2 {
		t.Errorf("it has %d resources", len(now.Resources))
	}
	now.Resources = nil
	must(t, write(now))
	if left, err := s.ListCollections(t.Context(), "", "", 10); err != nil || len(left) != 1 || left[0].Name != "other" {
		t.Errorf("left are %v, %v", left, err)
	}
	entries, _, err := s.ListAudit(t.Context(), "collection/flags", 0, 10)
	must(t, err)
	if len(entries) != 3 {
		t.Errorf("%d entries of 3 changes", len(entries))
	}
	var many []model.LayerCollection
	for i := range service.MaxBatch {
		many = append(many, collection("global", fmt.Sprintf("c%d", i), "x"))
	}
	wantKind(t, write(many...), model.ErrInvalid)
}

func typesRoundTrip(t *testing.T, s service.Store) {
	content := bytes.Repeat([]byte("descriptors "), 4000)
	set := model.TypeSet{Name: "acme", Digest: model.Digest(content), Size: len(content), Messages: []string{"acme.Flag"}, UpdatedAt: at(4), UpdatedBy: "alice", Reason: "why"}
	must(t, s.PutTypes(t.Context(), set, content, audit("types.register", "types/acme")))
	got, err := s.ListTypes(t.Context())
	must(t, err)
	if len(got) != 1 || got[0].Revision == 0 {
		t.Fatalf("registered are %+v", got)
	}
	next := got[0]
	got[0].Revision = 0
	same(t, "types", got[0], set)
	back, err := s.GetDescriptors(t.Context(), set.Digest)
	must(t, err)
	if !bytes.Equal(back, content) {
		t.Error("the descriptors came back changed")
	}
	_, err = s.GetDescriptors(t.Context(), model.Digest([]byte("none")))
	wantKind(t, err, model.ErrNotFound)
	wantKind(t, s.PutTypes(t.Context(), set, content, audit("types.register", "types/acme")), model.ErrConflict)
	// What was registered before stays, for the releases that hold it.
	next.Digest, next.Size = model.Digest([]byte("new")), 3
	must(t, s.PutTypes(t.Context(), next, []byte("new"), audit("types.register", "types/acme")))
	if _, err := s.GetDescriptors(t.Context(), set.Digest); err != nil {
		t.Errorf("the earlier descriptors: %v", err)
	}
}
