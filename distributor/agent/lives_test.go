package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/envoy/envoytest"
)

func TestLives(t *testing.T) {
	says := func(state string, epoch int, uptime, all time.Duration) envoy.ServerInfo {
		return envoy.ServerInfo{State: state, RestartEpoch: epoch, UptimeCurrentEpoch: uptime, UptimeAllEpochs: all}
	}
	const live, initializing = envoy.StateLive, "INITIALIZING"
	for _, test := range []struct {
		name string
		info envoy.ServerInfo // a minute after the first was seen, which ran for an hour by then, as restart epoch 1
		want life
	}{
		{"the same", says(live, 1, time.Hour+time.Minute, 2*time.Hour+time.Minute), same},
		{"the same, draining", says("DRAINING", 1, time.Hour+time.Minute, 2*time.Hour+time.Minute), same},
		{"started again", says(live, 0, time.Second, time.Second), anew},
		{"started again, and loading", says(initializing, 0, time.Second, time.Second), anew},
		{"taking over", says(initializing, 2, time.Second, 2*time.Hour+time.Minute), takingOver},
		{"took over", says(live, 2, 2*time.Second, 2*time.Hour+time.Minute), tookOver},
		{"took over twice while nobody looked", says(live, 3, 2*time.Second, 2*time.Hour+time.Minute), tookOver},
		{"started again, and restarted hot since", says(live, 2, time.Second, 30*time.Second), anew},
	} {
		t.Run(test.name, func(t *testing.T) {
			var l lives
			if got := l.see(says(live, 1, time.Hour, 2*time.Hour), noon, noon, 0); got != anew {
				t.Errorf("the first: %v", got)
			}
			if got := l.see(test.info, noon.Add(time.Minute), noon.Add(time.Minute), 0); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
			again := same
			if test.want == takingOver {
				again = takingOver // until it is done
			}
			if got := l.see(test.info, noon.Add(time.Minute), noon.Add(time.Minute), 0); got != again {
				t.Errorf("the same said again: %v, want %v", got, again)
			}
		})
	}
}

// process is an Envoy as it tells its uptime: the second of now less the second of its start.
type process struct{ start time.Time }

func (p process) says(at time.Time) envoy.ServerInfo {
	uptime := time.Duration(at.Unix()-p.start.Unix()) * time.Second
	return envoy.ServerInfo{State: envoy.StateLive, UptimeCurrentEpoch: uptime, UptimeAllEpochs: uptime}
}

// Whatever moment it is asked at, and however long its answer takes, a process is the one that it was, and one that was started in a later second is another one as
// soon as an answer comes in time.
func TestLivesToTheSecond(t *testing.T) {
	const step = 130 * time.Millisecond // every part of a second is met
	for start := time.Duration(0); start < time.Second; start += step {
		for late := time.Duration(0); late < 5*time.Second; late += 7 * step {
			var l lives
			began := noon.Add(start)
			first, second := process{began}, process{began.Add(2 * time.Second)}
			l.see(first.says(began.Add(time.Second)), began.Add(time.Second), began.Add(time.Second), 0)
			for at := began.Add(time.Second); at.Before(began.Add(9 * time.Second)); at = at.Add(step) {
				if got := l.see(first.says(at.Add(late/2)), at, at.Add(late), late); got != same {
					t.Fatalf("%s after its start, and %s late: %v", at.Sub(began), late, got)
				}
			}
			at := began.Add(10 * time.Second)
			if got := l.see(second.says(at), at, at, 0); got != anew {
				t.Fatalf("another one, two seconds later: %v", got)
			}
		}
	}
}

// The clock that people set jumps, between two readings or within one: the process is the one that it was.
func TestLivesWhenTheClockJumps(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour, 900 * time.Millisecond, -900 * time.Millisecond} {
		var l lives
		began := time.Now()
		p := process{began.Add(-2 * time.Hour)}
		l.see(p.says(began), began, began, 0)
		jumped := began.Round(0).Add(time.Minute + jump)
		if got := l.see(process{p.start.Round(0)}.says(jumped), jumped, jumped, 0); got != same {
			t.Errorf("after a jump of %s: %v", jump, got)
		}
		for _, says := range []envoy.ServerInfo{p.says(began.Add(time.Minute)), p.says(began.Add(time.Minute + jump))} {
			if got := l.see(says, began.Add(time.Minute), jumped, 0); got != same {
				t.Errorf("in a reading with a jump of %s: %v", jump, got)
			}
		}
	}
}

// The clock is set back within a reading, across a second: by so little that the reading counts, or by more in the first one, which always counts. What is known of
// the start is less exact then, and not wrong.
func TestLivesWhenTheClockIsSetBackWithinAReading(t *testing.T) {
	asked := noon.Add(20 * time.Millisecond)
	p := process{noon.Add(-time.Hour)}
	for _, back := range []time.Duration{clockSlack / 2, time.Hour} {
		answered := asked.Add(-back)
		for name, says := range map[string]time.Time{"before": asked, "after": answered} {
			var l lives
			l.see(p.says(says), asked, answered, 0)
			for range 2 {
				at := noon.Add(time.Minute)
				if got := l.see(p.says(at), at, at, 0); got != same {
					t.Errorf("answered %s the clock was set back by %s: %v", name, back, got)
				}
			}
		}
	}
}

