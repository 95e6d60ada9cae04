package distributor

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/retention"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/registry"
)

// A tag of which a crash has left nothing takes nothing away; nor does one that says of what a release names that it is attached to what none does.
func TestSweepOfADamagedRegistry(t *testing.T) {
	s := openShop(t, t.TempDir(), self)
	keep := func(text string) registry.Digest {
		t.Helper()
		reference, err := s.Keep(t.Context(), service.InlineModule{Layer: "global", Filter: "authz", InlineDraft: service.InlineDraft{Wasm: takeable(t, text)}})
		if err != nil {
			t.Fatal(err)
		}
		ref, err := registry.ParseReference(reference)
		if err != nil {
			t.Fatal(err)
		}
		return ref.Digest
	}
	needed, unneeded := keep("needed"), keep("unneeded")
	manifests := filepath.Join(s.dir, registryFolder, filepath.FromSlash(retention.Layout), "repositories", "inline", "global", "authz", "_manifests")
	has := func(d registry.Digest) bool {
		_, err := os.Stat(filepath.Join(manifests, "revisions", "sha256", d.Hex(), "link"))
		return err == nil
	}
	tag := filepath.Join(manifests, "tags", retention.AttachedPrefix+unneeded.Hex()+".sig", "current")
	if err := os.MkdirAll(tag, 0o700); err != nil {
		t.Fatal(err)
	}
	sweep := func(link string) error {
		t.Helper()
		if err := os.WriteFile(filepath.Join(tag, "link"), []byte(link), 0o600); err != nil {
			t.Fatal(err)
		}
		return sweepInline(filepath.Join(s.dir, registryFolder), map[string]bool{string(needed): true}, time.Now().Add(inlineGrace), slog.New(slog.DiscardHandler))
	}
	for _, link := range []string{"", "sha256:", "sha256:../../../../x", "needed"} {
		if err := sweep(link); err == nil || !strings.Contains(err.Error(), "tag "+retention.AttachedPrefix) {
			t.Errorf("a tag that holds %q: %v", link, err)
		}
		if !has(needed) || !has(unneeded) {
			t.Fatalf("a tag that holds %q: what a release names is there: %v, the other: %v", link, has(needed), has(unneeded))
		}
	}
	if err := sweep(string(needed)); err != nil || !has(needed) || has(unneeded) {
		t.Errorf("%v; what a release names is there: %v, the other: %v", err, has(needed), has(unneeded))
	}
}

// What is attached to an image, and what lists such things, is no image that goes for want of a release that names it: it goes with what it belongs to.
func TestWhatIsNoImageDoesNotGoByItself(t *testing.T) {
	digest := func(text string) registry.Digest { return registry.DigestOf([]byte(text)) }
	const needed = `{"config":{"digest":"sha256:c1"}}`
	for what, text := range map[string]string{
		"attached to one that a release names":      `{"subject":{"digest":"` + string(digest(needed)) + `"}}`,
		"attached to one by an algorithm not known": `{"subject":{"digest":"sha512:00"}}`,
		"a list":                  `{"manifests":[{"digest":"` + string(digest(needed)) + `"}]}`,
		"an empty list":           `{"manifests":[]}`,
		"a list that is attached": `{"manifests":[],"subject":{"digest":"` + string(digest(needed)) + `"}}`,
	} {
		r := inlineRepository{manifests: map[registry.Digest]storedManifest{}}
		for _, text := range []string{needed, text} {
			m, err := parseStored([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			r.manifests[digest(text)] = m // pushed long ago
		}
		if gone := r.unneeded(map[string]bool{string(digest(needed)): true}, time.Now()); len(gone) > 0 {
			t.Errorf("%s goes", what)
		}
	}
}

// FuzzUnneeded sweeps a repository into which anybody may have pushed. Nothing goes that a release names, or that was not there, or that is new.
func FuzzUnneeded(f *testing.F) {
	digest := func(text string) registry.Digest { return registry.DigestOf([]byte(text)) }
	image := `{"config":{"digest":"` + string(digest("config")) + `"},"layers":[{"digest":"` + string(digest("layer")) + `"}]}`
	attached := `{"config":{"digest":"` + string(digest("config")) + `"},"subject":{"digest":"` + string(digest(image)) + `"}}`
	list := `{"manifests":[{"digest":"` + string(digest(attached)) + `"}]}`
	f.Add(image, attached, list, retention.AttachedPrefix+digest(image).Hex()+".sig", uint8(0), uint8(1), false)
	f.Add(image, attached, list, "1.0.0", uint8(0), uint8(2), true)
	f.Add(image, image+" ", attached, retention.AttachedPrefix+digest(image).Hex(), uint8(1), uint8(1), false)
	f.Fuzz(func(t *testing.T, first, second, third, tag string, tagged, named uint8, fresh bool) {
		now := time.Now()
		r := inlineRepository{manifests: map[registry.Digest]storedManifest{}, tags: map[string]registry.Digest{}}
		texts := []string{first, second, third}
		for i, text := range texts {
			m, err := parseStored([]byte(text))
			if err != nil {
				return // nothing of the repository is swept
			}
			if m.pushed = now.Add(-inlineGrace); i == 0 && fresh {
				m.pushed = now
			}
			r.manifests[digest(text)] = m
		}
		r.tags[tag] = digest(texts[int(tagged)%len(texts)])
		needed := digest(texts[int(named)%len(texts)])
		gone := r.unneeded(map[string]bool{string(needed): true}, now)
		if gone[needed] {
			t.Errorf("%s goes, and a release names it: %q, the tag %q is of %s", needed, texts, tag, r.tags[tag])
		}
		for d := range gone {
			if _, there := r.manifests[d]; !there {
				t.Errorf("%q goes, and is none of %q", d, texts)
			}
		}
		if m := r.manifests[digest(first)]; fresh && m.image && first != second && first != third && gone[digest(first)] && !strings.HasPrefix(tag, retention.AttachedPrefix) {
			t.Errorf("%q goes, and is new", first)
		}
		if !strings.HasPrefix(tag, retention.AttachedPrefix) && r.manifests[r.tags[tag]].image && gone[r.tags[tag]] {
			t.Errorf("%s goes, and has the tag %q", r.tags[tag], tag)
		}
	})
}
