package service

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// Whatever is stored and needed: what goes is needed by nobody and is none of the newest of its name, and all of that goes.
func TestWhatIsCollected(t *testing.T) {
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 3))
		var all []model.ReleaseID
		needed := map[model.ReleaseID]struct{}{}
		for i := range random.IntN(60) {
			id := model.ReleaseID{Name: fmt.Sprintf("r%d", random.IntN(4)), Hash: fmt.Sprint(i)}
			all = append(all, id)
			if random.IntN(4) == 0 {
				needed[id] = struct{}{}
			}
		}
		needed[model.ReleaseID{Name: "r0", Hash: "not stored"}] = struct{}{}
		keep := random.IntN(5)
		gone := collectable(all, needed, keep)
		for i, id := range all {
			newer := 0
			for _, other := range all[:i] {
				if other.Name == id.Name {
					newer++
				}
			}
			_, need := needed[id]
			if want := !need && newer >= keep; want != slices.Contains(gone, id) {
				t.Fatalf("seed %d: %v needed %v with %d newer, keep %d: goes %v", seed, id, need, newer, keep, !want)
			}
		}
	}
}

// What a node that joins is given stands among what must stay, also after the newest rollout was undone.
func TestWhatJoinersMayBeGivenStays(t *testing.T) {
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 5))
		var rollouts []model.Rollout // newest first
		phases := []model.RolloutPhase{model.RolloutDone, model.RolloutDone, model.RolloutAborted, model.RolloutRolledBack, model.RolloutSoaking}
		for i := range 1 + random.IntN(12) {
			r := model.Rollout{
				Name: fmt.Sprint(i), Layer: []model.Layer{"global", "service/a"}[random.IntN(2)], Phase: phases[random.IntN(len(phases))],
				Spec:  model.RolloutSpec{Release: model.ReleaseID{Name: "r", Hash: fmt.Sprint(i)}, Selector: []string{"", "env=prod", "zone=a"}[random.IntN(3)]},
				Waves: []model.WaveState{{Nodes: []string{"n"}, EndedAt: time.Unix(1, 0)}},
			}
			rollouts = append(rollouts, r)
		}
		stay := grantable(rollouts, rollout.Stands)
		labels := map[string]string{"env": "prod", "zone": []string{"a", "b"}[random.IntN(2)]}
		for _, undone := range []int{-1, random.IntN(len(rollouts))} {
			list := rollouts
			if undone >= 0 {
				newest := slices.IndexFunc(list, func(r model.Rollout) bool { return rollout.Stands(r) })
				if newest < 0 {
					continue
				}
				list = slices.Insert(slices.Clone(list), 0, model.Rollout{Name: "undo", Undoes: list[newest].Name, Layer: list[newest].Layer, Phase: model.RolloutDone, Waves: list[newest].Waves})
			}
			for layer, id := range rollout.Joining(labels, true, list) {
				if !slices.Contains(stay, id) {
					t.Fatalf("seed %d: a node that joins is given %v in %s, which does not stay", seed, id, layer)
				}
			}
		}
	}
}

func TestWhoIsForgotten(t *testing.T) {
	long := 100 * time.Hour
	nodes := []awayNode{
		{id: "z", away: long}, {id: "a", away: long + 1}, {id: "there"}, {id: "a month", away: long - 1},
		{id: "held", away: long, held: true}, {id: "isolated", away: long, isolated: true}, {id: "unwritten", away: long, unwritten: true},
	}
	if got := forgettable(nodes, long); !slices.Equal(got, []string{"a", "z"}) {
		t.Errorf("forgotten are %v", got)
	}
	if got := forgettable(nodes, -1); len(got) > 0 {
		t.Errorf("with no limit %v are forgotten", got)
	}
}
