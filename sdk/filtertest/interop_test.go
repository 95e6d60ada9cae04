//go:build interop

package filtertest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// TestRust builds a filter in Rust and runs its scenarios in both backends. It needs cargo, so it stands apart:
//
//	go test -tags interop ./sdk/filtertest -run TestRust
func TestRust(t *testing.T) {
	dir, err := filepath.Abs("../wasmhost/testdata/rust")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "rust.wasm")
	if out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "build.sh"), path).CombinedOutput(); err != nil {
		t.Fatalf("build the filter in Rust: %v\n%s", err, out)
	}
	module, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	host := newHost(t)
	for name, binary := range binaries(t) {
		t.Run(name, func(t *testing.T) {
			profile, err := wasmhost.ProfileByName(name)
			if err != nil {
				t.Fatal(err)
			}
			opts := Options{Name: "rust"}
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
			for i, r := range wasm.Scenarios {
				if !r.Observed.ConfigRejected { // Envoy has more to say then
					compareLogs(t, r.Name, r.Observed.Logs, real.Scenarios[i].Observed.Logs)
				}
			}
		})
	}
}
