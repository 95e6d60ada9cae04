package chaos

import (
	"math"
	"time"
)

// whole is when a wave of a rollout begins that gives a node the release for all its requests; zero: none does.
func whole(r Rollout, node string) time.Time {
	for i, w := range r.Waves {
		if (i > 0 || r.Cohort == "") && contains(w.Nodes, node) {
			return w.StartedAt
		}
	}
	return time.Time{}
}

// cohortOn is the cohort that a node runs a rollout's release for, as far as the rollout has come; empty: for all requests.
func cohortOn(r Rollout, node string) Cohort {
	if len(r.Waves) == 0 || !contains(r.Waves[0].Nodes, node) || !whole(r, node).IsZero() {
		return ""
	}
	return r.Cohort
}

// cohorts holds rollouts whose first wave gives the release to some requests against who was answered through it.
func (c *checker) cohorts() {
	for _, r := range c.h.Final.Rollouts {
		stamp := c.h.stampOf(r.Release)
		if r.Cohort == "" || r.Undoes != "" || stamp == "" || len(r.Waves) == 0 {
			continue
		}
		for _, node := range r.Waves[0].Nodes {
			from, over := whole(r, node), r.Waves[0].EndedAt
			met := false
			for _, q := range c.h.Requests {
				if q.Node != node || q.Ended.Before(r.Waves[0].StartedAt) {
					continue
				}
				alone := from.IsZero() || q.Ended.Before(from)
				if q.Stamp == stamp && alone && r.Cohort == ByHeader && !q.Cohort {
					c.fail(RuleCohort, "%s answers with stamp %q at %s without the header of its cohort; rollout/%s gives it to no other request before %s",
						node, stamp, c.clock(q.Ended), r.Name, c.clock(from))
				}
				if q.Stamp == stamp && (over.IsZero() || q.Ended.Before(over)) {
					met = true
				}
			}
			// A wave is over when its nodes have served the release; a cohort that nobody met has proved nothing.
			if !over.IsZero() && !met && r.Nodes[node].State == "Serving" {
				c.fail(RuleCohort, "rollout/%s: its first wave is over at %s, and no request of the cohort on %s was answered with stamp %q", r.Name, c.clock(over), node, stamp)
			}
			if r.Cohort != ByPercent {
				continue
			}
			asked, through := c.share(r, node, stamp)
			if least, most := cohortBounds(asked); asked > enough && (through < least || through > most) {
				c.fail(RuleCohort, "rollout/%s: %d of %d requests on %s were answered with stamp %q, and its cohort has %d of a hundred (%d to %d, as chance has it)", r.Name, through, asked, node,
					stamp, cohortPercent, least, most)
			}
		}
	}
}

// share counts the answers of a node while it gives a rollout's release to a cohort by percent, and those of them that the release gave. It begins with the first of
// those, and with the next one after a fault took the Envoy, which may come back on what was good before, for no longer than it may take to come to rest.
func (c *checker) share(r Rollout, node, stamp string) (asked, through int) {
	until, on, last := c.leaves(r, node), false, time.Time{}
	var rested time.Time // when one that a fault took must be back on what it had; zero: none did
	for _, q := range c.h.Requests {
		if q.Node != node || q.Stamp == "" && q.Status != 503 || q.Ended.Before(r.Waves[0].StartedAt) || !until.IsZero() && q.Sent.After(until) {
			continue
		}
		if on && c.fell(node, last, q.Ended) {
			on, rested = false, c.risen(node, last, q.Ended).Add(settle)
		}
		last = q.Ended
		gave := q.Stamp == stamp || q.failed()
		if on = on || gave || !rested.IsZero() && q.Sent.After(rested); on {
			asked++
		}
		if gave {
			through++
		}
	}
	return asked, through
}

// risen is when the last fault was over that took an Envoy in some time.
func (c *checker) risen(node string, from, until time.Time) (last time.Time) {
	for _, d := range c.h.Downs {
		if d.Node == node && d.From.Before(until) && d.Until.After(from) {
			last = later(last, d.Until)
		}
	}
	return last
}

// leaves is when a node ceases to give a rollout's release to a cohort, or begins to; zero: never.
func (c *checker) leaves(r Rollout, node string) time.Time {
	until := r.EndedAt
	sooner := func(t time.Time) {
		if until.IsZero() || !t.IsZero() && t.Before(until) {
			until = t
		}
	}
	sooner(whole(r, node))
	sooner(r.Waves[0].EndedAt)
	for _, l := range r.Lines {
		if l.Phase == "RollingBack" {
			sooner(straighten(c.reigns, l.At))
		}
	}
	return until
}

// cohortBounds are the least and the most of so many requests that are in a cohort of cohortPercent, but for one time in a million.
func cohortBounds(asked int) (least, most int) {
	const p, deviations = cohortPercent / 100.0, 5
	n := float64(asked)
	by := deviations * math.Sqrt(n*p*(1-p))
	return int(n*p - by), int(math.Ceil(n*p + by))
}

// enough requests show a share.
const enough = 60
