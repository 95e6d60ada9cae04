package service

import (
	"errors"
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

// Whoever makes a rollout that takes back: it has no wave with a cohort.
func TestNothingIsTakenBackForACohort(t *testing.T) {
	header := model.Cohort{Header: model.CohortHeader{Name: "x-canary", Value: "1"}}
	e := &entry{state: model.Rollout{Name: "back", Undoes: "it", Spec: model.RolloutSpec{Waves: []model.WaveSpec{{Nodes: 1}, {Percent: 100, Cohort: header}}}}}
	capable := &node{row: model.Node{ID: "n", Assigned: map[model.Layer]model.ReleaseID{model.LayerGlobal: {Name: "one"}}, EnvoyVersion: "1.40.0", Splits: true}}
	s := &Service{}
	if err := s.admitCohorts(e, []*node{capable}); !errors.Is(err, model.ErrInvalid) {
		t.Errorf("an undo with a cohort: %v", err)
	}
	e.state.Undoes = ""
	if err := s.admitCohorts(e, []*node{capable}); err != nil {
		t.Errorf("a rollout with a cohort: %v", err)
	}
}
