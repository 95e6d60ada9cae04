package distributor

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"

	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/memory"
	"oras.land/oras-go/v2/registry/remote"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
)

func TestFetchedName(t *testing.T) {
	for reference, want := range map[string]string{
		"registry.example/filters/authz":            "waft/fetched/registry.example/filters/authz",
		"Registry.Example:5000/filters/authz:1.2.0": "waft/fetched/registry.example_5000/filters/authz",
		"localhost/authz":                           "waft/fetched/localhost/authz",
		"10.0.0.1:5000/a":                           "waft/fetched/10.0.0.1_5000/a",
		"[2001:db8::1]:5000/a/b":                    "waft/fetched/2001-0db8-0000-0000-0000-0000-0000-0001.ipv6_5000/a/b",
		"[::1]/a":                                   "waft/fetched/0000-0000-0000-0000-0000-0000-0000-0001.ipv6/a",
	} {
		ref, err := registry.ParseReference(reference)
		if err != nil {
			t.Fatal(err)
		}
		got := fetchedName(ref)
		if got != want {
			t.Errorf("%s is read as %s, want %s", reference, got, want)
		}
		// It must be a name that clients take.
		if _, err := registry.ParseReference("waft.example/" + got); err != nil {
			t.Error(err)
		}
		if !readOnly(apiPrefix + got + "/blobs/uploads/") {
			t.Errorf("%s can be pushed to", got)
		}
	}
	for _, name := range []string{"/v2/", "/v2/waft/modulesx/blobs/uploads/", "/v2/waft/fetchedx/y/manifests/1", "/v2/waft/blobs/uploads/", "/v2/f/manifests/1"} {
		if readOnly(name) {
			t.Errorf("%s cannot be pushed to", name)
		}
	}
}

// elsewhere is another registry, with an artifact in each layout, and a distributor that has fetched them.
type elsewhere struct {
	*shop
	upstream  *registrytest.Faulty
	host      string // of the upstream
	server    string // of the distributor
	wasm      []byte
	artifacts []registry.Artifact
}

