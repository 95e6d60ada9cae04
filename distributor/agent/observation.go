package agent

import (
	"regexp"
	"strings"
	"time"

	"github.com/waft-project/waft/envoy"
)

// observation is what Envoy's statistics said at one moment.
type observation struct {
	at time.Time
	// began is when it was asked for: what had completed by then is in it.
	began time.Time
	// epoch counts the starts of Envoy that the agent has seen; 0 is before the first. Statistics begin anew with each.
	epoch int
	// failed counts the readings since that got no answer.
	failed int
	// ready is what /ready said.
	ready bool
	// slots by name.
	slots map[string]slotSeen
	// hangs counts how often a worker was found hanging.
	hangs int64
	// hungSince is since when one hangs and nothing has shown that it goes on; zero: none does. uptime is Envoy's own, as of its latest round
	// through all workers.
	hungSince time.Time
	uptime    int64
	// requests completed, answered 5xx, and answered 401 or 403, at the connection manager that holds the slot.
	requests, errors, denied int64
	// deniedKnown: denied is counted. Envoy does not do that by itself, and has no counter that nothing has counted up yet: what tells is a
	// counter of all requests beside it, in the access logs of whoever wrote the connection manager.
	deniedKnown bool
	// active requests, and seen by each filter's own counter, as far as it has one.
	active int64
	seen   map[string]int64
	// health is the rest of what tells how Envoy does.
	health health
	// values are those that gates ask for.
	values values
	// cohort are the requests that took the chain under test, where Envoy tells them apart (told).
	cohort counts
	told   bool
	// cohortHealth is the part of health that is the cohort's, where Envoy measures that apart (measured).
	cohortHealth health
	measured     bool
	// settledCohort are those of cohort that had completed countTime ago or longer, as settled.
	settledCohort counts
	// settled is how many requests had completed countTime ago or longer: those that the filters' counters, which lag, must show by now.
	settled int64
}

// countTime is how long a filter's counter may lag behind the requests that it counts: ten times what the sdk promises, for a worker
// that is busy.
const countTime = time.Second

// settling finds out how many requests have completed countTime ago or longer. The zero value has seen none.
type settling struct{ old, young observation }

// settle takes the next observation and gives its settled, and its settledCohort.
func (s *settling) settle(o observation) (int64, counts) {
	if s.young.epoch != o.epoch {
		*s = settling{young: o}
		return 0, counts{}
	}
	if o.began.Sub(s.young.at) >= countTime {
		s.old, s.young = s.young, o
	}
	return s.old.requests, s.old.cohort
}

// slotSeen is a slot's own statistics.
type slotSeen struct {
	version          string
	reload, rejected int64
}

// Names and prefixes of statistics.
const (
	seenPrefix   = "wasmcustom.waft.requests."
	slotsPrefix  = "extension_config_discovery.http_filter."
	hangSuffix   = ".watchdog_mega_miss"
	workerPrefix = "server.worker_"
)

// managerPrefix is that of the statistics of the connection manager with a prefix of its own.
func managerPrefix(statPrefix string) string { return "http." + statPrefix + "." }

// statsOfAllThat selects what an observation is read from.
func statsOfAllThat(statPrefix string) string {
	return `^(extension_config_discovery\.http_filter\.waft|http\.` + regexp.QuoteMeta(statPrefix) +
		`\.downstream_rq_(completed|5xx|active)$|server\.worker_\d+\.watchdog_mega_miss$|server\.uptime$|wasmcustom\.waft\.requests\.|waft\.(requests|denied)$|waft\.(requests|errors|denied|stuck|time)\.cohort\.|` + statsOfHealth(statPrefix) + `)`
}

// observe reads an observation out of statistics.
func observe(stats envoy.Stats, statPrefix string) observation {
	manager := managerPrefix(statPrefix)
	o := observation{slots: map[string]slotSeen{}, seen: map[string]int64{}}
	slot := func(name, field string) (string, bool) {
		inner, ok := strings.CutPrefix(name, slotsPrefix)
		if !ok {
			return "", false
		}
		return strings.CutSuffix(inner, field)
	}
	for name, text := range stats.Texts {
		if of, ok := slot(name, ".version_text"); ok {
			seen := o.slots[of]
			seen.version = text
			o.slots[of] = seen
		}
	}
	for name, value := range stats.Values {
		if of, ok := slot(name, ".config_reload"); ok {
			seen := o.slots[of]
			seen.reload = value
			o.slots[of] = seen
		} else if of, ok := slot(name, ".update_rejected"); ok {
			seen := o.slots[of]
			seen.rejected = value
			o.slots[of] = seen
		} else if filter, ok := strings.CutPrefix(name, seenPrefix); ok {
			o.seen[filter] = value
		} else if strings.HasPrefix(name, envoy.CohortRequestsStat+envoy.CohortTag) || strings.HasPrefix(name, envoy.CohortStuckStat+envoy.CohortTag) {
			o.told = true // each request is counted, whichever chain it takes, once it is answered, or is not
		} else if strings.HasPrefix(name, workerPrefix) && strings.HasSuffix(name, hangSuffix) {
			o.hangs += value
		}
	}
	o.uptime = stats.Values[uptimeStat]
	o.requests = stats.Values[manager+"downstream_rq_completed"]
	o.errors = stats.Values[manager+"downstream_rq_5xx"]
	o.active = stats.Values[manager+"downstream_rq_active"]
	o.denied = stats.Values[envoy.DeniedStat]
	_, all := stats.Values[envoy.RequestsStat]
	_, some := stats.Values[envoy.DeniedStat]
	o.deniedKnown = o.told || all || some
	o.health = healthOf(stats, manager)
	o.cohortHealth, o.measured = cohortHealthOf(stats)
	o.cohort = counts{
		requests: stats.Values[envoy.CohortRequestsStat+envoy.CohortTag+envoy.CohortIn],
		errors:   stats.Values[envoy.CohortErrorsStat+envoy.CohortTag+envoy.CohortIn],
		denied:   stats.Values[envoy.CohortDeniedStat+envoy.CohortTag+envoy.CohortIn],
	}
	return o
}

// serves says whether every slot holds the chain of that hash, and all workers have it.
func (o observation) serves(slots []string, hash string) bool {
	for _, name := range slots {
		if slot := o.slots[name]; slot.version != hash || slot.reload == 0 {
			return false
		}
	}
	return o.ready
}
