package chaos

import (
	"path/filepath"
	"reflect"
	"slices"
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
			h.Final.Rollouts = append(h.Final.Rollouts, Rollout{Undoes: "r1", Phase: "Done"}, Rollout{Undoes: "r2", Phase: "Aborted"})
			h.Faults = append(h.Faults, Injected{Fault: Fault{Kind: Jump, Part: Agent}, Void: true, Impossible: true, Note: "why"})
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
	want := &Result{Schedules: 3, Faults: 3, InWave: 3, Undos: 3, Requests: 18000, Seed: 1, Seeds: []uint64{1, 3, 4}, Kinds: map[string]int{"kill envoy": 3},
		Void: map[string]int{"jump agent": 3}, Impossible: map[string]string{"jump agent": "why"}, Lacks: []string{}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("merged: %+v, want %+v", got, want)
	}
	if _, err := Merge([]string{one, write("3.json", 4)}); err == nil || !strings.Contains(err.Error(), "seed 4") {
		t.Errorf("a seed that counts twice: %v", err)
	}
}

// Ten schedules must have every kind of fault that is possible, and most faults in a wave; what they lack is an error.
func TestLacks(t *testing.T) {
	tenOf := func(undone bool, change func(*Injected)) *Result {
		r := new(Result)
		for range coveredBy {
			h := calm()
			h.Faults = nil
			for _, m := range slices.Concat(menu, memberMenu) {
				f := Injected{Fault: Fault{Kind: m.kind, Part: m.part}, InWave: true}
				change(&f)
				h.Faults = append(h.Faults, f)
			}
			if undone {
				h.Final.Rollouts = append(h.Final.Rollouts, Rollout{Name: "r1-undo", Undoes: "r1", Phase: "Done"})
			}
			r.Add(h, nil)
		}
		return r
	}
	for name, tc := range map[string]struct {
		change func(*Injected)
		want   string
	}{
		"all are there":                     {func(*Injected) {}, ""},
		"one is void, and nobody knows why": {func(f *Injected) { f.Void = f.Kind == Freeze && f.Part == EtcdMember }, `no fault "freeze etcd" took place, and 10 were void`},
		"one is impossible": {func(f *Injected) {
			f.Void, f.Impossible, f.Note = f.Kind == Fill, f.Kind == Fill, "it has no disk"
		}, ""},
		"many outside of waves": {func(f *Injected) { f.InWave = f.Part == Agent }, "60 of 240 faults met a wave"},
	} {
		r := tenOf(true, tc.change)
		err := r.Err()
		if (err != nil) != (tc.want != "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
		r.Schedules = coveredBy - 1
		if lacks := r.lacks(); len(lacks) > 0 {
			t.Errorf("%s: of fewer schedules, too: %v", name, lacks)
		}
	}
	if err := tenOf(false, func(*Injected) {}).Err(); err == nil || !strings.Contains(err.Error(), "no undo has taken a rollout back") {
		t.Errorf("without an undo: %v", err)
	}
}

// What does not hold is said with what replays that one schedule.
func TestErrSaysHowToReplay(t *testing.T) {
	r := &Result{Schedules: 3, Violations: []Violation{{Seed: 17}}}
	if err := r.Err(); err == nil || !strings.Contains(err.Error(), "SEED=17 SCHEDULES=1") {
		t.Error(err)
	}
}

// A run that cannot be made is a violation, and no reason not to run the seeds after it.
func TestRunThatCannotBeMade(t *testing.T) {
	keep := t.TempDir()
	h, found, err := RunSeed(t.Context(), 4, Programs{Waft: filepath.Join(keep, "no-waft")}, Keeping{Dir: keep}, t.Logf)
	if err != nil || h.Seed != 4 || len(found) != 1 || found[0].Rule != RuleRun || !strings.Contains(found[0].Text, "no-waft") {
		t.Errorf("%v, %v", found, err)
	}
	if kept, err := filepath.Glob(filepath.Join(keep, "4", "history.json")); err != nil || len(kept) != 1 {
		t.Errorf("it is not kept: %v, %v", kept, err)
	}
}
