package agent

import (
	"regexp"
	"strings"
	"time"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
)

// health is what Envoy's statistics say of how it does, since it started.
type health struct {
	// begun are the requests that have begun, completed or not, and ended those that Envoy ended since nothing moved (idle timeouts).
	begun, ended int64
	// stuck are the requests that got no answer in patienceTime; idle timeouts are among them.
	stuck int64
	// misses of workers, as far as their watchdog found them late.
	misses int64
	// reloads of VMs after a trap, reloadFailures, and panics that the sdk caught.
	reloads, reloadFailures, panics int64
	footprint                       footprint
	latency                         model.Latency
}

// footprint is what Envoy takes at one moment. The zero value is not known.
type footprint struct {
	vms, memory int64
	// resident: memory is all of the process, not only what its allocator holds.
	resident bool
}

// Names of statistics; the first are behind the prefix of the connection manager that holds the slot.
const (
	idleStat      = "downstream_rq_idle_timeout"
	begunStat     = "downstream_rq_total"
	timeStat      = "downstream_rq_time"
	vmsStat       = "wasm.envoy.wasm.runtime.v8.active"
	memoryStat    = "server.memory_physical_size"
	panicsPrefix  = "wasmcustom.waft.panics."
	missSuffix    = ".watchdog_miss"
	reloadSuffix  = ".vm_reload_success" // Envoy's own vm_reload stays at 0 (seen on 1.36 to 1.40)
	failureSuffix = ".vm_reload_failure"
	wasmPrefix    = "wasm."
)

// statsOfHealth selects what health is read from.
func statsOfHealth(statPrefix string) string {
	return `http\.` + regexp.QuoteMeta(statPrefix) + `\.downstream_rq_(total|idle_timeout|time)$|server\.worker_\d+\.watchdog_miss$|` +
		`wasm\.[^.]+(` + regexp.QuoteMeta(envoy.CohortSuffix) + `)?\.vm_reload_(success|failure)$|wasm\.envoy\.wasm\.runtime\.v8\.active$|server\.memory_physical_size$|wasmcustom\.waft\.panics\.`
}

// healthOf reads health out of statistics, but for what needs more than one reading.
func healthOf(stats envoy.Stats, manager string) health {
	h := health{
		begun: stats.Values[manager+begunStat], ended: stats.Values[manager+idleStat],
		footprint: footprint{vms: stats.Values[vmsStat], memory: stats.Values[memoryStat]},
		latency:   latencyOf(stats.Histograms[manager+timeStat]),
	}
	for name, value := range stats.Values {
		switch {
		case strings.HasPrefix(name, workerPrefix) && strings.HasSuffix(name, missSuffix):
			h.misses += value
		case strings.HasPrefix(name, panicsPrefix):
			h.panics += value
		case strings.HasPrefix(name, wasmPrefix) && strings.HasSuffix(name, reloadSuffix):
			h.reloads += value
		case strings.HasPrefix(name, wasmPrefix) && strings.HasSuffix(name, failureSuffix):
			h.reloadFailures += value
		}
	}
	return h
}

// cohortHealthOf is what is known of a cohort's requests alone, and of the filters that only it meets; false where Envoy does not measure it. Access logs time
// every request, whichever chain it takes, so that there is a histogram once one has ended.
func cohortHealthOf(stats envoy.Stats) (health, bool) {
	const cohort = envoy.CohortTag + envoy.CohortIn
	h := health{stuck: stats.Values[envoy.CohortStuckStat+cohort], latency: latencyOf(stats.Histograms[envoy.CohortTimeStat+cohort])}
	measured := false
	for name := range stats.Histograms {
		measured = measured || strings.HasPrefix(name, envoy.CohortTimeStat+envoy.CohortTag)
	}
	for name, value := range stats.Values {
		switch {
		case strings.HasPrefix(name, envoy.CohortStuckStat+envoy.CohortTag):
			measured = true
		case strings.HasPrefix(name, panicsPrefix) && strings.HasSuffix(name, envoy.CohortSuffix):
			h.panics += value
		case strings.HasPrefix(name, wasmPrefix) && strings.HasSuffix(name, envoy.CohortSuffix+reloadSuffix):
			h.reloads += value
		case strings.HasPrefix(name, wasmPrefix) && strings.HasSuffix(name, envoy.CohortSuffix+failureSuffix):
			h.reloadFailures += value
		}
	}
	return h, measured
}

