package main

import (
	"strings"
	"testing"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

func TestCohortText(t *testing.T) {
	for want, c := range map[string]*waftv1.Cohort{
		"": nil, "10 % of the requests": {Percent: 10},
		"requests with x-canary: 1": {Header: &waftv1.CohortHeader{Name: "x-canary", Value: "1"}},
	} {
		if got := cohortText(c); got != want {
			t.Errorf("%v is %q, want %q", c, got, want)
		}
	}
}

// TestOlderDistributor: one that reads the waves without their cohorts is not asked to start.
func TestOlderDistributor(t *testing.T) {
	waves := []*waftv1.Wave{{Nodes: 1, Cohort: &waftv1.Cohort{Percent: 10}}, {Percent: 100}}
	now := &waftv1.RolloutPlan{Waves: []*waftv1.PlannedWave{{Cohort: &waftv1.Cohort{Percent: 10}}, {}}}
	if err := keepsCohorts(waves, now); err != nil {
		t.Error(err)
	}
	for name, plan := range map[string]*waftv1.RolloutPlan{"older": {Waves: []*waftv1.PlannedWave{{}, {}}}, "without waves": {}} {
		if err := keepsCohorts(waves, plan); err == nil || !strings.Contains(err.Error(), "spec.waves[0].cohort") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