func startElsewhere(t *testing.T) elsewhere {
	t.Helper()
	up := registrytest.NewFaulty(registrytest.Start(t).Handler)
	e := registrytest.Serve(t, up)
	w := elsewhere{upstream: up, host: e.Host, wasm: registrytest.Wasm(300_000, 1)}
	m := registry.ModuleBytes(w.wasm)
	m.Name, m.Manifest = "f", manifestOf(t, w.wasm, `{"type":"object"}`)
	var err error
	if w.artifacts, err = e.Client(t).PushLayouts(t.Context(), e.Reference(t, "filters/f:1"), m, registry.WrittenLayouts(), nil); err != nil {
		t.Fatal(err)
	}
	w.open(t, t.TempDir())
	for _, a := range w.artifacts {
		if _, _, err := w.Resolve(t.Context(), a.Reference.String()); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// open begins a life of the distributor.
func (w *elsewhere) open(t *testing.T, dir string) {
	t.Helper()
	w.shop = openShopWith(t, dir, Config{Version: "test", PlainHTTP: []string{w.host}}, self)
	w.server = w.serve(t)
}

// name is the repository under which the upstream's is read.
func (w *elsewhere) name() string { return fetchedName(w.artifacts[0].Reference) }

func (w *elsewhere) ask(t *testing.T, method, path string, header http.Header) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+w.server+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

// What was fetched from a registry is read here when that registry is gone: by our client, which has the distributor as a mirror of
// it, and by another one, by name; in another life of the distributor, too.
func TestFetchedImagesAreReadByDigest(t *testing.T) {
	w := startElsewhere(t)
	asked := map[string]int{}
	for _, r := range w.upstream.Requests() {
		if asked[r]++; asked[r] > 1 && strings.HasPrefix(r, "GET ") && strings.HasSuffix(r, string(w.artifacts[1].Layer.Digest)) {
			t.Errorf("%s was asked for %d times", r, asked[r]) // the module in it, and the layer itself
		}
	}
	w.upstream.Break(nil, registrytest.Reset)
	w.upstream.Forget()
	dir := w.dir
	for _, life := range []string{"the one that fetched it", "the next one"} {
		if life == "the next one" {
			w.open(t, dir)
		}
		cache, err := registry.OpenCache(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		host, prefix, _ := strings.Cut(w.server+"/"+strings.TrimSuffix(w.name(), "/filters/f"), "/")
		client, err := registry.NewClient(registry.Config{
			Cache: cache, PlainHTTP: []string{w.host, host}, Retries: -1, Mirrors: map[string][]registry.Mirror{w.host: {{Host: host, Prefix: prefix}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range w.artifacts {
			t.Run(string(a.Layout)+" in "+life, func(t *testing.T) {
				got, path, err := client.Pull(t.Context(), a.Reference, nil)
				if err != nil {
					t.Fatal(err)
				}
				have, err := os.ReadFile(path)
				if err != nil || !bytes.Equal(have, w.wasm) || got.Digest != a.Digest || !bytes.Equal(got.Manifest, a.Manifest) {
					t.Errorf("%d bytes of %s with the manifest %s: %v", len(have), got.Digest, got.Manifest, err)
				}
				repo, err := remote.NewRepository(w.server + "/" + w.name())
				if err != nil {
					t.Fatal(err)
				}
				repo.PlainHTTP = true
				d, err := oras.Copy(t.Context(), repo, string(a.Digest), memory.New(), "copy", oras.DefaultCopyOptions)
				if err != nil || string(d.Digest) != string(a.Digest) {
					t.Errorf("oras copies %s: %v", d.Digest, err)
				}
			})
		}
	}
	if asked := w.upstream.Requests(); len(asked) != 0 {
		t.Errorf("the registry that is away was asked: %q", asked)
	}
}

func TestFetchedOverHTTP(t *testing.T) {
	w := startElsewhere(t)
	name := "/v2/" + w.name()
	image, layer := w.artifacts[0], w.artifacts[0].Layer.Digest
	manifest, blob := name+"/manifests/"+string(image.Digest), name+"/blobs/"+string(layer)
	w.publish(t, self+"/own:1", wasm("own"), nil)
	if _, _, err := w.Resolve(t.Context(), self+"/own:1"); err != nil {
		t.Fatal(err)
	}
	none := "sha256:" + strings.Repeat("0", 64)
	for _, tc := range []struct {
		method, path string
		header       http.Header
		status       int
		body         string
	}{
		{"GET", manifest, nil, 200, string(image.ImageManifest)},
		{"GET", manifest, http.Header{"Accept": {"application/json"}}, 200, string(image.ImageManifest)},
		{"HEAD", manifest, nil, 200, ""},
		{"GET", manifest, http.Header{"If-None-Match": {`"` + string(image.Digest) + `"`}}, 304, ""},
		{"GET", blob, nil, 200, string(w.wasm)},
		{"HEAD", blob, nil, 200, ""},
		{"GET", blob, http.Header{"Range": {"bytes=1-3"}}, 206, "asm"},
		{"GET", blob, http.Header{"Range": {"bytes=1-3"}, "If-Range": {`"` + string(layer) + `"`}}, 206, "asm"},
		{"GET", blob, http.Header{"Range": {"bytes=900000-"}}, 416, ""},
		{"GET", name + "/blobs/" + string(image.Digest), nil, 200, string(image.ImageManifest)},
		{"GET", name + "/blobs/" + string(registry.DigestOf(image.Manifest)), nil, 200, string(image.Manifest)},
		{"GET", "/v2/waft/modules/blobs/" + string(layer), nil, 200, string(w.wasm)},

		{"GET", name + "/manifests/1", nil, 404, "tags are not resolved here"},
		{"GET", name + "/manifests/" + string(layer), nil, 404, "MANIFEST_UNKNOWN"},
		{"GET", name + "/manifests/" + none, nil, 404, "MANIFEST_UNKNOWN"},
		{"GET", name + "/blobs/" + none, nil, 404, "BLOB_UNKNOWN"},
		{"GET", name + "/blobs/x", nil, 400, "DIGEST_INVALID"},
		{"GET", name + "/tags/list", nil, 404, "UNSUPPORTED"},
		{"GET", name + "/referrers/" + string(image.Digest), nil, 404, "UNSUPPORTED"},
		{"GET", name + "x/manifests/" + string(image.Digest), nil, 404, "NAME_UNKNOWN"},
		{"GET", "/v2/waft/fetched/" + self + "/own/manifests/" + none, nil, 404, "NAME_UNKNOWN"}, // its own is read at its own name
		{"GET", "/v2/waft/fetched/manifests/" + none, nil, 404, "NAME_UNKNOWN"},
		{"GET", "/v2/waft/fetched/", nil, 404, ""},
		{"GET", "/v2/waft/modules/manifests/" + string(layer), nil, 404, "MANIFEST_UNKNOWN"},

		{"POST", name + "/blobs/uploads/", nil, 403, "DENIED"},
		{"PUT", name + "/manifests/2", nil, 403, "DENIED"},
		{"PUT", strings.Replace(name, "waft/", "waft%2F", 1) + "/manifests/2", nil, 403, "DENIED"},
		{"PATCH", name + "/blobs/uploads/x", nil, 403, "DENIED"},
		{"DELETE", manifest, nil, 403, "DENIED"},
		{"DELETE", blob, nil, 403, "DENIED"},
	} {
		t.Run(tc.method+" "+tc.path, func(t *testing.T) {
			resp, body := w.ask(t, tc.method, tc.path, tc.header)
			if resp.StatusCode != tc.status || !strings.Contains(string(body), tc.body) {
				t.Fatalf("%d %.200s, want %d %.200s", resp.StatusCode, body, tc.status, tc.body)
			}
			if tc.status >= 300 {
				return
			}
			digest := tc.path[strings.LastIndexByte(tc.path, '/')+1:]
			wantType := "application/octet-stream"
			if strings.Contains(tc.path, "/manifests/") {
				wantType = "application/vnd.oci.image.manifest.v1+json"
			}
			h := resp.Header
			if h.Get("Docker-Content-Digest") != digest || h.Get("ETag") != `"`+digest+`"` || h.Get("Content-Type") != wantType || h.Get("Content-Length") == "" {
				t.Errorf("header %v", h)
			}
			if tc.method == "HEAD" && len(body) > 0 {
				t.Errorf("%d bytes", len(body))
			}
		})
	}

	// To whom pushes by a client, the answer says why.
	client, err := registry.NewClient(registry.Config{PlainHTTP: []string{w.server}})
	if err != nil {
		t.Fatal(err)
	}
	ref, err := registry.ParseReference(w.server + "/" + w.name() + ":2")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Push(t.Context(), ref, registry.ModuleBytes(w.wasm), nil); err == nil || !strings.Contains(err.Error(), "written by nobody") {
		t.Errorf("a push: %v", err)
	}
}

// What the disk has damaged or lost comes from the registry again, and when that is away or gives other bytes there is an error and
// nothing else.
func TestFetchedIsVerified(t *testing.T) {
	w := startElsewhere(t)
	compat := w.artifacts[1]
	rest := func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
		rw.Header().Set("Retry-After", "3600") // so that nothing is tried again
		registrytest.Answer(503)(rw, r, next)
	}
	paths := map[string]registry.Digest{
		"/v2/" + w.name() + "/manifests/" + string(compat.Digest):                                            compat.Digest,
		"/v2/" + w.name() + "/blobs/" + string(compat.Layer.Digest):                                          compat.Layer.Digest,
		"/v2/" + w.name() + "/blobs/" + string(registry.DigestOf(compat.Manifest)):                           registry.DigestOf(compat.Manifest),
		"/v2/" + w.name() + "/blobs/" + string(compat.Digest):                                                compat.Digest,
		"/v2/" + w.name() + "/blobs/sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", // the empty configuration
	}
	for path, digest := range paths {
		file, err := w.client.Cache().Path(digest)
		if err != nil {
			t.Fatal(err)
		}
		for _, damage := range []func() error{func() error { return os.WriteFile(file, []byte("damaged"), 0o600) }, func() error { return os.Remove(file) }} {
			for name, fault := range map[string]registrytest.Fault{"asks for rest": rest, "other bytes": registrytest.WrongBytes, "gone": registrytest.Answer(404)} {
				if err := damage(); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
				w.forgive(t)
				w.upstream.Break(nil, fault)
				if resp, body := w.ask(t, "GET", path, nil); resp.StatusCode != 503 && (resp.StatusCode != 404 || name != "gone") {
					t.Errorf("%s, %s: %d %.100s", path, name, resp.StatusCode, body)
				}
			}
			w.upstream.Mend()
			w.forgive(t)
			resp, body := w.ask(t, "GET", path, nil)
			if resp.StatusCode != 200 || registry.DigestOf(body) != digest {
				t.Errorf("%s: %d %.100s", path, resp.StatusCode, body)
			}
		}
	}
}

// forgive begins another life, in which nothing is held against the registry that was away.
func (w *elsewhere) forgive(t *testing.T) {
	t.Helper()
	w.open(t, w.dir)
}

// An image that is in two registries is read by both names.
func TestFetchedFromTwoRegistries(t *testing.T) {
	w := startElsewhere(t)
	second := registrytest.Serve(t, w.upstream)
	host := w.host
	w.host = second.Host
	w.open(t, w.dir)
	a := w.artifacts[0]
	a.Reference.Registry = second.Host
	if _, _, err := w.Resolve(t.Context(), a.Reference.String()); err != nil {
		t.Fatal(err)
	}
	w.open(t, w.dir)
	// And in the distributor's own registry, which takes nothing from that.
	w.publish(t, self+"/filters/f:1", w.wasm, a.Manifest)
	own, _, err := w.Resolve(t.Context(), self+"/filters/f:1")
	if err != nil || own.Artifact != string(a.Digest) {
		t.Fatalf("%+v, %v", own, err)
	}
	w.open(t, w.dir)
	for _, at := range []string{host, second.Host} {
		a.Reference.Registry = at
		if resp, body := w.ask(t, "GET", "/v2/"+fetchedName(a.Reference)+"/manifests/"+string(a.Digest), nil); resp.StatusCode != 200 {
			t.Errorf("%s: %d %s", at, resp.StatusCode, body)
		}
	}
}

// Of an image with more in it than is kept, there is the module alone.
func TestOriginOfTooMuch(t *testing.T) {
	blob := func(digit, size string) string {
		return `{"mediaType":"x/y","digest":"sha256:` + strings.Repeat(digit, 64) + `","size":` + size + `}`
	}
	const big = "200000000"
	for name, tc := range map[string]struct {
		layers string
		kept   bool
	}{
		"some":           {blob("1", "1"), true},
		"one too large":  {blob("1", "300000000"), false},
		"of no size":     {blob("1", "0"), false},
		"too many":       {strings.Join([]string{blob("1", big), blob("2", big), blob("3", big)}, ","), false},
		"the same often": {strings.Join([]string{blob("1", big), blob("1", big), blob("1", big)}, ","), true},
	} {
		a := registry.Artifact{ImageManifest: []byte(`{"config":` + blob("0", "2") + `,"layers":[` + tc.layers + `]}`)}
		if o, err := originOf(a); err != nil || (o != nil) != tc.kept {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
	}
	if _, err := originOf(registry.Artifact{ImageManifest: []byte(`{}`)}); !errors.Is(err, registry.ErrInvalidManifest) {
		t.Errorf("a broken manifest: %v", err)
	}
}
