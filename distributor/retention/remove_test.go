package retention

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/registry"
)

// disk is a registry's folder that is written as distribution writes it.
type disk struct {
	t   *testing.T
	dir string
}

func (d disk) write(path string, content []byte) {
	d.t.Helper()
	path = filepath.Join(d.dir, filepath.FromSlash(Layout), filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		d.t.Fatal(err)
	}
	old := time.Now().Add(-1000 * day)
	if err := os.Chtimes(path, old, old); err != nil {
		d.t.Fatal(err)
	}
}

func (d disk) blob(content []byte) registry.Descriptor {
	digest := registry.DigestOf(content)
	d.write("blobs/sha256/"+digest.Hex()[:2]+"/"+digest.Hex()+"/data", content)
	return registry.Descriptor{Digest: digest, Size: int64(len(content))}
}

func (d disk) layer(repository, text string) registry.Descriptor {
	blob := d.blob([]byte(text))
	d.write("repositories/"+repository+"/_layers/sha256/"+blob.Digest.Hex()+"/link", []byte(blob.Digest))
	return blob
}

func (d disk) manifest(repository string, what map[string]any, tags ...string) registry.Descriptor {
	d.t.Helper()
	text, err := json.Marshal(what)
	if err != nil {
		d.t.Fatal(err)
	}
	m := d.blob(text)
	d.write("repositories/"+repository+"/_manifests/revisions/sha256/"+m.Digest.Hex()+"/link", []byte(m.Digest))
	for _, tag := range tags {
		d.write("repositories/"+repository+"/_manifests/tags/"+tag+"/current/link", []byte(m.Digest))
		d.write("repositories/"+repository+"/_manifests/tags/"+tag+"/index/sha256/"+m.Digest.Hex()+"/link", []byte(m.Digest))
	}
	return m
}

// files are the files of the registry, without what is kept beside it.
func (d disk) files() map[string]bool {
	d.t.Helper()
	all := map[string]bool{}
	root := filepath.Join(d.dir, filepath.FromSlash(Layout))
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			all[strings.TrimPrefix(path, root)] = true
		}
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return all
}

// Wherever a removal ends, what is left can be read, all that is needed is there, and the next look goes on to the same end.
func TestRemovalThatIsCutOff(t *testing.T) {
	errCut := errors.New("the machine has stopped")
	var whole map[string]bool
	for cut := 0; ; cut++ {
		d := disk{t, t.TempDir()}
		shared := d.layer("a", "shared")
		d.layer("b/c", "shared")
		kept := d.manifest("a", map[string]any{"layers": []any{shared, d.layer("a", "kept")}})
		d.manifest("a", map[string]any{"layers": []any{d.layer("a", "signature")}, "subject": kept})
		gone := d.manifest("a", map[string]any{"layers": []any{shared, d.layer("a", "gone")}})
		d.manifest("a", map[string]any{"manifests": []any{gone}})
		d.manifest("a", map[string]any{"manifests": []any{d.manifest("a", map[string]any{"layers": []any{d.layer("a", "signature of what goes")}, "subject": gone})}}, "sha256-"+gone.Digest.Hex())
		d.manifest("b/c", map[string]any{"layers": []any{shared, d.layer("b/c", "alone")}})
		d.layer("b/c", "left")
		d.blob([]byte("of nobody"))

		named := Named{kept.Digest: "release edge"}
		policy := Policy{After: time.Hour}
		c := NewCollector(d.dir, NewUses(http.NotFoundHandler()), policy, slog.New(slog.DiscardHandler))
		record := func(context.Context, Removal) error { return nil }
		steps := 0
		c.reader.removeAll = func(path string) error {
			if steps++; steps > cut {
				return errCut
			}
			return os.RemoveAll(path)
		}
		if out, err := c.Look(t.Context(), named, 0, record); err != nil || out.Freed > 0 {
			t.Fatalf("at once: %d bytes (%v)", out.Freed, err)
		}
		_, err := c.Look(t.Context(), named, time.Hour, record)
		if err != nil && !errors.Is(err, errCut) {
			t.Fatalf("cut %d: %v", cut, err)
		}
		// Another process.
		c = NewCollector(d.dir, NewUses(http.NotFoundHandler()), policy, slog.New(slog.DiscardHandler))
		all, readErr := c.reader.read(t.Context())
		if readErr != nil {
			t.Fatalf("cut %d: what is left cannot be read: %v", cut, readErr)
		}
		for _, r := range all.Repositories {
			for digest, m := range r.Manifests {
				for _, part := range m.Manifests {
					if _, there := r.Manifests[part]; !there {
						t.Errorf("cut %d: an index is there without %s", cut, part)
					}
				}
				for _, b := range m.Blobs {
					if _, there := all.Blobs[b]; !there || r.Layers[b].IsZero() && digest == kept.Digest {
						t.Errorf("cut %d: %s is there without the blob %s", cut, digest, b)
					}
				}
			}
		}
		for _, watched := range []time.Duration{time.Hour, time.Hour, time.Hour} {
			if _, err := c.Look(t.Context(), named, watched, record); err != nil {
				t.Fatalf("cut %d: the next look: %v", cut, err)
			}
		}
		left := d.files()
		for path := range left {
			if !strings.HasPrefix(path, "/blobs/") && !strings.HasPrefix(path, "/repositories/a/") {
				t.Errorf("cut %d: %s is left", cut, path)
			}
		}
		if want := 5; len(left) < want {
			t.Errorf("cut %d: there are %d files left", cut, len(left))
		}
		switch {
		case whole == nil:
			whole = left
		case len(whole) != len(left):
			t.Errorf("cut %d: %d files are left, and otherwise %d", cut, len(left), len(whole))
		}
		if err == nil {
			break
		}
	}
	if got, want := len(whole), 2+3+2+3; got != want { // manifests, layers and their blobs
		t.Errorf("%d files are left, want %d", got, want)
	}
}

