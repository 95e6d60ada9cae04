package service

import (
	"fmt"
	"slices"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/model/merge"
)

// renderNode is the chain of a node that is assigned those releases, with the release under test beside them where there is one; mu is held.
func (s *Service) renderNode(assigned map[model.Layer]model.ReleaseID, split model.NodeSplit) (model.Chain, error) {
	rest, err := s.render(assigned)
	if err != nil || split == (model.NodeSplit{}) {
		return rest, err
	}
	test, err := s.render(with(assigned, split.Layer, split.Release))
	if err != nil {
		return model.Chain{}, err
	}
	return merge.Split(rest, test, split)
}

// beside is a release under test as a rollout of a layer leaves it alone: one of its own layer it takes the place of.
func beside(split model.NodeSplit, layer model.Layer) model.NodeSplit {
	if split.Layer == layer {
		return model.NodeSplit{}
	}
	return split
}

// splitFor is the release under test as the node's sink can take it: one that knows of no splits, such as an agent that was put back to an older version, would
// refuse all that it is sent with one, an emergency, too. It is sent the chain of its other requests, which is what it is assigned.
func splitFor(row model.Node, split model.NodeSplit) model.NodeSplit {
	if !row.Splits {
		return model.NodeSplit{}
	}
	return split
}

// renderAgain renders what a node is assigned anew, since its sink takes something else of it than before; mu is held.
func (s *Service) renderAgain(n *node) {
	chain, err := s.renderNode(n.row.Assigned, splitFor(n.row, n.row.Split))
	if err != nil {
		s.log.Error("what a node is assigned cannot be rendered; it keeps what it has", "node", n.row.ID, "error", err)
		return
	}
	s.run(n, chain)
}

// testsSomewhere says whether a rollout has a wave with a cohort.
func testsSomewhere(r model.Rollout) bool { return firstCohort(r.Spec) >= 0 }

// firstCohort is the first wave with a cohort; -1 where there is none.
func firstCohort(spec model.RolloutSpec) int {
	return slices.IndexFunc(spec.Waves, func(w model.WaveSpec) bool { return w.Cohort != model.Cohort{} })
}

// splitsSince is the first version of Envoy that can run two chains side by side.
var splitsSince = profile{1, 39}

// cannotSplit says why a node cannot give a release of a layer to a part of its requests; empty when it can. mu is held.
func cannotSplit(row model.Node, layer model.Layer) string {
	version, known := parseProfile("envoy-" + row.EnvoyVersion)
	switch {
	case row.Dialect == model.DialectApplication:
		return "it is an application: there are no requests that filters choose among"
	case !model.Given(row.Assigned):
		return "it has no chain yet for its other requests"
	case known && version.before(splitsSince):
		return fmt.Sprintf("it runs Envoy %s, and two chains side by side need %d.%d or later", row.EnvoyVersion, splitsSince.major, splitsSince.minor)
	case !row.Splits && row.AgentVersion != "":
		return fmt.Sprintf("its agent, %s, does not say that it can run two chains side by side: use a newer one", row.AgentVersion)
	case !row.Splits:
		return "its sink does not say that it can run two chains side by side"
	case beside(row.Split, layer) != (model.NodeSplit{}):
		return fmt.Sprintf("%s take %s of layer %s already: undo that first", row.Split.Cohort, row.Split.Release, row.Split.Layer)
	}
	return ""
}

// tellsSince is the first version of Envoy that counts the requests of a cohort apart.
var tellsSince = profile{1, 40}

// cannotTell says why a node's Envoy does not count the requests of a cohort apart; empty when it does, or that is not known.
func cannotTell(row model.Node) string {
	version, known := parseProfile("envoy-" + row.EnvoyVersion)
	if known && version.before(tellsSince) {
		return fmt.Sprintf("it runs Envoy %s, and only %d.%d and later count a cohort's requests apart", row.EnvoyVersion, tellsSince.major, tellsSince.minor)
	}
	return ""
}

// admitCohorts refuses a rollout whose waves with a cohort could take no node: nothing would be tested; and one that takes back and has such waves: each of its
// nodes goes to what it had. mu is held.
func (s *Service) admitCohorts(e *entry, nodes []*node) error {
	if i := firstCohort(e.state.Spec); i >= 0 && e.state.Undoes != "" {
		return model.Invalidf("rollout/"+e.state.Name, fmt.Sprintf("spec.waves[%d].cohort", i), "leave the cohort out of the wave",
			"it takes rollout/%s back, for all requests of a node", e.state.Undoes)
	}
	for i, w := range e.state.Spec.Waves {
		if w.Cohort == (model.Cohort{}) {
			continue
		}
		why := ""
		for _, n := range nodes {
			reason := cannotSplit(n.row, e.state.Layer)
			if reason == "" {
				return nil
			}
			if why == "" {
				why = "node/" + n.row.ID + ": " + reason
			}
		}
		return &model.Error{Kind: model.ErrPrecondition, Object: "rollout/" + e.state.Name, Field: fmt.Sprintf("spec.waves[%d].cohort", i),
			Message: fmt.Sprintf("none of the %d nodes of the target can run two chains side by side (%s)", len(nodes), why),
			Next:    "leave the waves with a cohort out, or upgrade the nodes"}
	}
	return nil
}
