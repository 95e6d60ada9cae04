package chaos

import (
	"slices"
	"strings"
	"testing"
)

// said is a call of rollout r1 from one second to another, and what it was answered: a phase, or a refusal.
func said(actor string, op Op, from, to float64, answer string) Call {
	c := Call{Actor: actor, Op: op, Object: "r1", Begun: at(from), Ended: at(to), Outcome: OK, Changed: op != OpGet}
	if text, refused := strings.CutPrefix(answer, "refused: "); refused {
		c.Outcome, c.Error, c.Changed = Refused, "rollout/r1: "+text, false
		c.Conflict = strings.Contains(text, "was first") || strings.Contains(text, "moved on since")
		return c
	}
	switch answer {
	case "unknown":
		c.Outcome, c.Changed = Unknown, false
	case "not found":
		c.Outcome, c.NotFound, c.Changed = Refused, true, false
	case "exists":
		c.Outcome, c.Exists, c.Changed = Refused, true, false
	default:
		phase, same := strings.CutSuffix(answer, ", as before")
		c.Changed = c.Changed && !same
		c.Rollout = &Rollout{Name: "r1", Release: id("r1"), Phase: phase}
		if name, other := strings.CutPrefix(phase, "by "); other {
			c.Rollout = &Rollout{Name: name, Release: id("base"), Phase: "Pending"}
		}
	}
	if op == OpStart {
		c.Release = id("r1")
	}
	return c
}

// asking are calls of a rollout whose first wave asks for an approval: each answer is of so many waves that have begun, and of who has approved the first.
func asking(waves int, approvedBy string, calls ...Call) []Call {
	for i := range calls {
		if r := calls[i].Rollout; r != nil {
			r.Asks, r.Waves = 1, make([]Wave, waves)
			r.Waves[0].ApprovedBy = approvedBy
		}
		if calls[i].Op == OpStart {
			calls[i].Asks = 1
		}
	}
	return calls
}

