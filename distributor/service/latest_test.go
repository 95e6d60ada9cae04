package service_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

// A wave that soaks shows how far its gates have come, to whoever asks and to whoever watches; nothing of that is written.
func TestLatestReadingsOfASoakingWave(t *testing.T) {
	s, _ := settled(t, 3)
	svc, _ := s.service()
	s.release("two", "good:2")
	soaks := long(one)
	soaks.Gates = []model.GateSpec{{ErrorRatio: &model.ErrorRatioGate{Max: 0.01, MinSamples: 1 << 40}}}
	s.begin("second", "two", soaks, all)
	s.reach("second", model.RolloutSoaking)
	requests := func(r model.Rollout) (n int) {
		for _, g := range r.Latest {
			if g.Gate == "errorRatio" && g.Verdict == model.VerdictInconclusive && strings.Contains(g.Detail, "so far 0 were answered 5xx, the most allowed is 1 %") {
				_, _ = fmt.Sscanf(g.Detail, "%d requests are fewer", &n)
			}
		}
		return n
	}
	first := s.until("second", "some requests", func(r model.Rollout) bool { return requests(r) > 0 })
	written := s.tap.rollouts.Load()
	then := s.until("second", "more requests", func(r model.Rollout) bool { return requests(r) > requests(first) })
	s.eventually("who asks is told of more", func() bool {
		r, err := svc.GetRollout(t.Context(), "second")
		return err == nil && requests(r) > requests(then)
	})
	if got := s.tap.rollouts.Load(); got != written {
		t.Errorf("the rollout was written %d times for it", got-written)
	}
	if kept := then.Waves[0].Readings; len(kept) != 1 || kept[0].Gate != "loaded" {
		t.Errorf("kept is %v", kept)
	}
	if _, err := svc.Abort(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	if r := s.reach("second", model.RolloutAborted); len(r.Latest) > 0 {
		t.Errorf("ended, it shows %v", r.Latest)
	}
}
