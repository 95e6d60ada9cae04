package chaos

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/waft-project/waft/envoy"
)

// One schedule on the built program: that of $SEED, or the first.
func TestSchedule(t *testing.T) {
	if testing.Short() {
		t.Skip("a schedule takes minutes")
	}
	seed := uint64(1)
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("SEED=%s: %v", text, err)
		}
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	binary, err := envoy.Find("")
	if err != nil {
		t.Fatalf("%v; run `make envoy`", err)
	}
	dir := t.TempDir()
	programs := Programs{Waft: filepath.Join(dir, "waft"), Envoy: binary.Path, Root: root}
	build := exec.Command("go", "build", "-o", programs.Waft, "./cmd/waft")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build waft: %v\n%s", err, out)
	}
	if err := Prepare(t.Context(), dir, &programs); err != nil {
		t.Fatal(err)
	}
	h, violations, err := RunSeed(t.Context(), seed, programs, "", t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range violations {
		t.Errorf("%s: %s", v.Rule, v.Text)
	}
	t.Logf("seed %d: %d faults, %d in a wave, %d requests", seed, len(h.Faults), InWave(h), len(h.Requests))
}
