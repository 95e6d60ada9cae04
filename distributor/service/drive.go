package service

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/rollout"
)

// How the drive loop is woken. What comes together is decided together.
const (
	// reportDelay is from a report to the decision.
	reportDelay = 20 * time.Millisecond
	// statisticsDelay is from statistics to the decision.
	statisticsDelay = 250 * time.Millisecond
	// tick is how often a rollout is looked at whose time passes (soaks, deadlines, silence).
	tick = time.Second
	// idleTick is how often one is looked at that waits for another.
	idleTick = rollout.MaxGap / 2
	// failedDelay is from a step that could not be taken, such as while the store is away, to the next try.
	failedDelay = time.Second
	// maxRest bounds how long the loop rests after a round: as long as that has decided, without the store. So decisions about a fleet that takes
	// long have half of one core at most, however many reports come; those of a small one are over before the next report is due.
	maxRest = 200 * time.Millisecond
	// leastLatest and mostLatest bound the time between two tellings of what gates say meanwhile, which nothing is decided by yet (latestEvery).
	leastLatest = time.Second
	mostLatest  = 10 * time.Second
	// latestNodes are told of in a leastLatest.
	latestNodes = 1000
	// checkTimeout bounds the reading of schemas for one step.
	checkTimeout = 10 * time.Second
)

// driveLoop decides about rollouts until ctx ends.
func (s *Service) driveLoop(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		due, left := s.drive.take()
		if due {
			s.spent = 0
			s.driveAll(ctx)
			s.drive.restFor(min(s.spent, maxRest))
			// A command waits for one round at most.
			select {
			case command := <-s.commands:
				command(ctx)
			default:
			}
			continue
		}
		select {
		case <-ctx.Done():
		case command := <-s.commands:
			command(ctx)
		case <-s.drive.poke:
		case <-arm(timer, left):
		}
	}
}

// inDrive runs f in the drive loop, alone. When ctx ends first, f may still be run, and may be running: whoever is given an error leaves
// alone what f writes to.
func (s *Service) inDrive(ctx context.Context, object string, f func(context.Context) error) error {
	if err := s.Ready(); err != nil {
		return err
	}
	late := func() error {
		return &model.Error{Kind: model.ErrUnavailable, Object: object, Message: "the request ended before it was decided; it may still be carried out",
			Next: "look again before repeating it", Cause: context.Cause(ctx)}
	}
	done := make(chan error, 1)
	select {
	case s.commands <- func(run context.Context) { done <- f(run) }:
	case <-s.stopped:
		return s.Ready()
	case <-ctx.Done():
		return late()
	}
	select {
	case err := <-done:
		return err
	case <-s.stopped:
		return s.Ready()
	case <-ctx.Done():
		return late()
	}
}

// driveAll takes one step of everything that may have one.
func (s *Service) driveAll(ctx context.Context) {
	s.makeSure(ctx)
	s.welcome(ctx)
	s.mu.Lock()
	active := slices.Clone(s.active)
	s.mu.Unlock()
	for _, e := range active {
		if ctx.Err() != nil {
			return
		}
		s.observe(ctx, e)
		s.ask(ctx, e)
	}
	s.schedule()
}

// schedule asks for the next wake that time alone calls for; none when no rollout runs.
func (s *Service) schedule() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for _, e := range s.active {
		switch e.state.Phase {
		case model.RolloutPaused:
			if e.state.Stage() == model.RolloutPending {
				continue // nothing has moved, and nothing moves but by a command
			}
			s.drive.wake(tick) // what has moved is watched
			continue
		case model.RolloutPending:
			s.drive.wake(idleTick)
			continue
		}
		s.drive.wake(tick)
		times := []time.Time{e.state.RollbackDeadline}
		if w := e.state.Wave; w >= 0 && w < len(e.state.Waves) {
			times = append(times, e.state.Waves[w].Deadline, e.state.Waves[w].SoakUntil)
		}
		for _, t := range times {
			if left := t.Sub(now); !t.IsZero() && left > 0 && left < tick {
				s.drive.wake(left)
			}
		}
	}
}

// observe steps a rollout with the fleet as it is. A failure is logged, and tried again later.
func (s *Service) observe(ctx context.Context, e *entry) {
	s.mu.Lock()
	waits := !e.running() || e.state.Phase == model.RolloutPaused && e.state.Stage() == model.RolloutPending ||
		e.blocker != nil && e.blocker.running() && e.fleet == s.fleet ||
		!s.settled(e, s.now()) || !s.introduced(e)
	s.mu.Unlock()
	if waits {
		return
	}
	begun := time.Now()
	s.wrote = 0
	event, err := s.observation(ctx, e)
	if err == nil {
		_, err = s.step(ctx, e, event, nil)
	}
	took := time.Since(begun) - s.wrote
	s.spent += took
	s.decided(Decision{Took: took, Wrote: s.wrote})
	if err != nil && ctx.Err() == nil {
		s.log.Error("a rollout could not be stepped; trying again", "rollout", e.state.Name, "after", failedDelay, "error", err)
		s.drive.wake(failedDelay)
	}
}

