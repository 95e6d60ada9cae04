package filtertest

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// TestProbe compares what a guest sees in wazero and in Envoy, log line by log line.
func TestProbe(t *testing.T) {
	dir, err := filepath.Abs("../wasmhost/testdata/probe")
	if err != nil {
		t.Fatal(err)
	}
	files, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	module, err := compile(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	host, err := wasmhost.NewHost(t.Context(), wasmhost.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close(context.Background()) })
	for name, binary := range binaries(t) {
		t.Run(name, func(t *testing.T) {
			profile, err := wasmhost.ProfileByName(name)
			if err != nil {
				t.Fatal(err)
			}
			wasm, err := RunWasm(t.Context(), host, module, files, profile, Options{Name: "probe"})
			if err != nil {
				t.Fatal(err)
			}
			real, err := RunEnvoy(t.Context(), binary, module, files, Options{Name: "probe"})
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range Compare(wasm, real) {
				t.Errorf("wazero and Envoy differ: %s", m)
			}
			for i, r := range wasm.Scenarios {
				compareLogs(t, r.Name, r.Observed.Logs, real.Scenarios[i].Observed.Logs)
			}
		})
	}
}

func compareLogs(t *testing.T, name string, wasm, real []string) {
	t.Helper()
	for i := range max(len(wasm), len(real)) {
		line := func(ls []string) string {
			if i < len(ls) {
				return ls[i]
			}
			return "(no line)"
		}
		if line(wasm) != line(real) {
			t.Errorf("%s: log line %d\nwazero: %s\nEnvoy:  %s", name, i, line(wasm), line(real))
			return
		}
	}
}
