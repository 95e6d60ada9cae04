package service_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

var canaries = model.Cohort{Header: model.CohortHeader{Name: "x-canary", Value: "1"}}

// tested is a wave that gives the release to a cohort, and soaks until somebody ends it.
func tested(w model.WaveSpec) model.WaveSpec {
	w.Cohort = canaries
	return long(w)
}

// splitters brings a site to where its nodes serve release one, and can run two chains.
func splitters(t *testing.T, count int) (*site, []*sim) {
	t.Helper()
	s := newSite(t)
	s.start()
	var nodes []*sim
	for i := range count {
		nodes = append(nodes, s.sim(service.NodeHello{ID: fmt.Sprintf("n%d", i), Labels: map[string]string{"env": "prod"}, Reports: true, EnvoyVersion: "1.40.0", AgentVersion: "new", Splits: true}))
	}
	s.known(nodes...)
	s.release("one", "good:1")
	s.begin("first", "one", all)
	s.reach("first", model.RolloutDone)
	return s, nodes
}

// splitOf is what a node is sent, and what its row says of a release under test.
func splitOf(t *testing.T, s *site, id string) (*model.ChainSplit, []model.Resource, model.NodeSplit) {
	t.Helper()
	svc, _ := s.service()
	collections, err := svc.Collections(t.Context(), id)
	if err != nil || len(collections[1].Resources) != 1 {
		t.Fatalf("%+v, %v", collections, err)
	}
	status, err := svc.GetNode(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return collections[1].Resources[0].Chain.Split, collections[0].Resources, status.Split
}

// wantSplit checks that a node is sent two chains, and that nothing that they need is let go.
func wantSplit(t *testing.T, s *site, id string, release model.ReleaseID) {
	t.Helper()
	sent, filters, row := splitOf(t, s, id)
	want := model.NodeSplit{Layer: model.LayerGlobal, Release: release, Cohort: canaries}
	if sent == nil || sent.NodeSplit != want || row != want {
		t.Fatalf("%s is sent %+v, its row has %+v, want %+v", id, sent, row, want)
	}
	names := []string{}
	for _, f := range filters {
		names = append(names, f.Name)
	}
	if !slices.Equal(names, []string{"filter", "filter.cohort"}) {
		t.Errorf("its filters are %v", names)
	}
	svc, _ := s.service()
	needed, err := svc.Needed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, module := range []string{"good:1", "good:2"} {
		if !slices.ContainsFunc(needed, func(m model.Module) bool { return m.Digest == model.Digest([]byte(module)) }) {
			t.Errorf("the module %s is not needed any more", module)
		}
	}
}

func wantWhole(t *testing.T, s *site, id string) {
	t.Helper()
	if sent, filters, row := splitOf(t, s, id); sent != nil || row != (model.NodeSplit{}) || len(filters) != 1 {
		t.Fatalf("%s is sent %+v with %d filters, its row has %+v", id, sent, len(filters), row)
	}
}

// TestCohortInTheRows goes through a rollout with a cohort, over a distributor that is killed, to its end.
func TestCohortInTheRows(t *testing.T) {
	s, nodes := splitters(t, 2)
	release := s.release("two", "good:2")
	s.begin("second", "two", tested(one), all)
	r := s.until("second", "soaking", inPhase(0, model.RolloutSoaking))
	id := r.Waves[0].Nodes[0]
	wantSplit(t, s, id, release.ID)
	s.kill()
	s.start()
	s.known(nodes...)
	wantSplit(t, s, id, release.ID)
	s.until("second", "soaking again", inPhase(0, model.RolloutSoaking))
	svc, _ := s.service()
	if err := promote(svc); err != nil {
		t.Fatal(err)
	}
	s.reach("second", model.RolloutDone)
	for _, n := range nodes {
		wantWhole(t, s, n.hello.ID)
	}
}

// TestCohortIsUndone: what an abort left is taken back by an undo, and by a rollout of the layer.
func TestCohortIsUndone(t *testing.T) {
	for _, how := range []string{"undone while it runs", "undone after an abort", "overtaken after an abort"} {
		t.Run(how, func(t *testing.T) {
			s, _ := splitters(t, 1)
			svc, _ := s.service()
			release := s.release("two", "good:2")
			s.begin("second", "two", tested(one), all)
			s.until("second", "soaking", inPhase(0, model.RolloutSoaking))
			if how != "undone while it runs" {
				if _, err := svc.Abort(t.Context(), alice, "second"); err != nil {
					t.Fatal(err)
				}
				wantSplit(t, s, "n0", release.ID)
			}
			switch how {
			case "overtaken after an abort":
				s.begin("third", "one", all)
				s.reach("third", model.RolloutDone)
			default:
				undone, err := svc.Undo(t.Context(), alice, "second")
				if err != nil {
					t.Fatal(err)
				}
				s.reach(undone.Name, model.RolloutDone, model.RolloutRolledBack)
			}
			wantWhole(t, s, "n0")
			status, err := svc.GetNode(t.Context(), "n0")
			if err != nil || status.Assigned[model.LayerGlobal].Name != "one" || status.Serving != status.Chain {
				t.Errorf("it has %+v, %v", status.Node, err)
			}
		})
	}
}

// TestCohortIsRefused where no node can run two chains, and names each that cannot before it starts.
func TestCohortIsRefused(t *testing.T) {
	s := newSite(t)
	s.start()
	hello := func(id, version string, splits bool) service.NodeHello {
		return service.NodeHello{ID: id, Labels: map[string]string{"env": "prod", "node": id}, Reports: true, EnvoyVersion: version, AgentVersion: "v9", Splits: splits}
	}
	nodes := []*sim{s.sim(hello("new", "1.39.3", true)), s.sim(hello("old-envoy", "1.38.2", false)), s.sim(hello("old-agent", "1.40.0", false))}
	s.known(nodes...)
	s.release("one", "good:1")
	if _, err := s.try("early", "one", "", tested(one), all); err != nil {
		wantKind(t, err, model.ErrPrecondition, "no chain yet for its other requests", "spec.waves[0].cohort")
	} else {
		t.Error("a node without a chain has nothing for its other requests")
	}
	s.begin("first", "one", all)
	s.reach("first", model.RolloutDone)
	s.release("two", "good:2")
	for id, why := range map[string]string{"old-envoy": "it runs Envoy 1.38.2", "old-agent": "its agent, v9"} {
		_, err := s.try("second", "two", "node="+id, tested(one), all)
		wantKind(t, err, model.ErrPrecondition, why, "node/"+id)
	}
	svc, _ := s.service()
	plan, err := svc.PlanRollout(t.Context(), alice, service.RolloutDraft{Name: "second", Release: "two", Waves: waves(tested(all), all)})
	if err != nil {
		t.Fatal(err)
	}
	passed := []string{}
	for _, n := range plan.PassedOver {
		passed = append(passed, n.ID)
	}
	if !slices.Equal(passed, []string{"old-agent", "old-envoy"}) || len(plan.Waves[0]) != 1 || len(plan.Waves[1]) != 3 || len(plan.Changes) != 2 {
		t.Errorf("passed over %v, waves %+v, changes %+v", passed, plan.Waves, plan.Changes)
	}
	s.begin("second", "two", tested(all), all)
	s.until("second", "soaking", inPhase(0, model.RolloutSoaking))
	wantWhole(t, s, "old-agent")
	wantWhole(t, s, "old-envoy")
	if sent, _, _ := splitOf(t, s, "new"); sent == nil {
		t.Error("the node that can is not sent two chains")
	}
}

// becomes has a node's agent be replaced by one that says of itself whether it can run two chains.
func (n *sim) becomes(splits bool) {
	n.disconnect()
	n.mu.Lock()
	n.hello.Splits = splits
	n.mu.Unlock()
	n.connect()
}

// sentWhole waits until a node is sent one chain, of so many filters, and serves it.
func (s *site) sentWhole(id string, filters int) {
	s.t.Helper()
	svc, _ := s.service()
	s.eventually("it is sent one chain, and serves it", func() bool {
		sent, resources, _ := splitOf(s.t, s, id)
		status, err := svc.GetNode(s.t.Context(), id)
		return err == nil && sent == nil && len(resources) == filters && status.Serving == status.Chain && status.Ledger.State == model.ChainServing
	})
}

// An agent that was put back to a version which knows of no splits would refuse all that it is sent with one. It is sent the chain of the other requests, and
// an emergency; a newer one gets the release under test again.
func TestAnAgentThatKnowsNoSplitsIsReached(t *testing.T) {
	s, nodes := splitters(t, 1)
	svc, _ := s.service()
	release := s.release("two", "good:2")
	s.begin("second", "two", tested(one), all)
	s.until("second", "soaking", inPhase(0, model.RolloutSoaking))
	if _, err := svc.Abort(t.Context(), alice, "second"); err != nil {
		t.Fatal(err)
	}
	wantSplit(t, s, "n0", release.ID)
	nodes[0].becomes(false)
	s.sentWhole("n0", 1)
	if _, _, row := splitOf(t, s, "n0"); row.Release != release.ID {
		t.Errorf("its row has %+v", row)
	}
	s.kill()
	svc = s.start()
	s.known(nodes...)
	s.sentWhole("n0", 1)
	nodes[0].becomes(true)
	s.eventually("it is sent two chains again", func() bool { sent, _, _ := splitOf(t, s, "n0"); return sent != nil })
	wantSplit(t, s, "n0", release.ID)
	nodes[0].becomes(false)
	s.sentWhole("n0", 1)
	s.disable(service.DisableDraft{Filter: "filter"})
	s.sentWhole("n0", 0)
	// Another layer's rollout is proved by the chain that the node is sent.
	extra, err := svc.CreateRelease(t.Context(), alice, service.ReleaseDraft{Name: "extra", Layer: "team/x", Filters: []service.FilterDraft{{Name: "extra", Module: "good:3"}}})
	if err != nil {
		t.Fatal(err)
	}
	s.begin("third", extra.ID.String(), all)
	s.reach("third", model.RolloutDone)
	s.sentWhole("n0", 1)
}

// A wave that tests a release on such a node has no test any more, and says so.
func TestAWaveWhoseAgentForgetsSplitsFails(t *testing.T) {
	s, nodes := splitters(t, 1)
	s.release("two", "good:2")
	s.begin("second", "two", tested(one), all)
	s.until("second", "soaking", inPhase(0, model.RolloutSoaking))
	nodes[0].becomes(false)
	if r := s.reach("second", model.RolloutRolledBack); !strings.Contains(r.Message, "n0") {
		t.Errorf("it says %q", r.Message)
	}
	wantWhole(t, s, "n0")
}
