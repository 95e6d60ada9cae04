package distributor

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/retention"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
	"github.com/waft-project/waft/sdk/manifest"
)

// self is a name that leads nowhere but to the embedded registry.
const self = "waft.example:7071"

// shop is modules over an embedded registry, and a way to publish there.
type shop struct {
	*modules
	dir      string
	names    []string
	embedded *retention.Uses
}

func openShop(t *testing.T, dir string, names ...string) *shop {
	t.Helper()
	return openShopWith(t, dir, Config{Version: "test"}, names...)
}

func openShopWith(t *testing.T, dir string, cfg Config, names ...string) *shop {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	served, err := newRegistry(t.Context(), filepath.Join(dir, registryFolder), log)
	if err != nil {
		t.Fatal(err)
	}
	embedded := retention.NewUses(served)
	cache, err := registry.OpenCache(filepath.Join(dir, "modules"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := newClient(t.Context(), cfg, cache, names, embedded, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := openModules(client, filepath.Join(dir, "modules"), names, log)
	if err != nil {
		t.Fatal(err)
	}
	return &shop{modules: m, dir: dir, names: names, embedded: embedded}
}

// serve serves the shop's HTTP port, and gives its HOST:PORT.
func (s *shop) serve(t *testing.T) string {
	t.Helper()
	ok := func() error { return nil }
	metrics, err := newMetrics("test")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(web{rest: http.NotFoundHandler(), registry: s.embedded, modules: s.modules, evidence: http.NotFoundHandler(), metrics: metrics, alive: ok, ready: ok}.handler())
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func wasm(text string) []byte {
	section := append([]byte{1, 'x'}, text...)
	return append([]byte("\x00asm\x01\x00\x00\x00\x00"), append([]byte{byte(len(section))}, section...)...)
}

func manifestOf(t *testing.T, module []byte, schema string) []byte {
	t.Helper()
	raw, err := manifest.Manifest{
		Name: "f", Version: "1", SHA256: registry.DigestOf(module).Hex(), Size: int64(len(module)), ABI: manifest.ABI021,
		Imports: []string{}, Envoys: []string{"envoy-1.40"}, ConfigSchema: json.RawMessage(schema),
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func (s *shop) publish(t *testing.T, reference string, module, man []byte) registry.Artifact {
	t.Helper()
	ref, err := registry.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.client.Push(t.Context(), ref, registry.Module{Content: bytes.NewReader(module), Size: int64(len(module)), Name: "f", Manifest: man}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func sameJSON(t *testing.T, got []byte, want string) {
	t.Helper()
	g, err := model.Canonical(got)
	if err != nil {
		t.Fatalf("%q: %v", got, err)
	}
	w, err := model.Canonical([]byte(want))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(g, w) {
		t.Errorf("got %s, want %s", g, w)
	}
}

func TestModulesResolve(t *testing.T) {
	dir := t.TempDir()
	s := openShop(t, dir, self)
	one, two := wasm("one"), wasm("two")
	first := s.publish(t, self+"/f:1", one, manifestOf(t, one, `{"type":"object"}`))
	m, schema, err := s.Resolve(t.Context(), self+"/f:1")
	if err != nil {
		t.Fatal(err)
	}
	want := model.Module{Reference: self + "/f:1", Artifact: string(first.Digest), Digest: string(registry.DigestOf(one)), Size: int64(len(one)), Envoys: []string{"envoy-1.40"}}
	if m.Reference != want.Reference || m.Artifact != want.Artifact || m.Digest != want.Digest || m.Size != want.Size || len(m.Envoys) != 1 || m.Envoys[0] != "envoy-1.40" {
		t.Errorf("got %+v, want %+v", m, want)
	}
	sameJSON(t, schema, `{"type":"object"}`)

	// The tag moves. The schema of the first stays the first's; what it says of the second is the second's.
	s.publish(t, self+"/f:1", two, manifestOf(t, two, `{"type":"array"}`))
	moved, schema, err := s.Resolve(t.Context(), self+"/f:1")
	if err != nil || moved.Digest != string(registry.DigestOf(two)) {
		t.Fatalf("%+v %v", moved, err)
	}
	sameJSON(t, schema, `{"type":"array"}`)
	if schema, err = s.Schema(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	sameJSON(t, schema, `{"type":"object"}`)

	// Another life, in which the registry's name is not known: all is on the disk.
	away := openShop(t, dir, "nowhere.example:1")
	if schema, err = away.Schema(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	sameJSON(t, schema, `{"type":"object"}`)
	f, size, err := away.open(t.Context(), registry.DigestOf(one))
	if err != nil || size != int64(len(one)) {
		t.Fatalf("%d %v", size, err)
	}
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, one) {
		t.Errorf("%q %v", got, err)
	}

	// What is known is damaged, and had again from the registry by digest, although the tag has moved.
	path, err := s.path(m.Artifact)
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range []string{"", "{", `{"module":{"artifact":"sha256:0"}}`} {
		if err := os.WriteFile(path, []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if schema, err = s.Schema(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		sameJSON(t, schema, `{"type":"object"}`)
	}
	if _, _, err := away.open(t.Context(), registry.DigestOf([]byte("never"))); !errors.Is(err, registry.ErrNotCached) {
		t.Errorf("a module that nobody named: %v", err)
	}

	// Without a manifest: no schema, and nothing is known of Envoys.
	three := wasm("three")
	s.publish(t, self+"/g:1", three, nil)
	m, schema, err = s.Resolve(t.Context(), self+"/g:1")
	if err != nil || schema != nil || m.Envoys != nil {
		t.Errorf("%+v %s %v", m, schema, err)
	}
	if schema, err = s.Schema(t.Context(), m); err != nil || schema != nil {
		t.Errorf("%s %v", schema, err)
	}
}

func TestModulesRefuse(t *testing.T) {
	s := openShop(t, t.TempDir(), self)
	one := wasm("one")
	s.publish(t, self+"/other:1", one, manifestOf(t, wasm("another"), "{}"))
	s.publish(t, self+"/broken:1", one, []byte(`{"name":"f"}`))
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	away := strings.TrimPrefix(closed.URL, "http://")
	for name, tc := range map[string]struct {
		reference string
		kind      error
		says      string
	}{
		"no reference":              {"authz", model.ErrInvalid, "it names no registry"},
		"no such repository":        {self + "/nope:1", model.ErrNotFound, "not found"},
		"no such tag":               {self + "/other:2", model.ErrNotFound, "not found"},
		"another module's manifest": {self + "/other:1", model.ErrInvalid, "its waft manifest is about another module"},
		"a broken manifest":         {self + "/broken:1", model.ErrInvalid, "its waft manifest is broken"},
		"a registry that is away":   {away + "/f:1", model.ErrUnavailable, away},
	} {
		t.Run(name, func(t *testing.T) {
			m, _, err := s.Resolve(t.Context(), tc.reference)
			var told *model.Error
			if !errors.As(err, &told) || !errors.Is(err, tc.kind) || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), tc.reference) {
				t.Fatalf("%+v %v; want kind %v, saying %q", m, err, tc.kind, tc.says)
			}
			if told.Next == "" {
				t.Errorf("%q does not say what to do", err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Resolve(ctx, self+"/other:1"); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who has gone: %v", err)
	}
}

// A registry with TLS is trusted by the authorities of the configuration alone.
func TestModulesOfAPrivateAuthority(t *testing.T) {
	e := registrytest.StartTLS(t)
	module := wasm("one")
	if _, err := e.Client(t).Push(t.Context(), e.Reference(t, "f:1"), registry.ModuleBytes(module), nil); err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: e.Certificate.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	s := openShopWith(t, t.TempDir(), Config{RegistryCA: ca}, self)
	if m, _, err := s.Resolve(t.Context(), e.Host+"/f:1"); err != nil || m.Digest != string(registry.DigestOf(module)) {
		t.Errorf("%+v, %v", m, err)
	}
	s = openShop(t, t.TempDir(), self)
	_, _, err := s.Resolve(t.Context(), e.Host+"/f:1")
	if !errors.Is(err, model.ErrPrecondition) || !strings.Contains(err.Error(), "--registry-ca") {
		t.Errorf("an authority that nobody named: %v", err)
	}
}

// A disk that takes nothing is an error that says so, nothing is half there, and it works when the disk does again.
func TestModulesOnABrokenDisk(t *testing.T) {
	for _, broken := range []string{"modules/partial", "modules/artifacts"} {
		t.Run(broken, func(t *testing.T) {
			s := openShop(t, t.TempDir(), self)
			s.publish(t, self+"/f:1", wasm("one"), nil)
			dir := filepath.Join(s.dir, broken)
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
			_, _, err := s.Resolve(t.Context(), self+"/f:1")
			var told *model.Error
			if !errors.Is(err, model.ErrUnavailable) || !errors.As(err, &told) || !strings.Contains(told.Next, "disk") {
				t.Errorf("%v; next: %+v", err, told)
			}
			if len(s.sources) != 0 {
				t.Errorf("%v is known", s.sources)
			}
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if _, _, err := s.Resolve(t.Context(), self+"/f:1"); err != nil {
				t.Errorf("the disk is well again: %v", err)
			}
		})
	}
}

func TestNothingIsDeletedAndTheRepositoryOfModulesIsReadOnly(t *testing.T) {
	s := openShop(t, t.TempDir(), self)
	one := wasm("one")
	a := s.publish(t, self+"/f:1", one, nil)
	if _, _, err := s.Resolve(t.Context(), self+"/f:1"); err != nil {
		t.Fatal(err)
	}
	server := "http://" + s.serve(t)
	blob := "/v2/waft/modules/blobs/" + string(registry.DigestOf(one))
	for _, tc := range []struct {
		method, path string
		header       http.Header
		status       int
		body         string
	}{
		{http.MethodDelete, "/v2/f/manifests/" + string(a.Digest), nil, http.StatusMethodNotAllowed, "UNSUPPORTED"},
		{http.MethodDelete, "/v2/f/blobs/" + string(registry.DigestOf(one)), nil, http.StatusMethodNotAllowed, "UNSUPPORTED"},
		{http.MethodDelete, blob, nil, http.StatusForbidden, "DENIED"},
		{http.MethodPost, "/v2/waft/modules/blobs/uploads/", nil, http.StatusForbidden, "DENIED"},
		{http.MethodPut, "/v2/waft/modules/manifests/x", nil, http.StatusForbidden, "DENIED"},
		{http.MethodPut, "/v2/waft%2Fmodules/manifests/x", nil, http.StatusForbidden, "DENIED"},
		{http.MethodPost, "/v2/f/%2E%2E/waft/modules/blobs/uploads/", nil, http.StatusForbidden, "DENIED"},
		{http.MethodGet, blob, nil, http.StatusOK, string(one)},
		{http.MethodGet, blob, http.Header{"Range": {"bytes=1-3"}}, http.StatusPartialContent, "asm"},
		{http.MethodHead, blob, nil, http.StatusOK, ""},
		{http.MethodGet, "/v2/waft/modules/blobs/sha256:" + strings.Repeat("0", 64), nil, http.StatusNotFound, "BLOB_UNKNOWN"},
		{http.MethodGet, "/v2/waft/modules/blobs/../../../etc/passwd", nil, http.StatusNotFound, ""},
		{http.MethodPost, "/openapi.json", nil, http.StatusMethodNotAllowed, ""},
	} {
		t.Run(tc.method+" "+tc.path, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tc.method, server+tc.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = tc.header
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tc.status || !strings.Contains(string(body), tc.body) {
				t.Errorf("%d %s, want %d %s", resp.StatusCode, body, tc.status, tc.body)
			}
			if tc.path == blob && resp.StatusCode < 300 && resp.Header.Get("Docker-Content-Digest") != string(registry.DigestOf(one)) {
				t.Errorf("header %v", resp.Header)
			}
		})
	}
	if _, _, err := s.Resolve(t.Context(), self+"/f:1"); err != nil {
		t.Errorf("after it all: %v", err)
	}
}

// A module that is on the disk no more, and was deleted from its registry, is told to be so, with what helps.
func TestModuleThatWasDeleted(t *testing.T) {
	s := openShop(t, t.TempDir(), self)
	module := wasm("one")
	s.publish(t, self+"/filters/one:1", module, nil)
	resolved, _, err := s.Resolve(t.Context(), self+"/filters/one:1")
	if err != nil {
		t.Fatal(err)
	}
	digest := registry.Digest(resolved.Digest)
	path, err := s.client.Cache().Path(digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(path), os.RemoveAll(filepath.Join(s.dir, "registry", "docker", "registry", "v2", "repositories", "filters", "one", "_manifests"))); err != nil {
		t.Fatal(err)
	}
	_, _, err = s.open(t.Context(), digest)
	if !errors.Is(err, model.ErrNotFound) || !strings.Contains(err.Error(), "push the same bytes again") {
		t.Errorf("it says %v", err)
	}
	s.publish(t, self+"/filters/one:1", module, nil)
	f, _, err := s.open(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close() // only read
}

// What the disk has damaged while nobody looked is found at the start and fetched again, and all who ask at once for what it has
// damaged later get it whole.
func TestModulesDamagedOnDisk(t *testing.T) {
	s := openShop(t, t.TempDir(), self)
	module := wasm("one")
	s.publish(t, self+"/filters/one:1", module, nil)
	resolved, _, err := s.Resolve(t.Context(), self+"/filters/one:1")
	if err != nil {
		t.Fatal(err)
	}
	path, err := s.client.Cache().Path(registry.Digest(resolved.Digest))
	if err != nil {
		t.Fatal(err)
	}
	damage := func() {
		t.Helper()
		if err := os.WriteFile(path, []byte("damaged"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	damage()
	s.check(t.Context())
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, module) {
		t.Errorf("after the check: %q, %v", got, err)
	}
	damage()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			f, _, err := s.open(t.Context(), registry.Digest(resolved.Digest))
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, module) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	all.Wait()
}
