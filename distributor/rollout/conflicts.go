package rollout

import (
	"slices"

	"github.com/waft-project/waft/distributor/model"
)

// Conflicts are the ids of the nodes that two rollouts share, sorted: nodes that each of them targets or has taken. Nodes
// are the fleet's rows. Whether the rollouts have ended is the caller's to look at. A selector that does not parse
// matches nothing.
func Conflicts(a, b model.Rollout, nodes []model.Node) []string {
	inA, inB := reach(a), reach(b)
	shared := []string{}
	for _, n := range nodes {
		if inA(n) && inB(n) {
			shared = append(shared, n.ID)
		}
	}
	slices.Sort(shared)
	return shared
}

// Holds says whether a rollout has taken a node: a wave chose it, or it joined. While the rollout runs no other may take
// it. A node that was skipped is not held.
func Holds(r model.Rollout, node string) bool {
	p, ok := r.Nodes[node]
	return ok && taken(p)
}

// reach says which nodes a rollout targets or has taken.
func reach(r model.Rollout) func(model.Node) bool {
	selector, err := model.ParseSelector(r.Spec.Selector)
	return func(n model.Node) bool {
		if Holds(r, n.ID) {
			return true
		}
		if r.Undoes != "" {
			_, ok := r.Restore[n.ID]
			return ok
		}
		return err == nil && selector.Matches(n.Labels)
	}
}
