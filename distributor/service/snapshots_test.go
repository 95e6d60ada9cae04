package service_test

import (
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/distributor/xds/snapshot"
)

// routed is a release whose route goes to one cluster.
func routed(name, cluster string, more ...service.ReleaseResourceDraft) service.ReleaseDraft {
	return service.ReleaseDraft{Name: name, Resources: append([]service.ReleaseResourceDraft{
		{Collection: "envoy/listeners", Name: "edge", Body: raw(`{"@type":"type.googleapis.com/envoy.config.listener.v3.Listener","filterChains":[{"filters":[{"name":"hcm","typedConfig":
			{"@type":"type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager","statPrefix":"edge",
			"rds":{"routeConfigName":"main","configSource":{"ads":{}}}}}]}]}`)},
		{Collection: "envoy/routes", Name: "main", Body: raw(`{"@type":"type.googleapis.com/envoy.config.route.v3.RouteConfiguration","virtualHosts":[{"name":"all","domains":["*"],
			"routes":[{"match":{"prefix":"/"},"route":{"cluster":"` + cluster + `"}}]}]}`)},
	}, more...)}
}

func staticCluster(name string) service.ReleaseResourceDraft {
	return service.ReleaseResourceDraft{Collection: "envoy/clusters", Name: name, Body: raw(`{"@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster"}`)}
}

// What an Envoy over ADS cannot be given is said before a rollout starts, with the resource, the field and what to do; each Envoy is judged by its own bootstrap.
func TestReleasesForEnvoysOverADS(t *testing.T) {
	s := newSite(t)
	s.config = func(c *service.Config) { c.Messages, c.Snapshots = readers{}, &snapshot.Checker{} }
	svc := s.start()
	for _, draft := range []service.ReleaseDraft{routed("whole", "shop", staticCluster("shop")), routed("gone", "nowhere"), routed("legacy", "legacy"), {Name: "filters", Filters: []service.FilterDraft{{Name: "filter", Module: "good:1"}}}} {
		if _, err := svc.CreateRelease(t.Context(), alice, draft); err != nil {
			t.Fatal(err)
		}
	}
	takes := model.Takes{Collections: []string{"envoy/clusters", "envoy/listeners"}, Clusters: []string{"legacy"}}
	for id, of := range map[string]model.Takes{"dynamic": takes, "static": {}} {
		connect(t, svc, service.NodeHello{ID: id, Labels: map[string]string{"node": id}, Reports: true, EnvoyVersion: "1.40.0", Dialect: model.DialectADS, Takes: of})
	}
	plan := func(release, node string) error {
		_, err := svc.PlanRollout(t.Context(), alice, service.RolloutDraft{Name: "r", Release: release, Selector: "node=" + node})
		return err
	}
	for _, release := range []string{"whole", "legacy"} {
		if err := plan(release, "dynamic"); err != nil {
			t.Errorf("%s: %v", release, err)
		}
	}
	wantError(t, "a route to nowhere", plan("gone", "dynamic"), model.ErrInvalid, "node/dynamic", "envoy/routes:main", "spec.virtualHosts[0].routes[0].route.cluster", "nowhere", "docs/dialects.md")
	wantError(t, "an Envoy that does not ask", plan("whole", "static"), model.ErrInvalid, "node/static", "envoy/clusters:shop", "--dynamic")
	wantError(t, "filters that no listener runs", plan("filters", "dynamic"), model.ErrInvalid, "node/dynamic", "envoy/listeners", "slot waft", "docs/dialects.md")
	if err := plan("filters", "static"); err != nil {
		t.Errorf("filters for an Envoy with a listener of its own: %v", err)
	}
	if n := status(t, svc, "dynamic"); !n.Takes.Equal(takes) {
		t.Errorf("the node is %+v", n)
	}
}

// A distributor that has not served a node before finds what it had by the rollouts that it was in.
func TestWhatANodeHadLately(t *testing.T) {
	s := newSite(t)
	s.config = func(c *service.Config) { c.Messages, c.Snapshots = readers{}, &snapshot.Checker{} }
	svc := s.start()
	hello := service.NodeHello{ID: "n", Labels: map[string]string{"node": "n"}, Reports: true, EnvoyVersion: "1.40.0", Resources: true}
	s.known(s.sim(hello))
	for _, name := range []string{"one", "two"} {
		if _, err := svc.CreateRelease(t.Context(), alice, routed(name, name, staticCluster(name))); err != nil {
			t.Fatal(err)
		}
		if _, err := s.try("to-"+name, name, "node=n", model.WaveSpec{Percent: 100}); err != nil {
			t.Fatal(err)
		}
		s.reach("to-"+name, model.RolloutDone)
	}
	s.stop()
	svc = s.start()
	lately, err := svc.Lately(t.Context(), "n")
	if err != nil || len(lately) != 1 {
		t.Fatalf("it had %+v, %v", lately, err)
	}
	var names []string
	for _, c := range lately[0] {
		for _, r := range c.Resources {
			if c.Name == "envoy/clusters" {
				names = append(names, r.Name)
			}
		}
	}
	if strings.Join(names, " ") != "one" {
		t.Errorf("it had the clusters %q", names)
	}
}
