package build

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A module that the Go toolchain made by itself tells by which calls it reaches an import that some Envoy lacks.
func TestCheckNamesTheCalls(t *testing.T) {
	path := filepath.Join(t.TempDir(), "readdir.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", path, "./testdata/readdir")
	cmd.Env = environment()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wasm, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Check(wasm)
	if err != nil {
		t.Fatal(err)
	}
	m, ok := r.missing()["wasi_snapshot_preview1.fd_readdir"]
	if !ok || len(m.Path) < 3 || !slices.Contains(m.Path, "os.ReadDir") && !strings.Contains(m.Cause, "os.__File_.") || !strings.HasPrefix(m.Path[len(m.Path)-1], "syscall.") {
		t.Errorf("fd_readdir is reached by %q (%s)", m.Path, m.Cause)
	}
	if !slices.ContainsFunc(r.Warnings, func(f Finding) bool { return strings.Contains(f.Message, "which is reached by "+m.Cause) }) {
		t.Errorf("warnings %v", r.Warnings)
	}
}

func TestChainOfCalls(t *testing.T) {
	t.Parallel()
	names := map[uint32]string{1: "syscall.f", 2: "os.F", 3: "main.f", 4: "lib.g", 5: "lib.loop"}
	for name, tc := range map[string]struct {
		callers map[uint32][]uint32
		want    string
	}{
		"to main":                {map[uint32][]uint32{0: {1}, 1: {4, 2}, 2: {3}}, "main.f os.F syscall.f"},
		"to main, not the first": {map[uint32][]uint32{0: {1}, 1: {4, 3}}, "main.f syscall.f"},
		"to nobody":              {map[uint32][]uint32{0: {1}, 1: {2}, 2: {4}}, "lib.g os.F syscall.f"},
		"in a circle":            {map[uint32][]uint32{0: {1}, 1: {5}, 5: {5, 1, 2}}, "os.F lib.loop syscall.f"},
		"without a name":         {map[uint32][]uint32{0: {1}, 1: {9}, 9: {3}}, "main.f syscall.f"},
		"not called":             {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := strings.Join(chainOfCalls(0, tc.callers, names), " "); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
