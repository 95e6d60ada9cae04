package chaos

import (
	"fmt"
	"slices"
	"time"
)

// Violation is something that must hold and did not.
type Violation struct {
	Seed uint64 `json:"seed"`
	// Rule names what must hold, by the constants below.
	Rule string `json:"rule"`
	Text string `json:"text"`
}

// The rules that the checker holds a history against.
const (
	// RuleRequest: no request fails because of waft, other than on the nodes of the first wave of a bad release.
	RuleRequest = "request"
	// RuleCap: what a bad release fails stays within what its first wave, and the release itself, allow.
	RuleCap = "cap"
	// RuleMove: no node serves what no rollout gave it, or what one took from it again.
	RuleMove = "move"
	// RuleEnd: every node ends on what its history says, in the ledger and in its answers.
	RuleEnd = "end"
	// RuleGate: a bad release never gets past the wave whose gate it fails.
	RuleGate = "gate"
	// RuleSoak: no wave is over before it has soaked.
	RuleSoak = "soak"
	// RuleApproval: no wave begins, and no rollout is done, before somebody has approved the wave that asks for it.
	RuleApproval = "approval"
	// RuleWave: no wave reaches more nodes than it says.
	RuleWave = "wave"
	// RuleCohort: while a release is given to a cohort alone, no other request meets it, and the cohort does before the wave is over.
	RuleCohort = "cohort"
	// RuleEmergency: a filter that is disabled is gone where that is said, and is there again once it has been put back.
	RuleEmergency = "emergency"
	// RuleLedger: the ledger says of no node that it serves what it has never answered with.
	RuleLedger = "ledger"
	// RuleDeadline: once faults stop, every rollout ends in time.
	RuleDeadline = "deadline"
	// RuleLost: nothing that the API acknowledged is lost.
	RuleLost = "lost"
	// RuleHistory: a rollout's history only grows.
	RuleHistory = "history"
	// RuleLinear: the calls of the API are linearizable.
	RuleLinear = "linearizable"
	// RuleRun: the run itself came to its end, with enough traffic to judge by.
	RuleRun = "run"
)

// Rules are all of them.
var Rules = []string{RuleRequest, RuleCap, RuleMove, RuleEnd, RuleGate, RuleSoak, RuleApproval, RuleWave, RuleCohort, RuleEmergency, RuleLedger, RuleDeadline, RuleLost, RuleHistory, RuleLinear, RuleRun}

// Check holds a history against every rule; the same history gives the same violations. It sorts the requests by their ends, and changes
// nothing else.
func Check(h *History) []Violation {
	slices.SortStableFunc(h.Requests, func(a, b Request) int { return a.Ended.Compare(b.Ended) })
	c := &checker{h: straightened(h), reigns: reigns(h)}
	c.requests()
	c.moves()
	c.ends()
	c.rollouts()
	c.cohorts()
	c.emergencies()
	c.ledger()
	c.acknowledged()
	c.growth()
	c.linear()
	c.conflicts()
	c.refusedUndos()
	c.retries()
	c.run()
	return c.found
}

type checker struct {
	h      *History
	reigns []reign
	found  []Violation
}

// maxOfRule is how many violations of one rule are told: one cause shows in many requests.
const maxOfRule = 10

func (c *checker) fail(rule, format string, args ...any) {
	n := 0
	for _, v := range c.found {
		if v.Rule == rule {
			n++
		}
	}
	if n < maxOfRule {
		c.found = append(c.found, Violation{Seed: c.h.Seed, Rule: rule, Text: fmt.Sprintf(format, args...)})
	}
}

// clock is a moment as it is told: seconds since the run began.
func (c *checker) clock(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return fmt.Sprintf("%.3f s", t.Sub(c.h.Begun).Seconds())
}

// final finds the last state of a rollout.
func (c *checker) final(name string) (Rollout, bool) {
	i := slices.IndexFunc(c.h.Final.Rollouts, func(r Rollout) bool { return r.Name == name })
	if i < 0 {
		return Rollout{}, false
	}
	return c.h.Final.Rollouts[i], true
}

// kindOf says what a rollout's release does; an undo gives back what nodes had, which is good.
func (c *checker) kindOf(r Rollout) Kind {
	if r.Undoes != "" {
		return Good
	}
	release, ok := c.h.release(r.Release)
	if !ok {
		return Good
	}
	return release.Kind
}

// gives is the stamp of what a rollout gives to a node.
func (c *checker) gives(r Rollout, node string) string {
	if r.Undoes != "" {
		if undone, ok := c.final(r.Undoes); ok {
			return c.h.stampOf(undone.Nodes[node].From)
		}
	}
	return c.h.stampOf(r.Release)
}
