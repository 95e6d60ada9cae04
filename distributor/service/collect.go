package service

import (
	"slices"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// collectable are the releases that may go: those that nobody needs and that are not among the newest keep of their name. Releases come newest first.
// It is pure, and the only place where that is decided.
func collectable(releases []model.ReleaseID, needed map[model.ReleaseID]struct{}, keep int) []model.ReleaseID {
	var gone []model.ReleaseID
	newest := map[string]int{}
	for _, id := range releases {
		newest[id.Name]++
		if _, need := needed[id]; !need && newest[id.Name] > keep {
			gone = append(gone, id)
		}
	}
	return gone
}

// grantable are the releases that a node that joins may be given: those of rollouts that stand, newest first. Of those for the same nodes in the same layer
// the newest two count, since the newest may be undone.
func grantable(rollouts []model.Rollout, stands func(model.Rollout) bool) []model.ReleaseID {
	var out []model.ReleaseID
	seen := map[alike]int{}
	for _, r := range rollouts {
		if r.Undoes != "" || r.Layer.Disables() != "" || !stands(r) {
			continue
		}
		key := alikeOf(r)
		if seen[key]++; seen[key] <= 2 {
			out = append(out, r.Spec.Release)
		}
	}
	return out
}

// awayNode is a node as the collection sees it.
type awayNode struct {
	id string
	// away is for how long it was watched to be away; zero for one that is there.
	away time.Duration
	// held: a running rollout has it. isolated: a person is asked to look at it. unwritten: what is known of it is not in the store yet.
	held, isolated, unwritten bool
}

// forgettable are the ids of nodes whose rows may go, sorted: those away for as long as limit, in no running rollout, on which nobody is to look. It is pure.
func forgettable(nodes []awayNode, limit time.Duration) []string {
	var gone []string
	for _, n := range nodes {
		if limit > 0 && n.away >= limit && !n.held && !n.isolated && !n.unwritten {
			gone = append(gone, n.id)
		}
	}
	slices.Sort(gone)
	return gone
}
