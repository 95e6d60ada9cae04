package distributor

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/distributor/store"
	"github.com/waft-project/waft/distributor/store/etcdtest"
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
	pushed := s.untagged(t, "filters/authz", "pushed")
	if used("a", pushed.Digest) {
		t.Error("one with inline modules that its first store does not know is that one's alone, since that knows something else that is there")
	}
	forget()
	if !used("a", pushed.Digest, ref.Digest) {
		t.Error("one of which its first store knows both is not that one's")
	}
	forget()
	if used("--etcd") || used("a", ref.Digest) {
		t.Error("one that a store elsewhere has used, as replicas of before wrote, is one's alone")
	}
}

// A registry in which there are only artifacts that were pushed, and that no store has noted, is a store's that names one of them, and may be another one's where it names none.
func TestUsedWithWhatWasPushed(t *testing.T) {
	s := openShop(t, t.TempDir(), self)
	dir := filepath.Join(s.dir, registryFolder)
	pushed := s.untagged(t, "filters/authz", "pushed")
	for name, want := range map[registry.Digest]bool{"sha256:other": false, pushed.Digest: true} {
		only, err := usedWith(dir, "a", map[string]bool{string(name): true})
		if err != nil || only != want {
			t.Errorf("a store that names %s: it is its registry alone: %v, want %v (%v)", name, only, want, err)
		}
		if err := os.Remove(filepath.Join(dir, storesFile)); err != nil {
			t.Fatal(err)
		}
	}
}

// A replica that etcd tells nothing, or whose etcd is of another version of waft, removes nothing.
func TestReplicaThatIsToldNothingSweepsNothing(t *testing.T) {
	s := openShop(t, t.TempDir(), self)
	dir := filepath.Join(s.dir, registryFolder)
	if _, err := s.Keep(t.Context(), service.InlineModule{Layer: "global", Filter: "authz", InlineDraft: service.InlineDraft{Wasm: takeable(t, "kept")}}); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * inlineGrace)
	if err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && filepath.Base(path) == "link" {
			err = os.Chtimes(path, old, old)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	before, err := inlineArtifacts(dir)
	if err != nil || len(before) == 0 {
		t.Fatalf("there are %d inline modules (%v)", len(before), err)
	}
	etcd := etcdtest.Start(t, 1)
	client, err := store.Connect(store.External{Endpoints: etcd.Endpoints}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	sweep := func(what string) error {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		err := sweepReplica(ctx, dir, client, slog.New(slog.DiscardHandler))
		if kept, listErr := inlineArtifacts(dir); listErr != nil || len(kept) != len(before) {
			t.Errorf("%s: %d of %d inline modules are left (%v)", what, len(kept), len(before), listErr)
		}
		return err
	}
	if err := sweep("an etcd without a store"); err != nil {
		t.Error(err)
	}
	if _, err := client.Put(t.Context(), "/waft/v1/schema", `{"version":1000}`); err != nil {
		t.Fatal(err)
	}
	if err := sweep("an etcd of another version"); err != nil {
		t.Error(err)
	}
	etcd.Stop(0)
	if err := sweep("an etcd that does not answer"); !errors.Is(err, model.ErrUnavailable) {
		t.Errorf("an etcd that does not answer: %v", err)
	}
	if noted, err := notedStores(dir); err != nil || len(noted) > 0 {
		t.Errorf("it is noted that %v have used it (%v)", noted, err)
	}
}
