package chaos

import (
	"slices"
	"strings"
	"time"
)

const (
	// waveDeadline is what every wave of a run is given for fetching and moving.
	waveDeadline = 90 * time.Second
	// perWave is what a wave may take beyond its deadline and its soak: a gate waits for samples.
	perWave = 20 * time.Second
	// rollbackLimit is what going back may take once all is well.
	rollbackLimit = 2 * time.Minute
)

// rollouts holds each rollout against its waves, its gates and its deadline.
func (c *checker) rollouts() {
	for _, r := range c.h.Final.Rollouts {
		c.width(r)
		c.gate(r)
		c.soaks(r)
		c.approval(r)
		limit := time.Duration(max(len(r.Shares), 1))*(waveDeadline+perWave) + rollbackLimit
		switch from := later(r.StartedAt, c.h.Healed); {
		case !ended(r.Phase):
			c.fail(RuleDeadline, "rollout/%s is %s in the end, %s after the last fault: %s", r.Name, r.Phase, c.h.Ended.Sub(c.h.Healed), r.Message)
		case r.EndedAt.Sub(from) > limit:
			c.fail(RuleDeadline, "rollout/%s ended %s after the last fault; %s is the most", r.Name, r.EndedAt.Sub(from), limit)
		}
	}
}

// soaks holds waves that are over against how long they were to soak, but for those that a person promoted. Time that passed is time that passed, whatever the
// clock of the distributor did meanwhile. Pauses only add to it.
func (c *checker) soaks(r Rollout) {
	for i, w := range r.Waves {
		if i >= len(r.Soaks) || w.EndedAt.IsZero() || len(w.Nodes) == 0 || c.promoted(r, i+1) {
			continue
		}
		j := slices.IndexFunc(r.Lines, func(l Line) bool { return l.Phase == "Soaking" && l.Wave == i+1 })
		if j < 0 {
			c.fail(RuleSoak, "rollout/%s: wave %d is over at %s, and its history does not say that it has soaked", r.Name, i+1, c.clock(w.EndedAt))
			continue
		}
		if from := straighten(c.reigns, r.Lines[j].At); w.EndedAt.Sub(from) < r.Soaks[i]-tick {
			c.fail(RuleSoak, "rollout/%s: wave %d soaked from %s on, was over %s later, and was to soak for %s", r.Name, i+1, c.clock(from), w.EndedAt.Sub(from), r.Soaks[i])
		}
	}
}

// promoted says whether a person promoted a wave, which counts from 1: a call that may have done so, and the rollout's history says that it did.
func (c *checker) promoted(r Rollout, wave int) bool {
	for _, l := range r.Lines {
		if l.Wave == wave && strings.HasPrefix(l.Text, "promoted") && slices.ContainsFunc(c.h.Calls, func(call Call) bool {
			return call.Op == OpPromo && call.Object == r.Name && call.Actor == l.Actor && call.Outcome != Refused
		}) {
			return true
		}
	}
	return false
}

// tick is by how much the clocks of two processes may differ in what is told of a time.
const tick = 100 * time.Millisecond

// width holds waves against their shares.
func (c *checker) width(r Rollout) {
	var reached []string
	for i, w := range r.Waves {
		for _, n := range w.Nodes {
			if !contains(reached, n) {
				reached = append(reached, n)
			}
		}
		if i < len(r.Shares) && len(reached) > r.Shares[i] {
			c.fail(RuleWave, "rollout/%s: wave %d has reached %d nodes (%v), and may reach %d", r.Name, i+1, len(reached), reached, r.Shares[i])
		}
	}
	stamp := c.h.stampOf(r.Release)
	if r.Undoes != "" || stamp == "" {
		return
	}
	// What the fleet says, whatever the records say: each release is rolled out once, so its stamp shows how far it came.
	var shown []string
	for _, q := range c.h.Requests {
		if q.Stamp == stamp && !contains(shown, q.Node) {
			shown = append(shown, q.Node)
		}
	}
	slices.Sort(shown)
	if n := len(r.Waves); n > 0 && n <= len(r.Shares) && len(shown) > r.Shares[n-1] {
		c.fail(RuleWave, "rollout/%s: %v answer with its stamp, and its %d waves may reach %d nodes", r.Name, shown, n, r.Shares[n-1])
	}
}

