package registrytest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/waft-project/waft/registry"
)

// Run is the contract: what package registry promises over any registry. newRegistry gives an empty one for each test; its
// Endpoint must have a Handler where the test is to see the requests.
func Run(t *testing.T, newRegistry func(t *testing.T) Endpoint) {
	for _, tc := range []struct {
		name string
		test func(*testing.T, Endpoint)
	}{
		{"a pushed module comes back", testRoundTrip},
		{"the same module gives the same digests", testReproducible},
		{"a moved tag leaves the old digest in place", testTagMoves},
		{"a digest decides over a tag", testDigestWins},
		{"no tag is the tag latest", testDefaultTag},
		{"what is not there is not found", testNotFound},
		{"a module without a manifest", testNoManifest},
		{"a manifest that the artifact does not name", testForeignManifest},
		{"two manifests under one artifact", testNamedManifestWins},
		{"one blob by its digest", testFetchModule},
		{"a warm pull moves no blob", testWarmPull},
		{"pulls at once share one download", testSharedDownload},
		{"a blob that is there is not sent again", testNoSecondUpload},
		{"progress", testProgress},
		{"Istio's and Envoy Gateway's rules", testIstioReads},
		{"every layout is read", testLayouts},
		{"every layout that is written is read, by us and by those it is for", testWrittenLayouts},
		{"layouts that are not written", testNotWritten},
		{"images as other readers read them", testReaders},
		{"what was pushed is read back before it has a tag", testPullBack},
		{"what is to be done before a tag is written", testBeforeTag},
		{"an attachment comes back", testAttach},
		{"attachments by others and by us", testForeignAttachment},
		{"attachments at once do not lose one another", testAttachAtOnce},
		{"attachments together are one change", testAttachTogether},
		{"a push that begins a list", testPushBeginsTheList},
		{"attachments that are not what they seem", testBadAttachments},
		{"a sidecar's layers come back", testSidecar},
		{"layers added at once do not lose one another", testSidecarAtOnce},
		{"what stands where a sidecar belongs is left alone", testSidecarOfOthers},
		{"writing logs in", testWritesLogIn},
		{"what holds no module is refused", testUnsupported},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.test(t, newRegistry(t)) })
	}
}

// Wasm is a small module for tests: valid, of the given size (at least 16), and different for each seed.
func Wasm(size int, seed byte) []byte {
	const header = "\x00asm\x01\x00\x00\x00"
	// One custom section fills the rest: id, length (five bytes of LEB128), a name of one byte, content.
	n := uint32(size - len(header) - 6)
	b := append([]byte(header), 0, byte(n)|0x80, byte(n>>7)|0x80, byte(n>>14)|0x80, byte(n>>21)|0x80, byte(n>>28), 1, 'x')
	for i := len(b); i < size; i++ {
		b = append(b, byte(i)*31+byte(i>>8)*17+seed)
	}
	return b
}

func testModule(size int, seed byte) (registry.Module, []byte) {
	wasm := Wasm(size, seed)
	m := registry.ModuleBytes(wasm)
	m.Name, m.Version, m.ABIVersions = "authz", "1.2.0", []string{"0.2.1"}
	m.Manifest = []byte(`{"name":"authz","sha256":"` + registry.DigestOf(wasm).Hex() + `"}`)
	return m, wasm
}

