package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

var jumps = map[string]time.Duration{"an hour ahead": time.Hour, "a year ahead": 365 * 24 * time.Hour, "an hour back": -time.Hour, "a year back": -365 * 24 * time.Hour}

// jump moves the clock, and the next look sees it.
func (d *drive) jump(by time.Duration) {
	d.t.Helper()
	d.now = d.now.Add(by)
	d.must(d.fleet.observe(d.r))
}

// counted is how much of a jump passes for time.
func counted(by time.Duration) time.Duration { return min(max(by, 0), MaxGap) }

func TestClockJumpsDoNotEndASoak(t *testing.T) {
	for name, by := range jumps {
		t.Run(name, func(t *testing.T) {
			d := newDrive(t, newFleet(4), model.WaveSpec{Nodes: 1, Soak: time.Minute}, model.WaveSpec{Percent: 100})
			d.toSoaking()
			d.look(10 * time.Second)
			d.jump(by)
			d.want(model.RolloutSoaking, 0)
			left := 50*time.Second - counted(by)
			d.look(left - time.Second)
			d.want(model.RolloutSoaking, 0)
			d.look(time.Second)
			d.want(model.RolloutMoving, 1)
		})
	}
}

func TestClockJumpsDoNotEndADeadline(t *testing.T) {
	for name, by := range jumps {
		t.Run(name, func(t *testing.T) {
			d := newDrive(t, newFleet(4), model.WaveSpec{Nodes: 1, Deadline: time.Minute})
			d.toMoving() // a second of the deadline has passed
			d.fleet.nodes[d.first()].Serving = ""
			d.jump(by)
			left := 59*time.Second - counted(by)
			d.look(left - time.Second)
			d.want(model.RolloutMoving, 0)
			d.look(time.Second)
			d.want(model.RolloutRollingBack, 0)
			d.jump(by)
			d.want(model.RolloutRollingBack, 0)
			left = RollbackDeadline - counted(by)
			d.look(left - time.Second)
			d.want(model.RolloutRollingBack, 0)
			d.look(time.Second)
			d.look(0) // it is isolated
			d.want(model.RolloutRolledBack, 0)
		})
	}
}

func TestClockJumpsDoNotMakeANodeLate(t *testing.T) {
	for name, by := range jumps {
		t.Run(name, func(t *testing.T) {
			d := newDrive(t, newFleet(2), model.WaveSpec{Nodes: 1, Soak: time.Minute})
			d.toSoaking()
			d.fleet.nodes[d.first()].Serving = ""
			d.look(0)
			d.jump(by)
			left := SilenceGrace - counted(by)
			d.look(left)
			d.want(model.RolloutSoaking, 0)
			d.look(time.Second)
			d.want(model.RolloutRollingBack, 0)
		})
	}
}

func TestPauseExtendsSoakAndDeadline(t *testing.T) {
	for name, by := range map[string]time.Duration{"a moment": time.Second, "a day": 24 * time.Hour, "while the clock goes back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			d := newDrive(t, newFleet(4), model.WaveSpec{Nodes: 1, Soak: 20 * time.Second, Deadline: 20 * time.Second}, model.WaveSpec{Percent: 100})
			d.toMoving()
			d.look(9 * time.Second)
			d.must(Pause{})
			d.jump(by)
			d.must(Resume{})
			d.want(model.RolloutMoving, 0)
			d.look(9 * time.Second)
			d.want(model.RolloutMoving, 0)
			d.fleet.serveAll()
			d.look(0)
			d.want(model.RolloutSoaking, 0)
			d.now = d.now.Add(5 * time.Second) // counts: it soaked until it was paused
			d.must(Pause{})
			if !d.r.PausedAt.Equal(d.now) {
				t.Errorf("paused at %s", d.r.PausedAt)
			}
			d.jump(by)
			d.must(Resume{})
			if !d.r.PausedAt.IsZero() || d.r.Resume != "" {
				t.Errorf("after the pause: %s, %s", d.r.PausedAt, d.r.Resume)
			}
			d.look(14 * time.Second)
			d.want(model.RolloutSoaking, 0)
			d.look(time.Second)
			d.want(model.RolloutMoving, 1)
		})
	}
}

func TestClockIsInTheHistoryOnce(t *testing.T) {
	d := newDrive(t, newFleet(2), model.WaveSpec{Nodes: 1, Soak: time.Hour})
	d.toSoaking()
	lines := len(d.r.History)
	d.jump(-time.Millisecond)
	if len(d.r.History) != lines {
		t.Error("a step of the clock of a millisecond is no news")
	}
	for range 3 {
		d.jump(time.Hour)
		d.jump(-time.Hour)
	}
	if got := d.r.History[lines:]; len(got) != 1 || !strings.HasPrefix(got[0].Message, clockNote) {
		t.Errorf("got %+v", got)
	}
}
