package service_test

import (
	"testing"

	"github.com/waft-project/waft/distributor/gates"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// The waves that put a filter back are checked as those of any rollout, and have no cohort: the nodes of an undo go to what they had, whole.
func TestTheWavesThatPutAFilterBackAreChecked(t *testing.T) {
	x, err := gates.NewExpressions()
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	s.config = func(c *service.Config) { c.Expressions = x }
	svc := s.start()
	nodes := s.nodes(2)
	s.pair("one", "good:1", model.PhaseNone)
	s.begin("base", "one", all)
	s.reach("base", model.RolloutDone)
	s.disable(service.DisableDraft{Filter: "first"})
	s.serve("good:2", nodes...)
	_, err = svc.EnableFilter(t.Context(), alice, service.EnableDraft{Filter: "first", Waves: waves(tested(one), all)})
	wantKind(t, err, model.ErrInvalid, "filter/first", "spec.waves[0].cohort", "for all requests of a node")
	_, err = svc.EnableFilter(t.Context(), alice, service.EnableDraft{Filter: "first", Waves: waves(one, counted(all, "increase.errors <"))})
	wantKind(t, err, model.ErrInvalid, "filter/first", "spec.waves[1].gates[0].statistic")
	if _, err := svc.EnableFilter(t.Context(), alice, service.EnableDraft{Filter: "first", Waves: waves(one, counted(all, "increase.errors < 20.0"))}); err != nil {
		t.Fatal(err)
	}
	s.reach("enable-first", model.RolloutDone)
	s.serve("good:1", nodes...)
	// What put it back is not what to undo: a disabling alone takes it out again.
	for name, want := range map[string]bool{"enable-first": true, "disable-first": false, "base": false, "nothing": false} {
		if by := svc.MoverOf(name); by.Enables != want {
			t.Errorf("of %s it says %+v", name, by)
		}
	}
}
