package registry_test

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
)

func TestPushAndPull(t *testing.T) {
	e := registrytest.Start(t)
	c := e.Client(t)
	ref := e.Reference(t, "filters/authz:1.0.0")
	wasm := append([]byte("\x00asm\x01\x00\x00\x00"), bytes.Repeat([]byte{0}, 1<<16)...)
	m := registry.ModuleBytes(wasm)
	m.Name, m.Version, m.ABIVersions, m.Manifest = "authz", "1.0.0", []string{"0.2.1"}, []byte(`{"name":"authz"}`)
	pushed, err := c.Push(t.Context(), ref, m, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, path, err := c.Pull(t.Context(), ref, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest != pushed.Digest || got.Module.Digest != registry.DigestOf(wasm) || !bytes.Equal(got.Manifest, m.Manifest) {
		t.Errorf("pulled %+v, pushed %+v", got, pushed)
	}
	data, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(data, wasm) {
		t.Errorf("the module came back changed: %v", err)
	}
}

// A caller who knows the module's digest is believed, and the registry refuses what has another one: nothing is tagged.
func TestPushOfAKnownDigest(t *testing.T) {
	e := registrytest.Start(t)
	wasm := append([]byte("\x00asm\x01\x00\x00\x00"), bytes.Repeat([]byte("x"), 5000)...)
	m := registry.Module{Content: bytes.NewReader(wasm), Size: int64(len(wasm)), Digest: registry.DigestOf(wasm)}
	for _, layout := range []registry.Layout{registry.LayoutOCI, registry.LayoutCompat, registry.LayoutCNCF} {
		m.Layout = layout
		known, err := e.Client(t).Push(t.Context(), e.Reference(t, "filters/known:"+string(layout)), m, nil)
		if err != nil {
			t.Fatal(err)
		}
		unknown := m
		unknown.Digest = ""
		found, err := e.Client(t).Push(t.Context(), e.Reference(t, "filters/found:"+string(layout)), unknown, nil)
		if err != nil || known.Digest != found.Digest || known.Module != found.Module {
			t.Errorf("%s: %+v, and without the digest %+v, %v", layout, known, found, err)
		}
		wrong := m
		wrong.Digest = registry.DigestOf(wasm[:8])
		ref := e.Reference(t, "filters/wrong:"+string(layout))
		if _, err := e.Client(t).Push(t.Context(), ref, wrong, nil); err == nil {
			t.Errorf("%s: bytes of another digest were published", layout)
		}
		if _, err := e.Client(t).Resolve(t.Context(), ref); !errors.Is(err, registry.ErrNotFound) {
			t.Errorf("%s: a tag names them: %v", layout, err)
		}
	}
	m.Digest = "sha1:abc"
	if _, err := e.Client(t).Push(t.Context(), e.Reference(t, "filters/bad:1"), m, nil); !errors.Is(err, registry.ErrInvalidReference) {
		t.Errorf("a digest that is none: %v", err)
	}
}
