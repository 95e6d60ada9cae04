package registry_test

import (
	"fmt"
	"testing"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
)

// A pipeline that publishes many filters publishes each in layouts that can be loaded: every layout is read, from a real registry, by the
// rules of all whom it is for, by readers that were written apart from this package. docs/pains.md has the whole list of pains.
func TestPain10WhatIsPublishedCanBeLoaded(t *testing.T) {
	const plugins = 43 // as many as one pipeline of Higress's published in a layout that nothing could load
	e := registrytest.Start(t)
	c := e.Client(t)
	for i := range plugins {
		wasm := registrytest.Wasm(5_000+i, byte(i))
		m := registry.ModuleBytes(wasm)
		m.Name = fmt.Sprintf("plugin-%d", i)
		m.Manifest = []byte(`{"name":"` + m.Name + `"}`)
		m.PullBack = true
		artifacts, err := c.PushLayouts(t.Context(), e.Reference(t, "plugins/"+m.Name+":1.0.0"), m, registry.WrittenLayouts(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range artifacts {
			read := 0
			for _, reader := range registry.Readers() {
				if !reader.Reads(a.Layout) {
					continue
				}
				read++
				var got []byte
				switch reader {
				case registry.ReaderIstio, registry.ReaderEnvoyGateway:
					image, istioErr := registrytest.ReadAsIstio(t.Context(), e, a.Reference)
					got, err = image.Module, istioErr
				case registry.ReaderCNCF:
					got, _, err = registrytest.ReadAsCNCF(t.Context(), e, a.Reference)
				default: // wasme's layout is Istio's, too, and has no more than two layers
					reading, readErr := c.ReadAs(t.Context(), reader, a.Reference)
					if readErr == nil && reading.Module.Digest == registry.DigestOf(wasm) {
						got = wasm
					}
					err = readErr
				}
				if err != nil || registry.DigestOf(got) != registry.DigestOf(wasm) {
					t.Fatalf("%s, %s: %s gets %d bytes of %d: %v", m.Name, a.Layout, reader, len(got), len(wasm), err)
				}
			}
			if read == 0 {
				t.Errorf("%s: nobody reads the layout %s", m.Name, a.Layout)
			}
		}
	}
}
