package service

import (
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// Whoever watches a large rollout is told less often what its gates say meanwhile: each telling has all of its nodes.
func TestWhatGatesSayIsToldLessOftenOfMoreNodes(t *testing.T) {
	for nodes, want := range map[int]time.Duration{0: time.Second, 3: time.Second, 1000: time.Second, 4500: 4500 * time.Millisecond, 10_000: 10 * time.Second, 100_000: 10 * time.Second} {
		e := &entry{state: model.Rollout{Nodes: make(map[string]model.NodeProgress, nodes), Latest: []model.GateReading{{Gate: "errorRatio"}}}}
		for i := range nodes {
			e.state.Nodes[string(rune(i))+time.Duration(i).String()] = model.NodeProgress{}
		}
		if e.shownAt = time.Now().Add(100*time.Millisecond - want); e.hasNews() {
			t.Errorf("of %d nodes it is told sooner than after %s", nodes, want)
		}
		if e.shownAt = time.Now().Add(-want); !e.hasNews() {
			t.Errorf("of %d nodes it is not told after %s", nodes, want)
		}
	}
}
