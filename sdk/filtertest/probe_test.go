package filtertest

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// TestProbe compares what a guest sees in wazero and in Envoy: log line by log line, in every callback, with what host calls return for
// good and for bad arguments; what the connection manager and the router do to messages; which headers are joined; what crashes do.
// Scenarios of misuse.yaml break Envoy: there the host must say so.
func TestProbe(t *testing.T) {
	dir, err := filepath.Abs("../wasmhost/testdata/probe")
	if err != nil {
		t.Fatal(err)
	}
	files, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	module := testFilter(t, "probe")
	host := newHost(t)
	for name, binary := range binaries(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			profile, err := wasmhost.ProfileByName(name)
			if err != nil {
				t.Fatal(err)
			}
			opts := Options{Name: "probe"}
			wasm, err := RunWasm(t.Context(), host, module, files, profile, opts)
			if err != nil {
				t.Fatal(err)
			}
			var sound []File
			for _, f := range files {
				if filepath.Base(f.Path) != "misuse.yaml" {
					sound = append(sound, f)
				}
			}
			real, err := RunEnvoy(t.Context(), binary, module, sound, opts)
			if err != nil {
				t.Fatal(err)
			}
			compared := Report{Backend: wasm.Backend}
			for _, r := range wasm.Scenarios {
				if filepath.Base(r.File) != "misuse.yaml" {
					compared.Scenarios = append(compared.Scenarios, r)
				} else if !strings.Contains(r.Observed.Error, wasmhost.ErrMisuse.Error()) {
					t.Errorf("%s: want an error of misuse, got %q", r.Name, r.Observed.Error)
				}
			}
			for _, m := range Compare(compared, real) {
				t.Errorf("wazero and Envoy differ: %s", m)
			}
			for i, r := range compared.Scenarios {
				o := real.Scenarios[i].Observed
				compareLogs(t, r.Name, r.Observed.Logs, o.Logs)
				if start := r.Observed.StartLogs; len(start) > 0 {
					compareLogs(t, r.Name+": start", start, o.StartLogs[:min(len(start), len(o.StartLogs))])
				}
			}
		})
	}
}

// compareLogs wants the same lines, up to a panic: Go's own words about that hold addresses. The two engines word a crash differently.
func compareLogs(t *testing.T, name string, wasm, real []string) {
	t.Helper()
	line := func(ls []string, i int) string {
		switch {
		case i >= len(ls):
			return "(no line)"
		case strings.HasPrefix(ls[i], "Function: "):
			text, _, _ := strings.Cut(ls[i], " failed: ")
			return text
		}
		return ls[i]
	}
	for i := range max(len(wasm), len(real)) {
		if a, b := line(wasm, i), line(real, i); a != b {
			t.Errorf("%s: log line %d\nwazero: %s\nEnvoy:  %s", name, i, a, b)
			return
		} else if strings.HasPrefix(a, "panic") || strings.HasPrefix(a, "fatal error") {
			return
		}
	}
}
