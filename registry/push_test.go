package registry_test

import (
	"bytes"
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
