package chaos

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// approvedBy is who approved the wave that asks for it; empty: nobody has, or none does.
func (r Rollout) approvedBy() string {
	if r.Asks == 0 || r.Asks > len(r.Waves) {
		return ""
	}
	return r.Waves[r.Asks-1].ApprovedBy
}

// approval holds a rollout against the wave of it that asks for an approval: by what the records say, and by the nodes that answer with its stamp, whatever
// the records say.
func (c *checker) approval(r Rollout) {
	if r.Asks == 0 {
		return
	}
	// Nobody has approved it before the call that did was begun.
	given, by := time.Time{}, r.approvedBy()
	for _, call := range c.h.Calls {
		if call.Op == OpApprove && call.Object == r.Name && call.Actor == by && call.Outcome != Refused {
			given = call.Begun
		}
	}
	if by != "" && given.IsZero() {
		c.fail(RuleApproval, "rollout/%s: wave %d is approved by %s, who has not done so", r.Name, r.Asks, by)
	}
	late := func(t time.Time) bool { return given.IsZero() || t.Before(given.Add(-tick)) }
	if w := r.Asks - 1; w < len(r.Waves) && !r.Waves[w].EndedAt.IsZero() && late(r.Waves[w].EndedAt) {
		c.fail(RuleApproval, "rollout/%s: wave %d is over at %s, and was approved at %s", r.Name, r.Asks, c.clock(r.Waves[w].EndedAt), c.clock(given))
	}
	if r.Asks < len(r.Waves) && late(r.Waves[r.Asks].StartedAt) {
		c.fail(RuleApproval, "rollout/%s: wave %d begins at %s, and the one before was approved at %s", r.Name, r.Asks+1, c.clock(r.Waves[r.Asks].StartedAt), c.clock(given))
	}
	if r.Phase == "Done" && given.IsZero() {
		c.fail(RuleApproval, "rollout/%s is done, and nobody has approved its wave %d", r.Name, r.Asks)
	}
	stamp, reached := c.h.stampOf(r.Release), map[string]bool{}
	for _, q := range c.h.Requests {
		if stamp != "" && q.Stamp == stamp && late(q.Ended) {
			reached[q.Node] = true
		}
	}
	if r.Asks <= len(r.Shares) && len(reached) > r.Shares[r.Asks-1] {
		c.fail(RuleApproval, "rollout/%s: %v answer with its stamp before wave %d was approved at %s, and the waves up to that may reach %d nodes", r.Name,
			slices.Sorted(maps.Keys(reached)), r.Asks, c.clock(given), r.Shares[r.Asks-1])
	}
}

// retries holds what was answered to whoever had a node try again against what the ledger said of the node at that time. It says nothing of times in which something may
// have happened to the node that no look at it shows: a fault, a wave that has it, somebody else who has it try again.
func (c *checker) retries() {
	for _, call := range c.h.Calls {
		if call.Op != OpRetry || call.Outcome == Unknown {
			continue
		}
		if call.Outcome == Refused && !strings.Contains(call.Error, "there is nothing to try again") {
			c.fail(RuleLinear, "%s of %s at %s is refused, and it is not said why: %s", call.Op, call.Object, c.clock(call.Begun), call.Error)
		}
		looks := c.around(call)
		if looks == nil || c.stirred(call, looks[0].Begun, looks[len(looks)-1].Ended) {
			continue
		}
		calm, rejected := true, true
		for _, s := range looks {
			calm = calm && s.State == "serving" && s.Reason == "" && s.Chain == looks[0].Chain
			rejected = rejected && strings.HasPrefix(s.State, "REJECTED") && s.Chain == looks[0].Chain
		}
		switch {
		case calm && call.Outcome == OK:
			c.fail(RuleLinear, "%s of %s at %s was taken, and the node served its chain all the time, and said of nothing that kept it", call.Op, call.Object, c.clock(call.Begun))
		case rejected && call.Outcome == Refused:
			c.fail(RuleLinear, "%s of %s at %s is refused (%s), and the node had rejected its chain all the time", call.Op, call.Object, c.clock(call.Begun), call.Error)
		}
	}
}

// around are the looks at a node from the last one before a call about it to the first one after it; nil where one of the two is missing.
func (c *checker) around(call Call) []Sample {
	var before, after *Sample
	var during []Sample
	for i := range c.h.Samples {
		s := &c.h.Samples[i]
		switch {
		case s.Node != call.Object:
		case s.Ended.Before(call.Begun):
			if before == nil || s.Ended.After(before.Ended) {
				before = s
			}
		case s.Begun.After(call.Ended):
			if after == nil || s.Begun.Before(after.Begun) {
				after = s
			}
		default:
			during = append(during, *s)
		}
	}
	if before == nil || after == nil {
		return nil
	}
	return slices.Concat([]Sample{*before}, during, []Sample{*after})
}

// stirred says whether something may have happened to a node, about which a call is, in some time.
func (c *checker) stirred(call Call, from, until time.Time) bool {
	// What a node is given, and what befalls it, shows a moment later, and so does its end.
	from = from.Add(-sure)
	within := func(begun, ended time.Time) bool { return begun.Before(until) && (ended.IsZero() || ended.After(from)) }
	return slices.ContainsFunc(c.h.Faults, func(f Injected) bool { return within(f.At, f.Until) }) ||
		slices.ContainsFunc(c.h.Emergencies, func(e Emergency) bool { return within(e.Told, e.Whole) }) ||
		slices.ContainsFunc(c.stints(call.Object), func(s stint) bool { return within(s.from, s.rollout.EndedAt) }) ||
		slices.ContainsFunc(c.h.Calls, func(o Call) bool {
			return o.Op == OpRetry && o.Object == call.Object && o.Actor != call.Actor && o.Outcome != Refused && within(o.Begun, o.Ended)
		})
}
