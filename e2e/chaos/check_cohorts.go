package chaos

import "time"

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
			met, asked, through := false, 0, 0
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
				if q.Stamp != "" && alone && met {
					asked++
					if q.Stamp == stamp {
						through++
					}
				}
			}
			// A wave is over when its nodes have served the release; a cohort that nobody met has proved nothing.
			if !over.IsZero() && !met && r.Nodes[node].State == "Serving" {
				c.fail(RuleCohort, "rollout/%s: its first wave is over at %s, and no request of the cohort on %s was answered with stamp %q", r.Name, c.clock(over), node, stamp)
			}
			if r.Cohort == ByPercent && asked > enough && through*100 > asked*mostPercent {
				c.fail(RuleCohort, "rollout/%s: %d of %d requests on %s were answered with stamp %q, and its cohort has %d of a hundred", r.Name, through, asked, node, stamp, cohortPercent)
			}
		}
	}
}

const (
	// enough requests show a share; mostPercent is what a cohort of cohortPercent has at the most, whatever chance does.
	enough      = 60
	mostPercent = 70
)
