package rollout

import (
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// Step decides what follows from an event: the new state, which the caller stores, and then the actions, which it carries
// out. It is pure: the same arguments give the same results, and r is not changed.
//
// Commands that do not fit the phase give a *model.Error of kind model.ErrPrecondition; a command whose effect is there
// already changes nothing and is no error. Observe gives an error only for a rollout whose selectors do not parse. With
// an error the state returned is r itself.
func Step(r model.Rollout, ev Event, now time.Time) (model.Rollout, []Action, error) {
	return r, nil, nil
}

// New is a rollout at its beginning: pending, before its first wave. A spec without waves gets one wave of everything.
func New(name string, layer model.Layer, spec model.RolloutSpec, by By, now time.Time) model.Rollout {
	return model.Rollout{Name: name, Layer: layer, Spec: spec, Phase: model.RolloutPending, Wave: -1, StartedBy: by.Actor, Reason: by.Reason, StartedAt: now}
}

// NewUndo is a rollout that takes another back: each node in restore goes to its release there (the zero value takes the
// layer away). spec.Release stays what the caller says, for people to read; it is given to no node.
func NewUndo(name string, undone model.Rollout, restore map[string]model.ReleaseID, spec model.RolloutSpec, by By, now time.Time) model.Rollout {
	return model.Rollout{}
}

// Restore says what an undo of r gives to whom: every node that r moved, with what it had before. Kept are the nodes that
// had nothing before; they keep what they have.
func Restore(r model.Rollout) (restore map[string]model.ReleaseID, kept []string) { return nil, nil }

// ReleaseFor is the release that r gives to a node: its own, or for an undo the one that the node had before. False: the
// rollout gives that node nothing. A zero release with true takes the layer away.
func ReleaseFor(r model.Rollout, node string) (model.ReleaseID, bool) { return r.Spec.Release, true }

// Prefetch is the release whose modules a node should have on disk before r moves it; false: none. The caller puts them
// into the node's collection waft/v1/prefetch.
func Prefetch(r model.Rollout, node string) (model.ReleaseID, bool) { return r.Spec.Release, false }

// Changed says whether after must be written where before was: whether they differ in more than SeenAt, or SeenAt has
// gone on by SeenEvery.
func Changed(before, after model.Rollout) bool { return true }

// Conflicts are the ids of the nodes that two rollouts share, sorted: nodes that both targets match or hold. Nodes are
// the fleet's rows.
func Conflicts(a, b model.Rollout, nodes []model.Node) []string { return nil }

// Joining is what a node that joins is given: for each layer, the release of the newest rollout whose target's selector
// matches its labels and that has completed a wave and was neither rolled back nor undone; else of an older one. A layer
// for which there is none is not in the map; an empty map means that the node waits. Rollouts come newest first.
func Joining(labels map[string]string, rollouts []model.Rollout) map[model.Layer]model.ReleaseID {
	return nil
}

// Grant is a release that a joining node is given, and the rollout that it comes from.
type Grant struct {
	Release model.ReleaseID
	Rollout string
}

// Grants is Joining with the name of the rollout that each release comes from. Where that rollout has not ended, the
// caller gives it a Join event, and carries out the Assign that it answers with.
func Grants(labels map[string]string, rollouts []model.Rollout) map[model.Layer]Grant { return nil }
