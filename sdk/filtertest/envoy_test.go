package filtertest

import (
	"path/filepath"
	"testing"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/sdk/wasmhost"
)

// binaries are the Envoys that the profiles copy.
func binaries(t *testing.T) map[string]envoy.Binary {
	t.Helper()
	out := map[string]envoy.Binary{}
	cached, err := envoy.Cached()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range wasmhost.Profiles() {
		for _, c := range cached {
			if q, err := wasmhost.ProfileByName(c.Number.String()); err == nil && q.Name() == p.Name() {
				out[p.Name()] = c.Binary
			}
		}
	}
	if len(out) == 0 {
		t.Fatal("no Envoy of a profile's version: run `make envoy`")
	}
	return out
}

// TestEnvoy runs the scenarios of a filter that is written directly on proxy-wasm-go-sdk in both backends: all pass, and they agree.
func TestEnvoy(t *testing.T) {
	t.Parallel()
	abs, err := filepath.Abs("../wasmhost/testdata/gofilter")
	if err != nil {
		t.Fatal(err)
	}
	files, err := Load(abs)
	if err != nil {
		t.Fatal(err)
	}
	module := testFilter(t, "gofilter")
	host := newHost(t)
	for name, binary := range binaries(t) {
		t.Run(name, func(t *testing.T) {
			profile, err := wasmhost.ProfileByName(name)
			if err != nil {
				t.Fatal(err)
			}
			opts := Options{Name: filepath.Base(abs)}
			wasm, err := RunWasm(t.Context(), host, module, files, profile, opts)
			if err != nil {
				t.Fatal(err)
			}
			real, err := RunEnvoy(t.Context(), binary, module, files, opts)
			if err != nil {
				t.Fatal(err)
			}
			reportTests(t, wasm)
			reportTests(t, real)
			for _, m := range Compare(wasm, real) {
				t.Errorf("wazero and Envoy differ: %s", m)
			}
		})
	}
}
