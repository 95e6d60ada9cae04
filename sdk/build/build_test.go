package build_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk/build"
	"github.com/waft-project/waft/sdk/manifest"
	"github.com/waft-project/waft/sdk/wasmhost"
)

// module writes a Go module of its own into a temporary folder and gives the folder of the filter NAME in it.
func module(t *testing.T, name string, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, name)
	files["go.mod"] = "module example.com/filters\n\ngo 1.26\n"
	for path, text := range files {
		full := filepath.Join(dir, path)
		if path == "go.mod" {
			full = filepath.Join(root, path)
		}
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func bare(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("testdata/bare/main.go")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func mustBuild(t *testing.T, dir string, opts build.Options) build.Result {
	t.Helper()
	r, err := build.Build(t.Context(), dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestBuildWritesModuleAndManifest(t *testing.T) {
	out := filepath.Join(t.TempDir(), "made", "here")
	var steps []string
	r := mustBuild(t, "testdata/everything", build.Options{OutDir: out, Version: "1.2.3", Step: func(s string) { steps = append(steps, s) }})
	wasm := readFile(t, filepath.Join(out, "everything.wasm"))
	m, err := manifest.Decode(readFile(t, filepath.Join(out, "everything.json")))
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "everything" || m.Version != "1.2.3" || m.Language != "go" || m.Size != int64(len(wasm)) || m.MemoryMax != build.DefaultMemoryMax ||
		!slices.Contains(m.Imports, "env.proxy_log") || !m.LoadableBy("envoy-1.36") || !m.LoadableBy("envoy-1.40") || m.Missing != nil {
		t.Errorf("manifest %+v", m)
	}
	report, err := build.Check(wasm)
	if err != nil || report.SHA256 != m.SHA256 || report.MemoryMax != build.DefaultMemoryMax || !report.OK() || len(report.Warnings) > 0 {
		t.Errorf("the module that was written: %+v, %v", report, err)
	}
	if again, err := build.ReadManifest(r.Module, report.SHA256); err != nil || again.SHA256 != m.SHA256 {
		t.Errorf("%+v, %v", again, err)
	}
	if entries, err := os.ReadDir(out); err != nil || len(entries) != 5 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
	if !slices.Contains(steps, "compile") {
		t.Errorf("steps %q", steps)
	}
}

// The same source gives the same bytes, wherever it lies and whatever is in the environment.
func TestBuildIsReproducible(t *testing.T) {
	one := mustBuild(t, module(t, "same", map[string]string{"main.go": bare(t)}), build.Options{OutDir: t.TempDir()})
	t.Setenv("GOWASM", "satconv,signext")
	two := mustBuild(t, module(t, "same", map[string]string{"main.go": bare(t)}), build.Options{OutDir: t.TempDir()})
	if !bytes.Equal(readFile(t, one.Module), readFile(t, two.Module)) {
		t.Errorf("two builds gave %s and %s", one.Manifest.SHA256, two.Manifest.SHA256)
	}
	if !bytes.Equal(readFile(t, one.ManifestPath), readFile(t, two.ManifestPath)) {
		t.Error("two builds gave two manifests")
	}
	if !bytes.Equal(readFile(t, one.SBOM), readFile(t, two.SBOM)) || !bytes.Equal(readFile(t, one.Provenance), readFile(t, two.Provenance)) {
		t.Errorf("two builds gave two origins: %s %s", readFile(t, one.Provenance), readFile(t, two.Provenance))
	}
}

func TestBuildMemoryMax(t *testing.T) {
	dir := "testdata/bare"
	if r := mustBuild(t, dir, build.Options{OutDir: t.TempDir(), MemoryMax: 16 << 20}); r.Manifest.MemoryMax != 16<<20 {
		t.Errorf("memory maximum %d", r.Manifest.MemoryMax)
	}
	for name, tc := range map[string]struct {
		max  int64
		kind error
	}{
		"less than it needs":   {64 << 10, build.ErrInvalidModule},
		"negative":             {-1, build.ErrOption},
		"not a whole page":     {1 << 20 * 3 / 2 * 7 / 5, build.ErrOption},
		"more than Wasm knows": {8 << 30, build.ErrOption},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := build.Build(t.Context(), dir, build.Options{OutDir: t.TempDir(), MemoryMax: tc.max})
			wantError(t, err, tc.kind, "")
		})
	}
}

func wantError(t *testing.T, err, kind error, says string) *build.Error {
	t.Helper()
	var e *build.Error
	if !errors.Is(err, kind) || !errors.As(err, &e) {
		t.Fatalf("want %q, have %v", kind, err)
	}
	if e.Subject == "" || e.Next == "" {
		t.Errorf("an error must say what failed and what to do next: %+v", e)
	}
	if !strings.Contains(err.Error(), says) {
		t.Errorf("%v\ndoes not say %q", err, says)
	}
	return e
}

func TestBuildErrors(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files map[string]string
		kind  error
		says  string
	}{
		{"no Go files", map[string]string{"README": "x"}, build.ErrNotFilter, "Go files"},
		{"not package main", map[string]string{"x.go": "package x\n"}, build.ErrNotFilter, "its package is x"},
		{"two packages", map[string]string{"x.go": "package x\n", "main.go": "package main\n"}, build.ErrCompile, "found packages"},
		{"nothing for Wasm", map[string]string{"main.go": "//go:build linux\n\npackage main\n\nfunc main() {}\n"}, build.ErrNotFilter, ""},
		{"does not parse", map[string]string{"main.go": "package main\n\nfunc main() {\n"}, build.ErrCompile, "broken/main.go:"},
		{"does not type-check", map[string]string{"main.go": "package main\n\nfunc main() { x := 1 }\n"}, build.ErrCompile, "broken/main.go:3:15: declared and not used: x"},
		{"a package that is not there", map[string]string{"main.go": "package main\n\nimport _ \"example.com/filters/nothing\"\n\nfunc main() {}\n"}, build.ErrCompile, "example.com/filters/nothing"},
		{"in a package below", map[string]string{"main.go": "package main\n\nimport _ \"example.com/filters/broken/inner\"\n\nfunc main() {}\n", "inner/x.go": "package inner\n\nvar x int = \"\"\n"}, build.ErrCompile, "broken/inner/x.go:3:13"},
		{"no filter in it", map[string]string{"main.go": "package main\n\nfunc main() {}\n"}, build.ErrUnloadable, "lacks the export proxy_abi_version"},
		{"no callback", map[string]string{"main.go": strings.ReplaceAll(bare(t), "proxy_on_context_create", "something_else")}, build.ErrUnloadable, "exports no callback"},
		{"no allocator", map[string]string{"main.go": strings.ReplaceAll(bare(t), "proxy_on_memory_allocate", "something_else")}, build.ErrUnloadable, "proxy_on_memory_allocate"},
		{"an import that nobody has", map[string]string{"main.go": bare(t) + `
//go:wasmimport env proxy_teleport
func teleport(to uint32) uint32

func init() { travel() }

//go:noinline
func travel() { teleport(1) }
`}, build.ErrUnloadable, "env.proxy_teleport, which is reached by main.travel → main.teleport"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := module(t, "broken", tc.files)
			out := t.TempDir()
			_, err := build.Build(t.Context(), dir, build.Options{OutDir: out})
			e := wantError(t, err, tc.kind, tc.says)
			if e.Kind == build.ErrCompile && strings.Contains(e.Output, "# ") {
				t.Errorf("package headings are left in %q", e.Output)
			}
			if entries, err := os.ReadDir(out); err != nil || len(entries) != 0 {
				t.Errorf("something was written: %v, %v", entries, err)
			}
		})
	}
	t.Run("no directory", func(t *testing.T) {
		_, err := build.Build(t.Context(), "testdata/nothing", build.Options{})
		wantError(t, err, build.ErrNotFilter, "testdata/nothing")
	})
	t.Run("a file", func(t *testing.T) {
		_, err := build.Build(t.Context(), "testdata/bare/main.go", build.Options{})
		wantError(t, err, build.ErrNotFilter, "it is a file")
	})
	t.Run("a name that is none", func(t *testing.T) {
		_, err := build.Build(t.Context(), "testdata/bare", build.Options{Name: "../x"})
		wantError(t, err, build.ErrOption, "name")
	})
	t.Run("a version that is none", func(t *testing.T) {
		_, err := build.Build(t.Context(), "testdata/bare", build.Options{Version: "1 2"})
		wantError(t, err, build.ErrOption, "version")
	})
	t.Run("no Go", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		_, err := build.Build(t.Context(), "testdata/bare", build.Options{OutDir: t.TempDir()})
		wantError(t, err, build.ErrNotFilter, "")
	})
}

