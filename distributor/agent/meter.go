package agent

import (
	"slices"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// meter counts what a chain has served since it began to. Counts only rise, across restarts of Envoy as well.
type meter struct {
	hash  string
	since time.Time
	// base is where the current life of Envoy stood when the chain began, or zero when that life began with it; kept are the
	// counts of earlier lives.
	base, last observation
	kept       counts
	// before and usual are what Envoy took before the chain was loaded, and when last nothing was being loaded.
	// before is zero where it is not known.
	before, usual footprint
	// unwatched: the first chain served before the meter was there.
	unwatched bool
	// rise is that of the statistics which gates ask for.
	rise       rise
	keptCohort counts
}

// counts are statistics of a chain.
type counts struct {
	requests, errors, denied, seen int64
	// undenied of the requests were answered where nothing counts those that get 401 or 403.
	undenied int64
	health   model.Health
}

func (c counts) plus(other counts) counts {
	return counts{
		requests: c.requests + other.requests, errors: c.errors + other.errors, denied: c.denied + other.denied, seen: c.seen + other.seen,
		undenied: c.undenied + other.undenied, health: other.health.Plus(c.health),
	}
}

// follow takes an observation in which a chain serves; an empty hash means that none does, and then it waits.
func (m *meter) follow(serving *chain, o observation) {
	if serving == nil {
		return
	}
	switch {
	case serving.Hash != m.hash:
		unwatched := m.unwatched
		*m = meter{hash: serving.Hash, since: o.at, base: o, before: m.usual, usual: m.usual}
		if m.before == (footprint{}) && !unwatched {
			m.before = o.health.footprint // nothing served before, as far as is known
		}
		m.rise.begin(o.values)
	case o.epoch != m.last.epoch:
		m.kept = m.total(serving)
		if cohort := m.cohort(serving); cohort != nil {
			m.keptCohort = *cohort
		}
		m.base = observation{epoch: o.epoch}
		m.rise.follow(o.values, true)
	default:
		m.rise.follow(o.values, false)
	}
	m.last = o
}

// rest takes an observation in which nothing is being loaded, and no chain is on trial: what Envoy takes then is what it usually takes.
func (m *meter) rest(o observation) {
	if o.health.footprint.vms > 0 || o.health.footprint.memory > 0 {
		m.usual = o.health.footprint
	}
}

// total is what the chain has served.
func (m *meter) total(c *chain) counts {
	now := counts{
		requests: m.last.requests - m.base.requests,
		errors:   m.last.errors - m.base.errors,
		denied:   m.last.denied - m.base.denied,
		health:   m.last.health.since(m.base.health, m.last.hangs-m.base.hangs, m.before),
	}
	if !m.last.deniedKnown {
		now.undenied = max(now.requests, 0)
	}
	now.seen = max(m.seen(c, model.SideBoth, model.SideRest, model.SideCohort), 0)
	return m.kept.plus(now)
}

// seen is what that filter counted that counted the least, among the filters of those sides; -1 where none counts. A filter that answers by itself
// leaves none to those behind it.
func (m *meter) seen(c *chain, sides ...model.Side) int64 {
	least := int64(-1)
	for _, f := range c.Filters {
		value, counts := m.last.seen[f.id()]
		if !counts || !slices.Contains(sides, f.Side) {
			continue
		}
		if value -= m.base.seen[f.id()]; least < 0 || value < least {
			least = value
		}
	}
	return least
}

// cohort is what the cohort's requests were, for a chain that is split; nil where there is none, or Envoy does not tell them from the others.
func (m *meter) cohort(c *chain) *counts {
	if c.Split == nil || !m.last.told {
		return nil
	}
	// A cohort is few requests, of which the filters' counters, which lag, would often lack the last: only those count that they must show.
	settled := m.last.settledCohort
	now := counts{
		requests: max(settled.requests-m.base.cohort.requests, 0),
		errors:   max(settled.errors-m.base.cohort.errors, 0),
		denied:   max(settled.denied-m.base.cohort.denied, 0),
	}
	// Filters that others meet too say nothing of the cohort alone.
	if now.seen = m.seen(c, model.SideCohort); now.seen < 0 && !slices.ContainsFunc(c.Filters, func(f filter) bool { return f.Side == model.SideCohort }) {
		now.seen = now.requests
	}
	now.seen = min(max(now.seen, 0), now.requests)
	now.health = m.last.cohortHealth.since(m.base.cohortHealth, 0, footprint{})
	now.health.Known = m.last.measured
	now = m.keptCohort.plus(now)
	return &now
}
