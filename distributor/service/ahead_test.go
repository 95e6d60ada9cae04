package service_test

import (
	"slices"
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

// While a wave soaks the nodes of the next one fetch, so that it moves them in the step in which it begins.
func TestNextWaveFetchesAhead(t *testing.T) {
	s, nodes := settled(t, 6)
	svc, _ := s.service()
	s.release("two", "good:2")
	s.begin("second", "two", long(one), long(half), all)
	prefetching := func() (ids []string) {
		for _, n := range nodes {
			collections, err := svc.Collections(t.Context(), n.hello.ID)
			if err != nil {
				t.Fatal(err)
			}
			if len(collections[2].Resources) > 0 {
				ids = append(ids, n.hello.ID)
			}
		}
		return ids
	}
	r := s.reach("second", model.RolloutSoaking)
	first := r.Waves[0].Nodes
	var ahead []string
	s.eventually("two more nodes fetch", func() bool { ahead = prefetching(); return len(ahead) == 2 && !slices.Contains(ahead, first[0]) })
	s.eventually("they have told so, and it is known", func() bool {
		has := 0
		for _, n := range nodes {
			if slices.Contains(ahead, n.hello.ID) && n.told(model.Digest([]byte("good:2"))) {
				has++
			}
		}
		return has == len(ahead)
	})
	// A row that is written meanwhile takes nothing away.
	if _, err := svc.Pause(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	if now := prefetching(); !slices.Equal(now, ahead) {
		t.Errorf("paused, %v fetch, not %v", now, ahead)
	}
	if _, err := svc.Resume(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	if _, err := svc.Promote(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	r = s.until("second", "its second wave moves", func(r model.Rollout) bool { return r.Wave == 1 && r.Phase == model.RolloutSoaking })
	if took := slices.Sorted(slices.Values(r.Waves[1].Nodes)); !slices.Equal(took, ahead) {
		t.Errorf("the wave took %v, and %v fetched ahead", took, ahead)
	}
	if begun, moved := r.Waves[1].StartedAt, r.Waves[1].MovedAt; !begun.Equal(moved) {
		t.Errorf("it moved its nodes %s after it began\n%s", moved.Sub(begun), history(r))
	}
}
