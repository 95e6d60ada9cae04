package chaos

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
)

func TestDrawReplays(t *testing.T) {
	for seed := range uint64(50) {
		if a, b := Draw(seed), Draw(seed); !reflect.DeepEqual(a, b) {
			t.Fatalf("seed %d gives two schedules: %+v and %+v", seed, a, b)
		}
	}
	if reflect.DeepEqual(Draw(1).Faults, Draw(2).Faults) {
		t.Error("seeds 1 and 2 give the same faults")
	}
}

// Every kind of fault occurs within the 200 seeds of make chaos-long, on every part that can have it, and so does every kind of release; faults
// and steps fit each other.
func TestDrawCovers(t *testing.T) {
	kinds, releases, cohorts, emergencies, meddled := map[string]int{}, map[Kind]int{}, map[string]int{}, 0, map[Op]int{}
	for seed := uint64(1); seed <= 200; seed++ {
		s := Draw(seed)
		bad, disables := 0, 0
		for _, step := range s.Steps {
			releases[step.Kind]++
			if step.Disable {
				disables++
			}
			if step.Disable && (step.Kind == Refusing || !s.Marked) {
				t.Errorf("seed %d: a %s step, of a schedule whose releases are marked: %t, disables a filter", seed, step.Kind, s.Marked)
			}
			cohorts[fmt.Sprint(step.Kind, " ", step.Cohort)]++
			meddled[step.EndBy]++
			if step.Asks > 0 {
				meddled[OpApprove]++
			}
			if step.Asks > len(step.Shares) || step.Asks > 0 && step.Kind == Refusing {
				t.Errorf("seed %d: wave %d of a %s step with %d waves asks for an approval", seed, step.Asks, step.Kind, len(step.Shares))
			}
			if step.Promote {
				meddled[OpPromo]++
			}
			if (step.Promote || step.EndBy != "") && step.Kind != Good {
				t.Errorf("seed %d: the second operator lets a %s release pass", seed, step.Kind)
			}
			if step.EndBy == OpAbort && step.Cohort != "" {
				t.Errorf("seed %d: nodes keep a cohort", seed)
			}
			if step.Kind == Failing {
				bad++
			}
			for i, share := range step.Shares {
				if share < 1 || share > s.Nodes || i > 0 && share <= step.Shares[i-1] {
					t.Fatalf("seed %d: shares %v", seed, step.Shares)
				}
			}
		}
		if s.Replicas > 1 && !slices.ContainsFunc(s.Faults, func(f Fault) bool {
			return f.Part == Distributor && (f.Kind == Kill || f.Kind == Freeze || f.Kind == Restart)
		}) {
			t.Errorf("seed %d has replicas, and nobody takes over", seed)
		}
		if s.Marked != (disables == 1) {
			t.Errorf("seed %d: %d steps disable a filter that is there: %t", seed, disables, s.Marked)
		}
		emergencies += disables
		if bad == 0 {
			t.Errorf("seed %d has no release that fails", seed)
		}
		if len(s.Faults) < leastFaults {
			t.Errorf("seed %d has %d faults", seed, len(s.Faults))
		}
		for _, f := range s.Faults {
			kinds[fmt.Sprint(f.Kind, " ", f.Part)]++
			if f.Part == EtcdMember && s.Members == 0 {
				t.Errorf("seed %d: %s, and there is none", seed, f)
			}
			if f.Rollout >= len(s.Steps) || f.Node >= max(s.Nodes, s.Members) || f.Wave > len(s.Steps[f.Rollout].Shares) {
				t.Errorf("seed %d: %s fits no step", seed, f)
			}
		}
	}
	for _, m := range slices.Concat(menu, memberMenu) {
		if kinds[m.String()] == 0 {
			t.Errorf("%s never occurs: %v", m, kinds)
		}
	}
	for _, op := range []Op{"", OpPromo, OpApprove, OpAbort, OpUndo} {
		if meddled[op] == 0 {
			t.Errorf("the second operator never does %q", op)
		}
	}
	if emergencies == 0 {
		t.Error("no emergency in 200 schedules")
	}
	for seed := uint64(1); seed <= 200; seed += 10 {
		ten := map[string]bool{}
		for i := range uint64(10) {
			for _, f := range Draw(seed + i).Faults {
				ten[fmt.Sprint(f.Kind, " ", f.Part)] = true
			}
		}
		if all := len(menu) + len(memberMenu); len(ten) < all {
			t.Errorf("ten seeds from %d on have %d of %d faults: %v", seed, len(ten), all, ten)
		}
	}
	for _, kind := range []Kind{Good, Failing, Refusing} {
		if releases[kind] == 0 {
			t.Errorf("no %s release in 200 schedules", kind)
		}
		for _, cohort := range []Cohort{"", ByHeader, ByPercent} {
			if cohorts[fmt.Sprint(kind, " ", cohort)] == 0 {
				t.Errorf("no %s release for a cohort %q in 200 schedules", kind, cohort)
			}
		}
	}
}

func TestDue(t *testing.T) {
	f := Fault{Rollout: 1, Phase: "Moving", Wave: 2}
	for _, tc := range []struct {
		at   place
		want bool
	}{
		{place{rollout: -1}, false},
		{place{rollout: 0, phase: "Done", wave: 2}, false},
		{place{rollout: 1, phase: "Moving", wave: 1}, false},
		{place{rollout: 1, phase: "Moving", wave: 2}, true},
		{place{rollout: 1, phase: "Soaking", wave: 2}, false},
		{place{rollout: 1, phase: "RolledBack", wave: 1}, true},
		{place{rollout: 2, phase: "Fetching", wave: 1}, true},
	} {
		if got := tc.at.due(f); got != tc.want {
			t.Errorf("at %+v, due is %t", tc.at, got)
		}
	}
}
