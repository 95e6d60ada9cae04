package service_test

import (
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// An application is given no filters; what of a release it does not take the plan says; and it has no requests to choose among.
func TestApplications(t *testing.T) {
	s, svc := shelves(t)
	resource := func(collection string) service.ReleaseResourceDraft {
		return service.ReleaseResourceDraft{Collection: collection, Name: "a", Body: flagDraft("a", `,"enabled":true`).Body}
	}
	for _, draft := range []service.ReleaseDraft{
		{Name: "flags", Resources: []service.ReleaseResourceDraft{resource("flags"), resource("settings")}},
		{Name: "both", Filters: []service.FilterDraft{{Name: "filter", Module: "good:1"}}, Resources: []service.ReleaseResourceDraft{resource("flags")}},
	} {
		if _, err := svc.CreateRelease(t.Context(), alice, draft); err != nil {
			t.Fatal(err)
		}
	}
	hello := service.NodeHello{
		ID: "app", Labels: map[string]string{"kind": "app"}, Reports: true, AgentVersion: "1.0", Resources: true, Dialect: model.DialectApplication, Takes: model.Takes{Collections: []string{"flags", "x"}},
	}
	s.known(s.sim(hello))
	_, err := svc.StartRollout(t.Context(), alice, service.RolloutDraft{Name: "r1", Release: "both", Selector: "kind=app"})
	wantError(t, "filters", err, model.ErrInvalid, "node/app", "an application, which runs no filters", "filter")
	plan, err := svc.PlanRollout(t.Context(), alice, service.RolloutDraft{Name: "r2", Release: "flags", Selector: "kind=app"})
	if err != nil || len(plan.Waves) != 1 || len(plan.Waves[0]) != 1 || plan.Waves[0][0].Less != "an application that does not take settings" {
		t.Errorf("the plan is %+v, %v", plan, err)
	}
	if _, err := s.try("r3", "flags", "kind=app", model.WaveSpec{Percent: 100}); err != nil {
		t.Fatal(err)
	}
	s.reach("r3", model.RolloutDone)
	_, err = svc.StartRollout(t.Context(), alice, service.RolloutDraft{Name: "r4", Release: "flags", Selector: "kind=app",
		Waves: []model.WaveSpec{{Percent: 100, Cohort: model.Cohort{Percent: 5}}, {Percent: 100}}})
	wantError(t, "a cohort", err, model.ErrPrecondition, "node/app", "it is an application")

	_, err = svc.Connect(t.Context(), service.NodeHello{ID: "bad", Reports: true, Dialect: model.DialectApplication, Takes: model.Takes{Collections: []string{"waft/v1/chains"}}})
	wantError(t, "a collection of waft's own", err, model.ErrInvalid, "node/bad", "collections")
}

// A node is what it says now: an application that was an Envoy with an agent, and the other way.
func TestApplicationThatWasAnAgent(t *testing.T) {
	svc := newSite(t).start()
	for _, hello := range []service.NodeHello{
		{ID: "a", Reports: true, AgentVersion: "agent", EnvoyVersion: "1.40.0", EnvoyBuild: "b"},
		{ID: "a", Reports: true, Dialect: model.DialectApplication, Takes: model.Takes{Collections: []string{"flags"}}},
		{ID: "a", Reports: true, Dialect: model.DialectApplication, AgentVersion: "2.0", Takes: model.Takes{Collections: []string{"flags", "settings"}}},
		{ID: "a", Reports: true, AgentVersion: "agent", EnvoyVersion: "1.40.0"},
	} {
		connect(t, svc, hello)
		n := status(t, svc, "a")
		if n.Dialect != hello.Dialect || n.AgentVersion != hello.AgentVersion || n.EnvoyVersion != hello.EnvoyVersion || !n.Takes.Equal(hello.Takes) {
			t.Errorf("after %+v it is %+v", hello, n)
		}
	}
}
