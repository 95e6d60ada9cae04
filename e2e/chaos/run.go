package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/waft-project/waft/demo/fleet"
)

const (
	// leastTime is how long a schedule lasts at least, under load.
	leastTime = 30 * time.Second
	// pollEvery is how often the operator looks at a rollout, askEvery how often other clients ask, sampleEvery how often the ledger is read.
	pollEvery   = 200 * time.Millisecond
	askEvery    = 250 * time.Millisecond
	sampleEvery = 500 * time.Millisecond
	// restLimit is how long nodes may take to come to rest once every rollout has ended; an agent tries again within a minute.
	restLimit = 3 * time.Minute
	// runLimit bounds a schedule, whatever happens.
	runLimit = 15 * time.Minute
)

// Run carries out a schedule on a fleet of its own in dir, and returns its history. Note gets a line for each thing that happens; it may
// be called from several goroutines. An error means that the run could not be made, or that nobody can say how it ended; not that something does not
// hold. A run that does not come to its end in time has a history, which says so.
func Run(ctx context.Context, s Schedule, programs Programs, dir string, note func(string, ...any)) (*History, error) {
	starting, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	m, err := startMachines(starting, dir, programs, s)
	defer m.stop()
	if err != nil {
		return nil, err
	}
	return runOn(ctx, runLimit, m, s, note)
}

// runOn is Run on machines that are there, for no longer than limit.
func runOn(whole context.Context, limit time.Duration, m *machines, s Schedule, note func(string, ...any)) (*History, error) {
	ctx, cancel := context.WithTimeout(whole, limit)
	defer cancel()
	h := &History{Seed: s.Seed, Begun: time.Now()}
	h.Marked = s.Marked
	r := &run{schedule: s, m: m, h: h, log: new(callLog), progress: newProgress(), note: note}
	var err error
	if r.operator, err = newCaller(m.grpc, 0, r.log); err != nil {
		return nil, err
	}
	defer r.operator.close()
	r.operator.marked = s.Marked
	if err := r.first(ctx); err != nil {
		return nil, err
	}
	h.Begun = time.Now()
	r.load = startLoad(ctx, m.nodes)
	others, stopOthers := context.WithCancel(ctx)
	defer stopOthers()
	var watching, faults sync.WaitGroup
	for i := range 2 {
		client, err := newCaller(m.grpc, i+1, r.log)
		if err != nil {
			return nil, err
		}
		watching.Go(func() { defer client.close(); r.ask(others, client, rand.New(rand.NewPCG(s.Seed, uint64(i)))) })
	}
	sampler, err := newCaller(m.grpc, 3, r.log)
	if err != nil {
		return nil, err
	}
	watching.Go(func() { defer sampler.close(); r.sample(others, sampler) })
	in := &injector{m: m, load: r.load, parts: map[string]*sync.Mutex{}}
	for _, f := range s.Faults {
		faults.Go(func() { r.await(ctx, in, f) })
	}
	var second sync.WaitGroup
	if s.Second {
		var pair [2]*caller
		for i := range pair {
			if pair[i], err = newCaller(m.grpc, 4+i, r.log); err != nil {
				return nil, err
			}
			defer pair[i].close()
		}
		second.Go(func() { r.meddle(ctx, pair[0], pair[1]) })
	}
	err = r.operate(ctx)
	r.progress.set(place{rollout: len(s.Steps), phase: "Done"})
	second.Wait()
	faults.Wait()
	h.Healed = h.Begun
	for _, f := range in.done {
		h.Healed = later(h.Healed, f.Until)
	}
	pause(ctx, leastTime-time.Since(h.Begun))
	if err == nil {
		err = r.rest(ctx)
	}
	stopOthers()
	watching.Wait()
	h.Requests = r.load.end()
	h.Faults, h.Downs, h.Calls = in.done, in.downs, r.log.calls
	switch {
	case whole.Err() != nil:
		return h, fmt.Errorf("seed %d: the run was ended: %w", s.Seed, context.Cause(whole))
	case ctx.Err() != nil:
		// How things stand is read all the same: the rules say what did not come to its end.
		h.Unended = fmt.Sprintf("it did not come to its end within %s", limit)
		note("%s", h.Unended)
	case err != nil:
		return h, err
	}
	if h.Final, err = r.conclude(whole); err != nil {
		return h, fmt.Errorf("read how things stand in the end: %w", err)
	}
	h.Ended = time.Now()
	// The answers that were just read are calls, too.
	h.Calls = r.log.calls
	return h, nil
}

// concludeLimit is how long the distributor may take to say how things stand in the end.
const concludeLimit = time.Minute

