package pushed

import (
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
)

// meter counts what a chain has served since it came into the slot. The zero value has counted nothing.
type meter struct {
	chain  string
	tracks map[string]track
	// asked are the names that were asked for in the flush before.
	asked   []string
	latency model.Latency
	// cohortLatency is that of the cohort's requests; timed: Envoy keeps it apart.
	cohortLatency model.Latency
	timed         bool
	// requests is what had been served by the flush before, and cohort to the cohort: the filters' own counters, which lag, must show that by now.
	requests int64
	cohort   model.CohortStatistics
	waiting  waiting
	// stood is how many requests waited for their answer when the chain began.
	stood int64
}

// track is one statistic since the chain began: it was base then, it is last now, and kept is by how much it rose before Envoy began to count anew.
type track struct {
	base, last, kept float64
	counter          bool
}

func (t track) increase() float64 { return t.last - t.base + t.kept }

// anew takes that Envoy counts from zero again: what was counted stays.
func (m *meter) anew() {
	for name, t := range m.tracks {
		m.tracks[name] = track{kept: t.increase(), counter: t.counter}
	}
	m.waiting = waiting{}
}

// watch takes what does not depend on which chain serves.
func (m *meter) watch(r Reading, now time.Time) {
	begun, has := r.values[begunStat]
	if has {
		m.waiting.see(now, int64(begun.value-r.values[completedStat].value))
	}
}

// follow takes a flush in which the chain is in the slot, and gives what it has served.
func (m *meter) follow(r Reading, of Chain, asked []string, now time.Time) model.Statistics {
	if m.chain != of.Hash {
		*m = meter{chain: of.Hash, tracks: map[string]track{}, asked: asked, waiting: waiting{}, stood: m.waiting.highest()}
		for name, v := range r.values {
			m.tracks[name] = track{base: v.value, last: v.value, counter: v.counter}
		}
		return m.statistics(of, asked, now)
	}
	for name, v := range r.values {
		t, known := m.tracks[name]
		switch {
		case !known && len(m.tracks) >= maxRead:
			continue
		case !known && slices.Contains(asked, name) && !slices.Contains(m.asked, name):
			t = track{base: v.value} // by how much it rose before anybody asked is not known
		case v.counter && v.value < t.last:
			t = track{kept: t.increase()} // it went away with its filter, or Envoy started anew
		}
		t.last, t.counter = v.value, v.counter
		m.tracks[name] = t
	}
	m.asked = asked
	m.latency, m.cohortLatency, m.timed = m.latency.Plus(r.latency), m.cohortLatency.Plus(r.cohort), m.timed || r.timed
	return m.statistics(of, asked, now)
}