// Whatever a machine that loses its power had written of a removal: no manifest is left whose layers are gone, no layer whose bytes are. A disk writes different folders in any order, unless it is told to.
func TestRemovalIsOnDiskInItsOrder(t *testing.T) {
	d := disk{t, t.TempDir()}
	image := d.manifest("a", map[string]any{"layers": []any{d.layer("a", "gone")}})
	d.manifest("a", map[string]any{"signature": true}, AttachedPrefix+image.Digest.Hex()+".sig")
	c := d.collector(answering())
	unwritten, removed := map[string]bool{}, map[string]int{}
	c.reader.removeAll = func(path string) error {
		kind := "bytes"
		for _, of := range []string{manifestsFolder, layersFolder} {
			if strings.Contains(path, "/"+of+"/") {
				kind = of
			}
		}
		for dir := range unwritten {
			if kind == layersFolder && strings.Contains(dir, "/"+manifestsFolder+"/") || kind == "bytes" {
				t.Errorf("%s goes before it is on disk what has gone from %s", path, dir)
			}
		}
		if removed[kind]++; kind != "bytes" {
			unwritten[filepath.Dir(path)] = true
		}
		return os.RemoveAll(path)
	}
	c.reader.flush = func(dir string) error {
		delete(unwritten, dir)
		return flushDir(dir)
	}
	look(t, c, 0, nil)
	look(t, c, time.Hour, nil)
	if removed[manifestsFolder] != 3 || removed[layersFolder] != 1 || removed["bytes"] != 3 || len(d.files()) > 0 {
		t.Errorf("there were removed %v, and left is %v", removed, d.files())
	}
}

