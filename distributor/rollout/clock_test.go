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

// Where the process's own clock says how much time has passed, a jump is none of it, in either direction, and the rest of it counts.
func TestWatchedTimeIsRight(t *testing.T) {
	for name, by := range jumps {
		t.Run(name, func(t *testing.T) {
			d := newDrive(t, newFleet(4), model.WaveSpec{Nodes: 1, Soak: 8 * time.Second}, model.WaveSpec{Percent: 100})
			d.toSoaking()
			watch := func(watched time.Duration) {
				d.t.Helper()
				d.must(Watched{d.fleet.observe(d.r), watched})
			}
			d.now = d.now.Add(by + 3*time.Second)
			watch(3 * time.Second)
			d.want(model.RolloutSoaking, 0)
			if left := d.r.Waves[0].SoakUntil.Sub(d.now); left != 5*time.Second {
				t.Errorf("after 3 of 8 seconds the soak has %s left", left)
			}
			d.now = d.now.Add(5*time.Second - time.Millisecond)
			watch(5*time.Second - time.Millisecond)
			d.want(model.RolloutSoaking, 0)
			d.now = d.now.Add(time.Millisecond)
			watch(time.Millisecond)
			d.want(model.RolloutMoving, 1)
		})
	}
	t.Run("a command", func(t *testing.T) {
		d := newDrive(t, newFleet(2), model.WaveSpec{Nodes: 1, Soak: time.Minute})
		d.toSoaking()
		d.now = d.now.Add(time.Hour)
		d.must(Watched{Pause{by}, time.Second})
		d.must(Resume{by})
		if left := d.r.Waves[0].SoakUntil.Sub(d.now); left != time.Minute-time.Second {
			t.Errorf("after a jump of an hour and a second, and a pause, the soak has %s left", left)
		}
	})
	t.Run("no step is bigger than it may be", func(t *testing.T) {
		d := newDrive(t, newFleet(4), model.WaveSpec{Nodes: 1, Soak: time.Minute})
		d.toSoaking()
		d.now = d.now.Add(-time.Hour)
		d.must(Watched{d.fleet.observe(d.r), time.Hour})
		if left := d.r.Waves[0].SoakUntil.Sub(d.now); left != time.Minute-MaxGap {
			t.Errorf("%s left", left)
		}
	})
	t.Run("clocks that do not run quite alike", func(t *testing.T) {
		d := newDrive(t, newFleet(2), model.WaveSpec{Nodes: 1, Soak: time.Minute})
		d.toSoaking()
		until := d.r.Waves[0].SoakUntil
		d.now = d.now.Add(2 * time.Second)
		d.must(Watched{d.fleet.observe(d.r), 2*time.Second - leastJump/2})
		if !d.r.Waves[0].SoakUntil.Equal(until) {
			t.Error("the soak moved, which would be written in each step")
		}
	})
}

// What was noted of nodes and waves before the clock went back is in the past by the new one, so that what is seen next is later; the time between
// two of them stays what it was.
func TestClockThatGoesBackTakesMarksAlong(t *testing.T) {
	d := newDrive(t, newFleet(4), model.WaveSpec{Nodes: 1, Soak: 5 * time.Second}, model.WaveSpec{Nodes: 2, Soak: time.Minute}, model.WaveSpec{Percent: 100})
	d.toSoaking()
	d.look(5 * time.Second)
	d.want(model.RolloutMoving, 1)
	d.look(2 * time.Second)
	d.fleet.serveAll()
	d.look(time.Second)
	d.want(model.RolloutSoaking, 1)
	was := d.r
	d.jump(-time.Hour)
	const back = -time.Hour
	for i := range was.Waves[:2] {
		if got := d.r.Waves[i].MovedAt.Sub(was.Waves[i].MovedAt); got != back {
			t.Errorf("wave %d was moved %s later by the new clock", i+1, got)
		}
		if !d.r.Waves[i].StartedAt.Equal(was.Waves[i].StartedAt) {
			t.Errorf("wave %d is told to have started at another time than it was", i+1)
		}
	}
	for id, p := range was.Nodes {
		q := d.r.Nodes[id]
		if !moved(p) {
			continue
		}
		if q.MovedAt.Sub(p.MovedAt) != back || q.Since.Sub(p.Since) != back {
			t.Errorf("%s was moved at %s since %s, and by the new clock at %s since %s", id, p.MovedAt, p.Since, q.MovedAt, q.Since)
		}
	}
	if ServedSince(d.r).After(d.now) {
		t.Error("the wave serves since a time that has not come")
	}
	d.jump(time.Hour)
	if got := d.r.Waves[1].MovedAt.Sub(was.Waves[1].MovedAt); got != back {
		t.Errorf("a clock that goes forward moves no marks, which are in the past in any case: %s", got)
	}
}

// A pause within which the clock goes back takes them along, too.
func TestClockThatGoesBackInAPause(t *testing.T) {
	d := newDrive(t, newFleet(2), model.WaveSpec{Nodes: 1, Soak: time.Minute})
	d.toSoaking()
	d.must(Pause{})
	d.now = d.now.Add(-time.Hour)
	d.must(Resume{})
	d.want(model.RolloutSoaking, 0)
	if d.r.Waves[0].MovedAt.After(d.now) || ServedSince(d.r).After(d.now) {
		t.Errorf("at %s the wave was moved at %s and serves since %s", d.now, d.r.Waves[0].MovedAt, ServedSince(d.r))
	}
}

// An answer that a gate was given before the clock went back may be from before the end of the soak, whatever time it bears: it does not count.
func TestAnswerFromBeforeTheClockWentBack(t *testing.T) {
	d := newDrive(t, newFleet(2), model.WaveSpec{Nodes: 1, Soak: 20 * time.Second, Gates: []model.GateSpec{{Webhook: &model.WebhookGate{URL: "https://gate.example"}}}},
		model.WaveSpec{Percent: 100})
	d.toSoaking()
	answer := model.GateReading{Verdict: model.VerdictPass, Detail: "well", At: d.now}
	look := func(after time.Duration) {
		for ; after >= 0; after -= time.Second {
			d.now = d.now.Add(min(after, time.Second))
			ev := d.fleet.observe(d.r)
			ev.Elsewhere = map[int]model.GateReading{0: answer}
			d.must(ev)
		}
	}
	look(2 * time.Second)
	d.now = d.now.Add(-time.Hour)
	look(22 * time.Second)
	d.want(model.RolloutSoaking, 0)
	answer.At = d.now
	look(0)
	d.want(model.RolloutMoving, 1)
}