// conclude reads how things stand, as soon as the distributor says so.
func (r *run) conclude(ctx context.Context) (Final, error) {
	ctx, cancel := context.WithTimeout(ctx, concludeLimit)
	defer cancel()
	for {
		final, err := r.operator.final(ctx, r.names)
		if err == nil || ctx.Err() != nil {
			return final, err
		}
		pause(ctx, pollEvery)
	}
}

type run struct {
	schedule Schedule
	m        *machines
	h        *History
	log      *callLog
	operator *caller
	load     *load
	progress *progress
	note     func(string, ...any)

	mu    sync.Mutex
	names []string
}

func (r *run) known() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.names)
}

func (r *run) name(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names = append(r.names, name)
}

// first gives every node something to serve, before any fault.
func (r *run) first(ctx context.Context) error {
	err := fleet.WaitFor(ctx, "the nodes to connect", startLimit, func(ctx context.Context) error {
		nodes, err := r.operator.sample(ctx)
		if err != nil || len(nodes) < len(r.m.nodes) {
			return fleet.NotYetf("%d of %d: %v", len(nodes), len(r.m.nodes), err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	step := Step{Kind: Good, Shares: []int{len(r.m.nodes)}, Soak: 4 * trial, Ungated: true}
	last, err := r.rollOut(ctx, "base", step, func(Rollout) {})
	if err != nil {
		return err
	}
	if last.Phase != "Done" {
		return fmt.Errorf("without any fault, the first rollout ended as %s: %s", last.Phase, last.Message)
	}
	for _, n := range r.m.nodes {
		err := fleet.WaitFor(ctx, n.id+" to answer", startLimit, func(ctx context.Context) error {
			if _, err := fleet.Ask(ctx, n.listen, fleet.Visitor{Name: "a client", Path: "/", Status: 200}); err != nil {
				return fleet.NotYetf("%v", err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// operate carries out the schedule's rollouts, one after the other, as a person would who does not give up.
func (r *run) operate(ctx context.Context) error {
	for i, step := range r.schedule.Steps {
		follow := func(s Rollout) {
			wave := len(s.Waves)
			r.progress.set(place{rollout: i, phase: s.Phase, wave: wave})
		}
		name := rolloutName(i)
		last, err := r.rollOut(ctx, name, step, follow)
		if err != nil {
			return err
		}
		if err := r.putBack(ctx); err != nil {
			return err
		}
		if !step.Undo || last.Phase != "Done" {
			continue
		}
		undo, err := r.undo(ctx, r.operator, last.Name)
		if err != nil {
			return err
		}
		if undo != "" {
			r.name(undo)
			if _, err := r.follow(ctx, undo, Step{Kind: Good}, func(Rollout) {}); err != nil {
				return err
			}
		}
	}
	return nil
}

// rollOut creates a release and rolls it out to its end, whatever that is.
func (r *run) rollOut(ctx context.Context, name string, step Step, follow func(Rollout)) (Rollout, error) {
	stamp := fmt.Sprintf("%s-%s", name, step.Kind)
	r.h.Releases = append(r.h.Releases, Release{Stamp: stamp, Kind: step.Kind})
	release := &r.h.Releases[len(r.h.Releases)-1]
	for release.ID == "" {
		call := r.operator.create(ctx, r.m.reference(step.Module), stamp, step.Kind)
		release.ID = call.ID
		if call.Outcome != OK {
			r.note("create %s: %s", stamp, call.Error)
			pause(ctx, pollEvery)
		}
		if ctx.Err() != nil {
			return Rollout{}, context.Cause(ctx)
		}
	}
	r.name(name)
	for {
		call := r.operator.start(ctx, name, release.ID, step)
		if call.Outcome == OK || call.Exists {
			r.note("rollout %s of %s started", name, stamp)
			return r.follow(ctx, name, step, follow)
		}
		r.note("start %s: %s", name, call.Error)
		if ctx.Err() != nil {
			return Rollout{}, context.Cause(ctx)
		}
		pause(ctx, pollEvery)
	}
}

// undo takes back a rollout; the name of what does that, which is its own while it runs, or none where it is refused.
func (r *run) undo(ctx context.Context, c *caller, name string) (string, error) {
	for {
		call := c.tell(ctx, OpUndo, name)
		switch {
		case call.Outcome == OK:
			r.note("undo of %s: %s", name, call.Rollout.Name)
			return call.Rollout.Name, nil
		case call.Outcome == Refused:
			// One that was started by a call without an answer is in the way of a second.
			undo := name + "-undo"
			if found := c.get(ctx, undo); found.Outcome == OK {
				// Nobody has seen it start: that call is logged as one that may have started it.
				return undo, nil
			}
			r.note("undo of %s: %s", name, call.Error)
			return "", nil
		}
		r.note("undo of %s: %s", name, call.Error)
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		pause(ctx, pollEvery)
	}
}

// follow watches a rollout to its end, and does what it needs a person for.
func (r *run) follow(ctx context.Context, name string, step Step, follow func(Rollout)) (Rollout, error) {
	paused, disabled := !step.Pause, !step.Disable
	ours, phase := false, ""
	resumed := 0
	for ; ctx.Err() == nil; pause(ctx, pollEvery) {
		call := r.operator.get(ctx, name)
		if call.Outcome != OK {
			continue
		}
		got := *call.Rollout
		follow(got)
		if at := fmt.Sprintf("%s wave %d: %s", got.Phase, len(got.Waves), got.Message); at != phase {
			phase = at
			r.note("%s %s", name, at)
		}
		switch {
		case ended(got.Phase):
			return got, nil
		case got.Phase == "Soaking" && !paused:
			paused = true
			ours = r.operator.tell(ctx, OpPause, name).Outcome != Refused
			pause(ctx, 5*pollEvery)
		case got.Phase == "Soaking" && !disabled:
			disabled = true
			if err := r.disable(ctx); err != nil {
				return got, err
			}
		case got.Phase != "Paused":
		case ours:
			if r.operator.tell(ctx, OpResume, name).Outcome == OK {
				ours = false
			}
		case pausedByPerson(got):
			// Somebody else; nobody asked for that.
			r.operator.tell(ctx, OpResume, name)
		case step.Kind == Good && resumed < 4:
			// A gate had too few requests to judge by, or nobody was there, or an emergency paused it: it is given another chance.
			if r.operator.tell(ctx, OpResume, name).Outcome == OK {
				resumed++
			}
		default:
			r.operator.tell(ctx, OpUndo, name)
		}
	}
	return Rollout{}, context.Cause(ctx)
}

// pausedByPerson says whether that is how a paused rollout came to be.
func pausedByPerson(r Rollout) bool {
	for _, l := range slices.Backward(r.Lines) {
		if l.Phase == "Paused" {
			return strings.HasPrefix(l.Actor, actorPrefix)
		}
	}
	return false
}

// ask reads rollouts, those that there are and one that there is not, until ctx is done.
func (r *run) ask(ctx context.Context, c *caller, random *rand.Rand) {
	for ; ctx.Err() == nil; pause(ctx, askEvery) {
		names := r.known()
		name := names[len(names)-1]
		switch random.IntN(6) {
		case 0:
			name = names[random.IntN(len(names))]
		case 1:
			name = fmt.Sprintf("r%d", len(names)+1)
		}
		c.get(ctx, name)
	}
}

// sample reads the ledger until ctx is done.
func (r *run) sample(ctx context.Context, c *caller) {
	for ; ctx.Err() == nil; pause(ctx, sampleEvery) {
		if got, err := c.sample(ctx); err == nil {
			r.h.Samples = append(r.h.Samples, got...)
		}
	}
}

// await carries out a fault when its moment comes.
func (r *run) await(ctx context.Context, in *injector, f Fault) {
	for {
		at, changed := r.progress.now()
		if at.due(f) {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
	pause(ctx, f.After)
	r.note("fault: %s", f)
	in.inject(ctx, f, func() bool { at, _ := r.progress.now(); return at.moving() })
}

// rest waits until every node serves what it is to run. Nodes that do not are the checker's to judge.
func (r *run) rest(ctx context.Context) error {
	last := ""
	for deadline := time.Now().Add(restLimit); ctx.Err() == nil && time.Now().Before(deadline); pause(ctx, pollEvery) {
		nodes, err := r.operator.sample(ctx)
		if err != nil {
			continue
		}
		restless := ""
		for _, n := range nodes {
			if !n.Connected || n.State != "serving" || n.Serving != n.Chain {
				restless += fmt.Sprintf("%s %s %t ", n.Node, n.State, n.Connected)
				continue
			}
			if got := r.load.answered(n.Node).Stamp; got != r.h.stampOf(n.Assigned) {
				restless += fmt.Sprintf("%s answers %q instead of %q ", n.Node, got, r.h.stampOf(n.Assigned))
			}
		}
		if restless == "" {
			// A little longer, so that what comes late is seen.
			pause(ctx, trial)
			return nil
		}
		if restless != last {
			last = restless
			r.note("not at rest: %s", restless)
		}
	}
	return nil
}