// command is what a person asked for, for the audit.
type command struct {
	actor Actor
	// verb of the audit action: pause, resume, …
	verb string
}

// step takes one step: decide, write, then carry out. The drive loop alone calls it.
func (s *Service) step(ctx context.Context, e *entry, event rollout.Event, by *command) (model.Rollout, error) {
	before, at := e.state, s.now()
	if !e.steppedAt.IsZero() {
		event = rollout.Watched{Event: event, For: at.Sub(e.steppedAt)} // both are of this process, so no jump of the clock is in it
	}
	after, actions, err := rollout.Step(before, event, at)
	if err != nil {
		return before, err
	}
	changed := rollout.Changed(e.written, after)
	revision := e.revision
	if changed {
		writeCtx, cancel := context.WithTimeout(ctx, writeTimeout)
		begun := time.Now()
		revision, err = s.store.UpdateRollout(writeCtx, after, e.revision, stepAudit(before, after, by, s.stamp()))
		s.wrote = time.Since(begun)
		cancel()
		if err != nil {
			// Whether it was written is not known (or somebody else did): go on from what the store has.
			s.reload(ctx, e)
			return before, err
		}
	}

	ahead := e.ahead
	if before.Phase != after.Phase || before.Wave != after.Wave {
		ahead = s.ahead(e, after)
	}

	s.mu.Lock()
	e.ahead = ahead
	if !after.SeenAt.Equal(before.SeenAt) {
		e.steppedAt = at
	}
	e.state, e.revision = after, revision
	if changed {
		e.written = after
	}
	if changed && by != nil {
		e.told.by, e.told.message, e.told.at = by.actor, after.Message, s.now()
	}
	s.tally.count(before, after, by)
	s.carryOut(e, actions)
	told := s.settle(e, changed)
	shows := changed || e.hasNews()
	if shows {
		e.shown, e.shownAt = after.Latest, time.Now()
	}
	s.mu.Unlock()

	for _, id := range told {
		s.hub.nodeChanged(id)
	}
	if shows {
		s.hub.rolloutChanged(after)
	}
	if changed {
		s.drive.wake(reportDelay)
		if before.Phase != after.Phase || before.Wave != after.Wave {
			s.log.Info("rollout", "rollout", after.Name, "phase", after.Phase, "wave", after.Wave+1, "message", after.Message)
		}
	}
	return after, nil
}

// latestEvery is the least time between two tellings of what gates say meanwhile of a rollout of so many nodes: all of it goes to each who watches, the
// nodes too.
func latestEvery(nodes int) time.Duration {
	return min(max(leastLatest*time.Duration(nodes)/latestNodes, leastLatest), mostLatest)
}

// hasNews says whether gates say what those who watch were not told of yet, and it is time to tell; mu is held.
func (e *entry) hasNews() bool {
	same := func(a, b model.GateReading) bool {
		return a.Gate == b.Gate && a.Verdict == b.Verdict && a.Detail == b.Detail
	}
	return time.Since(e.shownAt) >= latestEvery(len(e.state.Nodes)) && !slices.EqualFunc(e.shown, e.state.Latest, same)
}

// carryOut does what a step of a rollout, whose state is the one after it, asked for; mu is held. What fails is asked for again by a later step.
func (s *Service) carryOut(e *entry, actions []rollout.Action) {
	name := e.state.Name
	for _, action := range actions {
		if isolate, ok := action.(rollout.Isolate); ok {
			s.isolate(name, isolate)
			continue
		}
		assign, ok := action.(rollout.Assign)
		if !ok {
			s.log.Error("rollout asks for what is not known", "rollout", name, "action", action)
			continue
		}
		n := s.nodes[assign.Node]
		if n == nil {
			s.log.Error("rollout assigns to a node that is not known", "rollout", name, "node", assign.Node)
			continue
		}
		if _, err := s.assign(n, assign.Layer, assign.Release, assign.Given, assign.Cohort, e.moves(assign.Node)); err != nil {
			s.log.Error("node was not assigned its release", "rollout", name, "node", assign.Node, "release", assign.Release.String(), "error", err)
		}
	}
}

// settle makes the rest of the memory fit a rollout's new state, and returns the nodes whose collections changed by it; mu
// is held.
func (s *Service) settle(e *entry, changed bool) []string {
	if !changed {
		return nil
	}
	if e.running() {
		return s.setDuties(e)
	}
	s.active = slices.DeleteFunc(s.active, func(other *entry) bool { return other == e })
	s.enableNewcomers(e)
	var told []string
	for id, n := range s.nodes {
		if n.duty.rollout == e.state.Name {
			if len(n.duty.prefetch) > 0 {
				told = append(told, id)
			}
			n.duty = duty{}
			s.directLater(n)
		}
		if n.outlook.of == e {
			n.outlook = outlook{}
		}
		if len(n.row.Assigned) == 0 && n.connected() {
			// It came too late for the last wave.
			s.joiners[n] = struct{}{}
		}
	}
	e.slim()
	return told
}

