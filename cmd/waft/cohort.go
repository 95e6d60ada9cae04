package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/waft-project/waft/distributor/api"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// cohortText is which requests take a release, in words; empty for all.
func cohortText(c *waftv1.Cohort) string {
	switch {
	case c.GetPercent() > 0:
		return fmt.Sprintf("%d %% of the requests", c.GetPercent())
	case c.GetHeader() != nil:
		return fmt.Sprintf("requests with %s: %s", c.GetHeader().GetName(), c.GetHeader().GetValue())
	}
	return ""
}

// knowsCohorts asks a distributor for its plan of a rollout that has cohorts: one that is older than these would read the waves without, and move
// all requests.
func knowsCohorts(ctx context.Context, c *api.Client, request *waftv1.StartRolloutRequest) error {
	waves := request.GetRollout().GetSpec().GetWaves()
	if !slices.ContainsFunc(waves, func(w *waftv1.Wave) bool { return w.GetCohort() != nil }) {
		return nil
	}
	plan, err := c.Rollouts.PlanRollout(ctx, request)
	if err != nil {
		return err
	}
	return keepsCohorts(waves, plan)
}

// keepsCohorts says whether a plan has the cohorts of the waves.
func keepsCohorts(waves []*waftv1.Wave, plan *waftv1.RolloutPlan) error {
	for i, w := range waves {
		if w.GetCohort() == nil || i < len(plan.GetWaves()) && proto.Equal(w.GetCohort(), plan.GetWaves()[i].GetCohort()) {
			continue
		}
		return fmt.Errorf("spec.waves[%d].cohort: the distributor does not know of cohorts and would move all requests, so nothing was started; upgrade the distributor, or leave the cohort out", i)
	}
	return nil
}

// noteOf joins what there is to say of a row.
func noteOf(words ...string) string {
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), "; ")
}
