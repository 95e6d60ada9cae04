package rollout

import (
	"maps"
	"reflect"
	"slices"

	"github.com/waft-project/waft/distributor/model"
)

// Changed says whether after must be written where before was: whether they differ in more than SeenAt and a deadline that stands still, which
// is one that moves with it, and in Latest and Waits, which are not written, or SeenAt has gone on by SeenEvery.
func Changed(before, after model.Rollout) bool {
	if after.SeenAt.Sub(before.SeenAt).Abs() >= SeenEvery {
		return true
	}
	if !sameNodes(before.Nodes, after.Nodes) {
		return true
	}
	passed := after.SeenAt.Sub(before.SeenAt)
	before.SeenAt, before.Nodes, before.Latest, before.Waits = after.SeenAt, after.Nodes, after.Latest, after.Waits
	if i := after.Wave; passed != 0 && i >= 0 && i == before.Wave && i < len(before.Waves) && i < len(after.Waves) {
		if before.Waves[i].Deadline.Add(passed).Equal(after.Waves[i].Deadline) {
			before.Waves = slices.Clone(before.Waves)
			before.Waves[i].Deadline = after.Waves[i].Deadline
		}
	}
	// What the two share, such as the nodes of a wave, it takes to be equal without a look.
	return !reflect.DeepEqual(before, after)
}

// sameNodes says whether two states have the same progress of the same nodes. Most steps leave it alone, and then both have the same map; else
// reflection would look at every field of every node.
func sameNodes(a, b map[string]model.NodeProgress) bool {
	if (a == nil) != (b == nil) {
		return false
	}
	return sameMap(a, b) || maps.Equal(a, b)
}
