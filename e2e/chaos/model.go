package chaos

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rolloutState is what the model of the API knows of one rollout. What the engine goes through by itself is taken as it comes; what a person did, and
// what has been seen, holds for as long as nothing that is known undoes it.
type rolloutState struct {
	exists  bool
	release string
	// lines is the length of the longest history seen: no later answer has a shorter one.
	lines int
	// paused: only a person ends that, whoever began it. held: a person began it, and not a gate that is inconclusive.
	paused, held bool
	// undone: it goes back, or has gone. over is the end that was seen; nothing follows it.
	undone bool
	over   string
	// asks is the wave that waits for an approval, from 1; 0: none does. approved: somebody has given it.
	asks     int
	approved bool
}

// step gives the states that may follow a call; none when its answer is impossible.
func step(s rolloutState, call Call) []any {
	var out []any
	switch {
	case call.Outcome == Unknown:
		// It was done, or not.
		out = append(out, s)
		for _, next := range effects(s, call) {
			out = append(out, next)
		}
	case call.Outcome == Refused:
		for _, next := range refusal(s, call) {
			out = append(out, next)
		}
	case call.Op == OpGet:
		if next, ok := look(s, call.Rollout); ok && s.exists {
			out = append(out, next)
		}
	case call.Op == OpUndo && call.Rollout != nil && call.Rollout.Name != call.Object:
		// It had ended; what takes it back is a rollout of its own, whose start, or a look at it, is logged beside.
		for _, phase := range []string{"Done", "RolledBack", "Aborted"} {
			if next, ok := in(s, phase); ok && s.exists {
				out = append(out, next)
			}
		}
	default:
		for _, next := range effects(s, call) {
			if call.Op == OpStart || call.Rollout == nil {
				out = append(out, next)
			} else if next, ok := look(next, call.Rollout); ok && contains(leads[call.Op], call.Rollout.Phase) {
				out = append(out, next)
			}
		}
	}
	return out
}

// leads says which phases a command leaves a rollout in, whose answer is from before anything else can happen to it.
var leads = map[Op][]string{
	OpPause:   {"Paused"},
	OpResume:  {"Pending", "Fetching", "Moving", "Soaking"},
	OpPromo:   {"Fetching", "Moving", "Soaking"},
	OpApprove: {"Soaking", "Paused"},
	OpAbort:   {"Aborted"},
	OpUndo:    {"RollingBack", "RolledBack"},
}

// effects are what a command does when it is done; none where it cannot be. Of one that may have been done nobody knows whether it changed anything.
func effects(s rolloutState, call Call) []rolloutState {
	sure := call.Outcome == OK
	if call.Op == OpStart {
		if s.exists {
			return nil
		}
		s.exists, s.release, s.asks = true, call.Release, call.Asks
		return []rolloutState{s}
	}
	runs := s.exists && s.over == "" && !s.undone
	next := s
	switch call.Op {
	case OpPause:
		if !runs || sure && s.paused && call.Changed {
			return nil
		}
		next.paused, next.held = true, s.held || call.Changed
		if !sure && !s.paused {
			held := next
			held.held = true
			return []rolloutState{next, held}
		}
	case OpResume:
		if !runs || sure && s.paused && !call.Changed {
			return nil
		}
		next.paused, next.held = false, false
	case OpPromo:
		if !runs || s.held || sure && s.paused && !call.Changed {
			return nil
		}
		next.paused, next.held = false, false
	case OpApprove:
		if !runs || s.asks == 0 || sure && s.approved == call.Changed {
			return nil
		}
		if r := call.Rollout; r != nil && len(r.Waves) != s.asks {
			return nil // it is another wave that soaks
		}
		next.approved = true
	case OpAbort:
		if !s.exists || s.undone || s.over != "" && s.over != "Aborted" || sure && s.over == "Aborted" && call.Changed {
			return nil
		}
		next.paused, next.held, next.over = false, false, "Aborted"
	case OpUndo:
		if !s.exists || s.over != "" && s.over != "RolledBack" || sure && s.undone && call.Changed {
			return nil
		}
		next.paused, next.held, next.undone = false, false, true
	}
	return []rolloutState{next}
}

// in is the state in which a rollout is also known to be in a phase; false where it cannot be.
func in(s rolloutState, phase string) (rolloutState, bool) {
	back := phase == "RollingBack" || phase == "RolledBack"
	if phase == "Done" && s.asks > 0 && !s.approved {
		return s, false
	}
	if s.over != "" && phase != s.over || s.paused && phase != "Paused" && !back || s.undone && !back { // what fails goes back in a pause, too
		return s, false
	}
	s.paused, s.undone = phase == "Paused", back
	s.held = s.held && s.paused
	if ended(phase) {
		s.over = phase
	}
	return s, true
}

// look holds an answer against the state.
func look(s rolloutState, r *Rollout) (rolloutState, bool) {
	if r == nil {
		return s, true
	}
	if s.release != "" && r.Release != s.release || len(r.Lines) < s.lines || r.Asks != s.asks {
		return s, false
	}
	if s.asks > 0 && !s.approved && len(r.Waves) > s.asks {
		return s, false // a wave moves that nobody has let
	}
	if i := s.asks - 1; i >= 0 && i < len(r.Waves) && s.approved != (r.Waves[i].ApprovedBy != "") {
		return s, false
	}
	s.lines = len(r.Lines)
	return in(s, r.Phase)
}

