package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// parts is where the time of a rollout goes beside its soaks, added up over its waves, in seconds. The clock is the machine's, which the
// distributor and the fleet share.
type parts struct {
	// Begin is from the start, or the end of a soak, until the next wave has begun or the rollout is over.
	Begin float64 `json:"begin_s"`
	// Fetch is from there until the wave moves: every node of it has the modules.
	Fetch float64 `json:"fetch_s"`
	// Deliver is from there until the last node has taken up its new chain: rows are written, and collections sent and received.
	Deliver float64 `json:"deliver_s"`
	// Fleet is what the nodes take from there until the last says that it serves, beyond the two steps that they are meant to: they share the
	// machine, and in the world have one each. It is no part of OwnSeconds.
	Fleet float64 `json:"fleet_s"`
	// Notice is from there until the wave soaks: reports are read, and it is decided.
	Notice float64 `json:"notice_s"`
	// Distributor is the CPU of the distributor outside the soaks, and Clients that of the fleet; Waited is how long threads of the distributor that
	// could run waited for a core then.
	Distributor float64 `json:"distributor_cpu_s"`
	Clients     float64 `json:"fleet_cpu_s"`
	Waited      float64 `json:"distributor_waited_s"`
}

// taken says when nodes last took up a chain, and when one last said that it serves it.
type taken struct{ chain, served atomic.Int64 }

func stamp(at *atomic.Int64) { at.Store(time.Now().UnixNano()) }

// watcher is what is seen of a rollout while it runs.
type watcher struct {
	fleet *fleet
	pids  [2]int // of the distributor, of the fleet

	wave    int32
	soaking bool
	since   [2]usage
	spent   [2]usage
	// chains and served are when the last node of each wave took up its chain, and said that it serves.
	chains, served []time.Time
	err            error
}

// see takes the rollout as it is. A soak is to be longer than the news of it takes.
func (w *watcher) see(s *waftv1.RolloutStatus) {
	switch {
	case s.GetPhase() == "Soaking" && !w.soaking:
		w.chains = append(w.chains, time.Unix(0, w.fleet.taken.chain.Load()))
		w.served = append(w.served, time.Unix(0, w.fleet.taken.served.Load()))
		w.soaking, w.wave = true, s.GetWave()
		for i, u := range w.usages() {
			w.spent[i].ran += u.ran - w.since[i].ran
			w.spent[i].waited += u.waited - w.since[i].waited
		}
	case w.since[0].ran == 0 || w.soaking && (s.GetPhase() != "Soaking" || s.GetWave() != w.wave):
		w.soaking = false
		w.since = w.usages()
	}
}

func (w *watcher) usages() (out [2]usage) {
	for i, pid := range w.pids {
		u, err := usageOf(pid)
		if err != nil && w.err == nil {
			w.err = err
		}
		out[i] = u
	}
	return out
}

// parts are those of a rollout that is done.
func (w *watcher) parts(s *waftv1.RolloutStatus, step time.Duration) (parts, error) {
	if w.err != nil {
		return parts{}, w.err
	}
	if len(w.served) != len(s.GetWaves()) {
		return parts{}, fmt.Errorf("%d waves of %d were seen to soak: let them soak for longer", len(w.served), len(s.GetWaves()))
	}
	p := parts{Distributor: w.spent[0].ran.Seconds(), Clients: w.spent[1].ran.Seconds(), Waited: w.spent[0].waited.Seconds()}
	last := s.GetStartedAt().AsTime()
	for i, wave := range s.GetWaves() {
		began := wave.GetStartedAt().AsTime()
		moved, soaks := entered(s, "Moving", i), entered(s, "Soaking", i)
		p.Begin += began.Sub(last).Seconds()
		p.Fetch += moved.Sub(began).Seconds()
		p.Deliver += w.chains[i].Sub(moved).Seconds()
		p.Fleet += (w.served[i].Sub(w.chains[i]) - 2*step).Seconds()
		p.Notice += soaks.Sub(w.served[i]).Seconds()
		last = wave.GetSoakUntil().AsTime()
	}
	p.Begin += s.GetEndedAt().AsTime().Sub(last).Seconds()
	return p, nil
}

// own is what is the distributor's of it, with the way to the nodes and back.
func (p parts) own() float64 { return p.Begin + p.Fetch + p.Deliver + p.Notice }

// entered is when a wave, counted from 0, came to a phase.
func entered(s *waftv1.RolloutStatus, phase string, wave int) time.Time {
	for _, t := range s.GetHistory() {
		if t.GetPhase() == phase && int(t.GetWave()) == wave+1 {
			return t.GetAt().AsTime()
		}
	}
	return time.Time{}
}

// usage is how long a process has run, and how long its threads that could have run waited for a core.
type usage struct{ ran, waited time.Duration }

// usageOf adds up the threads of a process (Linux, Documentation/scheduler/sched-stats). Those of Go's runtime do not end.
func usageOf(pid int) (usage, error) {
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(paths) == 0 {
		return usage{}, fmt.Errorf("no schedstat of process %d: CPU times are read from Linux's /proc", pid)
	}
	var u usage
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			return usage{}, err
		}
		fields := strings.Fields(string(data))
		if len(fields) < 2 {
			return usage{}, fmt.Errorf("%s: %q is not what is expected of it", path, data)
		}
		ran, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			return usage{}, fmt.Errorf("%s: %w", path, err)
		}
		waited, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return usage{}, fmt.Errorf("%s: %w", path, err)
		}
		u.ran, u.waited = u.ran+time.Duration(ran), u.waited+time.Duration(waited)
	}
	return u, nil
}
