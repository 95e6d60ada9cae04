package distributor

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/registry"
)

// A registry is a store's alone where it was never used with another one, as far as is written down, and before that where the store knows what is in it.
func TestUsedWith(t *testing.T) {
	s := openShop(t, t.TempDir(), self)
	dir := filepath.Join(s.dir, registryFolder)
	used := func(store string, named ...registry.Digest) bool {
		t.Helper()
		known := map[string]bool{}
		for _, d := range named {
			known[string(d)] = true
		}
		only, err := usedWith(dir, store, known)
		if err != nil {
			t.Fatal(err)
		}
		return only
	}
	forget := func() {
		t.Helper()
		if err := os.Remove(filepath.Join(dir, storesFile)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if !used("a") {
			t.Error("a registry without inline modules is not its first store's")
		}
	}
	if used("b") || used("a") {
		t.Error("one that two stores have used is one's alone")
	}
	forget()
	reference, err := s.Keep(t.Context(), service.InlineModule{Layer: "global", Filter: "authz", InlineDraft: service.InlineDraft{Wasm: takeable(t, "kept")}})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := registry.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	if used("a", "sha256:other") || used("a", ref.Digest) {
		t.Error("one with modules that its first store does not know is that one's alone")
	}
	forget()
	for range 2 {
		if !used("a", ref.Digest) {
			t.Error("one with a module that its first store knows is not that one's")
		}
	}
	forget()
	if used(storeElsewhere) || used("a", ref.Digest) {
		t.Error("one that a store elsewhere has used is one's alone")
	}
}
