package filtertest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// TestAwait runs the handlers that wait, of ../testdata/await, in wazero and in Envoy.
func TestAwait(t *testing.T) { inBoth(t, "../testdata/await") }

// TestTCPAwait runs handlers of connections, those that wait too, of ../testdata/tcpawait.
func TestTCPAwait(t *testing.T) { inBoth(t, "../testdata/tcpawait") }

// inBoth runs a filter's scenarios in wazero and in Envoy: all pass in both, and they agree. FILTERTEST_ENVOYS ("envoy-1.37 envoy-1.38") names
// other versions than the oldest and the newest.
func inBoth(t *testing.T, dir string) {
	t.Helper()
	_, files, module := loadFilter(t, dir)
	host := newHost(t)
	versions := strings.Fields(os.Getenv("FILTERTEST_ENVOYS"))
	if len(versions) == 0 {
		versions = []string{"envoy-1.36", "envoy-1.40"}
	}
	all := binaries(t)
	for _, name := range versions {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // an Envoy mostly waits, or compiles with one core
			profile, err := wasmhost.ProfileByName(name)
			if err != nil {
				t.Fatal(err)
			}
			opts := Options{Name: filepath.Base(dir)}
			wasm, err := RunWasm(t.Context(), host, module, files, profile, opts)
			if err != nil {
				t.Fatal(err)
			}
			reportTests(t, wasm)
			binary, ok := all[name]
			if !ok {
				t.Skipf("no Envoy of %s: run `make envoy`", name)
			}
			real, err := RunEnvoy(t.Context(), binary, module, files, opts)
			if err != nil {
				t.Fatal(err)
			}
			reportTests(t, real)
			for _, m := range Compare(wasm, real) {
				t.Errorf("wazero and Envoy differ: %s", m)
			}
		})
	}
}