// Paths in the compiler's output are ones from the working directory, as is the directory that was asked for.
func TestCompilerPathsAreRelative(t *testing.T) {
	dir := module(t, "broken", map[string]string{"main.go": "package main\n\nfunc main() { x := 1 }\n"})
	t.Chdir(filepath.Dir(dir))
	_, err := build.Build(t.Context(), "broken", build.Options{})
	e := wantError(t, err, build.ErrCompile, "")
	if !strings.HasPrefix(e.Output, "broken/main.go:3:15: ") {
		t.Errorf("output %q", e.Output)
	}
}

// A build that fails, at whatever point, leaves what an earlier one made.
func TestFailureKeepsTheOld(t *testing.T) {
	dir := module(t, "f", map[string]string{"main.go": bare(t)})
	out := t.TempDir()
	opts := build.Options{OutDir: out}
	old := mustBuild(t, dir, opts)
	wasm, data, symbols := readFile(t, old.Module), readFile(t, old.ManifestPath), readFile(t, old.Symbols)
	check := func(t *testing.T) {
		t.Helper()
		if !bytes.Equal(readFile(t, old.Module), wasm) {
			t.Error("the module changed")
		}
		if !bytes.Equal(readFile(t, old.Symbols), symbols) {
			t.Error("the symbols changed")
		}
		if entries, err := os.ReadDir(out); err != nil || len(entries) != 5 {
			t.Errorf("the folder holds %v, %v", entries, err)
		}
	}
	t.Run("compile", func(t *testing.T) {
		if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nfunc main() { x := 1 }\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := build.Build(t.Context(), dir, opts)
		wantError(t, err, build.ErrCompile, "")
		check(t)
		if !bytes.Equal(readFile(t, old.ManifestPath), data) {
			t.Error("the manifest changed")
		}
	})
	t.Run("the manifest cannot be written", func(t *testing.T) {
		if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(bare(t)+"\nvar _ = 1\n\nfunc init() { println(2) }\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(old.ManifestPath); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(old.ManifestPath, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := build.Build(t.Context(), dir, opts); err == nil || !strings.Contains(err.Error(), old.ManifestPath) {
			t.Errorf("have %v", err)
		}
		check(t)
	})
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		interrupted := opts
		interrupted.Step = func(s string) {
			if s == "compile" {
				cancel()
			}
		}
		if _, err := build.Build(ctx, dir, interrupted); !errors.Is(err, context.Canceled) {
			t.Errorf("have %v", err)
		}
		check(t)
	})
}

