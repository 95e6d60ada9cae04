package registrytest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/waft-project/waft/registry"
)

// compareReaders has ReadAs and this package's own readers, which were written apart, agree about an image.
func compareReaders(t *testing.T, e Endpoint, ref registry.Reference) {
	t.Helper()
	c := e.Client(t)
	istio, istioErr := ReadAsIstio(t.Context(), e, ref)
	cncf, _, cncfErr := ReadAsCNCF(t.Context(), e, ref)
	for _, want := range []struct {
		reader registry.Reader
		wasm   []byte
		err    error
	}{
		{registry.ReaderIstio, istio.Module, istioErr},
		{registry.ReaderEnvoyGateway, istio.Module, istioErr},
		{registry.ReaderCNCF, cncf, cncfErr},
	} {
		got, err := c.ReadAs(t.Context(), want.reader, ref)
		if (err == nil) != (want.err == nil) {
			t.Errorf("%s: it says %v, and the reader that was written apart %v", want.reader, err, want.err)
			continue
		}
		if err != nil {
			var e *registry.Error
			if !errors.As(err, &e) || e.Op == "" || e.Next == "" || !strings.Contains(e.Subject, ref.Repository) {
				t.Errorf("%s: an error must say what was done, to what, and what to do next: %#v", want.reader, err)
			}
			continue
		}
		if got.Module.Digest != registry.DigestOf(want.wasm) || got.Module.Size != int64(len(want.wasm)) {
			t.Errorf("%s: it gets %+v, and the reader that was written apart %d bytes", want.reader, got.Module, len(want.wasm))
		}
		if got.Artifact.Hex() != istio.ManifestDigest {
			t.Errorf("%s: the image is %s, and was read as %s", want.reader, istio.ManifestDigest, got.Artifact)
		}
	}
}

// Images that the readers take by other ways than those that waft writes.
func testReaders(t *testing.T, e Endpoint) {
	wasm, other := Wasm(5000, 1), Wasm(5000, 2)
	packed := TarGzip(t, TarEntry{Name: "a/plugin.wasm", Body: wasm}, TarEntry{Name: "plugin.wasm", Body: other})
	for _, tc := range []struct {
		name  string
		img   image
		wasme bool
	}{
		{"a last layer that cannot be unpacked, and a raw one", image{configType: ociConfig, layers: []layer{{solContent, wasm}, {ociTarGzip, []byte("nothing")}}}, false},
		{"a packed module and a raw one", image{configType: ociConfig, layers: []layer{{solContent, other}, {ociTarGzip, packed}}}, false},
		{"two raw modules", image{configType: ociConfig, layers: []layer{{solContent, wasm}, {solContent, other}}}, false},
		{"three layers", image{configType: ociConfig, layers: []layer{{solConfig, []byte(`{"type":"envoy_proxy"}`)}, {"text/plain", []byte("x")}, {solContent, wasm}}}, true},
		{"a configuration of another type", image{configType: ociConfig, layers: []layer{{solConfig, []byte(`{"type":"other"}`)}, {solContent, wasm}}}, false},
		{"a configuration that is not JSON", image{configType: ociConfig, layers: []layer{{solConfig, []byte(`x`)}, {solContent, wasm}}}, false},
		{"two layers in a Docker image", image{mediaType: dockerImage, configType: dockerConfig, layers: []layer{{solConfig, []byte(`{"type":"envoy_proxy"}`)}, {solContent, wasm}}}, true},
		{"an OCI layer in a Docker image", image{mediaType: dockerImage, configType: dockerConfig, layers: []layer{{ociTarGzip, packed}}}, false},
		{"CNCF without created", image{configType: "application/vnd.wasm.config.v0+json", config: []byte(`{"architecture":"wasm","os":"wasip1","layerDigests":["` + string(registry.DigestOf(wasm)) + `"]}`), layers: []layer{{"application/wasm", wasm}}}, false},
		{"CNCF with another layer's digest", image{configType: "application/vnd.wasm.config.v0+json",
			config: []byte(`{"created":"1970-01-01T00:00:00Z","architecture":"wasm","os":"wasip1","layerDigests":["` + string(registry.DigestOf(other)) + `"]}`),
			layers: []layer{{"application/wasm", wasm}}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ref := e.Reference(t, "readers/x:1")
			put(t, e, ref, tc.img)
			compareReaders(t, e, ref)
			if got, err := e.Client(t).ReadAs(t.Context(), registry.ReaderWasme, ref); (err == nil) != tc.wasme || tc.wasme && got.Module.Digest != registry.DigestOf(wasm) {
				t.Errorf("wasme: %+v, %v", got, err)
			}
		})
	}
	t.Run("nobody", func(t *testing.T) {
		_, err := e.Client(t).ReadAs(t.Context(), "nobody", e.Reference(t, "readers/x:1"))
		wantKind(t, err, registry.ErrUnsupportedLayout)
	})
}

// What was pushed is read back before a tag names it, and what does not come back as it was gets no tag.
func testPullBack(t *testing.T, e Endpoint) {
	m, wasm := testModule(70_000, 4)
	m.PullBack = true
	all := registry.WrittenLayouts()
	ref := e.Reference(t, "back/x:1.0")
	artifacts, err := e.Client(t).PushLayouts(t.Context(), ref, m, all, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := [][]registry.Reader{
		{registry.ReaderIstio, registry.ReaderEnvoyGateway, registry.ReaderWasme}, {registry.ReaderIstio, registry.ReaderEnvoyGateway}, {registry.ReaderCNCF},
	}
	for i, a := range artifacts {
		readers, err := e.Client(t).PullBack(t.Context(), a)
		if err != nil || len(readers) != len(want[i]) {
			t.Errorf("%s: read by %v, %v; want %v", a.Layout, readers, err, want[i])
		}
		a.Module.Digest = registry.DigestOf([]byte("other"))
		_, err = e.Client(t).PullBack(t.Context(), a)
		wantKind(t, err, registry.ErrDigestMismatch)
	}
	mustPull(t, e.Client(t), ref, wasm)

	e, f := watched(t, e)
	for name, tc := range map[string]struct {
		fault Fault
		path  string
		kind  error
	}{
		"a registry that spoils blobs":            {WrongBytes, "/blobs/", registry.ErrDigestMismatch},
		"a registry that cuts blobs short":        {ShortBody, "/blobs/", registry.ErrSizeMismatch},
		"a registry that gives blobs to nobody":   {Answer(http.StatusForbidden), "/blobs/", registry.ErrUnauthorized},
		"a registry that spoils manifests":        {WrongBytes, "/manifests/", registry.ErrDigestMismatch},
		"a registry that loses what it was given": {Answer(http.StatusNotFound), "/manifests/", registry.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			ref := e.Reference(t, "back/y:"+strings.ReplaceAll(name, " ", "-"))
			var called atomic.Bool
			m := m
			f.Break(func(r *http.Request) bool {
				return r.Method == http.MethodGet && strings.Contains(r.URL.Path, tc.path) && !strings.Contains(r.URL.Path, "/manifests/sha256-")
			}, tc.fault)
			m.BeforeTag = func(context.Context, registry.Artifact) error { called.Store(true); return nil }
			_, err := e.Client(t).PushLayouts(t.Context(), ref, m, all, nil)
			f.Mend()
			wantKind(t, err, tc.kind)
			if called.Load() {
				t.Error("it was signed before it was read back")
			}
			_, err = e.Client(t).Resolve(t.Context(), ref)
			wantKind(t, err, registry.ErrNotFound)
		})
	}
}
