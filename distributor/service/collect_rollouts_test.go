package service

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// someRollouts are rollouts of all kinds, newest first, as they can stand beside each other: an undo takes back one that is older and stands.
func someRollouts(random *rand.Rand) []model.Rollout {
	phases := []model.RolloutPhase{model.RolloutDone, model.RolloutDone, model.RolloutDone, model.RolloutAborted, model.RolloutRolledBack, model.RolloutSoaking}
	var all []model.Rollout // oldest first
	for i := range 1 + random.IntN(16) {
		r := model.Rollout{
			Name: fmt.Sprint("r", i), Sequence: int64(i + 1), Layer: []model.Layer{"global", "service/a"}[random.IntN(2)], Phase: phases[random.IntN(len(phases))],
			Spec:  model.RolloutSpec{Release: model.ReleaseID{Name: "r", Hash: fmt.Sprint(i)}, Selector: []string{"", "env=prod", "zone=a"}[random.IntN(3)], IncludeUnreported: random.IntN(3) == 0},
			Waves: []model.WaveState{{Nodes: []string{"n"}, EndedAt: time.Unix(1, 0)}},
		}
		if of := random.IntN(i + 1); of < i && random.IntN(3) == 0 && rollout.Stands(all[of]) {
			r.Undoes, r.Layer = all[of].Name, all[of].Layer
		}
		if random.IntN(8) == 0 {
			r.Layer = "emergency/f"
			r.Disables = "f"
		}
		all = append(all, r)
	}
	slices.Reverse(all)
	return all
}

// granted is what nodes of all kinds are given when they join, and what they are held without.
func granted(rollouts []model.Rollout) string {
	var out string
	for _, labels := range []map[string]string{{}, {"env": "prod"}, {"zone": "a"}, {"env": "prod", "zone": "a"}} {
		for _, reports := range []bool{true, false} {
			grants := rollout.Grants(labels, reports, rollouts)
			for _, layer := range slices.Sorted(maps.Keys(grants)) {
				out += fmt.Sprint(layer, grants[layer], ";")
			}
			out += "|"
		}
	}
	entries := make([]*entry, len(rollouts))
	for i, r := range rollouts {
		entries[i] = &entry{state: r}
	}
	for _, r := range inForce(entries) {
		out += r.Name + ","
	}
	return out
}

// Whatever ran: what goes has ended, is needed by nobody and is not of the newest; and however far the removal comes, nodes that join are given what they were
// given before, then and after the newest rollout that stands is undone.
func TestWhichRolloutsAreCollected(t *testing.T) {
	collected := 0
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 7))
		all := someRollouts(random)
		needed := map[string]bool{}
		for _, r := range all {
			needed[r.Name] = random.IntN(4) == 0
		}
		keep := 1 + random.IntN(4)
		gone := collectableRollouts(all, func(r model.Rollout) bool { return needed[r.Name] }, keep)
		collected += len(gone)
		for i, r := range all {
			if slices.Contains(gone, r.Name) && (i < keep || needed[r.Name] || !r.Phase.Ended() || r.Disables != "") {
				t.Fatalf("seed %d: %+v goes, the %d. of the newest, needed: %v", seed, r, i+1, needed[r.Name])
			}
		}
		undone := func(list []model.Rollout) []model.Rollout {
			for _, r := range all {
				taken := slices.ContainsFunc(all, func(u model.Rollout) bool { return u.Undoes == r.Name })
				if !taken && r.Undoes == "" && r.Layer.Disables() == "" && rollout.Stands(r) {
					undo := model.Rollout{Name: "undo", Undoes: r.Name, Layer: r.Layer, Phase: model.RolloutDone, Waves: r.Waves}
					return slices.Insert(slices.Clone(list), 0, undo)
				}
			}
			return list
		}
		left, now, then := all, granted(all), granted(undone(all))
		for _, name := range gone {
			left = slices.DeleteFunc(slices.Clone(left), func(r model.Rollout) bool { return r.Name == name })
			if got := granted(left); got != now {
				t.Fatalf("seed %d: without %s nodes are given %s, and before %s", seed, name, got, now)
			}
			if got := granted(undone(left)); got != then {
				t.Fatalf("seed %d: without %s, and the newest undone, nodes are given %s, and before %s", seed, name, got, then)
			}
		}
		if again := collectableRollouts(left, func(r model.Rollout) bool { return needed[r.Name] }, keep); len(again) > 0 {
			t.Fatalf("seed %d: a second look removes %v", seed, again)
		}
	}
	if collected < 1000 {
		t.Errorf("only %d rollouts went", collected)
	}
}