// statistics is what the chain has served.
func (m *meter) statistics(of Chain, asked []string, now time.Time) model.Statistics {
	stats := model.Statistics{
		Chain: m.chain, At: now,
		Requests: m.increase(completedStat), Errors: m.increase(errorsStat), Denied: m.increase(envoy.DeniedStat),
	}
	// What completed since the flush before they may show only in the next.
	stats.Seen = min(max(m.seen(of, model.SideBoth, model.SideRest, model.SideCohort), 0)+stats.Requests-m.requests, stats.Requests)
	m.requests = stats.Requests
	stats.Health = model.Health{
		Stuck: m.increase(idleStat), VMs: m.now(vmsStat), Memory: m.now(memoryStat), Latency: m.latency,
	}
	lowest, known := m.waiting.lowest()
	stats.Health.Known = known
	stats.Health.Stuck += max(lowest-m.stood, 0)
	told := false
	for name := range m.tracks {
		ends := func(suffix string) bool { return strings.HasSuffix(name, suffix) }
		switch {
		case strings.HasPrefix(name, envoy.CohortRequestsStat+envoy.CohortTag), strings.HasPrefix(name, envoy.CohortStuckStat+envoy.CohortTag):
			told = true // each request is counted, whichever chain it takes, once it is answered, or is not
		case strings.HasPrefix(name, panicsPrefix):
			stats.Health.Panics += m.increase(name)
		case strings.HasPrefix(name, workerPrefix) && ends(missSuffix):
			stats.Health.Misses += m.increase(name)
		case strings.HasPrefix(name, workerPrefix) && ends(hangSuffix):
			stats.Health.Hangs += m.increase(name)
		case strings.HasPrefix(name, wasmPrefix) && ends(reloadSuffix):
			stats.Health.Reloads += m.increase(name)
		case strings.HasPrefix(name, wasmPrefix) && ends(failureSuffix):
			stats.Health.ReloadFailures += m.increase(name)
		}
	}
	_, all := m.tracks[envoy.RequestsStat]
	_, some := m.tracks[envoy.DeniedStat]
	stats.DeniedKnown = told || all || some
	if of.Split && told {
		stats.Cohort = m.cohortOf(of)
	}
	for _, name := range asked {
		if t, has := m.tracks[name]; has {
			if stats.Values == nil {
				stats.Values = map[string]model.StatisticValue{}
			}
			stats.Values[name] = model.StatisticValue{Value: t.last, Increase: t.increase()}
		}
	}
	return stats
}

// cohortOf is what the cohort's requests were, as far as the filters' counters must show them.
func (m *meter) cohortOf(of Chain) model.CohortStatistics {
	tag := envoy.CohortTag + envoy.CohortIn
	before := m.cohort
	// Whether a request is stuck and how long it took is known without the filters.
	before.Health = m.cohortHealth(tag)
	m.cohort = model.CohortStatistics{
		Known: true, Requests: m.increase(envoy.CohortRequestsStat + tag), Errors: m.increase(envoy.CohortErrorsStat + tag), Denied: m.increase(envoy.CohortDeniedStat + tag),
	}
	before.Known = true
	// Filters that others meet too say nothing of the cohort alone.
	if before.Seen = m.seen(of, model.SideCohort); before.Seen < 0 && !slices.ContainsFunc(of.Filters, func(f Filter) bool { return f.Side == model.SideCohort }) {
		before.Seen = before.Requests
	}
	before.Seen = min(max(before.Seen, 0), before.Requests)
	return before
}

// cohortHealth is what Envoy and the filters that only the cohort meets say of its requests.
func (m *meter) cohortHealth(tag string) model.Health {
	health := model.Health{Known: m.timed, Stuck: m.increase(envoy.CohortStuckStat + tag), Latency: m.cohortLatency}
	for name := range m.tracks {
		switch {
		case strings.HasPrefix(name, panicsPrefix) && strings.HasSuffix(name, envoy.CohortSuffix):
			health.Panics += m.increase(name)
		case strings.HasPrefix(name, wasmPrefix) && strings.HasSuffix(name, envoy.CohortSuffix+reloadSuffix):
			health.Reloads += m.increase(name)
		case strings.HasPrefix(name, wasmPrefix) && strings.HasSuffix(name, envoy.CohortSuffix+failureSuffix):
			health.ReloadFailures += m.increase(name)
		}
	}
	return health
}

// seen is what that filter counted that counted the least, among the filters of those sides; -1 where none counts.
func (m *meter) seen(of Chain, sides ...model.Side) int64 {
	least := int64(-1)
	for _, f := range of.Filters {
		if _, counts := m.tracks[seenPrefix+f.ID]; !counts || !slices.Contains(sides, f.Side) {
			continue
		}
		if n := m.increase(seenPrefix + f.ID); least < 0 || n < least {
			least = n
		}
	}
	return least
}

// increase is by how much a counter has risen.
func (m *meter) increase(name string) int64 {
	return int64(min(max(m.tracks[name].increase(), 0), maxValue))
}

// now is what a gauge is.
func (m *meter) now(name string) int64 { return int64(m.tracks[name].last) }