// setDuties sets what a running rollout asks of nodes beside running a chain, and returns those whose prefetch changed; mu
// is held.
func (s *Service) setDuties(e *entry) []string {
	var told []string
	compares, names := comparesNow(e.state), []string(nil)
	if e.state.Wave >= 0 { // one that waits asks nothing of anybody
		names = e.state.Spec.Statistics()
	}
	for _, n := range s.concerned(e) {
		if n.duty.rollout != "" && n.duty.rollout != e.state.Name {
			if other := s.find(n.duty.rollout); other != nil && other.running() {
				continue
			}
		}
		progress, held := e.state.Nodes[n.row.ID]
		want := duty{prefetch: s.prefetch(e, n, &progress, held), names: names}
		if len(want.prefetch) == 0 && n.stored < n.version && n.duty.rollout == e.state.Name {
			// The row that gives the node its modules is on its way to the store; until it is there the node goes on fetching.
			want.prefetch = n.duty.prefetch
		}
		if len(want.prefetch) > 0 || len(names) > 0 {
			want.rollout = e.state.Name
		}
		if held && !progress.MovedAt.IsZero() {
			want.rollout, want.statistics = e.state.Name, true
		} else if compares && n.row.Reports {
			want.rollout, want.statistics = e.state.Name, true
		}
		if !slices.EqualFunc(n.duty.prefetch, want.prefetch, func(a, b model.Module) bool { return a.Digest == b.Digest && a.Artifact == b.Artifact }) {
			told = append(told, n.row.ID)
		}
		same := want.statistics == n.duty.statistics && slices.Equal(want.names, n.duty.names)
		if n.duty = want; !same {
			s.directLater(n)
		}
	}
	return told
}

// comparesNow says whether the current wave is compared with the nodes that have not moved.
func comparesNow(r model.Rollout) bool {
	return r.Wave >= 0 && r.Wave < len(r.Spec.Waves) && slices.ContainsFunc(r.Spec.Waves[r.Wave].Gates, model.GateSpec.Compares)
}

// prefetch are the modules that a node should have on disk before a rollout moves it, which holds it with that progress, or does not yet; they are
// shared. mu is held.
func (s *Service) prefetch(e *entry, n *node, progress *model.NodeProgress, held bool) []model.Module {
	if !held || !rollout.Fetches(&e.state, progress) {
		if _, ahead := e.ahead[n.row.ID]; !ahead || !progress.MovedAt.IsZero() {
			return nil
		}
	}
	return s.outlookOf(e, n, progress).modules // of what rollout.Prefetch names, if anything
}

// reload replaces a rollout by what the store has. What was cut short is decided again by the next step.
func (s *Service) reload(ctx context.Context, e *entry) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	state, revision, err := s.store.GetRollout(ctx, e.state.Name)
	if err != nil {
		// The old revision stays, so the next write either fits or leads here again.
		return
	}
	s.mu.Lock()
	changed := revision != e.revision
	if e.state, e.written, e.revision = state, state, revision; changed {
		e.ahead = nil // it was worked out for another state
	}
	e.steppedAt = time.Time{} // SeenAt is that of an earlier step
	told := s.settle(e, changed)
	s.mu.Unlock()
	for _, id := range told {
		s.hub.nodeChanged(id)
	}
	if changed {
		s.hub.rolloutChanged(state)
	}
	s.drive.wake(reportDelay)
}

// maxStepAudit is how many audit entries one step may write; the history of the rollout has every line in any case.
const maxStepAudit = 40

// stepAudit is one entry for each new line of the history, and one for a command that left none.
func stepAudit(before, after model.Rollout, by *command, now time.Time) []model.AuditEntry {
	object := "rollout/" + after.Name
	var entries []model.AuditEntry
	told := false
	for _, t := range newLines(before.History, after.History) {
		entry := model.AuditEntry{At: t.At, Actor: t.Actor, Action: "rollout." + strings.ToLower(string(t.Phase)), Object: object, Detail: t.Message}
		if by != nil && !told && t.Actor == by.actor.Name {
			entry.Action, entry.Reason, told = "rollout."+by.verb, by.actor.Reason, true
		}
		entries = append(entries, entry)
	}
	if by != nil && !told {
		entries = slices.Insert(entries, 0, model.AuditEntry{At: now, Actor: by.actor.Name, Action: "rollout." + by.verb, Object: object,
			Reason: by.actor.Reason, Detail: after.Message})
	}
	if left := len(entries) - maxStepAudit; left > 0 {
		last := entries[len(entries)-1]
		entries = append(entries[:maxStepAudit-1], last)
		entries[maxStepAudit-2].Detail += fmt.Sprintf(" (and %d further lines, see the history of the rollout)", left)
	}
	return entries
}

// newLines are the lines of after that before does not have.
func newLines(before, after []model.Transition) []model.Transition {
	if len(after) > len(before) {
		return after[len(before):]
	}
	return nil
}