// A process that was started while the clock was ahead, and that was seen before or after the clock was set back past its start, says that it has run for less than
// no time: it is the one that it was, and another one that is started by then is not.
func TestLivesOfLessThanNoTime(t *testing.T) {
	p := process{noon.Add(time.Hour)}
	for name, first := range map[string]time.Time{"seen before": noon.Add(2 * time.Hour), "seen after": noon} {
		var l lives
		l.see(p.says(first), first, first, 0)
		for at := noon.Add(time.Minute); at.Before(noon.Add(2 * time.Hour)); at = at.Add(time.Minute) {
			if got := l.see(p.says(at), at, at, 0); got != same {
				t.Fatalf("%s: when it had run for %s: %v", name, at.Sub(p.start), got)
			}
		}
		at := noon.Add(2 * time.Hour)
		if got := l.see((process{at}).says(at), at, at, 0); got != anew {
			t.Errorf("%s: another one: %v", name, got)
		}
	}
}

// Whoever runs Envoy restarts it hot, while a chain is good and while one is on trial: requests go on, the ledger says that it serves all
// the time, and no restart is told. One after which it was gone is.
func TestHotRestart(t *testing.T) {
	t.Parallel()
	s := newSource(t, "n1")
	config := configFor(t, s, envoytest.Newest)
	config.Beside, config.EnvoyArgs = true, nil
	config.BootstrapOut = filepath.Join(t.TempDir(), "bootstrap.json")
	config.Trial = envoytest.Patience // the second chain is restarted while it is on trial; the first is good at once, since there is none before
	if err := WriteBootstrap(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	baseFile := filepath.Join(t.TempDir(), "base-id")
	base := []string{"--use-dynamic-base-id", "--base-id-path", baseFile}
	start := func(epoch int) *envoy.Process {
		t.Helper()
		args := append([]string{"--restart-epoch", strconv.Itoa(epoch), "--drain-time-s", "1", "--parent-shutdown-time-s", "2"}, base...)
		process, err := envoy.Start(t.Context(), config.Envoy, envoy.ProcessConfig{Dir: t.TempDir(), BootstrapPath: config.BootstrapOut, LogLevel: "warning", Args: args})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = process.Kill() })
		if err := process.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		return process
	}
	process := start(0)
	id, err := os.ReadFile(baseFile)
	if err != nil {
		t.Fatal(err)
	}
	base = []string{"--base-id", strings.TrimSpace(string(id))}
	run(t, config)
	plain, other := s.module(guest), s.module(otherGuest)
	first := s.give(filterOf("one", plain, "first"))
	s.await(first, waftv1.ChainState_SERVING)
	answers(t, config.Listen, "x-one", "first")

	load := visit(t, config.Listen)
	restartHot := func(epoch int, hash, word string) {
		t.Helper()
		before := process
		process = start(epoch)
		if err := before.Wait(t.Context()); err != nil {
			t.Errorf("the parent ended with %v", err)
		}
		answers(t, config.Listen, "x-one", word)
		envoytest.Eventually(t, "the agent reads the statistics of the one that took over", func(context.Context) error {
			if got := s.statistics(); got.GetHash() != hash || got.GetAt().AsTime().Before(process.Started()) {
				return fmt.Errorf("the last are %v", got)
			}
			return nil
		})
		if r := s.lastStanding(); r.GetHash() != hash || r.GetState() != waftv1.ChainState_SERVING || r.GetServingHash() != hash {
			t.Errorf("the last report is %v", r)
		}
	}
	restartHot(1, first, "first")
	second := s.give(filterOf("one", other, "second"))
	s.await(second, waftv1.ChainState_SERVING)
	restartHot(2, second, "second")
	load.stop()
	if load.failed.Load() > 0 || load.sent.Load() == 0 {
		t.Errorf("%d of %d requests failed, the last with %v", load.failed.Load(), load.sent.Load(), load.last.Load())
	}
	t.Logf("%d requests, none failed", load.sent.Load())
	for hash, want := range map[string]int{first: 1, second: 1} {
		served := 0
		for _, state := range s.states(hash) {
			if state == waftv1.ChainState_SERVING {
				served++
			}
		}
		if served != want {
			t.Errorf("states of %s: %v", hash, s.states(hash))
		}
	}
	restarts := func() (n int) {
		for _, r := range s.said() {
			if r.GetRestarted() != nil {
				n++
			}
		}
		return n
	}
	if n := restarts(); n != 0 {
		t.Errorf("%d restarts were reported", n)
	}

	// Gone, and started again by whoever runs it: the trial is over, and told.
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	if r := s.await(second, waftv1.ChainState_REJECTED); r.GetStep() != "serve" {
		t.Errorf("report %v", r)
	}
	base = []string{"--use-dynamic-base-id"}
	start(0)
	answers(t, config.Listen, "x-one", "first")
	envoytest.Eventually(t, "the restart is reported", func(context.Context) error {
		if restarts() == 0 {
			return errors.New("not yet")
		}
		return nil
	})
}
