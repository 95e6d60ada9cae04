package registrytest

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/waft-project/waft/registry"
)

// testWrittenLayouts pushes each layout alone and all of them at once, and reads each as waft, as Istio and as a reader of
// the CNCF layout does.
func testWrittenLayouts(t *testing.T, e Endpoint) {
	all := registry.WrittenLayouts()
	for _, tc := range []struct {
		name    string
		layouts []registry.Layout
	}{
		{"oci", all[:1]}, {"compat", all[1:2]}, {"cncf", all[2:]}, {"all", all},
		{"cncf first", []registry.Layout{registry.LayoutCNCF, registry.LayoutOCI}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, wasm := testModule(70_000, 3)
			ref := e.Reference(t, "written/x:1.0")
			artifacts, err := e.Client(t).PushLayouts(t.Context(), ref, m, tc.layouts, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i, layout := range tc.layouts {
				at := ref
				if i > 0 {
					at.Tag = "1.0-" + string(layout)
				}
				pulled := mustPull(t, e.Client(t), at, wasm)
				pushed := artifacts[i]
				if pulled.Layout != layout || pulled.Digest != pushed.Digest || pushed.Reference != at.AtDigest(pushed.Digest) || pushed.Layout != layout {
					t.Errorf("%s: pushed %s as %s, pulled %s as %s", layout, pushed.Reference, pushed.Layout, pulled.Digest, pulled.Layout)
				}
				if pushed.Module.Digest != registry.DigestOf(wasm) || pushed.Layer != pulled.Layer || !bytes.Equal(pulled.Manifest, m.Manifest) {
					t.Errorf("%s: module %+v, layer %+v and %+v, manifest %s", layout, pushed.Module, pushed.Layer, pulled.Layer, pulled.Manifest)
				}
				got, err := ReadAsIstio(t.Context(), e, at)
				if istio := layout != registry.LayoutCNCF; (err == nil) != istio || istio && (!bytes.Equal(got.Module, wasm) || got.ManifestDigest != pushed.Digest.Hex()) {
					t.Errorf("%s: the reader of Istio's rules says %v", layout, err)
				}
				compareReaders(t, e, at)
				body, _, err := ReadAsCNCF(t.Context(), e, at)
				if cncf := layout == registry.LayoutCNCF; (err == nil) != cncf || cncf && !bytes.Equal(body, wasm) {
					t.Errorf("%s: the reader of the CNCF's rules says %v", layout, err)
				}
				if tc.name != "all" {
					continue
				}
				if found, err := e.Client(t).Layouts(t.Context(), at); err != nil || len(found) != len(all) || found[i].Digest != pushed.Digest {
					t.Errorf("%s: beside it are %d, %v", layout, len(found), err)
				}
			}
		})
	}
}

func testNotWritten(t *testing.T, e Endpoint) {
	m, _ := testModule(5000, 1)
	ref := e.Reference(t, "written/x:1.0")
	c := e.Client(t)
	for name, layouts := range map[string][]registry.Layout{
		"read only": {registry.LayoutWasmToOCI}, "unknown": {"docker"}, "one twice": {registry.LayoutOCI, registry.LayoutOCI},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.PushLayouts(t.Context(), ref, m, layouts, nil)
			wantKind(t, err, registry.ErrUnsupportedLayout)
		})
	}
	long := ref
	long.Tag = string(bytes.Repeat([]byte("a"), 125))
	_, err := c.PushLayouts(t.Context(), long, m, []registry.Layout{registry.LayoutOCI, registry.LayoutCompat}, nil)
	wantKind(t, err, registry.ErrInvalidReference)
	for _, at := range []registry.Reference{ref, long} {
		_, err = c.Resolve(t.Context(), at)
		wantKind(t, err, registry.ErrNotFound)
	}
}

// Each artifact can be read and added to before its tag is there, and an error leaves no tag.
func testBeforeTag(t *testing.T, e Endpoint) {
	m, wasm := testModule(5000, 1)
	ref := e.Reference(t, "written/x:1.0")
	c := e.Client(t)
	refused := errors.New("refused")
	var seen []registry.Layout
	m.BeforeTag = func(_ context.Context, a registry.Artifact) error {
		seen = append(seen, a.Layout)
		_, err := c.Resolve(t.Context(), a.Reference.InRepository().AtDigest(a.Digest))
		if err != nil {
			return err
		}
		tagged := a.Reference
		tagged.Digest = ""
		_, err = c.Resolve(t.Context(), tagged)
		wantKind(t, err, registry.ErrNotFound)
		if a.Layout == registry.LayoutCompat {
			return refused
		}
		return nil
	}
	layouts := []registry.Layout{registry.LayoutOCI, registry.LayoutCompat, registry.LayoutCNCF}
	if _, err := c.PushLayouts(t.Context(), ref, m, layouts, nil); !errors.Is(err, refused) {
		t.Fatalf("have %v", err)
	}
	_, err := c.Resolve(t.Context(), ref)
	wantKind(t, err, registry.ErrNotFound)
	m.BeforeTag = func(_ context.Context, a registry.Artifact) error {
		_, err := c.Attach(t.Context(), a, registry.Attachment{ArtifactType: reportType, Data: []byte(a.Layout)})
		return err
	}
	if _, err := c.PushLayouts(t.Context(), ref, m, layouts, nil); err != nil {
		t.Fatal(err)
	}
	if got := mustList(t, c, mustPull(t, c, ref, wasm), reportType); len(got) != 1 || string(got[0].Data) != "oci" {
		t.Errorf("attached: %+v", got)
	}
	if len(seen) != 2 {
		t.Errorf("called for %v", seen)
	}
}
