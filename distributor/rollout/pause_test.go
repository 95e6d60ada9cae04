package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// A rollout that a gate or a person paused in the evening goes back in the morning, if what it moved fails then; and says that it was paused.
func TestPausedRolloutGoesBack(t *testing.T) {
	for name, pause := range map[string]func(d *drive){
		"by a person": func(d *drive) { d.must(Pause{by}) },
		"by a gate":   func(d *drive) { d.look(20*time.Second + SampleGrace) },
	} {
		t.Run(name, func(t *testing.T) {
			d := begin(t)
			toSoaking(d)
			pause(d)
			d.want(model.RolloutPaused, 0)
			night := d.r
			for range 60 {
				d.look(MaxGap)
				d.now = d.now.Add(10 * time.Minute)
			}
			if Changed(night, d.r) {
				t.Error("a night in which nothing happens is written")
			}
			d.traffic(10, 2)
			d.now = d.now.Add(time.Second)
			d.must(d.fleet.observe(d.r))
			d.want(model.RolloutRollingBack, 0)
			if last := d.r.History[len(d.r.History)-1]; last.Actor != Actor || !strings.Contains(last.Message, "failed its gate errorRatio while it was paused: 2 of 10") {
				t.Errorf("%s said %s", last.Actor, last.Message)
			}
			if left := d.r.RollbackDeadline.Sub(d.now); left != RollbackDeadline || d.r.PausedAt != (time.Time{}) {
				t.Errorf("it has %s for it, and was paused at %s", left, d.r.PausedAt)
			}
			d.fleet.serveAll()
			d.look(time.Second)
			d.want(model.RolloutRolledBack, 0)
			if strings.Contains(d.history(), clockNote) {
				t.Errorf("the pause is taken for a jump of the clock:\n%s", d.history())
			}
		})
	}
}

// A node that serves nothing has its grace for as long as time passes, which it does not in a pause.
func TestGraceBeginsWhenThePauseEnds(t *testing.T) {
	d := begin(t)
	toSoaking(d)
	d.look(5 * time.Second)
	d.must(Pause{by})
	d.fleet.nodes[d.first()].Serving = ""
	d.look(time.Hour)
	d.want(model.RolloutPaused, 0)
	d.must(Resume{by})
	d.look(SilenceGrace)
	d.want(model.RolloutSoaking, 0)
	d.look(time.Second)
	d.want(model.RolloutRollingBack, 0)
}

// What is judged at the end of the soak is not judged by a pause, however long.
func TestPauseEndsNoSoak(t *testing.T) {
	most := int64(1 << 20)
	d := newDrive(t, newFleet(2), model.WaveSpec{Nodes: 1, Soak: 20 * time.Second, Gates: []model.GateSpec{{Growth: &model.GrowthGate{MaxMemory: &most}}}},
		model.WaveSpec{Percent: 100})
	d.toSoaking()
	d.says(d.first(), 0, 0, 0)
	d.must(Pause{by})
	d.look(time.Hour)
	d.want(model.RolloutPaused, 0)
	d.must(Resume{by})
	d.look(20 * time.Second)
	d.want(model.RolloutRollingBack, 0)
}
