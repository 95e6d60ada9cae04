package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A small slice of the measurement: the rows are there, whole, and etcd writes no more than it may. Times are another matter on a machine that
// does other things, too.
func TestSlice(t *testing.T) {
	waft := filepath.Join(t.TempDir(), "waft")
	if out, err := exec.Command("go", "build", "-o", waft, "../../cmd/waft").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out := filepath.Join(t.TempDir(), "out", "rollout.json")
	var table strings.Builder
	b := bench{waft: waft, root: "../..", swaps: 1, sizes: []int{50}, soak: 500 * time.Millisecond, step: 50 * time.Millisecond}
	if err := b.run(t.Context(), &table, out); err != nil {
		t.Fatal(err)
	}
	t.Log(table.String())
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Rows  []map[string]float64
		Swaps []map[string]any
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != 1 {
		t.Fatalf("%d rows, want 1: %s", len(got.Rows), text)
	}
	for i, r := range got.Rows {
		if r["nodes"] != float64(b.sizes[i]) {
			t.Errorf("row %d is of %v nodes, want %d", i, r["nodes"], b.sizes[i])
		}
		for _, name := range []string{"decision_ms", "decisions", "etcd_writes_per_node_wave", "etcd_transactions", "own_seconds", "status_ms", "cpu_ms_per_node"} {
			if r[name] <= 0 {
				t.Errorf("%v nodes: %s is %v", r["nodes"], name, r[name])
			}
		}
	}
	if len(got.Swaps) != 1 {
		t.Fatalf("%d swaps, want 1: %s", len(got.Swaps), text)
	}
	for _, name := range []string{"rate", "saturated", "total_ms", "loading_ms", "beyond_loading_ms", "swapping_ms", "requests", "worst_ms", "p99_ms", "steady_worst_ms"} {
		if value, ok := got.Swaps[0][name].(float64); !ok || value <= 0 {
			t.Errorf("a swap's %s is %v", name, got.Swaps[0][name])
		}
	}
	if got.Swaps[0]["failed"] != 0.0 {
		t.Errorf("%v requests failed", got.Swaps[0]["failed"])
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(out), "rollout-*")); err != nil || len(left) > 0 {
		t.Errorf("it left %v (%v)", left, err)
	}
}
