package rollout

import (
	"fmt"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// patient is a moved node and what its Envoy says of itself since it serves the chain.
type patient struct {
	node string
	// health that is not Known is that of a node which has not said anything of the chain yet, or whose agent does not measure it.
	health model.Health
	// release is that of the requests that took the release, and of the filters that only they meet; it is health where that is every request.
	release model.Health
}

// patients are the counted nodes that were moved to another chain, by id. A node whose chain stays the same proves nothing about the release.
func (m *machine) patients() []patient {
	all := make([]patient, 0, len(m.seats()))
	for i := range m.seated {
		p := &m.seated[i].p
		if !moved(*p) || p.Uncounted || p.Chain == p.FromChain {
			continue
		}
		one := patient{node: m.seated[i].id}
		if stats := &m.seated[i].view.Stats; stats.Chain == p.Chain {
			one.health = stats.Health
			counts, _ := told(p, stats)
			one.release = counts.Health
		}
		all = append(all, one)
	}
	return all
}

// notMeasured is why nothing is known of a node.
const notMeasured = ": it has not reported yet, or not for long enough, or its agent is older than the gate"

func ofNode(p patient) model.Health    { return p.health }
func ofRelease(p patient) model.Health { return p.release }

// silence says of which nodes nothing is known; empty for none.
func silence(patients []patient, health func(patient) model.Health) string {
	var ids []string
	for _, p := range patients {
		if !health(p).Known {
			ids = append(ids, p.node)
		}
	}
	if len(ids) == 0 {
		return ""
	}
	return "nothing is known of " + list(ids) + notMeasured
}

// ailing says what no chain may do to its Envoy, whatever gates a wave has; empty where it does nothing of the kind. A worker that hangs
// never takes another chain into use, and nothing else need show it.
func ailing(h *model.Health) string {
	switch {
	case h.Hangs > 0:
		return "has a worker of Envoy that hangs since it serves it (watchdog_mega_miss)"
	case h.ReloadFailures > 0:
		return "has a filter whose VM ended and cannot be loaded again (vm_reload_failure)"
	}
	return ""
}

// stuck compares the share of requests without an answer with the gate's bound.
func stuck(g model.StuckGate, t traffic) (model.GateVerdict, string) {
	return ratio(model.ComparedStuck, t, g.Max, g.MinSamples)
}

const unanswered = "got no answer"

// begun are the requests that were answered or should have been, where that is known.
func (t traffic) begun() int64 { return t.measured + t.stuck }

// measuredAll passes what is known of all the nodes: what the others have is not known to be nothing.
func (t traffic) measuredAll(detail string) (model.GateVerdict, string) {
	if t.unmeasured > 0 {
		return model.VerdictInconclusive, fmt.Sprintf("%d of %s say nothing of it"+notMeasured, t.unmeasured, plural(t.nodes, "node"))
	}
	return model.VerdictPass, detail
}

// watchdog counts how often workers were late.
func watchdog(g model.WatchdogGate, patients []patient) (model.GateVerdict, string) {
	return incidents(patients, g.Max, "workers were late %s (watchdog_miss)", ofNode, func(h model.Health) int64 { return h.Misses })
}

// reloads counts VMs that had to be loaded again, and panics that the sdk caught; of a cohort, those of the filters that only it meets.
func reloads(g model.ReloadsGate, patients []patient) (model.GateVerdict, string) {
	return incidents(patients, g.Max, "VMs were loaded again, or a panic was caught in one, %s", ofRelease, func(h model.Health) int64 { return h.Reloads + h.Panics })
}

// incidents compares how often something has happened, on all the nodes, with the most allowed. what has a place for so many times.
func incidents(patients []patient, most int64, what string, health func(patient) model.Health, of func(model.Health) int64) (model.GateVerdict, string) {
	if len(patients) == 0 {
		return model.VerdictPass, unchanged
	}
	var total int64
	var where []string
	for _, p := range patients {
		if n := of(health(p)); n > 0 {
			total += n
			where = append(where, fmt.Sprintf("%s %d", p.node, n))
		}
	}
	detail := fmt.Sprintf(what+", the most allowed is %d", plural(int(total), "time"), most)
	if len(where) > 0 {
		detail += ": " + list(where)
	}
	if total > most {
		return model.VerdictFail, detail
	}
	if silent := silence(patients, health); silent != "" {
		return model.VerdictInconclusive, silent
	}
	return model.VerdictPass, detail
}

// growth compares what each Envoy takes with what it took before; over says that the soak is.
func growth(g model.GrowthGate, patients []patient, over bool) (model.GateVerdict, string) {
	if len(patients) == 0 {
		return model.VerdictPass, unchanged
	}
	if silent := silence(patients, ofNode); silent != "" {
		return model.VerdictInconclusive, silent
	}
	var readings, faults, unknown, late []string
	for _, p := range patients {
		h := p.health
		if h.VMsBefore == 0 && h.MemoryBefore == 0 { // an Envoy takes memory
			late = append(late, p.node)
			continue
		}
		if g.MaxMemory != nil {
			if h.Memory == 0 || h.MemoryBefore == 0 {
				unknown = append(unknown, p.node)
			} else {
				reading := fmt.Sprintf("%s has %s more %s (%s, before it was %s), the most allowed is %s", p.node,
					mebibytes(h.Memory-h.MemoryBefore), memoryOf(h), mebibytes(h.Memory), mebibytes(h.MemoryBefore), mebibytes(*g.MaxMemory))
				if readings = append(readings, reading); h.Memory-h.MemoryBefore > *g.MaxMemory {
					faults = append(faults, reading)
				}
			}
		}
		if g.MaxVMs != nil {
			reading := fmt.Sprintf("%s has %d VMs, before it had %d, the most allowed is %d more", p.node, h.VMs, h.VMsBefore, *g.MaxVMs)
			if readings = append(readings, reading); h.VMs-h.VMsBefore > *g.MaxVMs {
				faults = append(faults, reading)
			}
		}
	}
	switch {
	case !over && len(readings) > 0:
		return model.VerdictInconclusive, "it is judged at the end of the soak; so far " + list(readings)
	case !over:
		return model.VerdictInconclusive, "it is judged at the end of the soak"
	case len(faults) > 0:
		return model.VerdictFail, list(faults)
	case len(late) > 0:
		return model.VerdictInconclusive, "what " + list(late) + " took before the chain is not known: the agent was started while the chain served, and had not kept it, or there is no agent"
	case len(unknown) > 0:
		return model.VerdictInconclusive, "the memory of " + list(unknown) + " is not known"
	}
	return model.VerdictPass, list(readings)
}

// memoryOf names what was measured.
func memoryOf(h model.Health) string {
	if h.Resident {
		return "memory"
	}
	return "memory in Envoy's allocator"
}

func mebibytes(n int64) string { return fmt.Sprintf("%.4g MiB", float64(n)/(1<<20)) }

// latency compares a percentile of the times of the moved nodes with that of the others.
func latency(g model.ComparisonGate, moved, others traffic) (model.GateVerdict, string) {
	if few := tooFew(moved.latency.Count(), g.MinSamples, model.DefaultComparisonSamples); few != "" {
		return model.VerdictInconclusive, "of the moved nodes: " + few
	}
	if few := tooFew(others.latency.Count(), g.MinSamples, model.DefaultComparisonSamples); few != "" {
		return model.VerdictInconclusive, "of the nodes not yet moved: " + few
	}
	percentile, slack := g.Percentile, g.Slack
	if percentile == 0 {
		percentile = model.DefaultPercentile
	}
	if slack == 0 {
		slack = model.DefaultSlack
	}
	ours, theirs := moved.latency.Percentile(percentile), others.latency.Percentile(percentile)
	most := max(theirs+time.Duration(g.MaxIncrease*float64(theirs)), theirs+slack)
	detail := fmt.Sprintf("%.4g %% of %d requests of the moved nodes were answered within %s, and of %d of the others within %s; the most allowed is %s",
		percentile, moved.latency.Count(), roughly(ours), others.latency.Count(), roughly(theirs), roughly(most))
	if ours > most {
		return model.VerdictFail, detail
	}
	if moved.untimed > 0 {
		return model.VerdictInconclusive, fmt.Sprintf("%s of %d did not say of any request how long it took: it was answered just now, or the buckets of its Envoy's histograms do not reach a minute",
			plural(moved.untimed, "node"), moved.nodes)
	}
	return moved.measuredAll(detail)
}

// roughly is a time to as many digits as an estimate is worth.
func roughly(d time.Duration) time.Duration {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(100 * time.Microsecond)
}
