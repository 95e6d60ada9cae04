package chaos

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What clocks are laid over is there, once, in the sources of this Go.
func TestClockFits(t *testing.T) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "src", "time", "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), clockRead); n != 1 {
		t.Errorf("time.go has the line %d times, want once: fit clockRead to it", n)
	}
}

// However jumps add up, no clock tells a time twice within a run.
func TestClocksTellNoTimeTwice(t *testing.T) {
	for seed := uint64(1); seed <= 1000; seed++ {
		for _, part := range []Part{Distributor, Agent} {
			for node := range scheduleNodes {
				var by []time.Duration
				for _, f := range Draw(seed).Faults {
					if f.Kind == Jump && f.Part == part && (part == Distributor || f.Node == node) {
						by = append(by, f.By)
					}
				}
				// In whatever order they come, any run of them, one after the other, must not lead back by less than a run lasts.
				for set := range 1 << len(by) {
					var sum time.Duration
					for i, d := range by {
						if set>>i&1 == 1 {
							sum += d
						}
					}
					if sum < 0 && -sum <= runLimit {
						t.Errorf("seed %d: clock of %s %d goes back by %s", seed, part, node, -sum)
					}
				}
			}
		}
	}
}

// Times of rollouts, which the distributor tells by a clock that jumped, are held against answers by the machine's.
func TestJumpsAreStraightened(t *testing.T) {
	h := calm()
	const hour = -time.Hour
	jump := func(from, until float64, ahead time.Duration) {
		h.Faults = append(h.Faults, Injected{Fault: Fault{Kind: Jump, Part: Distributor}, At: at(from), Until: at(until), Ahead: ahead})
	}
	jump(45, 45.1, 0) // the third
	jump(15, 15.1, hour)
	jump(25, 25.1, hour+2*time.Minute)
	h.Faults = append(h.Faults,
		Injected{Fault: Fault{Kind: Jump, Part: Agent}, At: at(12), Until: at(12.1), Ahead: hour},
		Injected{Fault: Fault{Kind: Jump, Part: Distributor}, At: at(13), Until: at(13.1), Ahead: 2 * hour, Void: true})
	jumped := func(r *Rollout) {
		by := func(t time.Time) time.Time {
			switch {
			case t.IsZero(), t.Before(at(15)), !t.Before(at(45)):
				return t
			case t.Before(at(25)):
				return t.Add(hour)
			}
			return t.Add(hour + 2*time.Minute)
		}
		r.StartedAt, r.EndedAt = by(r.StartedAt), by(r.EndedAt)
		for i := range r.Waves {
			r.Waves[i].StartedAt, r.Waves[i].EndedAt = by(r.Waves[i].StartedAt), by(r.Waves[i].EndedAt)
		}
		for i := range r.Lines { // answers have the same
			r.Lines[i].At = by(r.Lines[i].At)
		}
	}
	for i := range h.Final.Rollouts {
		jumped(&h.Final.Rollouts[i])
	}
	if got := h.Final.Rollouts[1].Waves[1].StartedAt; !got.Equal(at(20).Add(hour)) {
		t.Fatalf("the second wave of r1 began at %s", got)
	}
	for _, v := range Check(h) {
		t.Errorf("%s: %s", v.Rule, v.Text)
	}
	// A time that is a wave's by no clock is one that a rule must look at: the node moves long before.
	h.Final.Rollouts[1].Waves[1].StartedAt = at(30).Add(hour + 2*time.Minute)
	if found := Check(h); len(found) == 0 || found[0].Rule != RuleMove {
		t.Errorf("a node that moves before its wave, by straightened clocks: %v", found)
	}
}

// A process that is not built for it reads no other time, and the fault says so.
func TestClockOfNobody(t *testing.T) {
	c := newClock(t.TempDir(), "nobody", false)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if ahead, err := c.jump(ctx, time.Hour); err == nil || ahead != 0 {
		t.Errorf("a clock that nobody reads is %s ahead: %v", ahead, err)
	}
	if text, err := os.ReadFile(c.path); err != nil || string(text) != "0" {
		t.Errorf("it stays so: %q, %v", text, err)
	}
	if _, err := newClock(t.TempDir(), "fixed", true).jump(t.Context(), time.Hour); !errors.Is(err, errImpossible) {
		t.Errorf("a clock of a build whose clocks do not jump: %v", err)
	}
}
