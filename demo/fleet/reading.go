package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/waft-project/waft/envoy"
)

// statsWanted selects what a reading holds.
const statsWanted = `^(wasmcustom\.|wasm\.envoy\.wasm\.runtime\.|extension_config_discovery\.|http\.edge\.downstream_rq_|server\.uptime)`

// Reading is what one Envoy's statistics said at one moment.
type Reading struct {
	Counters map[string]int64
}

// Attempts is how often Envoy was offered a chain in the slot that serves, whatever came of it.
func (r Reading) Attempts() int64 {
	return r.Counters[envoy.SlotStats(envoy.SlotName)+".update_attempt"]
}

// Created is how many Wasm VMs Envoy ever made: it rises when a module is loaded in any slot.
func (r Reading) Created() int64 { return r.Counters["wasm.envoy.wasm.runtime.v8.created"] }

// ServerErrors is how many requests the connection manager that holds the slot ever answered with 5xx. Unlike a filter's own
// metrics, which go away with the filter, it stays.
func (r Reading) ServerErrors() int64 { return r.Counters["http.edge.downstream_rq_5xx"] }

// SumPrefix adds up the counters whose names start with prefix: a metric with tags is one counter for each combination.
func (r Reading) SumPrefix(prefix string) int64 {
	var sum int64
	for name, value := range r.Counters {
		if len(name) >= len(prefix) && name[:len(prefix)] == prefix {
			sum += value
		}
	}
	return sum
}

// Read asks every Envoy of the fleet.
func (f *Fleet) Read(ctx context.Context) (map[string]Reading, error) {
	out := map[string]Reading{}
	for _, node := range f.nodes {
		stats, err := node.Admin.Stats(ctx, statsWanted)
		if err != nil {
			return nil, fmt.Errorf("%s: read Envoy's statistics: %w", node.ID, err)
		}
		out[node.ID] = Reading{Counters: stats.Values}
	}
	return out, nil
}

// NodesWhere lists, in order, the nodes whose reading fulfils a condition.
func NodesWhere(readings map[string]Reading, holds func(id string, r Reading) bool) []string {
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(readings)) {
		if holds(id, readings[id]) {
			ids = append(ids, id)
		}
	}
	return ids
}
