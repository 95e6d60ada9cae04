package api

import (
	"math"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

// cohortModel is no cohort for an absent one. One that is there and says nothing must not become "all requests": it becomes one that the model refuses.
func cohortModel(c *waftv1.Cohort) model.Cohort {
	out := model.Cohort{Header: model.CohortHeader{Name: c.GetHeader().GetName(), Value: c.GetHeader().GetValue()}, Percent: int(c.GetPercent())}
	if c != nil && out == (model.Cohort{}) {
		out.Percent = math.MinInt32
	}
	return out
}

// cohortProto is absent for no cohort.
func cohortProto(c model.Cohort) *waftv1.Cohort {
	if c == (model.Cohort{}) {
		return nil
	}
	out := &waftv1.Cohort{Percent: int32(c.Percent)}
	if c.Header != (model.CohortHeader{}) {
		out.Header = &waftv1.CohortHeader{Name: c.Header.Name, Value: c.Header.Value}
	}
	return out
}
