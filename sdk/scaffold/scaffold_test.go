package scaffold

import (
	"context"
	"errors"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk/build"
	"github.com/waft-project/waft/sdk/filtertest"
	"github.com/waft-project/waft/sdk/wasmhost"
)

// checkout is the root of this repository.
func checkout(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// Every template, made in a folder far from this repository, is formatted, vets, passes its Go test, builds to a module that
// every Envoy can load, and passes its scenarios.
func TestTemplates(t *testing.T) {
	host, err := wasmhost.NewHost(t.Context(), wasmhost.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = host.Close(context.Background()) })
	for _, template := range Templates() {
		t.Run(template.Name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "my-filter")
			made, err := New(t.Context(), Options{Dir: dir, Template: template.Name, SDK: checkout(t)})
			if err != nil {
				t.Fatal(err)
			}
			if made.Module != "my-filter" || !made.OwnModule {
				t.Errorf("it belongs to %q, of its own: %v", made.Module, made.OwnModule)
			}
			for _, name := range made.Files {
				text, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(string(text), "[[") {
					t.Errorf("%s has a placeholder left", name)
				}
				if formatted, err := format.Source(text); filepath.Ext(name) == ".go" && (err != nil || string(formatted) != string(text)) {
					t.Errorf("%s is not formatted: %v", name, err)
				}
			}
			for _, args := range [][]string{{"vet", "."}, {"test", "."}} {
				goCommand(t, dir, args...)
			}
			built, err := build.Build(t.Context(), dir, build.Options{OutDir: filepath.Join(dir, "dist")})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range built.Report.Profiles {
				if !p.Loadable {
					t.Errorf("%s cannot load it: %s", p.Name, p.Reason)
				}
			}
			if !slices.ContainsFunc(made.Files, func(f string) bool { return strings.HasPrefix(f, "scenarios/error-") }) {
				t.Error("no scenario has a configuration refused")
			}
			runScenarios(t, host, dir, built.Module)
		})
	}
}

// runScenarios runs a filter's scenarios under the oldest and the newest profile, and holds them against its budget.
func runScenarios(t *testing.T, host *wasmhost.Host, dir, path string) {
	t.Helper()
	module, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filtertest.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	budget, err := filtertest.LoadBudget(dir)
	if err != nil {
		t.Fatal(err)
	}
	profiles := wasmhost.Profiles()
	costs, err := filtertest.Bench(t.Context(), host, module, files, profiles[len(profiles)-1], filtertest.Options{}, 50)
	if err != nil {
		t.Fatal(err)
	}
	for _, over := range budget.Judge(costs) {
		t.Error(over)
	}
	for _, p := range []wasmhost.Profile{profiles[0], profiles[len(profiles)-1]} {
		report, err := filtertest.RunWasm(t.Context(), host, module, files, p, filtertest.Options{Name: "my-filter"})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range report.Scenarios {
			for _, d := range r.Differences {
				t.Errorf("%s: %s: %s: %s", p.Name(), filepath.Base(r.File), r.Name, d)
			}
		}
	}
}

func goCommand(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// In a module that requires waft, a filter is a package of it.
func TestInsideModule(t *testing.T) {
	parent, err := os.MkdirTemp(".", "_inside-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(parent) })
	dir := filepath.Join(parent, "deep", "inside")
	made, err := New(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if made.OwnModule || made.Module != waftModule {
		t.Errorf("it belongs to %q, of its own: %v", made.Module, made.OwnModule)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it has a go.mod: %v", err)
	}
	goCommand(t, dir, "test", ".")
}

// What fails leaves nothing behind, and what exists stays as it is.
func TestRefused(t *testing.T) {
	stranger := t.TempDir()
	if err := os.WriteFile(filepath.Join(stranger, "go.mod"), []byte("module stranger\n\ngo 1.26.0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := t.TempDir()
	taken := filepath.Join(t.TempDir(), "taken")
	if err := os.Mkdir(taken, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOFLAGS", "-mod=mod")
	t.Setenv("GOPROXY", "off")
	for _, test := range []struct {
		name string
		opts Options
		err  error
		says string
	}{
		{"folder exists", Options{Dir: taken, SDK: checkout(t)}, ErrExists, taken},
		{"no template", Options{Dir: filepath.Join(empty, "a"), Template: "frob"}, ErrUnknownTemplate, "headers, auth, body, tcp"},
		{"a way out of the templates", Options{Dir: filepath.Join(empty, "a"), Template: "../templates/tcp"}, ErrUnknownTemplate, "headers"},
		{"no checkout", Options{Dir: filepath.Join(empty, "a"), SDK: stranger}, ErrModule, "is no checkout"},
		{"a module without waft", Options{Dir: filepath.Join(stranger, "deep", "a")}, ErrModule, "go get " + waftModule},
		{"nowhere to fetch waft from", Options{Dir: filepath.Join(empty, "deep", "a")}, ErrModule, "--sdk DIR"},
		{"no name", Options{Dir: filepath.Join(empty, "Not_A_Label")}, nil, "another name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := New(t.Context(), test.opts)
			if err == nil || test.err != nil && !errors.Is(err, test.err) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %v that says %q", err, test.err, test.says)
			}
		})
	}
	for _, dir := range []string{empty, taken} {
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("%s holds %v, %v", dir, left, err)
		}
	}
	if left, err := os.ReadDir(stranger); err != nil || len(left) != 1 {
		t.Errorf("%s holds %v, %v", stranger, left, err)
	}
}
