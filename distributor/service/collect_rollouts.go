package service

import (
	"slices"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// collectableRollouts are the names of the rollouts that may go, in the order in which they must go: those that have ended, are not among the newest keep, and
// that nobody needs. Rollouts come newest first. needed says of one whether it could be undone, or what it gave is somewhere. What else is needed is decided
// here, and nowhere else:
//
//   - A rollout that gives its release to nodes that join; of those for the same nodes in the same layer the newest two that were not undone, since the newest
//     may be.
//   - An undo, for as long as what it takes back is there: without it that would count again.
//   - A rollout that one which runs takes back.
//   - What took a filter out, or put it back: these hold for nodes that join, for as long as the two stand beside each other.
//
// The oldest goes first, so that the undo of a rollout never goes before it, wherever it ends.
func collectableRollouts(rollouts []model.Rollout, needed func(model.Rollout) bool, keep int) []string {
	kept := map[string]bool{}
	for i, r := range rollouts {
		if i < keep || !r.Phase.Ended() || r.Layer.Disables() != "" || needed(r) {
			kept[r.Name] = true
		}
		if !r.Phase.Ended() {
			kept[r.Undoes] = true
		}
	}
	for _, name := range granting(rollouts) {
		kept[name] = true
	}
	var gone []string
	for _, r := range slices.Backward(rollouts) {
		if kept[r.Name] = kept[r.Name] || r.Undoes != "" && kept[r.Undoes]; !kept[r.Name] {
			gone = append(gone, r.Name)
		}
	}
	return gone
}

// alike is what rollouts have in common of which the newest decides what a node that joins is given.
type alike struct {
	layer      model.Layer
	selector   string
	unreported bool
}

func alikeOf(r model.Rollout) alike { return alike{r.Layer, r.Spec.Selector, r.Spec.IncludeUnreported} }

// granting are the names of rollouts whose release a node that joins may be given, now or when newer ones are undone: of those alike the newest two that were
// not undone, and all that are newer.
func granting(rollouts []model.Rollout) []string {
	undone := map[string]bool{}
	seen := map[alike]int{}
	var names []string
	for _, r := range rollouts {
		if r.Undoes != "" {
			undone[r.Undoes] = true
			continue
		}
		of := alikeOf(r)
		if !rollout.Stands(r) || seen[of] >= 2 {
			continue
		}
		if names = append(names, r.Name); !undone[r.Name] {
			seen[of]++
		}
	}
	return names
}
