package rollout

import (
	"fmt"
	"maps"
	"slices"

	"github.com/waft-project/waft/distributor/model"
)

// ReadStatistics gathers what a gate on statistics is judged by, out of a picture of the fleet. Missing says why it cannot be: a node has
// said nothing of the chain yet, or has no such statistic; empty when nothing is. A reading of no nodes is of a release that changes nothing.
func ReadStatistics(r model.Rollout, nodes []NodeView, g model.StatisticGate) (reading model.StatisticReading, missing string) {
	m := machine{state: r, memo: &Memo{}}
	m.see(nodes, nil)
	reading = model.StatisticReading{Increase: map[string]float64{}, Value: map[string]float64{}, Highest: map[string]float64{}}
	aliases := slices.Sorted(maps.Keys(g.Statistics))
	for _, p := range m.patients() {
		stats := &m.view(p.node).Stats
		if stats.Chain != r.Nodes[p.node].Chain {
			return model.StatisticReading{}, p.node + " has not reported yet"
		}
		for _, alias := range aliases {
			v, has := stats.Values[g.Statistics[alias]]
			if !has {
				return model.StatisticReading{}, fmt.Sprintf("%s reports no statistic %s", p.node, g.Statistics[alias])
			}
			reading.Increase[alias] += v.Increase
			reading.Value[alias] += v.Value
			if highest, known := reading.Highest[alias]; !known || v.Value > highest {
				reading.Highest[alias] = v.Value
			}
		}
		reading.Nodes++
	}
	return reading, ""
}
