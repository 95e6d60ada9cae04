package chaos

import (
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// acknowledged looks for everything that the API has said yes to.
func (c *checker) acknowledged() {
	for _, call := range c.h.Calls {
		if call.Outcome != OK {
			continue
		}
		switch call.Op {
		case OpGet, OpBack:
			continue
		case OpCreate:
			if !contains(c.h.Final.Releases, call.ID) {
				c.fail(RuleLost, "release/%s was created at %s, and is gone", call.ID, c.clock(call.Ended))
			}
			// Creating what is there already changes nothing, so only the first has an entry; release ids are enough.
			continue
		case OpStart:
			r, ok := c.final(call.Object)
			if !ok {
				c.fail(RuleLost, "rollout/%s was started at %s, and is gone", call.Object, c.clock(call.Ended))
			} else if r.Release != call.Release {
				c.fail(RuleLost, "rollout/%s was started with %s, and has %s", call.Object, call.Release, r.Release)
			}
		case OpApprove:
			if r, ok := c.final(call.Object); ok && (r.approvedBy() == "" || call.Changed && r.approvedBy() != call.Actor) {
				c.fail(RuleLost, "wave %d of rollout/%s was approved by %s at %s, and is approved by %q in the end", r.Asks, call.Object, call.Actor, c.clock(call.Ended), r.approvedBy())
			}
		}
		if call.Changed && !contains(c.h.Final.Actors, string(call.Op)+" "+call.Actor) {
			c.fail(RuleLost, "%s of %s by %s was acknowledged at %s, and the audit log has no entry of it", call.Op, call.Object, call.Actor, c.clock(call.Ended))
		}
	}
}

// growth looks for histories that lost or changed a line.
func (c *checker) growth() {
	seen := map[string][]*Rollout{}
	for i := range c.h.Calls {
		if r := c.h.Calls[i].Rollout; r != nil {
			seen[r.Name] = append(seen[r.Name], r)
		}
	}
	for i := range c.h.Final.Rollouts {
		r := &c.h.Final.Rollouts[i]
		seen[r.Name] = append(seen[r.Name], r)
	}
	for name, all := range seen {
		slices.SortStableFunc(all, func(a, b *Rollout) int { return len(a.Lines) - len(b.Lines) })
		for i := 1; i < len(all); i++ {
			if a, b := all[i-1].Lines, all[i].Lines; !slices.Equal(a, b[:len(a)]) {
				c.fail(RuleHistory, "rollout/%s: a history of %d lines is not the beginning of one with %d: %v and %v", name, len(a), len(b), a, b[:len(a)])
				break
			}
		}
	}
}

// linear checks the calls of each rollout with porcupine.
func (c *checker) linear() {
	byRollout := map[string][]Call{}
	for _, call := range c.h.Calls {
		if call.Op == OpCreate || call.Op == OpOut || call.Op == OpBack || call.Op == OpRetry {
			continue
		}
		byRollout[call.Object] = append(byRollout[call.Object], call)
		if call.Op == OpUndo && call.Outcome == Unknown {
			// It may have started what takes back one that had ended.
			start := call
			start.Op, start.Object = OpStart, call.Object+"-undo"
			byRollout[start.Object] = append(byRollout[start.Object], start)
		}
	}
	end := later(c.h.Ended, c.h.Begun).Add(time.Hour).UnixNano()
	model := (&porcupine.NondeterministicModel{
		Init: func() []any { return []any{rolloutState{}} },
		Step: func(state, input, _ any) []any { return step(state.(rolloutState), input.(Call)) },
	}).ToModel()
	for name, calls := range byRollout {
		var ops []porcupine.Operation
		for _, call := range calls {
			op := porcupine.Operation{ClientId: call.Client, Input: call, Call: call.Begun.UnixNano(), Return: call.Ended.UnixNano()}
			if call.Outcome == Unknown {
				if call.Op == OpGet {
					continue
				}
				// It may take effect at any later time, or never.
				op.Return = end
			}
			ops = append(ops, op)
			if call.Op == OpStart && call.Rollout != nil {
				// A rollout takes its first step before its start is answered, and others may see it before that: the answer is a look of
				// its own, within the same time.
				seen := call
				seen.Op = OpGet
				op.Input = seen
				ops = append(ops, op)
			}
		}
		const patience = 30 * time.Second
		switch porcupine.CheckOperationsTimeout(model, ops, patience) {
		case porcupine.Illegal:
			c.fail(RuleLinear, "rollout/%s: its %d calls are not linearizable", name, len(ops))
		case porcupine.Unknown:
			c.fail(RuleLinear, "rollout/%s: whether its %d calls are linearizable was not found out in %s", name, len(ops), patience)
		}
	}
}
