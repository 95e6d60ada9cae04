package registry_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
)

// item is an entry of a bundle made by hand.
type item struct {
	name, text, mt string
}

// hand makes a bundle of manifests and blobs.
func hand(items []item, blobs ...[]byte) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	add := func(n string, b []byte) {
		_ = w.WriteHeader(&tar.Header{Name: n, Size: int64(len(b)), Mode: 0o644, Typeflag: tar.TypeReg})
		_, _ = w.Write(b)
	}
	var ms []string
	done := map[registry.Digest]bool{}
	put := func(b []byte) {
		if d := registry.DigestOf(b); !done[d] {
			done[d] = true
			add("blobs/sha256/"+d.Hex(), b)
		}
	}
	for _, i := range items {
		if i.mt == "" {
			i.mt = "application/vnd.oci.image.manifest.v1+json"
		}
		ms = append(ms, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"annotations":{"org.opencontainers.image.ref.name":%q}}`, i.mt, registry.DigestOf([]byte(i.text)), len(i.text), i.name))
	}
	add("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	add("index.json", []byte(`{"schemaVersion":2,"manifests":[`+strings.Join(ms, ",")+`]}`))
	for _, i := range items {
		put([]byte(i.text))
	}
	for _, b := range blobs {
		put(b)
	}
	_ = w.Close()
	return buf.Bytes()
}

// desc is a descriptor of bytes, as JSON.
func desc(mt string, b []byte) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mt, registry.DigestOf(b), len(b))
}

// cncf is a manifest of the CNCF layout, as JSON, with more members.
func cncf(wasm []byte, more string) string {
	return `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":` + desc("application/vnd.wasm.config.v0+json", []byte("{}")) + `,"layers":[` + desc("application/wasm", wasm) + `]` + more + `}`
}

// importing imports a bundle into the registry itself.
func importing(t *testing.T, e registrytest.Endpoint, data []byte) (registry.Bundle, error) {
	t.Helper()
	return e.Client(t).Import(t.Context(), bytes.NewReader(data), int64(len(data)), registry.Reference{Registry: e.Host}, nil)
}

// TestImportTellsWhatItTags: a module that claims to be attached to another still stands in the report of what was tagged.
func TestImportTellsWhatItTags(t *testing.T) {
	e := registrytest.Start(t)
	plain, claims := registrytest.Wasm(1000, 1), registrytest.Wasm(1000, 2)
	text := cncf(plain, "")
	b, err := importing(t, e, hand([]item{
		{name: "filters/headers:1", text: text},
		{name: "filters/authz:1.2.0", text: cncf(claims, `,"subject":`+desc("application/vnd.oci.image.manifest.v1+json", []byte(text)))},
	}, plain, claims, []byte("{}")))
	if err != nil {
		t.Fatal(err)
	}
	if told := fmt.Sprint(b.Artifacts); !strings.Contains(told, "filters/authz:1.2.0") {
		t.Errorf("told %s, and tagged filters/authz:1.2.0", told)
	}
	if _, err := importing(t, e, hand([]item{{name: "x/y:1", text: cncf(plain, "")}, {name: "x/y:1", text: cncf(claims, "")}}, plain, claims, []byte("{}"))); err == nil {
		t.Error("a bundle is taken that names one tag twice")
	}
}

// TestImportKeepsEvidence: what was signed since the export stays, and no image takes the place of a list of referrers.
func TestImportKeepsEvidence(t *testing.T) {
	e := registrytest.Start(t)
	c := e.Client(t)
	ref := e.Reference(t, "filters/authz:1")
	a, err := c.Push(t.Context(), ref, registry.ModuleBytes(registrytest.Wasm(1000, 1)), nil)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(by string) {
		t.Helper()
		layer := registry.SidecarLayer{MediaType: "application/vnd.dev.cosign.simplesigning.v1+json", Data: []byte(by), Annotations: map[string]string{"dev.cosignproject.cosign/signature": "YQ=="}}
		if err := c.AppendSidecar(t.Context(), a, "sig", layer); err != nil {
			t.Fatal(err)
		}
	}
	sign("theirs")
	var bundle bytes.Buffer
	if _, err := c.Export(t.Context(), []registry.Reference{ref}, &bundle, nil); err != nil {
		t.Fatal(err)
	}
	sign("ours")
	if _, err := importing(t, e, bundle.Bytes()); err != nil {
		t.Fatal(err)
	}
	if layers, err := c.Sidecar(t.Context(), a, "sig", 64); err != nil || len(layers) != 2 {
		t.Errorf("after the import there are %d signatures, %v, want both", len(layers), err)
	}
	wasm := registrytest.Wasm(1000, 7)
	if _, err := importing(t, e, hand([]item{{name: "filters/authz:sha256-" + a.Digest.Hex(), text: cncf(wasm, "")}}, wasm, []byte("{}"))); err == nil {
		t.Error("an image is taken at the tag where referrers are listed")
	}
}

// changing is a file that is another one after some reads.
type changing struct {
	one, two []byte
	after    int64
	reads    atomic.Int64
}

func (c *changing) ReadAt(p []byte, off int64) (int, error) {
	b := c.one
	if c.reads.Add(1) > c.after {
		b = c.two
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// TestPushOfAChangingFile: whenever a file changes during a push, what is published is what was described, or nothing is.
func TestPushOfAChangingFile(t *testing.T) {
	e := registrytest.Start(t)
	c := e.Client(t)
	one, two := registrytest.Wasm(1000, 1), registrytest.Wasm(1000, 2)
	refused := 0
	for _, layout := range []registry.Layout{registry.LayoutOCI, registry.LayoutCompat, registry.LayoutCNCF} {
		for after := range int64(8) {
			ref := e.Reference(t, fmt.Sprintf("x/y:%s-%d", layout, after))
			var told registry.Digest
			m := registry.Module{Content: &changing{one: one, two: two, after: after}, Size: 1000, Layout: layout}
			m.BeforeTag = func(_ context.Context, a registry.Artifact) error { told = a.Module.Digest; return nil }
			if _, err := c.Push(t.Context(), ref, m, nil); err != nil {
				refused++
				if _, err := c.Resolve(t.Context(), ref); !errors.Is(err, registry.ErrNotFound) {
					t.Errorf("%s, changed after %d reads: refused, and there is a tag: %v", layout, after, err)
				}
				continue
			}
			if got, _, err := c.Pull(t.Context(), ref, nil); err != nil || got.Module.Digest != told {
				t.Errorf("%s, changed after %d reads: it was described as %s, and is %s, %v", layout, after, told.Short(), got.Module.Digest.Short(), err)
			}
		}
	}
	if refused == 0 {
		t.Error("no change was noticed")
	}
}