// refusal gives the states in which a call may be refused as it was: it must say why, and that must be so.
func refusal(s rolloutState, call Call) []rolloutState {
	switch {
	case call.Op == OpStart:
		if call.Exists && s.exists {
			return []rolloutState{s}
		}
		return nil
	case call.NotFound:
		if !s.exists {
			return []rolloutState{s}
		}
		return nil
	case !s.exists:
		return nil
	}
	if m := unasked.FindStringSubmatch(call.Error); m != nil && m[1] == strconv.Itoa(s.asks) || strings.Contains(call.Error, "nothing to approve in phase Soaking") {
		return nil
	}
	var out []rolloutState
	for _, phase := range told(call.Error) {
		if next, ok := in(s, phase); ok && contains(refuses[call.Op], phase) {
			out = append(out, next)
		}
	}
	return out
}

// refuses says in which phases a command may be refused. What is so already is no reason to refuse it, and a look never is.
var refuses = map[Op][]string{
	OpPause:   {"RollingBack", "RolledBack", "Done", "Aborted"},
	OpResume:  {"RollingBack", "RolledBack", "Done", "Aborted"},
	OpPromo:   {"Pending", "Fetching", "Moving", "Paused", "RollingBack", "RolledBack", "Done", "Aborted"},
	OpApprove: {"Pending", "Fetching", "Moving", "Soaking", "Paused", "RollingBack", "RolledBack", "Done", "Aborted"},
	OpAbort:   {"RollingBack", "RolledBack", "Done"},
	OpUndo:    {"RolledBack", "Done", "Aborted"},
}

var (
	// first is a conflict: who was first, and the phase that a rollout was left in.
	first = regexp.MustCompile(`: (\S+) was first: .*\((\w+)\)`)
	// phaseTold is where a refusal names the phase.
	phaseTold = regexp.MustCompile(`it has ended \((\w+)\)|in phase (\w+)`)
	// unasked is where it names a wave that asks for no approval.
	unasked = regexp.MustCompile(`wave (\d+) of \d+ asks for no approval`)
)

// told are the phases that a refusal says a rollout may be in; none where it does not say why.
func told(text string) []string {
	if m := first.FindStringSubmatch(text); m != nil {
		return []string{m[2]}
	}
	if m := phaseTold.FindStringSubmatch(text); m != nil {
		return []string{m[1] + m[2]}
	}
	for _, why := range []struct {
		text   string
		phases []string
	}{
		{"a rollback ", []string{"RollingBack"}},
		{"paused by a person", []string{"Paused"}},
		{"asks for no approval", []string{"Soaking", "Paused"}},
		{"nothing to take back", []string{"Done", "RolledBack", "Aborted"}},
		{"have been moved on since", []string{"Done", "RolledBack", "Aborted"}},
		{"is being taken back", []string{"Done", "RolledBack", "Aborted"}},
	} {
		if strings.Contains(text, why.text) {
			return why.phases
		}
	}
	return nil
}

// refusedUndos holds each undo that was refused because there is nothing left to undo against what the nodes were to run at that time: an undo of it has been there, or
// they had its release no more.
func (c *checker) refusedUndos() {
	for _, call := range c.h.Calls {
		gone, moved := strings.Contains(call.Error, "no node has its release any more"), strings.Contains(call.Error, "have been moved on since")
		if call.Op != OpUndo || call.Outcome != Refused || !gone && !moved {
			continue
		}
		r, known := c.final(call.Object)
		if !known || slices.ContainsFunc(c.h.Final.Rollouts, func(u Rollout) bool { return u.Undoes == call.Object }) {
			continue
		}
		var had []string
		for _, node := range slices.Sorted(maps.Keys(r.Nodes)) {
			if c.hasAll(node, r.Release, call.Begun, call.Ended) {
				had = append(had, node)
			}
		}
		if gone && len(had) > 0 || moved && len(had) == len(r.Nodes) {
			c.fail(RuleLinear, "%s of %s at %s is refused (%s), and %s had its release all the time", call.Op, call.Object, c.clock(call.Begun), call.Error, strings.Join(had, ", "))
		}
	}
}

// hasAll says whether a node was to run a release whenever it was looked at from the last time before a call to the first one after it.
func (c *checker) hasAll(node, release string, from, to time.Time) bool {
	var before, after *Sample
	for i := range c.h.Samples {
		s := &c.h.Samples[i]
		switch {
		case s.Node != node:
		case s.Ended.Before(from):
			if before == nil || s.Ended.After(before.Ended) {
				before = s
			}
		case s.Begun.After(to):
			if after == nil || s.Begun.Before(after.Begun) {
				after = s
			}
		case s.Assigned != release:
			return false
		}
	}
	return before != nil && before.Assigned == release && after != nil && after.Assigned == release
}

// conflicts holds each conflict against who is said to have been first: somebody who has changed the same rollout at the same time.
func (c *checker) conflicts() {
	for _, call := range c.h.Calls {
		m := first.FindStringSubmatch(call.Error)
		if call.Outcome != Refused || m == nil && (!call.Conflict || call.Op == OpUndo && told(call.Error) != nil) {
			continue // an undo may be in conflict with other rollouts, which its text names
		}
		if m == nil {
			c.fail(RuleLinear, "%s of %s at %s is a conflict that does not say with whom: %s", call.Op, call.Object, c.clock(call.Begun), call.Error)
			continue
		}
		other := false
		for _, o := range c.h.Calls {
			other = other || o.Actor == m[1] && o.Actor != call.Actor && o.Object == call.Object && o.Outcome != Refused && o.Op != OpGet &&
				o.Begun.Before(call.Ended) && (o.Outcome == Unknown || o.Ended.After(call.Begun))
		}
		if !other {
			c.fail(RuleLinear, "%s of %s at %s is said to come after %s, who has not changed it at that time: %s", call.Op, call.Object, c.clock(call.Begun), m[1], call.Error)
		}
	}
}
