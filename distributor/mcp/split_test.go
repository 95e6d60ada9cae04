package mcp

import (
	"testing"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

// TestSplitReadsAsTheChainOfTheRest: a sink that knows of no splits must find a chain that it may run for every request.
func TestSplitReadsAsTheChainOfTheRest(t *testing.T) {
	split := model.NodeSplit{Layer: model.LayerGlobal, Release: model.ReleaseID{Name: "edge", Hash: "sha256:new"}, Cohort: model.Cohort{Header: model.CohortHeader{Name: "x-canary", Value: "1"}}}
	chain := model.NodeChain{Generation: 7, Chain: model.Chain{Hash: "both", Split: &model.ChainSplit{NodeSplit: split, Rest: "old", Test: "new"}}}
	for _, f := range []struct {
		name, version string
		side          model.Side
	}{{"a", "1", model.SideRest}, {"a", "2", model.SideCohort}, {"b", "1", model.SideBoth}} {
		chain.Filters = append(chain.Filters, model.RenderedFilter{FilterSpec: model.FilterSpec{Name: f.name}, Version: f.version, Side: f.side})
	}
	got := encodeChain(&chain)
	if got.GetHash() != "old" || len(got.GetFilters()) != 2 || got.GetFilters()[0].GetVersion() != "1" || got.GetFilters()[1].GetName() != "b" || got.GetGeneration() != 7 {
		t.Errorf("without the split it is %v", got)
	}
	s := got.GetSplit()
	if s.GetHash() != "both" || s.GetTestHash() != "new" || s.GetRelease().GetRelease() != "edge@sha256:new" || s.GetRelease().GetLayer() != "global" ||
		s.GetCohort().GetHeader().GetName() != "x-canary" || s.GetCohort().GetPercent() != 0 || len(s.GetFilters()) != 3 {
		t.Fatalf("the split is %v", s)
	}
	for i, want := range []waftv1.SplitSide{waftv1.SplitSide_REST, waftv1.SplitSide_COHORT, waftv1.SplitSide_SPLIT_SIDE_UNSPECIFIED} {
		if s.GetFilters()[i].GetSide() != want {
			t.Errorf("filter %d is for %s, want %s", i, s.GetFilters()[i].GetSide(), want)
		}
	}
	if plain := encodeChain(&model.NodeChain{Chain: model.Chain{Hash: "one"}}); plain.GetSplit() != nil || plain.GetHash() != "one" {
		t.Errorf("a chain that is not split is %v", plain)
	}
}