// What the API may answer to several who work on one rollout, and what it may not.
func TestModel(t *testing.T) {
	started := said("a0", OpStart, 0, 1, "Fetching")
	for _, tc := range []struct {
		name string
		// rejected is what is said of it; empty: it is linearizable.
		rejected string
		calls    []Call
	}{
		{"two who pause and resume at once", "", []Call{
			said("a1", OpPause, 2, 4, "Paused"), said("a2", OpResume, 2, 4, "Moving"), said("a3", OpGet, 5, 6, "Moving"),
		}},
		{"the second of two pauses changes nothing", "", []Call{
			said("a1", OpPause, 2, 4, "Paused"), said("a2", OpPause, 2, 4, "Paused, as before"), said("a3", OpGet, 5, 6, "Paused"),
		}},
		{"what fails goes back in a pause, too", "", []Call{
			said("a1", OpPause, 2, 3, "Paused"), said("a2", OpGet, 4, 5, "RollingBack"), said("a3", OpGet, 6, 7, "RolledBack"),
		}},
		{"what is asked of one that has ended is refused, and says so", "", []Call{
			said("a1", OpGet, 2, 3, "Done"), said("a2", OpPause, 4, 5, "refused: it has ended (Done), so there is nothing to pause"),
			said("a3", OpPromo, 4, 5, "refused: it has ended (Done), so there is nothing to promote"), said("a4", OpAbort, 4, 5, "refused: it has ended (Done), so there is nothing to abort"),
		}},
		{"a conflict names who was first", "", []Call{
			said("a1", OpAbort, 2, 4, "Aborted"), said("a2", OpPause, 3, 5, "refused: a1 was first: aborted: moved nodes keep the release: chaos (Aborted); look at its status"),
		}},
		{"a conflict names whom nobody answered", "", []Call{
			said("a1", OpAbort, 2, 4, "unknown"), said("a2", OpPause, 5, 6, "refused: a1 was first: aborted: chaos (Aborted); look"), said("a3", OpGet, 7, 8, "Aborted"),
		}},
		{"an abort that nobody answered was done, or not", "", []Call{
			said("a1", OpAbort, 2, 4, "unknown"), said("a2", OpGet, 5, 6, "Soaking"), said("a3", OpGet, 7, 8, "Aborted"),
		}},
		{"the second of two aborts changes nothing", "", []Call{said("a1", OpAbort, 2, 4, "Aborted"), said("a2", OpAbort, 5, 6, "Aborted, as before")}},
		{"a promotion of what does not soak, of what a person paused, and of what a gate paused", "", []Call{
			said("a1", OpPromo, 2, 3, "refused: there is no soak to end in phase Moving"), said("a2", OpPause, 4, 5, "Paused"),
			said("a3", OpPromo, 6, 7, "refused: it was paused by a person, not by an inconclusive gate"), said("a4", OpResume, 8, 9, "Soaking"),
			said("a5", OpGet, 10, 11, "Paused"), said("a6", OpPromo, 12, 13, "Soaking"),
		}},
		{"an approval that nobody asked for", "", []Call{
			said("a1", OpPause, 2, 3, "Paused"), said("a2", OpApprove, 4, 5, "refused: wave 1 of 2 asks for no approval"),
		}},
		{"an approval that was asked for, and a second one", "", slices.Concat(
			asking(1, "a1", said("a1", OpApprove, 2, 4, "Soaking"), said("a2", OpApprove, 3, 5, "Soaking, as before"), said("a3", OpApprove, 6, 7, "Soaking, as before")),
			asking(2, "a1", said("a4", OpGet, 8, 9, "Moving"), said("a5", OpApprove, 10, 11, "refused: wave 2 of 2 asks for no approval"), said("a6", OpGet, 12, 13, "Done")),
		)},
		{"an approval that nobody answered was given, or not", "", slices.Concat(
			asking(1, "", said("a1", OpApprove, 2, 4, "unknown"), said("a2", OpGet, 5, 6, "Soaking")), asking(1, "a1", said("a3", OpApprove, 7, 8, "Soaking, as before")),
		)},
		{"an approval of what does not soak, and of what has ended", "", slices.Concat(asking(1, "",
			said("a1", OpApprove, 2, 3, "refused: there is nothing to approve in phase Moving"), said("a2", OpUndo, 4, 5, "RollingBack"),
			said("a3", OpApprove, 6, 7, "refused: there is nothing to approve in phase RollingBack"), said("a4", OpGet, 8, 9, "RolledBack"),
			said("a5", OpApprove, 10, 11, "refused: it has ended (RolledBack), so there is nothing to approve"),
		))},
		{"an undo of what runs, and what it leaves nothing to do", "", []Call{
			said("a1", OpUndo, 2, 3, "RollingBack"), said("a2", OpResume, 4, 5, "refused: a rollback runs already and was not paused"),
			said("a3", OpUndo, 4, 5, "RollingBack, as before"), said("a4", OpUndo, 6, 7, "refused: nothing to take back: no node has its release any more"),
		}},
		{"an undo of what has ended", "", []Call{said("a1", OpUndo, 2, 3, "by r1-undo"), said("a2", OpGet, 4, 5, "Done")}},
		{"two undos of what has ended, and one while that is taken back itself", "", []Call{
			said("a1", OpUndo, 2, 3, "by r1-undo"), said("a2", OpUndo, 4, 5, "by r1-undo"),
			said("a3", OpUndo, 6, 7, "refused: rollout/r1-undo, which undoes it, is being taken back"), func() Call {
				c := said("a3", OpUndo, 6, 7, "refused: rollout/r1-undo, which undoes it, is being taken back")
				c.Conflict = true
				return c
			}(),
		}},
		{"an undo that nobody answered has started another", "", []Call{
			said("a1", OpGet, 2, 3, "Done"), said("a2", OpUndo, 4, 5, "unknown"), func() Call {
				c := said("a3", OpGet, 6, 7, "by r1-undo")
				c.Object = "r1-undo"
				return c
			}(),
		}},

		{"a refusal that is not so: it had not ended", "r1", []Call{
			said("a1", OpPause, 2, 3, "refused: it has ended (Done), so there is nothing to pause"), said("a2", OpGet, 4, 5, "Moving"),
		}},
		{"a refusal that names another end", "r1", []Call{
			said("a1", OpGet, 2, 3, "Done"), said("a2", OpPause, 4, 5, "refused: it has ended (Aborted), so there is nothing to pause"),
		}},
		{"a refusal that does not say why", "r1", []Call{said("a1", OpPause, 2, 3, "refused: try again")}},
		{"a pause is refused for a phase that can be paused", "r1", []Call{said("a1", OpPause, 2, 3, "refused: not in phase Moving")}},
		{"a pause of what a person has paused is refused", "r1", []Call{
			said("a1", OpPause, 2, 3, "Paused"), said("a2", OpPause, 4, 5, "refused: a rollback cannot be paused"), said("a3", OpGet, 6, 7, "Paused"),
		}},
		{"a rollback that is none", "r1", []Call{
			said("a1", OpAbort, 2, 3, "refused: a rollback cannot be aborted"), said("a2", OpGet, 4, 5, "Soaking"),
		}},
		{"a look is refused", "r1", []Call{said("a1", OpGet, 2, 3, "refused: it has ended (Done)")}},
		{"a lost abort", "r1", []Call{said("a1", OpAbort, 2, 3, "Aborted"), said("a2", OpGet, 4, 5, "Soaking")}},
		{"an abort that leaves it running", "r1", []Call{said("a1", OpAbort, 2, 3, "Soaking")}},
		{"an abort of what goes back", "r1", []Call{said("a1", OpGet, 2, 3, "RollingBack"), said("a2", OpAbort, 4, 5, "Aborted")}},
		{"two aborts that both did it", "r1", []Call{said("a1", OpAbort, 2, 3, "Aborted"), said("a2", OpAbort, 4, 5, "Aborted")}},
		{"a resumption of what has ended", "r1", []Call{said("a1", OpGet, 2, 3, "Done"), said("a2", OpResume, 4, 5, "Soaking")}},
		{"a resumption that resumes nothing", "r1", []Call{said("a1", OpPause, 2, 3, "Paused"), said("a2", OpResume, 4, 5, "Moving, as before")}},
		{"a resumption that leaves it paused", "r1", []Call{said("a1", OpPause, 2, 3, "Paused"), said("a2", OpResume, 4, 5, "Paused")}},
		{"a promotion that ends it at once", "r1", []Call{said("a1", OpPromo, 2, 3, "Done")}},
		{"a pause that pauses nothing", "r1", []Call{said("a1", OpPause, 2, 3, "Moving")}},
		{"a promotion past a person's pause", "r1", []Call{said("a1", OpPause, 2, 3, "Paused"), said("a2", OpPromo, 4, 5, "Soaking")}},
		{"a promotion that is refused for a pause which is over", "r1", []Call{
			said("a1", OpPause, 2, 3, "Paused"), said("a2", OpResume, 4, 5, "Soaking"),
			said("a3", OpPromo, 6, 7, "refused: it was paused by a person, not by an inconclusive gate"), said("a4", OpGet, 8, 9, "Soaking"),
		}},
		{"an approval that nobody asked for, and that was given", "r1", []Call{said("a1", OpApprove, 2, 3, "Soaking"), said("a2", OpGet, 4, 5, "Soaking")}},
		{"an approval that is not in its answer", "r1", asking(1, "", said("a1", OpApprove, 2, 3, "Soaking"))},
		{"an approval that is forgotten", "r1", slices.Concat(asking(1, "a1", said("a1", OpApprove, 2, 3, "Soaking")), asking(1, "", said("a2", OpGet, 4, 5, "Soaking")))},
		{"two approvals that both did it", "r1", asking(1, "a1", said("a1", OpApprove, 2, 3, "Soaking"), said("a2", OpApprove, 4, 5, "Soaking"))},
		{"an approval that another is said to have given, which nobody has", "r1", asking(1, "a9", said("a1", OpApprove, 2, 3, "Soaking, as before"))},
		{"an approval of the wave after", "r1", slices.Concat(asking(1, "a1", said("a1", OpApprove, 2, 3, "Soaking")), asking(2, "a1", said("a2", OpApprove, 4, 5, "Soaking, as before")))},
		{"an approval that is refused while it is waited for", "r1", asking(1, "", said("a1", OpApprove, 2, 3, "refused: wave 1 of 2 asks for no approval"), said("a2", OpGet, 4, 5, "Soaking"))},
		{"a wave that moves without its approval", "r1", asking(2, "", said("a1", OpGet, 2, 3, "Moving"))},
		{"a rollout that is done without its approval", "r1", asking(1, "", said("a1", OpGet, 2, 3, "Done"))},
		{"an approval after the end", "r1", []Call{said("a1", OpGet, 2, 3, "Done"), said("a2", OpApprove, 4, 5, "Soaking")}},
		{"what a gate paused goes on, and nobody has resumed it", "r1", []Call{said("a1", OpGet, 2, 3, "Paused"), said("a2", OpGet, 4, 5, "Moving")}},
		{"what went back goes on", "r1", []Call{said("a1", OpGet, 2, 3, "RollingBack"), said("a2", OpGet, 4, 5, "Soaking")}},
		{"a lost undo", "r1", []Call{said("a1", OpUndo, 2, 3, "RollingBack"), said("a2", OpGet, 4, 5, "Done")}},
		{"an undo that leaves it running", "r1", []Call{said("a1", OpUndo, 2, 3, "Moving")}},
		{"an undo of what has ended, which goes on", "r1", []Call{said("a1", OpUndo, 2, 3, "by r1-undo"), said("a2", OpGet, 4, 5, "Moving")}},
		{"there is nothing to take back of what runs", "r1", []Call{
			said("a1", OpUndo, 2, 3, "refused: nothing to take back: no node has its release any more"), said("a2", OpGet, 4, 5, "Soaking"),
		}},
		{"a start whose name nobody has taken", "rollout/r2", []Call{func() Call {
			c := said("a1", OpStart, 2, 3, "exists")
			c.Object = "r2"
			return c
		}()}},
		{"a start that does not say why not", "rollout/r2", []Call{func() Call {
			c := said("a1", OpStart, 2, 3, "refused: not now")
			c.Object = "r2"
			return c
		}()}},
		{"a conflict with nobody", "does not say with whom", []Call{func() Call {
			c := said("a1", OpPause, 2, 3, "refused: it has ended (Done), so there is nothing to pause")
			c.Conflict = true
			return c
		}()}},
		{"a conflict with one who only looked", "after a2", []Call{
			said("a2", OpGet, 2, 4, "Done"), said("a1", OpPause, 3, 5, "refused: a2 was first: done (Done); look"),
		}},
		{"a conflict with one who came later", "after a2", []Call{
			said("a1", OpPause, 3, 5, "refused: a2 was first: aborted: chaos (Aborted); look"), said("a2", OpAbort, 6, 7, "Aborted, as before"),
		}},
		{"a conflict with one who was long done", "after a2", []Call{
			said("a2", OpAbort, 2, 3, "Aborted"), said("a1", OpPause, 4, 5, "refused: a2 was first: aborted: chaos (Aborted); look"),
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			first := started
			if slices.ContainsFunc(tc.calls, func(call Call) bool { return call.Rollout != nil && call.Rollout.Asks == 1 }) {
				first = asking(1, "", said("a0", OpStart, 0, 1, "Fetching"))[0]
			}
			c := &checker{h: &History{Begun: begun, Calls: append([]Call{first}, tc.calls...)}}
			c.linear()
			c.conflicts()
			if tc.rejected == "" {
				for _, v := range c.found {
					t.Errorf("%s: %s", v.Rule, v.Text)
				}
				return
			}
			for _, v := range c.found {
				if v.Rule == RuleLinear && strings.Contains(v.Text, tc.rejected) {
					return
				}
			}
			t.Errorf("nothing says %q: %v", tc.rejected, c.found)
		})
	}
}
