package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/waft-project/waft/envoy"
)

func TestMain(m *testing.M) {
	if member, err := RunMember(); member {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	m.Run()
}

// One schedule on the built program: that of $SEED, or the first. Its figures go where those of make chaos go.
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
	programs := Programs{Envoy: binary.Path, Root: root}
	if Draw(seed).Jumps() {
		programs.Waft, err = Build(t.Context(), root, dir, nil)
	} else {
		programs.Fixed = true
		programs.Waft, err = BuildPlain(t.Context(), root, dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := Prepare(t.Context(), dir, &programs); err != nil {
		t.Fatal(err)
	}
	h, violations, err := RunSeed(t.Context(), seed, programs, Keeping{}, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	result := Result{Seed: seed}
	result.Add(h, violations)
	if err := result.Write(filepath.Join(root, "bench", "out", "chaos.json")); err != nil {
		t.Error(err)
	}
	for _, v := range violations {
		t.Errorf("%s: %s", v.Rule, v.Text)
	}
	t.Logf("seed %d: %d faults, %d in a wave, %d requests", seed, len(h.Faults), InWave(h), len(h.Requests))
}
