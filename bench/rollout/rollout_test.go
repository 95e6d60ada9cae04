package main

import (
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A small slice of the measurement: the rows are there, whole, and etcd writes no more than it may. Times are another matter on a machine that
// does other things, too.
func TestSlice(t *testing.T) {
	ownParts := []string{"begin_s", "fetch_s", "deliver_s", "notice_s"}
	waft := filepath.Join(t.TempDir(), "waft")
	if out, err := exec.Command("go", "build", "-o", waft, "../../cmd/waft").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out := filepath.Join(t.TempDir(), "out", "rollout.json")
	var table strings.Builder
	b := bench{
		waft: waft, root: "../..", swaps: 1, steady: time.Second, sizes: []int{50}, soak: 500 * time.Millisecond, step: 50 * time.Millisecond, alone: 500 * time.Millisecond,
	}
	if err := b.run(t.Context(), &table, out); err != nil {
		t.Fatal(err)
	}
	t.Log(table.String())
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Rows  []map[string]any
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
			if value, ok := r[name].(float64); !ok || value <= 0 {
				t.Errorf("%v nodes: %s is %v", r["nodes"], name, r[name])
			}
		}
		if back, ok := r["again"].(map[string]any); !ok || !(back["seconds"].(float64) > 0) || !(back["peak_mb"].(float64) > 0) {
			t.Errorf("%v nodes: of their coming back it says %v", r["nodes"], r["again"])
		}
		if share, ok := r["idle_share"].(float64); !ok || share < 0 || share > 1 {
			t.Errorf("%v nodes: idle_share is %v", r["nodes"], r["idle_share"])
		}
		// What it is made of lies in the past, and adds up.
		parts, sum := r["parts"].(map[string]any), 0.0
		for _, name := range []string{"begin_s", "fetch_s", "deliver_s", "notice_s", "fleet_s", "distributor_cpu_s", "fleet_cpu_s", "distributor_waited_s"} {
			value, ok := parts[name].(float64)
			if !ok || value < 0 || value > 60 {
				t.Errorf("%v nodes: %s is %v", r["nodes"], name, parts[name])
			}
			if slices.Contains(ownParts, name) {
				sum += value
			}
		}
		if own := r["own_seconds"].(float64); math.Abs(own-sum) > 1e-6 {
			t.Errorf("%v nodes: the parts are %v s together, not %v", r["nodes"], sum, own)
		}
	}
	if len(got.Swaps) != 1 {
		t.Fatalf("%d swaps, want 1: %s", len(got.Swaps), text)
	}
	for _, name := range []string{"rate", "saturated", "total_ms", "probe_ms", "beside_ms", "alone_ms", "beyond_loading_ms", "swapping_ms", "requests", "worst_ms", "p99_ms", "steady_worst_ms"} {
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
