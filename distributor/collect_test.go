package distributor

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/retention"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
)

// counted is a collector of a shop's registry.
type counted struct {
	*retention.Collector
	dir      string
	named    retention.Named
	recorded []string
	refuse   error
}

const retained = 24 * time.Hour

func (s *shop) collector() *counted {
	policy := retention.Policy{After: retained, Documents: "waft/releases"}
	return &counted{dir: filepath.Join(s.dir, registryFolder), Collector: retention.NewCollector(filepath.Join(s.dir, registryFolder), s.embedded, policy, slog.New(slog.DiscardHandler)), named: retention.Named{}}
}

// look looks, as if so much time had passed.
func (c *counted) look(t *testing.T, watched time.Duration) retention.Collected {
	t.Helper()
	out, err := c.tryLook(watched)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// age has all that is in the registry be there for long: nothing is unneeded for longer than it is there.
func (c *counted) age() error {
	old := time.Now().Add(-1000 * retained)
	return filepath.WalkDir(c.dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && (filepath.Base(path) == "link" || filepath.Base(path) == "data") {
			err = os.Chtimes(path, old, old)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // somebody pushes
		}
		return err
	})
}

func (c *counted) tryLook(watched time.Duration) (retention.Collected, error) {
	if err := c.age(); err != nil {
		return retention.Collected{}, err
	}
	return c.Look(context.Background(), c.named, watched, func(_ context.Context, gone retention.Removal) error {
		if c.refuse != nil {
			return c.refuse
		}
		for _, a := range collected(gone) {
			c.recorded = append(c.recorded, a.Repository+"@"+a.Digest)
		}
		return nil
	})
}