// A filter whose imports older Envoys lack is made loadable by them, and what was changed says by which call.
func TestBuildForOlderEnvoys(t *testing.T) {
	r := mustBuild(t, "testdata/readdir", build.Options{OutDir: t.TempDir()})
	if len(r.Manifest.Envoys) != len(wasmhost.Profiles()) || len(r.Manifest.Missing) > 0 || slices.Contains(r.Manifest.Imports, "wasi_snapshot_preview1.fd_readdir") {
		t.Errorf("manifest %+v", r.Manifest)
	}
	wantChange(t, r, "wasi_snapshot_preview1.fd_readdir is answered in the module, with errno 20, since Envoy 1.36, 1.37, 1.38 has no such function")
	wantChange(t, r, "→ os.ReadDir → … → syscall.fd_readdir")
}

// Where a dependency drags an import in by its mere presence, the chain of imports is named.
func TestBuildNamesTheImportChain(t *testing.T) {
	dir := module(t, "f", map[string]string{
		"main.go":    strings.Replace(bare(t), "func main() {}", "import _ \"example.com/filters/f/deep\"\n\nfunc main() {}", 1),
		"deep/x.go":  "// Package deep lists a folder when it is imported.\npackage deep\n\nimport \"os\"\n\nvar names = list()\n\nfunc list() int { l, _ := os.ReadDir(\".\"); return len(l) }\n",
		"deep/y.txt": "",
	})
	r := mustBuild(t, dir, build.Options{OutDir: t.TempDir()})
	wantChange(t, r, "fd_readdir is answered in the module")
	wantChange(t, r, "it is reached by the import of example.com/filters/f/deep")
}

func TestReadManifestRefuses(t *testing.T) {
	r := mustBuild(t, "testdata/bare", build.Options{OutDir: t.TempDir()})
	if _, err := build.ReadManifest(filepath.Join(t.TempDir(), "x.wasm"), r.Manifest.SHA256); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no manifest: %v", err)
	}
	_, err := build.ReadManifest(r.Module, strings.Repeat("0", 64))
	wantError(t, err, build.ErrManifest, "describes the module")
	if err := os.WriteFile(r.ManifestPath, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = build.ReadManifest(r.Module, r.Manifest.SHA256)
	wantError(t, err, build.ErrManifest, "name")
}

// What a caller adds is written with everything else, or nothing is.
func TestBuildBeside(t *testing.T) {
	out := t.TempDir()
	refused := errors.New("refused")
	opts := build.Options{OutDir: out, Beside: func(manifest.Manifest) (map[string][]byte, error) { return nil, refused }}
	if _, err := build.Build(t.Context(), "testdata/bare", opts); !errors.Is(err, refused) {
		t.Fatalf("got %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(out, "*")); len(left) > 0 {
		t.Errorf("it left %q", left)
	}
	opts.Beside = func(m manifest.Manifest) (map[string][]byte, error) {
		return map[string][]byte{".x.json": []byte(m.SHA256)}, nil
	}
	r, err := build.Build(t.Context(), "testdata/bare", opts)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(out, "bare.x.json")); err != nil || string(got) != r.Manifest.SHA256 {
		t.Errorf("beside it is %q, %v", got, err)
	}
}
