package chaos

import (
	"slices"
	"time"
)

const (
	// settle is how long a node may take, after a rollout has ended or the last fault is over, to come to rest.
	settle = 15 * time.Second
	// failEvery is of how many requests a failing release fails one. It counts in each of its VMs anew, and fails the last of so many.
	failEvery = 3
	// moreFail is how many more may fail: answers of others that no client got, since a fault took the Envoy, were counted, too.
	moreFail = 3
)

// requests holds every request that failed against what may excuse it. What a failing release fails it answers itself: with its own stamp, or with none, since Envoy
// need not pass a filter's own reply through that filter.
func (c *checker) requests() {
	type key struct{ rollout, node string }
	failed := map[key]int{}
	for _, r := range c.h.Requests {
		if !r.failed() || c.down(r) {
			continue
		}
		rollout, ok := c.badFor(r)
		if !ok || r.Status != 503 || r.Stamp != "" && r.Stamp != c.gives(rollout, r.Node) {
			c.fail(RuleRequest, "%s at %s: status %d, stamp %q, %s: no fault and no bad release accounts for it",
				r.Node, c.clock(r.Sent), r.Status, r.Stamp, r.Error)
			continue
		}
		failed[key{rollout.Name, r.Node}]++
	}
	for _, rollout := range c.h.Final.Rollouts {
		if c.kindOf(rollout) != Failing {
			continue
		}
		met := map[string]bool{}
		for _, node := range c.nodes() {
			// What it answered well, and all that failed: whoever answered that.
			n := failed[key{rollout.Name, node}]
			stamp, answered := c.gives(rollout, node), n
			for _, r := range c.h.Requests {
				switch {
				case r.Node != node || r.Stamp != stamp:
				case !r.failed():
					answered++
				default:
					met[node] = true // by the answer alone, whatever the records say of the wave
				}
			}
			if n > 0 {
				met[node] = true
			}
			if n > answered/failEvery+moreFail {
				c.fail(RuleCap, "%s: %d of the %d requests that met %s failed: it fails one of %d", node, n, answered, rollout.Name, failEvery)
			}
		}
		if n := len(met); len(rollout.Shares) > 0 && n > rollout.Shares[0] {
			c.fail(RuleCap, "rollout/%s: it failed requests on %d nodes, and its first wave has %d", rollout.Name, n, rollout.Shares[0])
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
		until := c.rid(rollout, r.Node)
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

// rid is when a node must have come to rest after a rollout that ended: soon, unless a fault took what it needs for that, before it had.
func (c *checker) rid(rollout Rollout, node string) time.Time {
	until, of := rollout.EndedAt.Add(settle), slices.Index(c.nodes(), node)
	for again := true; again; {
		again = false
		held := func(from, to time.Time) {
			if from.Before(until) && to.Add(settle).After(until) {
				until, again = to.Add(settle), true
			}
		}
		for _, f := range c.h.Faults {
			if !f.Void && f.Until.After(rollout.EndedAt) && (f.Part != Envoy && f.Part != Agent && f.Part != Network || f.Node == of) {
				held(f.At, f.Until)
			}
		}
		for _, d := range c.h.Downs {
			if d.Node == node && d.Until.After(rollout.EndedAt) {
				held(d.From, d.Until)
			}
		}
	}
	return until
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
