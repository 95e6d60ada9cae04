package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
	"github.com/waft-project/waft/sdk/admission"
)

// workshop is a folder to build into, and a registry to push to.
type workshop struct {
	dir  string
	e    registrytest.Endpoint
	said string // on standard error, by the last command
}

func newWorkshop(t *testing.T) *workshop {
	t.Helper()
	w := &workshop{dir: t.TempDir(), e: registrytest.Start(t)}
	t.Setenv("DOCKER_CONFIG", w.dir)
	return w
}

// try runs a command that reaches the registry.
func (w *workshop) try(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out, stderr bytes.Buffer
	root := newRoot()
	root.SetArgs(append(args, "--plain-http", w.e.Host))
	root.SetOut(&out)
	root.SetErr(&stderr)
	err := root.ExecuteContext(t.Context())
	w.said = stderr.String()
	return out.String(), err
}

func (w *workshop) must(t *testing.T, args ...string) string {
	t.Helper()
	out, err := w.try(t, args...)
	if err != nil {
		t.Fatalf("waft %s: %v\n%s", strings.Join(args, " "), err, w.said)
	}
	return out
}

// json runs a command that prints JSON.
func (w *workshop) json(t *testing.T, into any, args ...string) {
	t.Helper()
	if err := json.Unmarshal([]byte(w.must(t, append(args, "-o", "json")...)), into); err != nil {
		t.Fatal(err)
	}
}

// build builds a filter and gives the module's file.
func (w *workshop) build(t *testing.T, version, dir string) string {
	t.Helper()
	out := filepath.Join(w.dir, version)
	mustWaft(t, "build", "--out", out, "--version", version, filepath.Join("../..", dir))
	return filepath.Join(out, filepath.Base(dir)+".wasm")
}

func (w *workshop) ref(name string) string { return w.e.Host + "/filters/" + name }

func (w *workshop) absent(t *testing.T, ref string) {
	t.Helper()
	if out, err := w.try(t, "inspect", ref); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("%s is there: %v\n%s", ref, err, out)
	}
}

func TestPushAdmits(t *testing.T) {
	w := newWorkshop(t)
	bad, good := w.build(t, "1.0.0", "demo/filters/unloadable"), w.build(t, "1.0.0", "e2e/filters/stamp")

	var refused *admission.Refusal
	ref := w.ref("unloadable:1.0.0")
	if _, err := w.try(t, "push", bad, ref); !errors.As(err, &refused) || refused.Profile != "envoy-1.36" || !strings.Contains(refused.Words, "dies on purpose") {
		t.Errorf("a filter that dies: %v", err)
	}
	w.absent(t, ref)
	if out := w.must(t, "push", bad, ref, "--no-admission"); !strings.Contains(w.said, "NOT ADMITTED") || !strings.Contains(out, "admitted") {
		t.Errorf("without admission it says %q and %q", w.said, out)
	}
	w.must(t, "inspect", ref)

	var pushed struct{ Admission *admission.Admission }
	ref = w.ref("stamp:1.0.0")
	w.json(t, &pushed, "push", good, ref, "--layout", "oci,compat,cncf")
	if a := pushed.Admission; a == nil || len(a.Profiles) < 5 || len(a.Configurations) == 0 {
		t.Errorf("admitted as %+v", a)
	}

	// What is beside the module must be about it, and say what can be run.
	beside := strings.TrimSuffix(good, ".wasm") + admission.Suffix
	text, err := os.ReadFile(beside)
	if err != nil {
		t.Fatal(err)
	}
	other := w.ref("stamp:other")
	if err := os.WriteFile(beside, bytes.Replace(text, []byte(`"sha256": "`), []byte(`"sha256": "0`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := w.try(t, "push", good, other); !errors.Is(err, admission.ErrScenarios) {
		t.Errorf("another module's scenarios: %v", err)
	}
	w.absent(t, other)
	if _, err := w.try(t, "push", good, other, "--scenarios", t.TempDir()); err == nil || !strings.Contains(err.Error(), "--scenarios") {
		t.Errorf("a folder without scenarios: %v", err)
	}
	w.json(t, &pushed, "push", good, other, "--scenarios", "../../e2e/filters/stamp")
	if len(pushed.Admission.Configurations) == 0 {
		t.Error("the folder's scenarios were not taken")
	}
	if err := os.Remove(beside); err != nil {
		t.Fatal(err)
	}
	if out := w.must(t, "push", good, w.ref("stamp:none")); !strings.Contains(out, "it has no scenarios") {
		t.Errorf("without scenarios it says %q", out)
	}
}

// What does not come back as it was pushed gets no tag, in any layout.
func TestPushReadsBack(t *testing.T) {
	w := newWorkshop(t)
	faulty := registrytest.NewFaulty(w.e.Handler)
	w.e = registrytest.Serve(t, faulty)
	wasm, ref := w.build(t, "1.0.0", "sdk/build/testdata/bare"), w.ref("bare:1.0.0")
	for _, layout := range []string{"oci", "compat", "cncf"} {
		faulty.Break(registrytest.Path("GET", "/blobs/"), registrytest.WrongBytes)
		_, err := w.try(t, "push", wasm, ref, "--layout", layout)
		faulty.Mend()
		if !errors.Is(err, registry.ErrDigestMismatch) {
			t.Errorf("%s: %v", layout, err)
		}
		w.absent(t, ref)
	}
	w.must(t, "push", wasm, ref, "--layout", "oci,compat,cncf")
}

func TestPullKeepsWhatIsThere(t *testing.T) {
	w := newWorkshop(t)
	one, two := w.ref("bare:1.0.0"), w.ref("bare:2.0.0")
	w.must(t, "push", w.build(t, "1.0.0", "sdk/build/testdata/bare"), one)
	w.must(t, "push", w.build(t, "2.0.0", "sdk/build/testdata/bare"), two)
	file := filepath.Join(t.TempDir(), "bare.wasm")
	beside := strings.TrimSuffix(file, ".wasm") + ".json"
	read := func() string {
		t.Helper()
		text, err := os.ReadFile(beside)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	w.must(t, "pull", one, "-O", file)
	first := read()
	w.must(t, "pull", one, "-O", file) // the same again
	for _, mine := range []string{first, `{"mine": true}`} {
		if err := os.WriteFile(beside, []byte(mine), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := w.try(t, "pull", two, "-O", file); err == nil || !strings.Contains(err.Error(), beside) || !strings.Contains(err.Error(), "--overwrite") {
			t.Errorf("over another file: %v", err)
		}
		if read() != mine {
			t.Error("it was overwritten")
		}
	}
	w.must(t, "pull", two, "-O", file, "--overwrite")
	if now := read(); now == first || !strings.Contains(now, "2.0.0") {
		t.Errorf("overwritten with %s", now)
	}

	// A manifest of another module, by somebody who pushes by other means.
	wasm := registrytest.Wasm(1000, 1)
	m := registry.ModuleBytes(wasm)
	m.Manifest = []byte(first)
	mixed := w.e.Reference(t, "filters/mixed:1")
	for _, layout := range registry.WrittenLayouts() {
		m.Layout = layout
		if _, err := w.e.Client(t).Push(t.Context(), mixed, m, nil); err != nil {
			t.Fatal(err)
		}
		into := filepath.Join(t.TempDir(), "mixed.wasm")
		if _, err := w.try(t, "pull", mixed.String(), "-O", into); err == nil || !strings.Contains(err.Error(), "its manifest describes") {
			t.Errorf("%s: a manifest of another module: %v", layout, err)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(into), "*")); len(left) > 0 {
			t.Errorf("%s: it left %q", layout, left)
		}
	}
}