// gate holds a bad release against the wave that must stop it: the first.
func (c *checker) gate(r Rollout) {
	kind := c.kindOf(r)
	if kind == Good {
		return
	}
	if r.Phase == "Done" {
		c.fail(RuleGate, "rollout/%s of a %s release ended as Done", r.Name, kind)
	}
	for i, w := range r.Waves {
		if i > 0 && len(w.Nodes) > 0 {
			c.fail(RuleGate, "rollout/%s of a %s release got to wave %d (%v)", r.Name, kind, i+1, w.Nodes)
		}
	}
	stamp := c.h.stampOf(r.Release)
	for _, q := range c.h.Requests {
		if q.Stamp != stamp {
			continue
		}
		if kind == Refusing {
			c.fail(RuleGate, "%s answers with stamp %q at %s, and no Envoy may be given that release", q.Node, stamp, c.clock(q.Ended))
		} else if len(r.Waves) == 0 || !contains(r.Waves[0].Nodes, q.Node) {
			c.fail(RuleGate, "%s answers with the bad stamp %q at %s, and is not of the first wave of rollout/%s", q.Node, stamp, c.clock(q.Ended), r.Name)
		}
	}
}

// ledger holds what the API says of nodes against what they answer: whoever is said to serve a release has answered through
// it by then, or does with the next request.
func (c *checker) ledger() {
	chains := map[string]string{}
	for _, s := range append(slices.Clone(c.h.Samples), c.h.Final.Nodes...) {
		if stamp := c.h.stampOf(s.Assigned); stamp != "" && s.Chain != "" {
			chains[s.Chain] = stamp
		}
	}
	for _, s := range c.h.Samples {
		if stamp := chains[s.Serving]; stamp != "" && !c.served(s.Node, stamp, s.Ended, "") {
			c.fail(RuleLedger, "the ledger says at %s that %s serves %q, and it has never answered with that", c.clock(s.Begun), s.Node, stamp)
		}
	}
	for _, call := range c.h.Calls {
		if call.Rollout == nil {
			continue
		}
		for node, m := range call.Rollout.Nodes {
			stamp := c.gives(*call.Rollout, node)
			if m.State == "Serving" && stamp != "" && !c.served(node, stamp, call.Ended, cohortOn(*call.Rollout, node)) {
				c.fail(RuleLedger, "rollout/%s says at %s that %s serves %q, and it has never answered with that", call.Rollout.Name, c.clock(call.Ended), node, stamp)
			}
		}
	}
}

// served says whether a node has answered through a release by the time t. Where its first answer after t is through it, it
// has, and where nobody has asked it since, nobody can say that it has not. Where the release is given to a cohort, its requests are meant, or so
// many of all that one of them is.
func (c *checker) served(node, stamp string, t time.Time, cohort Cohort) bool {
	others := 0
	if cohort == ByPercent {
		others = surelyOne
	}
	for _, r := range c.h.Requests {
		if r.Node != node || r.Stamp == "" {
			continue
		}
		if r.Stamp == stamp {
			return true
		}
		if r.Sent.After(t) && (cohort != ByHeader || r.Cohort) {
			if others--; others < 0 {
				return false
			}
		}
	}
	return true
}

// surelyOne is of how many requests one is in a cohort of cohortPercent, but for one time in a billion.
const surelyOne = 40

// run says whether the run came to its end, and whether there is enough to judge by.
func (c *checker) run() {
	if c.h.Unended != "" {
		c.fail(RuleRun, "%s", c.h.Unended)
	}
	for _, n := range c.h.Final.Nodes {
		ok := 0
		for _, r := range c.h.Requests {
			if r.Node == n.Node && !r.failed() {
				ok++
			}
		}
		// A quarter of a request a second is far below the load of a run; a node that answered less was not watched.
		if least := int(c.h.Ended.Sub(c.h.Begun).Seconds() / 4); ok < least {
			c.fail(RuleRun, "%s answered %d requests well, at least %d are needed to judge", n.Node, ok, least)
		}
	}
	for _, d := range c.h.Downs {
		if d.Until.IsZero() || d.Until.Sub(d.From) > downLimit {
			c.fail(RuleRun, "the Envoy of %s did not answer for more than %s after %s (%s)", d.Node, downLimit, c.clock(d.From), d.Why)
		}
	}
}

// downLimit is how long an Envoy may take to serve again after a fault took it: it compiles its modules anew, on a busy machine.
const downLimit = time.Minute
