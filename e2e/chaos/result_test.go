package chaos

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestRangesMerge(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, seeds ...uint64) string {
		r := Result{Seed: seeds[0]}
		for _, seed := range seeds {
			h := calm()
			h.Seed = seed
			h.Faults[0].InWave = true
			r.Add(h, nil)
		}
		path := filepath.Join(dir, name)
		if err := r.Write(path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one, two := write("1.json", 3, 4), write("2.json", 1)
	got, err := Merge([]string{one, two})
	if err != nil {
		t.Fatal(err)
	}
	want := &Result{Schedules: 3, Faults: 3, InWave: 3, Requests: 18000, Seed: 1, Seeds: []uint64{1, 3, 4}, Kinds: map[string]int{"kill envoy": 3}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("merged: %+v, want %+v", got, want)
	}
	if _, err := Merge([]string{one, write("3.json", 4)}); err == nil || !strings.Contains(err.Error(), "seed 4") {
		t.Errorf("a seed that counts twice: %v", err)
	}
}