// A manifest that cannot be read may name all that is in its repository, and a tag any of it: all of that stays, and waits anew once they can be; the rest goes.
func TestUnreadableSparesItsRepository(t *testing.T) {
	data := func(d disk, of registry.Descriptor) string {
		return filepath.Join(d.dir, filepath.FromSlash(Layout), "blobs", "sha256", of.Digest.Hex()[:2], of.Digest.Hex(), "data")
	}
	current := func(d disk) string {
		return filepath.Join(d.dir, filepath.FromSlash(Layout), "repositories", "a", manifestsFolder, "tags", "v1", "current", "link")
	}
	for what, damage := range map[string]func(d disk, index registry.Descriptor) error{
		"a manifest without bytes": func(d disk, index registry.Descriptor) error { return os.Remove(data(d, index)) },
		"a manifest that was cut":  func(d disk, index registry.Descriptor) error { return os.Truncate(data(d, index), 10) },
		"a manifest of other bytes": func(d disk, index registry.Descriptor) error {
			return os.WriteFile(data(d, index), []byte(`[]`), 0o600)
		},
		"a tag that is empty": func(d disk, _ registry.Descriptor) error { return os.Truncate(current(d), 0) },
		"a tag that was cut":  func(d disk, _ registry.Descriptor) error { return os.Truncate(current(d), 20) },
	} {
		t.Run(what, func(t *testing.T) {
			d := disk{t, t.TempDir()}
			image := d.manifest("a", map[string]any{"layers": []any{d.layer("a", "of the image")}})
			index := d.manifest("a", map[string]any{"manifests": []any{image}}, "v1")
			layer := d.layer("a", "alone")
			other := d.manifest("b", map[string]any{"layers": []any{d.layer("b", "of the other"), d.layer("b", "alone")}})
			c := d.collector(answering())
			look(t, c, 0, nil)
			whole := map[string][]byte{}
			for _, path := range []string{data(d, index), current(d)} {
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				whole[path] = text
			}
			if err := damage(d, index); err != nil {
				t.Fatal(err)
			}
			out, err := d.collector(answering()).Look(t.Context(), nil, time.Hour, func(context.Context, Removal) error { return nil }) // another process: this one has read it
			if err != nil || len(out.Unreadable) != 1 || out.Unreadable["a"] == nil || d.has("b", other.Digest) {
				t.Errorf("what cannot be read is %v; in the other repository there is still an artifact: %v (%v)", out.Unreadable, d.has("b", other.Digest), err)
			}
			files := d.files()
			for _, path := range []string{"_manifests/revisions/sha256/" + image.Digest.Hex(), "_manifests/revisions/sha256/" + index.Digest.Hex(), "_layers/sha256/" + layer.Digest.Hex()} {
				if !files["/repositories/a/"+path+"/link"] {
					t.Errorf("%s is gone", path)
				}
			}
			if !d.has("a", image.Digest) || !files["/blobs/sha256/"+layer.Digest.Hex()[:2]+"/"+layer.Digest.Hex()+"/data"] {
				t.Errorf("there are left %v", files)
			}
			for path, text := range whole {
				if err := os.WriteFile(path, text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			c = d.collector(answering())
			for i, want := range []int{0, 1} {
				if out := look(t, c, time.Hour, nil); len(out.Layers) != want || len(out.Unreadable) > 0 || !d.has("a", image.Digest) {
					t.Errorf("once it can be read, look %d: there go %v, and the image is there: %v", i, out.Layers, d.has("a", image.Digest))
				}
			}
		})
	}
}

// What says for how long things were unneeded may be damaged: then they wait anew.
func TestWaitsThatAreDamaged(t *testing.T) {
	for _, text := range []string{"", "{", `{"unneededForSeconds":{"a@sha256:1":1e9}}`, `{"unneededForSeconds":{"a@` + string(digest("left")) + `":-1}}`, `{"unneededForSeconds":{"a@` + string(digest("left")) + `":1e300}}`} {
		d := disk{t, t.TempDir()}
		d.layer("a", "left")
		if err := os.WriteFile(filepath.Join(d.dir, WaitsFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c := NewCollector(d.dir, NewUses(http.NotFoundHandler()), Policy{After: time.Hour}, slog.New(slog.DiscardHandler))
		for i, want := range []int{0, 1} {
			out, err := c.Look(t.Context(), nil, time.Hour, func(context.Context, Removal) error { return nil })
			if err != nil || len(out.Layers) != want {
				t.Errorf("%q: look %d: there go %v (%v)", text, i, out.Layers, err)
			}
		}
	}
}

func FuzzWaits(f *testing.F) {
	f.Add([]byte(`{"unneededForSeconds":{"a/b@` + string(digest("x")) + `":3600.5}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		waits, err := parseWaits(text)
		if err != nil {
			return
		}
		for of, waited := range waits {
			if waited < 0 || !of.Digest.Valid() {
				t.Errorf("%v has waited for %s", of, waited)
			}
		}
	})
}