// latencyOf puts Envoy's buckets, whose bounds its operator may have chosen, into those of a report, each into the first that reaches as far.
// What lies beyond all of Envoy's bounds is in none of its buckets, nor is it counted anywhere (the counter of requests is seconds ahead of the
// histogram): where the bounds end so early that the slowest requests may be missing, nothing is known of any.
func latencyOf(h envoy.Histogram) model.Latency {
	var l model.Latency
	if len(h.Buckets) == 0 || h.Buckets[len(h.Buckets)-1].UpperBound < float64(latencyReach/time.Millisecond) {
		return l
	}
	var below int64
	for _, b := range h.Buckets {
		l[bucketOf(b.UpperBound)] += max(b.Cumulative-below, 0)
		below = max(b.Cumulative, below)
	}
	return l
}

// latencyReach is how far Envoy's buckets must reach for its times to be taken: as far as those of a report. Envoy's own reach an hour.
const latencyReach = time.Minute

// bucketOf is the bucket of a Latency for times up to a bound, in milliseconds. An operator may have written for the last one what no time.Duration is.
func bucketOf(milliseconds float64) int {
	for i := 0; ; i++ {
		if bound, bounded := model.LatencyBound(i); !bounded || milliseconds <= float64(bound)/float64(time.Millisecond) {
			return i
		}
	}
}

// since is the health of a chain that began at base, with hangs counted apart, in words of the model.
func (h health) since(base health, hangs int64, before footprint) model.Health {
	if before.resident != h.footprint.resident {
		before.memory = 0 // what was measured otherwise is nothing to compare with
	}
	return model.Health{
		Known: true, Stuck: max(h.stuck-base.stuck, 0), Misses: h.misses - base.misses, Hangs: hangs,
		// Counters of a filter go away with the filter.
		Reloads: max(h.reloads-base.reloads, 0), ReloadFailures: max(h.reloadFailures-base.reloadFailures, 0), Panics: max(h.panics-base.panics, 0),
		VMs: h.footprint.vms, VMsBefore: before.vms,
		Memory: h.footprint.memory, MemoryBefore: before.memory, Resident: h.footprint.resident,
		Latency: h.latency.Since(base.latency),
	}
}

// patienceTime is how long a request may wait for its answer before it counts as stuck.
const patienceTime = 5 * time.Second

// patience finds out how many requests got no answer. Those that have begun and are not completed wait for one, or their client went away;
// the lowest number of them in patienceTime are those that have done so all that time. The zero value has seen none.
type patience struct {
	epoch int
	// window holds the numbers of patienceTime, the oldest first, and the one before.
	window []pending
	// full is when the window reaches back far enough; until then no more than held count.
	full time.Time
	held int64
}

type pending struct {
	at       time.Time
	requests int64
}

// stuck takes the next observation and gives how many requests got no answer up to now; it falls when they get one after all. fresh says that
// the life of Envoy which the observation is of was watched from its start: else what it says first is how things are.
func (p *patience) stuck(o observation, fresh bool) int64 {
	now := pending{at: o.at, requests: o.health.begun - o.requests}
	switch {
	case p.epoch != o.epoch:
		*p = patience{epoch: o.epoch, full: o.at.Add(patienceTime)}
		if !fresh {
			p.held = now.requests
		}
	case o.at.Sub(p.window[len(p.window)-1].at) > patienceTime/2:
		// Nobody looked meanwhile: those that wait now need not be those that waited then.
		p.held, p.window, p.full = p.lowest(), nil, o.at.Add(patienceTime)
	}
	p.window = append(p.window, now)
	// One that is as old as the window stays: a number that was seen only since then has not stood for so long.
	for len(p.window) > 1 && o.at.Sub(p.window[1].at) >= patienceTime {
		p.window = p.window[1:]
	}
	return max(p.lowest(), 0) + o.health.ended
}

// lowest is how many have waited all the time, as far as is known.
func (p *patience) lowest() int64 {
	last := p.window[len(p.window)-1]
	lowest := last.requests
	for _, was := range p.window {
		lowest = min(lowest, was.requests)
	}
	if last.at.Before(p.full) {
		lowest = min(lowest, p.held)
	}
	return lowest
}

// healthProto is a report.
func healthProto(h model.Health) *waftv1.Health {
	latency := make([]int64, len(h.Latency))
	copy(latency, h.Latency[:])
	return &waftv1.Health{
		Stuck: h.Stuck, WatchdogMisses: h.Misses, WatchdogMegaMisses: h.Hangs, Reloads: h.Reloads, ReloadFailures: h.ReloadFailures, Panics: h.Panics,
		Vms: h.VMs, VmsBefore: h.VMsBefore, Memory: h.Memory, MemoryBefore: h.MemoryBefore, Resident: h.Resident, Latency: latency,
	}
}
