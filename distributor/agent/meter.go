package agent

import "time"

// meter counts what a chain has served since it began to. Counts only rise, across restarts of Envoy as well.
type meter struct {
	hash  string
	since time.Time
	// base is where the current life of Envoy stood when the chain began, or zero when that life began with it; kept are the
	// counts of earlier lives.
	base, last observation
	kept       counts
}

// counts are statistics of a chain.
type counts struct {
	requests, errors, denied, seen int64
}

func (c counts) plus(other counts) counts {
	return counts{c.requests + other.requests, c.errors + other.errors, c.denied + other.denied, c.seen + other.seen}
}

// follow takes an observation in which a chain serves; an empty hash means that none does, and then it waits.
func (m *meter) follow(serving *chain, o observation) {
	if serving == nil {
		return
	}
	switch {
	case serving.Hash != m.hash:
		*m = meter{hash: serving.Hash, since: o.at, base: o}
	case o.epoch != m.last.epoch:
		m.kept = m.total(serving)
		m.base = observation{epoch: o.epoch}
	}
	m.last = o
}

// total is what the chain has served.
func (m *meter) total(c *chain) counts {
	now := counts{
		requests: m.last.requests - m.base.requests,
		errors:   m.last.errors - m.base.errors,
		denied:   m.last.denied - m.base.denied,
	}
	// The lowest of the filters that count; a filter that answers by itself leaves none to those behind it.
	first := true
	for _, f := range c.Filters {
		value, counts := m.last.seen[f.Name]
		if !counts {
			continue
		}
		if value -= m.base.seen[f.Name]; first || value < now.seen {
			now.seen, first = value, false
		}
	}
	return m.kept.plus(now)
}
