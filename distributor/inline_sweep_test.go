package distributor

import (
	"crypto/ed25519"
	"encoding/hex"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/retention"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
)

// takeable is a module that Envoy would take, and does nothing; text makes it one of its own.
func takeable(t *testing.T, text string) []byte {
	t.Helper()
	wasm, err := hex.DecodeString("0061736d01000000010e0360000060017f017f60027f7f0003050400000102050401010110075e041770726f78795f6162695f76657273696f6e5f305f325f3100000b5f696e697469616c697a6500011870726f78795f6f6e5f6d656d6f72795f616c6c6f6361746500021770726f78795f6f6e5f636f6e746578745f63726561746500030a0f0402000b02000b040041000b02000b")
	if err != nil {
		t.Fatal(err)
	}
	return append(append(wasm, 0, byte(len(text)+2), 1, 'x'), text...)
}

// What no release names goes, with its signatures and its bytes; what one names, what is new, what has a tag, and what any other repository has, stays.
func TestInlineModulesAreSwept(t *testing.T) {
	const layer, filter = "team/payments", "authz"
	s := openShop(t, t.TempDir(), self)
	signer, err := signing.FromPrivateKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	keep := func(text string) registry.Artifact {
		t.Helper()
		reference, err := s.Keep(t.Context(), service.InlineModule{Layer: layer, Filter: filter, InlineDraft: service.InlineDraft{Wasm: takeable(t, text)}})
		if err != nil {
			t.Fatal(err)
		}
		ref, err := registry.ParseReference(reference)
		if err != nil {
			t.Fatal(err)
		}
		a, err := s.client.Resolve(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	named, unnamed, fresh, shared := keep("named"), keep("unnamed"), keep("fresh"), keep("shared")
	for _, a := range []registry.Artifact{named, unnamed} {
		for range 2 { // the list of what is attached is written anew each time
			if _, err := signing.Sign(t.Context(), s.client, a, signer); err != nil {
				t.Fatal(err)
			}
		}
	}
	tagged := s.publish(t, self+"/inline/"+layer+"/"+filter+":by-hand", takeable(t, "tagged"), nil)
	other := s.publish(t, self+"/filters/authz:1", takeable(t, "shared"), nil)

	root := filepath.Join(s.dir, "registry", filepath.FromSlash(retention.Layout))
	revisions := filepath.Join(root, "repositories", "inline", "team", "payments", filter, "_manifests", "revisions", "sha256")
	entries, err := os.ReadDir(revisions)
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-inlineGrace)
	for _, e := range entries {
		if e.Name() == fresh.Digest.Hex() {
			continue
		}
		if err := os.Chtimes(filepath.Join(revisions, e.Name(), "link"), old, old); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // a second time there is nothing to do
		if err := sweepInline(filepath.Join(s.dir, "registry"), map[string]bool{string(named.Digest): true}, time.Now(), slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
	}
	if entries, err = os.ReadDir(revisions); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d manifests are left", len(entries))

	// Read as whoever comes after a restart reads it.
	again := openShop(t, s.dir, self)
	there := func(a registry.Artifact) bool {
		_, err := again.client.Resolve(t.Context(), a.Reference)
		return err == nil
	}
	blob := func(d registry.Digest) bool {
		_, err := os.Stat(filepath.Join(root, "blobs", "sha256", d.Hex()[:2], d.Hex(), "data"))
		return err == nil
	}
	for what, tc := range map[string]struct {
		registry.Artifact
		image, bytes bool
	}{
		"one that a release names":           {named, true, true},
		"one that no release names":          {unnamed, false, false},
		"one that was just pushed":           {fresh, true, true},
		"one whose bytes are elsewhere, too": {shared, false, true},
		"one with a tag":                     {tagged, true, true},
		"one of another repository":          {other, true, true},
	} {
		if got := there(tc.Artifact); got != tc.image {
			t.Errorf("%s: it is there: %v", what, got)
		}
		if got := blob(tc.Module.Digest); got != tc.bytes {
			t.Errorf("%s: its bytes are there: %v", what, got)
		}
	}
	if ev, err := signing.Collect(t.Context(), again.client, named); err != nil || len(ev.Evidence) == 0 {
		t.Errorf("the signatures of one that a release names: %v, %v", ev, err)
	}
	if _, _, err := again.client.PullArtifact(t.Context(), named, nil); err != nil {
		t.Errorf("one that a release names cannot be pulled: %v", err)
	}
}
