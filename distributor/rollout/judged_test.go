package rollout

import (
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// A wave whose nodes are away and have the release in their rows already is over in the step in which it moves them, and the next wave seats others in that same step: what
// the step has looked at sits elsewhere then.
func TestWavesOfNodesThatAreAwayAndHaveIt(t *testing.T) {
	f := newFleet(4)
	f.fetchAll()
	for _, id := range []string{"n2", "n3", "n4"} {
		f.nodes[id].Connected, f.nodes[id].Silent = false, time.Hour
		f.nodes[id].Assigned = after // as after a rollout that was aborted
	}
	d := newDrive(t, f, model.WaveSpec{Nodes: 1}, model.WaveSpec{Nodes: 2}, model.WaveSpec{Percent: 100})
	d.look(0)
	d.fleet.serveAll()
	for range 3 {
		d.look(time.Second)
		d.fleet.serveAll()
	}
	d.want(model.RolloutDone, 2)
}
