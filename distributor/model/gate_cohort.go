package model

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// NotByCohort says what a gate cannot tell of the requests of a cohort alone; empty where it judges those, or nothing that is measured on nodes.
func (g GateSpec) NotByCohort() string {
	switch {
	case g.Growth != nil:
		return "an Envoy with two chains takes the memory and the VMs of both"
	case g.Comparison != nil && g.Comparison.Of == ComparedStuck:
		return "of a cohort every request is stuck that has waited long, and of the nodes not yet moved only those that still wait"
	case g.Statistic != nil && !g.Statistic.WholeNode:
		if name := g.Statistic.untold(); name != "" {
			return fmt.Sprintf("%s counts the requests of both chains, as far as its name tells", name)
		}
	}
	return ""
}

// CohortNote is what a person should know of a gate that judges in a wave with a cohort, but more than the cohort's requests; empty for none.
func (g GateSpec) CohortNote() string {
	switch {
	case g.Watchdog != nil:
		return "the gate watchdog sees workers that are late, whichever chain makes them so"
	case g.Statistic != nil && g.Statistic.WholeNode && g.Statistic.untold() != "":
		return "the gate " + g.Name() + " sees both chains"
	}
	return ""
}

// untold is the first statistic of the gate, by alias, that may count requests outside of the cohort; empty for none.
func (g StatisticGate) untold() string {
	for _, alias := range slices.Sorted(maps.Keys(g.Statistics)) {
		if name := g.Statistics[alias]; !ToldByCohort(name) {
			return name
		}
	}
	return ""
}

// ToldByCohort says whether a statistic of Envoy is of a cohort alone, by its name: what access logs count apart for it, and what Envoy and the sdk count for
// filters that only the cohort meets. Metrics that filters define have the same name in both chains.
func ToldByCohort(statistic string) bool {
	switch {
	case strings.HasPrefix(statistic, "waft."):
		return strings.HasSuffix(statistic, CohortSuffix+".in")
	case strings.HasPrefix(statistic, "wasmcustom.waft."):
		return strings.HasSuffix(statistic, CohortSuffix)
	case strings.HasPrefix(statistic, "wasm."):
		return strings.Contains(statistic, CohortSuffix+".")
	}
	return false
}

// validateCohortGates refuses gates in a wave with a cohort that would judge other requests than the cohort's.
func validateCohortGates(object, at string, w WaveSpec) error {
	if w.Cohort == (Cohort{}) {
		return nil
	}
	for i, g := range w.Gates {
		if why := g.NotByCohort(); why != "" {
			next := "put the gate into a wave without a cohort"
			if g.Statistic != nil {
				next = "name statistics of the cohort, such as waft.errors.cohort.in or wasmcustom.waft.requests.NAME.cohort, or say wholeNode: true where both chains may be judged"
			}
			return Invalidf(object, fmt.Sprintf("%s.gates[%d].%s", at, i, g.Name()), next, "a wave with a cohort judges the cohort's requests, and this gate cannot: %s", why)
		}
	}
	return nil
}
