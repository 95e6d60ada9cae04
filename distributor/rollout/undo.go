package rollout

import (
	"maps"
	"slices"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// NewUndo is a rollout that takes another back: each node in restore goes to its release there (the zero value takes the
// layer away). spec.Release is given to no node and is for people to read; an empty spec.Selector becomes that of the
// rollout undone.
func NewUndo(name string, undone model.Rollout, restore map[string]model.ReleaseID, spec model.RolloutSpec, by By, now time.Time) model.Rollout {
	if spec.Selector == "" {
		spec.Selector = undone.Spec.Selector
	}
	r := New(name, undone.Layer, spec, by, now)
	r.Undoes = undone.Name
	r.Restore = maps.Clone(restore)
	if r.Restore == nil {
		r.Restore = map[string]model.ReleaseID{}
	}
	return r
}

// Restore says what an undo of r gives to whom: every node that r moved, with what it had before. Kept are the nodes, by
// id, that had nothing before; they keep what they have.
func Restore(r model.Rollout) (restore map[string]model.ReleaseID, kept []string) {
	restore = map[string]model.ReleaseID{}
	for _, id := range slices.Sorted(maps.Keys(r.Nodes)) {
		p := r.Nodes[id]
		switch {
		case !moved(p):
		case p.FromGiven:
			restore[id] = p.From
		default:
			kept = append(kept, id)
		}
	}
	return restore, kept
}

// ReleaseFor is the release that r gives to a node: its own, or for an undo the one that the node had before. False: the
// rollout gives that node nothing. A zero release with true takes the layer away.
func ReleaseFor(r model.Rollout, node string) (model.ReleaseID, bool) { return releaseFor(&r, node) }

func releaseFor(r *model.Rollout, node string) (model.ReleaseID, bool) {
	if r.Undoes == "" {
		return r.Spec.Release, true
	}
	release, ok := r.Restore[node]
	return release, ok
}

// Prefetch is the release, as ReleaseFor gives it, whose chain's modules a node should have on disk before r moves it;
// false: none. The caller puts them into the node's collection waft/v1/prefetch.
func Prefetch(r model.Rollout, node string) (model.ReleaseID, bool) {
	p, held := r.Nodes[node]
	if !held || !Fetches(&r, &p) {
		return model.ReleaseID{}, false
	}
	return releaseFor(&r, node)
}

// Fetches says whether a node that r holds, with that progress, should have the modules on disk that Prefetch tells of, if r gives it anything.
func Fetches(r *model.Rollout, p *model.NodeProgress) bool {
	phase := r.Stage()
	return (phase == model.RolloutFetching || phase == model.RolloutMoving) && !moved(*p) && (p.State == model.NodeFetching || p.State == model.NodeAway)
}
