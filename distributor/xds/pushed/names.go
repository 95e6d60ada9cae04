package pushed

import (
	"slices"
	"strings"

	"github.com/waft-project/waft/envoy"
)

// Names of statistics that gates read, beside those of envoy.
const (
	manager       = "http." + envoy.DefaultStatPrefix + "."
	completedStat = manager + "downstream_rq_completed"
	errorsStat    = manager + "downstream_rq_5xx"
	begunStat     = manager + "downstream_rq_total"
	idleStat      = manager + "downstream_rq_idle_timeout"
	timeStat      = manager + "downstream_rq_time"

	slotPrefix  = "extension_config_discovery.http_filter." + envoy.SlotName + "."
	versionStat = slotPrefix + "version"
	reloadStat  = slotPrefix + "config_reload"

	uptimeStat   = "server.uptime"
	memoryStat   = "server.memory_physical_size"
	workerPrefix = "server.worker_"
	missSuffix   = ".watchdog_miss"
	hangSuffix   = ".watchdog_mega_miss"

	wasmPrefix    = "wasm."
	vmsStat       = "wasm.envoy.wasm.runtime.v8.active"
	reloadSuffix  = ".vm_reload_success"
	failureSuffix = ".vm_reload_failure"
	seenPrefix    = "wasmcustom.waft.requests."
	panicsPrefix  = "wasmcustom.waft.panics."
)

// Labels into which Envoy takes parts of names apart where it emits tags as labels.
const (
	managerLabel = "envoy.http_conn_manager_prefix"
	classLabel   = "envoy.response_code_class"
	workerLabel  = "envoy.worker_id"
	cohortLabel  = "cohort"
)

// maxNameBytes bounds the name of a statistic that is looked at; those that are read are shorter.
const maxNameBytes = 512

// readable says whether a family of that name can be one that is read, with tags in its name or without. It is asked of every family of a message.
func readable(name string, asked []string) bool {
	if len(name) > maxNameBytes {
		return false
	}
	switch {
	case strings.HasPrefix(name, "http."):
		rest := name[len("http."):]
		if strings.HasPrefix(rest, "downstream_rq_") || strings.HasPrefix(rest, envoy.DefaultStatPrefix+".downstream_rq_") {
			return true
		}
	case strings.HasPrefix(name, "server."):
		if name == uptimeStat || name == memoryStat || strings.HasSuffix(name, missSuffix) || strings.HasSuffix(name, hangSuffix) {
			return true
		}
	case strings.HasPrefix(name, slotPrefix), strings.HasPrefix(name, "waft."), strings.HasPrefix(name, seenPrefix), strings.HasPrefix(name, panicsPrefix):
		return true
	case strings.HasPrefix(name, wasmPrefix):
		if name == vmsStat || strings.HasSuffix(name, reloadSuffix) || strings.HasSuffix(name, failureSuffix) {
			return true
		}
	}
	return slices.Contains(asked, name)
}

// wanted says whether a statistic is read, by its full name.
func wanted(name string, asked []string) bool {
	switch name {
	case completedStat, errorsStat, begunStat, idleStat, timeStat, versionStat, reloadStat, uptimeStat, memoryStat, vmsStat, envoy.RequestsStat, envoy.DeniedStat:
		return true
	}
	for _, prefix := range []string{seenPrefix, panicsPrefix} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	for _, stat := range []string{envoy.CohortRequestsStat, envoy.CohortErrorsStat, envoy.CohortDeniedStat, envoy.CohortStuckStat, envoy.CohortTimeStat} {
		if strings.HasPrefix(name, stat+envoy.CohortTag) {
			return true
		}
	}
	ends := func(suffixes ...string) bool {
		return slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(name, s) })
	}
	return strings.HasPrefix(name, workerPrefix) && ends(missSuffix, hangSuffix) || strings.HasPrefix(name, wasmPrefix) && ends(reloadSuffix, failureSuffix) ||
		slices.Contains(asked, name)
}

// fullName is the name that a statistic has in Envoy, given what it has without its tags, and those. Only what gates of themselves read is put together
// again: where the parts of another name stood, nobody says.
func fullName(name string, labels map[string]string) string {
	if prefix := labels[managerLabel]; prefix != "" {
		if rest, ok := strings.CutPrefix(name, "http."); ok {
			if class := labels[classLabel]; class != "" {
				rest = strings.TrimSuffix(rest, "xx") + class + "xx"
			}
			return "http." + prefix + "." + rest
		}
	}
	if cohort, has := labels[cohortLabel]; has && strings.HasPrefix(name, "waft.") {
		return name + envoy.CohortTag + cohort
	}
	if worker := labels[workerLabel]; worker != "" {
		if rest, ok := strings.CutPrefix(name, "server."); ok {
			return workerPrefix + worker + "." + rest
		}
	}
	return name
}