func mustPush(t *testing.T, c *registry.Client, ref registry.Reference, m registry.Module) registry.Artifact {
	t.Helper()
	a, err := c.Push(t.Context(), ref, m, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func mustPull(t *testing.T, c *registry.Client, ref registry.Reference, want []byte) registry.Artifact {
	t.Helper()
	a, path, err := c.Pull(t.Context(), ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: the module came back changed: %d bytes, want %d", ref, len(got), len(want))
	}
	if a.Module.Digest != registry.DigestOf(want) || a.Module.Size != int64(len(want)) {
		t.Errorf("%s: the artifact says that its module is %+v", ref, a.Module)
	}
	return a
}

func wantKind(t *testing.T, err, kind error) {
	t.Helper()
	var e *registry.Error
	if !errors.Is(err, kind) || !errors.As(err, &e) {
		t.Fatalf("want %v, have %v", kind, err)
	}
	if e.Op == "" || e.Subject == "" || e.Next == "" {
		t.Errorf("an error must say what was done, to what, and what to do next: %+v", e)
	}
}

func testRoundTrip(t *testing.T, e Endpoint) {
	c := e.Client(t)
	m, wasm := testModule(1<<20+3, 1)
	m.Annotations = map[string]string{"org.opencontainers.image.source": "https://example.com/authz"}
	ref := e.Reference(t, "filters/authz:1.2.0")
	pushed := mustPush(t, c, ref, m)
	resolved, err := e.Client(t).Resolve(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	pulled := mustPull(t, e.Client(t), ref, wasm)
	for name, a := range map[string]registry.Artifact{"pushed": pushed, "resolved": resolved, "pulled": pulled} {
		if a.Digest != pushed.Digest || a.Digest != registry.DigestOf(a.ImageManifest) || a.Reference != ref.AtDigest(a.Digest) {
			t.Errorf("%s: digest %s, reference %s", name, a.Digest, a.Reference)
		}
		if a.Layout != registry.LayoutOCI || a.Layer != a.Module || a.Packed() {
			t.Errorf("%s: layout %s, layer %+v, module %+v", name, a.Layout, a.Layer, a.Module)
		}
		if !bytes.Equal(a.Manifest, m.Manifest) {
			t.Errorf("%s: manifest %s", name, a.Manifest)
		}
		want := map[string]string{
			"org.opencontainers.image.title": "authz", "org.opencontainers.image.version": "1.2.0",
			"org.opencontainers.image.source": "https://example.com/authz", registry.AnnotationManifest: string(registry.DigestOf(m.Manifest)),
		}
		if !maps.Equal(a.Annotations, want) {
			t.Errorf("%s: annotations %v", name, a.Annotations)
		}
	}
}

func testReproducible(t *testing.T, e Endpoint) {
	m, _ := testModule(5000, 1)
	a := mustPush(t, e.Client(t), e.Reference(t, "filters/authz:1"), m)
	b := mustPush(t, e.Client(t), e.Reference(t, "filters/authz:1"), m)
	c := mustPush(t, e.Client(t), e.Reference(t, "elsewhere/authz:2"), m)
	if a.Digest != b.Digest || a.Digest != c.Digest {
		t.Errorf("three pushes gave %s, %s and %s", a.Digest, b.Digest, c.Digest)
	}
	other, _ := testModule(5000, 2)
	if d := mustPush(t, e.Client(t), e.Reference(t, "filters/authz:1"), other); d.Digest == a.Digest {
		t.Errorf("another module gave the same digest")
	}
}

func testTagMoves(t *testing.T, e Endpoint) {
	c := e.Client(t)
	ref := e.Reference(t, "filters/authz:stable")
	m1, wasm1 := testModule(5000, 1)
	m2, wasm2 := testModule(5000, 2)
	first := mustPush(t, c, ref, m1)
	mustPush(t, c, ref, m2)
	mustPull(t, c, ref, wasm2)
	mustPull(t, e.Client(t), first.Reference.InRepository().AtDigest(first.Digest), wasm1)
}

func testDigestWins(t *testing.T, e Endpoint) {
	c := e.Client(t)
	ref := e.Reference(t, "filters/authz:stable")
	m1, wasm1 := testModule(5000, 1)
	m2, _ := testModule(5000, 2)
	first := mustPush(t, c, ref, m1)
	mustPush(t, c, ref, m2)
	mustPull(t, c, ref.AtDigest(first.Digest), wasm1)
	_, err := c.Push(t.Context(), ref.AtDigest(first.Digest), m1, nil)
	wantKind(t, err, registry.ErrInvalidReference)
}

func testDefaultTag(t *testing.T, e Endpoint) {
	m, wasm := testModule(5000, 1)
	a := mustPush(t, e.Client(t), e.Reference(t, "filters/authz"), m)
	if a.Reference.Tag != registry.DefaultTag {
		t.Errorf("pushed as %s", a.Reference)
	}
	mustPull(t, e.Client(t), e.Reference(t, "filters/authz"), wasm)
	mustPull(t, e.Client(t), e.Reference(t, "filters/authz:latest"), wasm)
}

func testNotFound(t *testing.T, e Endpoint) {
	c := e.Client(t)
	m, _ := testModule(5000, 1)
	mustPush(t, c, e.Reference(t, "filters/authz:1"), m)
	absent := registry.DigestOf([]byte("absent"))
	for _, path := range []string{"filters/nothing:1", "filters/authz:2", "filters/authz@" + string(absent)} {
		_, err := c.Resolve(t.Context(), e.Reference(t, path))
		wantKind(t, err, registry.ErrNotFound)
		_, _, err = c.Pull(t.Context(), e.Reference(t, path), nil)
		wantKind(t, err, registry.ErrNotFound)
	}
	_, err := c.FetchModule(t.Context(), e.Reference(t, "filters/authz"), absent, 10)
	wantKind(t, err, registry.ErrNotFound)
}

func testNoManifest(t *testing.T, e Endpoint) {
	c := e.Client(t)
	m, wasm := testModule(5000, 1)
	m.Manifest = nil
	ref := e.Reference(t, "filters/authz:1")
	mustPush(t, c, ref, m)
	if a := mustPull(t, c, ref, wasm); a.Manifest != nil {
		t.Errorf("a manifest came from nowhere: %s", a.Manifest)
	}
}

// A manifest that somebody attaches later, by oras-go, to an artifact that names none.
func testForeignManifest(t *testing.T, e Endpoint) {
	c := e.Client(t)
	m, wasm := testModule(5000, 1)
	m.Manifest = nil
	ref := e.Reference(t, "filters/authz:1")
	a := mustPush(t, c, ref, m)
	attach(t, e, a, "text/plain", []byte("not a manifest"), "")
	attach(t, e, a, registry.ManifestArtifactType, []byte(`{"n":1}`), "2024-01-01T00:00:00Z")
	attach(t, e, a, registry.ManifestArtifactType, []byte(`{"n":2}`), "2025-01-01T00:00:00Z")
	attach(t, e, a, registry.ManifestArtifactType, []byte(`{"n":3}`), "2023-01-01T00:00:00Z")
	if got := mustPull(t, e.Client(t), ref, wasm); string(got.Manifest) != `{"n":2}` {
		t.Errorf("want the newest manifest, have %s", got.Manifest)
	}
}

// A manifest that is attached later does not replace the one that the artifact names by digest.
func testNamedManifestWins(t *testing.T, e Endpoint) {
	m, wasm := testModule(5000, 1)
	ref := e.Reference(t, "filters/authz:1")
	a := mustPush(t, e.Client(t), ref, m)
	attach(t, e, a, registry.ManifestArtifactType, []byte(`{"evil":true}`), "2999-01-01T00:00:00Z")
	if got := mustPull(t, e.Client(t), ref, wasm); !bytes.Equal(got.Manifest, m.Manifest) {
		t.Errorf("the manifest was replaced by %s", got.Manifest)
	}
}

func testFetchModule(t *testing.T, e Endpoint) {
	m, wasm := testModule(5000, 1)
	a := mustPush(t, e.Client(t), e.Reference(t, "filters/authz:1"), m)
	repo := e.Reference(t, "filters/authz")
	for name, size := range map[string]int64{"known size": a.Module.Size, "unknown size": 0} {
		path, err := e.Client(t).FetchModule(t.Context(), repo, a.Module.Digest, size)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, wasm) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	for name, size := range map[string]int64{"too short": a.Module.Size + 1, "too long": a.Module.Size - 1} {
		t.Run(name, func(t *testing.T) {
			c := e.Client(t)
			_, err := c.FetchModule(t.Context(), repo, a.Module.Digest, size)
			wantKind(t, err, registry.ErrSizeMismatch)
			if _, err := c.Cache().Path(a.Module.Digest); !errors.Is(err, registry.ErrNotCached) {
				t.Errorf("something was kept: %v", err)
			}
		})
	}
}

// watched is the endpoint with its requests counted; it skips the test where that cannot be.
func watched(t *testing.T, e Endpoint) (Endpoint, *Faulty) {
	t.Helper()
	if e.Handler == nil {
		t.Skip("the endpoint has no handler to watch")
	}
	f := NewFaulty(e.Handler)
	return Serve(t, f), f
}

func count(requests []string, part string) int {
	n := 0
	for _, r := range requests {
		if strings.Contains(r, part) {
			n++
		}
	}
	return n
}

func testWarmPull(t *testing.T, e Endpoint) {
	e, f := watched(t, e)
	c := e.Client(t)
	m, wasm := testModule(5000, 1)
	m.Manifest = nil
	ref := e.Reference(t, "filters/authz:1")
	mustPush(t, c, ref, m)
	mustPull(t, c, ref, wasm)
	f.Forget()
	mustPull(t, c, ref, wasm)
	if n := count(f.Requests(), "/blobs/"); n != 0 {
		t.Errorf("a warm pull asked for %d blobs: %q", n, f.Requests())
	}
}

func testSharedDownload(t *testing.T, e Endpoint) {
	e, f := watched(t, e)
	m, _ := testModule(3<<20, 1)
	ref := e.Reference(t, "filters/authz:1")
	a := mustPush(t, e.Client(t), ref, m)
	f.Forget()
	const callers = 50
	c := e.Client(t)
	release := make(chan struct{})
	f.Break(Path("GET", "/blobs/"), func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		<-release // until everybody waits
		next.ServeHTTP(w, r)
	})
	var wg sync.WaitGroup
	var started sync.WaitGroup
	errs := make([]error, callers)
	for i := range callers {
		started.Add(1)
		wg.Go(func() {
			started.Done()
			_, errs[i] = c.FetchModule(context.WithoutCancel(t.Context()), ref, a.Module.Digest, a.Module.Size)
		})
	}
	started.Wait()
	close(release)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := count(f.Requests(), "GET"); n != 1 {
		t.Errorf("%d callers made %d downloads: %q", callers, n, f.Requests())
	}
}

func testNoSecondUpload(t *testing.T, e Endpoint) {
	e, f := watched(t, e)
	m, _ := testModule(5000, 1)
	mustPush(t, e.Client(t), e.Reference(t, "filters/authz:1"), m)
	f.Forget()
	mustPush(t, e.Client(t), e.Reference(t, "filters/authz:2"), m)
	if n := count(f.Requests(), "/blobs/uploads/"); n != 0 {
		t.Errorf("%d uploads of what is there: %q", n, f.Requests())
	}
}

func testProgress(t *testing.T, e Endpoint) {
	m, wasm := testModule(2<<20, 1)
	ref := e.Reference(t, "filters/authz:1")
	check := func(name string, min int64) (registry.Progress, func()) {
		var last, total int64
		calls := 0
		return func(done, of int64) {
				calls++
				if done < last || of > 0 && done > of || total != 0 && of != total {
					t.Errorf("%s: %d of %d after %d of %d", name, done, of, last, total)
				}
				last, total = done, of
			}, func() {
				if calls < 2 || last != total || total < min {
					t.Errorf("%s ended at %d of %d after %d calls", name, last, total, calls)
				}
			}
	}
	p, done := check("push", int64(len(wasm)))
	if _, err := e.Client(t).Push(t.Context(), ref, m, p); err != nil {
		t.Fatal(err)
	}
	done()
	p, done = check("pull", int64(len(wasm)))
	if _, _, err := e.Client(t).Pull(t.Context(), ref, p); err != nil {
		t.Fatal(err)
	}
	done()
}

func testIstioReads(t *testing.T, e Endpoint) {
	m, wasm := testModule(5000, 1)
	ref := e.Reference(t, "filters/authz:1")
	a := mustPush(t, e.Client(t), ref, m)
	got, err := ReadAsIstio(t.Context(), e, ref)
	if err != nil {
		t.Fatalf("Istio would not take it: %v", err)
	}
	if got.ManifestDigest != a.Digest.Hex() || !bytes.Equal(got.Module, wasm) {
		t.Errorf("Istio would see the digest %s and %d bytes", got.ManifestDigest, len(got.Module))
	}
	// The configuration layer that wasme reads.
	var config struct {
		Type        string   `json:"type"`
		ABIVersions []string `json:"abiVersions"`
		Config      struct {
			RootIDs []string `json:"rootIds"`
		} `json:"config"`
	}
	if err := json.Unmarshal(got.Config, &config); err != nil || config.Type != "envoy_proxy" || len(config.ABIVersions) != 1 || config.ABIVersions[0] != "0.2.1" || config.Config.RootIDs == nil {
		t.Errorf("configuration layer %s: %v", got.Config, err)
	}
}