// bytesOn is what the registry has on the disk.
func (s *shop) bytesOn(t *testing.T) (total int64) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(s.dir, registryFolder), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			info, infoErr := d.Info()
			if err = infoErr; err == nil {
				total += info.Size()
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// untagged pushes a module by its digest alone.
func (s *shop) untagged(t *testing.T, repository, text string) registry.Artifact {
	t.Helper()
	ref, err := registry.ParseReference(self + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	const header = 8
	content := append(wasm("")[:header:header], bytes.Repeat(wasm(text)[header:], 5_000)...) // large enough to be seen on the disk
	module := registry.Module{Content: bytes.NewReader(content), Size: int64(len(content)), Name: "f", Untagged: true}
	a, err := s.client.Push(t.Context(), ref, module, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (s *shop) sign(t *testing.T, a registry.Artifact) {
	t.Helper()
	signer, err := signing.FromPrivateKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the list of what is attached is written anew each time
		if _, err := signing.Sign(t.Context(), s.client, a, signer); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *shop) pull(t *testing.T, a registry.Artifact) error {
	t.Helper()
	resolved, err := s.client.Resolve(t.Context(), a.Reference.InRepository().AtDigest(a.Digest))
	if err != nil {
		return err
	}
	f, _, err := s.client.Cache().Open(a.Module.Digest)
	if err == nil { // the copy would answer for the registry
		f.Close()
	}
	request := httptest.NewRequest(http.MethodGet, "/v2/"+resolved.Reference.Repository+"/blobs/"+string(resolved.Module.Digest), nil)
	answer := httptest.NewRecorder()
	s.embedded.ServeHTTP(answer, request)
	if answer.Code != http.StatusOK || registry.DigestOf(answer.Body.Bytes()) != resolved.Module.Digest {
		return fmt.Errorf("its module is answered by %d", answer.Code)
	}
	return nil
}

// What nothing needs goes, with its signatures and its bytes, once that was so for long enough; what a release names, what a tag names, and what is pulled, stays, and can be pulled.
func TestArtifactsAreCollected(t *testing.T) {
	s := openShop(t, t.TempDir(), self)
	c := s.collector()
	named, unneeded, pulled := s.untagged(t, "filters/a", "named"), s.untagged(t, "filters/a", "unneeded"), s.untagged(t, "filters/a", "pulled")
	alone, shared := s.untagged(t, "filters/b/alone", "alone"), s.untagged(t, "filters/b/shared", "named")
	old := s.publish(t, self+"/filters/c:latest", wasm(strings.Repeat("old", 30)), nil)
	tagged := s.publish(t, self+"/filters/c:latest", wasm(strings.Repeat("new", 30)), nil)
	for _, a := range []registry.Artifact{named, unneeded, alone} {
		s.sign(t, a)
	}
	c.named[named.Digest] = "release edge@sha256:1"
	full := s.bytesOn(t)
	for _, watched := range []time.Duration{0, retained - time.Hour, 0} {
		// The first look knows that all was just pushed, and the second sees for the first time that some of it is not needed.
		if out := c.look(t, watched); len(out.Removed) > 0 || out.Freed > 0 {
			t.Fatalf("%d artifacts go too soon", len(out.Removed))
		}
	}
	if out := c.look(t, retained-time.Second); len(out.Removed) > 0 {
		t.Fatalf("%d artifacts go a second too soon", len(out.Removed))
	}
	if err := s.pull(t, pulled); err != nil {
		t.Fatal(err)
	}
	// Another process, which knows from the disk for how long each was unneeded.
	if c = s.collector(); c.Collector == nil {
		t.Fatal("no collector")
	}
	c.named[named.Digest] = "release edge@sha256:1"
	c.refuse = errors.New("etcd does not answer")
	if _, err := c.tryLook(time.Minute); !errors.Is(err, c.refuse) {
		t.Errorf("what cannot be recorded: %v", err)
	}
	if now := s.bytesOn(t); now < full {
		t.Errorf("something was removed that is not recorded: %d of %d bytes are left", now, full)
	}
	c.refuse = nil
	out := c.look(t, time.Minute)
	// unneeded with two lists of its signatures and one signature, and alone with as many; and what the tag named before.
	if want := 2*4 + 1; len(out.Removed) < want-2 {
		t.Errorf("%d artifacts have gone, want %d", len(out.Removed), want)
	}
	if len(c.recorded) < len(out.Removed) {
		t.Errorf("%d of %d are recorded", len(c.recorded), len(out.Removed))
	}
	if now := s.bytesOn(t); now+out.Freed > full+8<<10 || out.Freed < 100<<10 {
		t.Errorf("%d bytes are freed; of %d there are %d left", out.Freed, full, now)
	}
	// Read as whoever comes after a restart reads it.
	again := openShop(t, s.dir, self)
	for what, tc := range map[string]struct {
		registry.Artifact
		there bool
	}{
		"one that a release names":                            {named, true},
		"one that nothing needs":                              {unneeded, false},
		"one that was pulled":                                 {pulled, true},
		"one of another repository":                           {alone, false},
		"one that a tag names":                                {tagged, true},
		"one that a tag has named before":                     {old, false},
		"the one that a release names, in another repository": {shared, true},
	} {
		if err := again.pull(t, tc.Artifact); (err == nil) != tc.there {
			t.Errorf("%s: %v", what, err)
		}
	}
	if ev, err := signing.Collect(t.Context(), again.client, named); err != nil || len(ev.Evidence) == 0 {
		t.Errorf("the signatures of one that a release names: %v, %v", ev, err)
	}
	if _, err := os.Stat(filepath.Join(s.dir, registryFolder, filepath.FromSlash(retention.Layout), "repositories", "filters", "b", "alone")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder of a repository that has nothing left: %v", err)
	}
	// Pushed once more, it is there once more.
	back := again.untagged(t, "filters/a", "unneeded")
	if back.Digest != unneeded.Digest {
		t.Fatal("the same module is another artifact")
	}
	if err := again.pull(t, back); err != nil {
		t.Error(err)
	}
}

// What may be a digest in a release or a collection is found in whatever way it is written there; long data costs no more than it has bytes.
func TestDigestsInTexts(t *testing.T) {
	digest := registry.DigestOf([]byte("module"))
	for what, text := range map[string]string{
		"with its algorithm":                            `{"url":"oci://waft.example:7071/filters/authz@` + string(digest) + `"}`,
		"without":                                       digest.Hex(),
		"in capitals":                                   "SHA256:" + strings.ToUpper(digest.Hex()),
		"after a colon that is escaped in a URL":        "/v2/filters/authz/blobs/sha256%3a" + digest.Hex(),
		"after one that is so twice, in capitals":       "/v2/filters/authz/blobs/sha256%253A" + digest.Hex(),
		"after one that is escaped in JSON":             `{"digest":"sha256\u003a` + digest.Hex() + `"}`,
		"before and behind what reads as a part of it":  "\nb" + digest.Hex() + "2\x00", // in an opaque message: the length of a text, and what comes after it
		"behind other ones that nothing separates":      strings.Repeat(registry.DigestOf(nil).Hex(), 3) + digest.Hex(),
		"behind one and what reads as a part of either": registry.DigestOf(nil).Hex() + "%3a" + digest.Hex(),
	} {
		found := false
		digestsIn([]byte(text), func(d registry.Digest) {
			if !d.Valid() {
				t.Errorf("%s: %q is none", what, d)
			}
			found = found || d == digest
		})
		if !found {
			t.Errorf("%s: it is not found", what)
		}
	}
	for _, text := range []string{"", "sha256:", digest.Hex()[1:], digest.Hex()[1:] + "g"} {
		digestsIn([]byte(text), func(d registry.Digest) { t.Errorf("%q has %s", text, d) })
	}
	n := 0
	digestsIn(bytes.Repeat([]byte("a"), 1<<20), func(registry.Digest) { n++ })
	if want := digestHex + 1<<20/digestHex; n > want {
		t.Errorf("in a megabyte of digits there are %d, want %d at most", n, want)
	}
}

// Who was told that a blob is there need not push it: it is there when the manifest comes, whatever is removed meanwhile. What nobody finishes to push goes.
func TestPushUnderWayIsNotCutOff(t *testing.T) {
	s := openShop(t, t.TempDir(), self)
	c := s.collector()
	a := s.untagged(t, "filters/a", "module")
	do := func(method, path, mediaType string, body []byte) *httptest.ResponseRecorder {
		t.Helper()
		request := httptest.NewRequest(method, path, bytes.NewReader(body))
		request.Header.Set("Content-Type", mediaType)
		request.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json")
		answer := httptest.NewRecorder()
		s.embedded.ServeHTTP(answer, request)
		return answer
	}
	c.look(t, 0)
	c.look(t, 0)
	// Another client is about to push an artifact with the same layers, and asks for each.
	manifest, err := io.ReadAll(do(http.MethodGet, "/v2/filters/a/manifests/"+string(a.Digest), "", nil).Body)
	if err != nil {
		t.Fatal(err)
	}
	c.look(t, 0)
	c.look(t, 0)
	content, err := retention.ParseManifest(manifest)
	if err != nil {
		t.Fatal(err)
	}
	for _, blob := range content.Blobs {
		if answer := do(http.MethodHead, "/v2/filters/a/blobs/"+string(blob), "", nil); answer.Code != http.StatusOK {
			t.Fatalf("a blob that is there: %d", answer.Code)
		}
	}
	if out := c.look(t, retained); len(out.Removed) != 1 || out.Removed[0].Digest != a.Digest {
		t.Fatalf("there go %+v", out.Removed)
	}
	if answer := do(http.MethodPut, "/v2/filters/a/manifests/again", "application/vnd.oci.image.manifest.v1+json", manifest); answer.Code != http.StatusCreated {
		t.Fatalf("the manifest of what was there: %d %s", answer.Code, answer.Body)
	}
	c.look(t, retained)
	c.look(t, retained)
	if err := s.pull(t, a); err != nil {
		t.Error(err)
	}
	// And one who mounts a layer, and never comes back.
	path := "/v2/filters/mounted/blobs/uploads/?from=filters/a&mount=" + string(a.Module.Digest)
	if answer := do(http.MethodPost, path, "", nil); answer.Code != http.StatusCreated {
		t.Fatalf("mount: %d", answer.Code)
	}
	for i, watched := range []time.Duration{0, 0, retained} {
		out := c.look(t, watched)
		link := filepath.Join(s.dir, registryFolder, filepath.FromSlash(retention.Layout), "repositories", "filters", "mounted", "_layers", "sha256", a.Module.Digest.Hex(), "link")
		if _, err := os.Stat(link); (err == nil) != (i < 2) {
			t.Errorf("look %d: a layer that no manifest names: %v; %+v", i, err, out.Layers)
		}
	}
	if c.recorded[len(c.recorded)-1] != "filters/mounted@" {
		t.Errorf("it is not recorded: %q", c.recorded)
	}
	if err := s.pull(t, a); err != nil {
		t.Errorf("what the layer was mounted from: %v", err)
	}
}

// Who asks whether what they have is still what there is uses it, as whoever pulls does; and is told where it is not there any more.
func TestConditionalPullIsAUse(t *testing.T) {
	s := openShop(t, t.TempDir(), self)
	c := s.collector()
	asked, other := s.untagged(t, "filters/a", "asked for"), s.untagged(t, "filters/a", "other")
	ask := func(of registry.Artifact) int {
		request := httptest.NewRequest(http.MethodGet, "/v2/filters/a/manifests/"+string(of.Digest), nil)
		request.Header["Accept"] = []string{"application/vnd.oci.image.manifest.v1+json"}
		request.Header["If-None-Match"] = []string{`"` + string(registry.DigestOf(nil)) + `"`, `"` + string(of.Digest) + `"`}
		answer := httptest.NewRecorder()
		s.embedded.ServeHTTP(answer, request)
		return answer.Code
	}
	c.look(t, 0)
	c.look(t, 0)
	if code := ask(asked); code != http.StatusOK && code != http.StatusNotModified {
		t.Errorf("what is there: %d", code)
	}
	c.look(t, retained)
	for of, want := range map[registry.Digest]bool{asked.Digest: true, other.Digest: false} {
		link := filepath.Join(s.dir, registryFolder, filepath.FromSlash(retention.Layout), "repositories", "filters", "a", "_manifests", "revisions", "sha256", of.Hex(), "link")
		if _, err := os.Stat(link); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", of, err == nil, want)
		}
	}
	if code := ask(other); code != http.StatusNotFound {
		t.Errorf("what is gone: %d", code)
	}
}

// A repository of which a manifest or a tag cannot be read is left as it is, with all bytes that it has, and the others are collected; where a folder cannot be read nothing is.
func TestRegistryThatCannotBeReadIsNotCollected(t *testing.T) {
	for what, damage := range map[string]func(t *testing.T, root string, other registry.Artifact) error{
		"a manifest without bytes": func(t *testing.T, root string, other registry.Artifact) error {
			return os.RemoveAll(filepath.Join(root, "blobs", "sha256", other.Digest.Hex()[:2], other.Digest.Hex()))
		},
		"a manifest that is none": func(t *testing.T, root string, other registry.Artifact) error {
			return os.WriteFile(filepath.Join(root, "blobs", "sha256", other.Digest.Hex()[:2], other.Digest.Hex(), "data"), []byte("{"), 0o600)
		},
		"an empty tag": func(t *testing.T, root string, _ registry.Artifact) error {
			return os.WriteFile(filepath.Join(root, "repositories", "filters", "other", "_manifests", "tags", "1", "current", "link"), nil, 0o600)
		},
		"a repository that is elsewhere": func(t *testing.T, root string, _ registry.Artifact) error {
			away := filepath.Join(t.TempDir(), "other")
			return errors.Join(os.Rename(filepath.Join(root, "repositories", "filters", "other"), away), os.Symlink(away, filepath.Join(root, "repositories", "filters", "other")))
		},
		"repositories that are gone": func(t *testing.T, root string, _ registry.Artifact) error {
			return os.Rename(filepath.Join(root, "repositories"), filepath.Join(t.TempDir(), "away"))
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := openShop(t, t.TempDir(), self)
			other := s.publish(t, self+"/filters/other:1", wasm("other"), nil)
			s.untagged(t, "filters/a", "unneeded")
			s.untagged(t, "filters/other", "unneeded beside it")
			c := s.collector()
			for range 2 {
				c.look(t, 0)
			}
			root := filepath.Join(s.dir, registryFolder, filepath.FromSlash(retention.Layout))
			if err := damage(t, root, other); err != nil {
				t.Fatal(err)
			}
			before := s.bytesOn(t)
			out, err := s.collector().tryLook(2 * retained)
			for name := range out.Unreadable {
				if name != "filters/other" || err != nil {
					t.Errorf("%s cannot be read (%v)", name, err)
				}
			}
			others := what == "a manifest without bytes" || what == "a manifest that is none" || what == "an empty tag"
			if others != (len(out.Unreadable) == 1) {
				t.Errorf("what cannot be read is %v (%v)", out.Unreadable, err)
			}
			for _, gone := range out.Removed {
				if gone.Repository != "filters/a" {
					t.Errorf("%s goes", gone.Repository)
				}
			}
			if after := s.bytesOn(t); (before-after > 2<<10) != others || (len(out.Removed) > 0) != others || (out.Freed > 0) != others {
				t.Errorf("%d artifacts go, %d bytes (%v)", len(out.Removed), before-after, err)
			}
			if err == nil && !others && what != "repositories that are gone" {
				t.Error("nobody is told")
			}
		})
	}
}

// What is known of an artifact that came out of this registry is forgotten once it is not there any more, or every replica would try to fetch it for ever; but not while a release may be about to name it.
func TestWhatIsCollectedIsForgotten(t *testing.T) {
	s := openShop(t, t.TempDir(), self)
	c := s.collector()
	a := s.untagged(t, "filters/a", "module")
	named := s.untagged(t, "filters/a", "named")
	for _, one := range []registry.Artifact{a, named} {
		if _, _, err := s.Resolve(t.Context(), self+"/filters/a@"+string(one.Digest)); err != nil {
			t.Fatal(err)
		}
	}
	collecting := collection{modules: s.modules, log: slog.New(slog.DiscardHandler)}
	c.named[named.Digest] = "release edge@sha256:1"
	for i, tc := range []struct {
		watched time.Duration
		known   int
	}{{0, 2}, {0, 2}, {retained, 2}, {0, 1}, {0, 1}} {
		out := c.look(t, tc.watched)
		collecting.forget(c.named, out)
		if got := s.pushedHere(); len(got) != tc.known {
			t.Errorf("look %d: %d artifacts are known, want %d", i, len(got), tc.known)
		}
	}
	if got := openShop(t, s.dir, self).pushedHere(); len(got) != 1 || got[0].Artifact != string(named.Digest) {
		t.Errorf("after a restart there are known %v", got)
	}
}

// While one look follows the other, and things go that nobody has wanted for a while, every push succeeds, whatever of it was there already, and what a release names can be pulled all the time.
func TestPushesWhileItIsCollected(t *testing.T) {
	// Things go at about the time when they are pushed again. Fewer looks are made in one push than it takes for what was asked for at its beginning to go.
	const kinds, pushes, looks, inOnePush = 10, 80, 3, 2
	s := openShop(t, t.TempDir(), self)
	c := s.collector()
	named := s.untagged(t, "filters/a", "named")
	c.named[named.Digest] = "release edge@sha256:1"
	due, removed := make(chan struct{}, inOnePush), make(chan int)
	go func() {
		n := 0
		for range due {
			out, err := c.tryLook(retained / looks)
			if err != nil {
				t.Error(err)
			}
			n += len(out.Removed)
		}
		removed <- n
	}()
	for i := range pushes {
		for range inOnePush {
			select {
			case due <- struct{}{}:
			default: // there are enough
			}
		}
		if err := s.pull(t, named); err != nil {
			t.Errorf("push %d: what a release names: %v", i, err)
		}
		s.untagged(t, "filters/a", fmt.Sprint("kind ", i%kinds))
	}
	close(due)
	t.Logf("%d artifacts were removed meanwhile", <-removed)
}
