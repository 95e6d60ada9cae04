package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// A filter is disabled in the middle of a wave: nothing is taken back by it, a person is asked, and then the rollout goes on to its end with the
// chains as they are.
func TestADisabledFilterPausesARolloutAndFailsNothing(t *testing.T) {
	d := begin(t)
	d.toSoaking()
	d.fleet.without = " without x"
	d.now = d.now.Add(time.Second)
	event := d.fleet.observe(d.r)
	event.Emergency = "ann disabled the filter x: it answers 500"
	d.must(event)
	d.want(model.RolloutPaused, 0)
	if !strings.Contains(d.r.Message, event.Emergency) || len(d.actions) > 0 {
		t.Errorf("said %q, did %v", d.r.Message, d.actions)
	}
	lines := len(d.r.History)
	d.look(time.Hour)
	if len(d.r.History) != lines {
		t.Errorf("the same change is told again: %s", d.history())
	}
	d.fleet.serveAll()
	d.must(Resume{by})
	d.look(time.Second)
	d.traffic(100, 0)
	for _, id := range d.r.Waves[0].Nodes {
		d.fleet.nodes[id].Stats.Chain = d.fleet.chain(after)
	}
	d.look(20 * time.Second)
	d.want(model.RolloutMoving, 1)
	d.fleet.serveAll()
	d.look(time.Second)
	d.want(model.RolloutDone, 1)
}

// A node that does not take the chain without the filter is late like any other, once the rollout goes on.
func TestANodeThatDoesNotServeWithoutTheFilterFailsTheWave(t *testing.T) {
	d := begin(t)
	d.toSoaking()
	d.fleet.without = " without x"
	d.look(time.Second)
	d.want(model.RolloutPaused, 0)
	d.look(time.Hour)
	d.must(Resume{by})
	d.look(time.Second)
	d.want(model.RolloutSoaking, 0)
	d.look(SilenceGrace + time.Second)
	d.want(model.RolloutRollingBack, 0)
}

// What is disabled is no release that a node joins with: the caller adds it to what rollouts give.
func TestADisablingIsNotGranted(t *testing.T) {
	d := model.Rollout{
		Name: "disable-x", Layer: model.EmergencyLayer("x"), Disables: "x", Spec: model.RolloutSpec{Release: after}, Phase: model.RolloutDone,
		Waves: []model.WaveState{{Nodes: []string{"n"}, EndedAt: epoch}},
	}
	base := d
	base.Name, base.Layer, base.Disables = "base", model.LayerGlobal, ""
	got := Joining(nil, true, []model.Rollout{d, base})
	if len(got) != 1 || got[model.LayerGlobal] != after {
		t.Errorf("got %v", got)
	}
}
