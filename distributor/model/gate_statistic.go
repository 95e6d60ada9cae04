package model

import (
	"maps"
	"slices"
)

// StatisticGate judges statistics of the moved nodes' Envoys, and metrics of their filters, by an expression in CEL.
type StatisticGate struct {
	// Name is what readings call it. Empty: statistic.
	Name string `json:"name,omitempty"`
	// Statistics are those that it needs, counters and gauges, by the names that the expressions give them: orders: wasmcustom.orders_total. The
	// nodes are asked for these and no others.
	Statistics map[string]string `json:"statistics"`
	// Expression must hold. Its variables are nodes, how many were moved, and by name of Statistics: increase, by how much each has risen since
	// the nodes serve the chain, over all of them; value, what it is now, over all of them; and highest, on the node where it is highest.
	Expression string `json:"expression"`
	// Once must hold before Expression is judged, such as increase.orders > 100.0; until then the gate cannot tell. Empty: it is judged at once.
	Once string `json:"once,omitempty"`
	// WholeNode: in a wave with a cohort it is judged although statistics of it are not told apart by cohort (ToldByCohort).
	WholeNode bool `json:"wholeNode,omitempty"`
}

// StatisticReading is what a StatisticGate is judged by.
type StatisticReading struct {
	// Nodes were moved and serve the chain.
	Nodes int
	// Increase, Value and Highest by the names of StatisticGate.Statistics, each of which is in all of them.
	Increase, Value, Highest map[string]float64
}

// StatisticValue is one statistic of one node.
type StatisticValue struct {
	// Value is what it is now, and Increase by how much it has risen since the node serves the chain, across restarts of Envoy, too.
	Value    float64 `json:"value"`
	Increase float64 `json:"increase"`
}

// Statistics are the names of Envoy's statistics that the gates of the waves need, sorted.
func (s RolloutSpec) Statistics() []string {
	names := map[string]struct{}{}
	for _, w := range s.Waves {
		for _, g := range w.Gates {
			if g.Statistic == nil {
				continue
			}
			for _, name := range g.Statistic.Statistics {
				names[name] = struct{}{}
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}
