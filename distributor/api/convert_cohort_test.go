package api

import (
	"errors"
	"testing"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
)

// TestEmptyCohort: a cohort that says nothing is refused, and is not a wave of all requests.
func TestEmptyCohort(t *testing.T) {
	for _, c := range []*waftv1.Cohort{{}, {Header: &waftv1.CohortHeader{}}} {
		if got := cohortModel(c); !errors.Is(model.ValidateCohort("rollout/r", "cohort", got), model.ErrInvalid) {
			t.Errorf("%v became %+v, which is taken", c, got)
		}
	}
	if got := cohortModel(nil); got != (model.Cohort{}) || cohortProto(got) != nil {
		t.Errorf("no cohort became %+v", got)
	}
}

// TestCohortStatistics: what a node cannot tell is not zero.
func TestCohortStatistics(t *testing.T) {
	told, err := statisticsModel("n", &waftv1.Statistics{Requests: 9, DeniedKnown: true, Cohort: &waftv1.CohortStatistics{Requests: 4, Errors: 3, Denied: 2, SeenByFilters: 1}})
	if want := (model.CohortStatistics{Known: true, Requests: 4, Errors: 3, Denied: 2, Seen: 1}); err != nil || told.Cohort != want || !told.DeniedKnown {
		t.Errorf("got %+v, %v; want %+v", told, err, want)
	}
	health := &waftv1.Statistics{Cohort: &waftv1.CohortStatistics{Health: &waftv1.Health{Stuck: 3, Panics: 2, Latency: []int64{0, 1}}}}
	if got, err := statisticsModel("n", health); err != nil || got.Cohort.Health != (model.Health{Known: true, Stuck: 3, Panics: 2, Latency: model.Latency{1: 1}}) || told.Cohort.Health.Known {
		t.Errorf("got %+v, %v", got.Cohort, err)
	}
	if mute, err := statisticsModel("n", &waftv1.Statistics{Requests: 9}); err != nil || mute.Cohort.Known || mute.DeniedKnown {
		t.Errorf("got %+v, %v", mute, err)
	}
	if _, err := statisticsModel("n", &waftv1.Statistics{Cohort: &waftv1.CohortStatistics{Errors: -1}}); !errors.Is(err, model.ErrInvalid) {
		t.Errorf("a negative count: %v", err)
	}
}
