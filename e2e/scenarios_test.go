package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk/wasmhost"
)

// The same scenarios pass in wazero and in Envoy, without a difference; and for a filter that is broken on purpose both
// fail, and say what differs.
func TestScenariosOnBothSides(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	out := mustRun(t, f, "test", "--envoy="+envoyBinary, "./e2e/filters/stamp")
	for _, want := range []string{"ok   e2e/filters/stamp on wazero envoy-1.36: 2", "ok   e2e/filters/stamp on wazero envoy-1.40: 2", "ok   e2e/filters/stamp on envoy 1.", "0 failed"} {
		if !strings.Contains(out, want) {
			t.Errorf("waft test does not say %q:\n%s", want, out)
		}
	}
	if out := mustRun(t, f, "test", "--fuzz", "--seed", "1", "--runs", "2", "./e2e/filters/stamp"); !strings.HasSuffix(out, "\n1 passed, 0 failed\n") {
		t.Errorf("waft test --fuzz does not end with what came of it:\n%s", out)
	}

	broken := copyFilter(t, filepath.Join(root, "e2e", "filters", "stamp"), func(source string) string {
		return strings.ReplaceAll(source, `Set(s.config.Header, s.config.Value)`, `Set(s.config.Header, s.config.Value+"!")`)
	})
	mustFail(t, f, []string{"FAIL", "x-stamp", "seen!"}, "test", broken)
	text := mustFail(t, f, []string{"FAIL", "x-stamp", "seen!"}, "test", "--envoy="+envoyBinary, broken)
	if strings.Count(text, "FAIL") != len(wasmhost.Profiles())+1 {
		t.Errorf("not all profiles and Envoy fail:\n%s", text)
	}
}

// copyFilter copies a filter into a folder of its own within the checkout, since its imports are there, and changes its
// source.
func copyFilter(t *testing.T, from string, change func(string) string) string {
	t.Helper()
	parent, err := os.MkdirTemp(filepath.Join(root, "e2e", "filters"), "_copy-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(parent) })
	to := filepath.Join(parent, filepath.Base(from))
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	main := filepath.Join(to, "main.go")
	source, err := os.ReadFile(main)
	if err != nil {
		t.Fatal(err)
	}
	changed := change(string(source))
	if changed == string(source) {
		t.Fatalf("%s has nothing to break", main)
	}
	if err := os.WriteFile(main, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}
