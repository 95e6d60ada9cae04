package chaos

import "time"

const (
	// settle is how long a node may take, after a rollout has ended or the last fault is over, to come to rest.
	settle = 15 * time.Second
	// badShare is the most of its requests that a failing release may fail: every third, and some by chance.
	badShare = 0.45
)

// requests holds every request that failed against what may excuse it.
func (c *checker) requests() {
	type key struct{ rollout, node string }
	failed := map[key]int{}
	for _, r := range c.h.Requests {
		if !r.failed() || c.down(r) {
			continue
		}
		rollout, ok := c.badFor(r)
		if !ok || r.Status != 503 {
			c.fail(RuleRequest, "%s at %s: status %d, stamp %q, %s: no fault and no bad release accounts for it",
				r.Node, c.clock(r.Sent), r.Status, r.Stamp, r.Error)
			continue
		}
		failed[key{rollout.Name, r.Node}]++
	}
	for _, rollout := range c.h.Final.Rollouts {
		nodes := 0
		for at, n := range failed {
			if at.rollout != rollout.Name {
				continue
			}
			nodes++
			answered := 0
			stamp := c.gives(rollout, at.node)
			for _, r := range c.h.Requests {
				if r.Node == at.node && r.Stamp == stamp {
					answered++
				}
			}
			// A failing request carries the stamp, too, where the response passes through the filter.
			const few = 5
			if total := max(answered, n); float64(n) > badShare*float64(total)+few && n > answered {
				c.fail(RuleCap, "%s: %d requests failed while %s was on it, and %d passed: the release fails only every third", at.node, n, rollout.Name, answered)
			}
		}
		if len(rollout.Shares) > 0 && nodes > rollout.Shares[0] {
			c.fail(RuleCap, "rollout/%s: requests failed on %d nodes, and its first wave has %d", rollout.Name, nodes, rollout.Shares[0])
		}
	}
}

// down says whether a request met an Envoy that a fault had taken.
func (c *checker) down(r Request) bool {
	for _, d := range c.h.Downs {
		if d.Node == r.Node && r.Sent.Before(d.Until) && r.Ended.After(d.From) {
			return true
		}
	}
	return false
}

// badFor finds the rollout of a failing release that has the node in its first wave while the request is under way.
func (c *checker) badFor(r Request) (Rollout, bool) {
	for _, rollout := range c.h.Final.Rollouts {
		if c.kindOf(rollout) != Failing || len(rollout.Waves) == 0 || !contains(rollout.Waves[0].Nodes, r.Node) {
			continue
		}
		until := later(rollout.EndedAt, c.h.Healed).Add(settle)
		if rollout.EndedAt.IsZero() {
			until = c.h.Ended
		}
		if rollout.Cohort == ByHeader && !r.Cohort {
			continue // it was none of the requests that the release was given
		}
		if r.Ended.After(rollout.Waves[0].StartedAt) && r.Sent.Before(until) {
			return rollout, true
		}
	}
	return Rollout{}, false
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
