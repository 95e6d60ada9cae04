package store

import (
	"fmt"
	"maps"
	"slices"

	"github.com/waft-project/waft/distributor/model"
)

// rolloutValue is a rollout as it is stored. A rollout of a large fleet is written many times in each wave, and its nodes mostly say the same: their
// progress is kept as runs of like nodes, and what an undo restores by release. Nodes and Restore of the rollout itself are then empty; values of
// schema version 1 have them instead.
type rolloutValue struct {
	model.Rollout
	// Progress are the distinct ones.
	Progress []model.NodeProgress `json:"progress,omitempty"`
	// Runs are over the nodes of the waves in their order, each where it comes first, and then those of Others, sorted.
	Runs   []run    `json:"runs,omitempty"`
	Others []string `json:"others,omitempty"`
	// Restores is Restore.
	Restores []restored `json:"restores,omitempty"`
}

// run is how many nodes in a row have a progress, by its index, and that index; notHeld where they have none.
type run [2]int

const notHeld = -1

// restored are the nodes, sorted, that get a release back.
type restored struct {
	Release model.ReleaseID `json:"release"`
	Nodes   []string        `json:"nodes"`
}

// pack makes the value of a rollout, which it shares and does not change.
func pack(r model.Rollout) rolloutValue {
	v := rolloutValue{Rollout: r}
	v.Nodes, v.Restore = nil, nil
	if len(r.Nodes) > 0 {
		order, in := inWaves(r.Waves)
		for id := range r.Nodes {
			if _, there := in[id]; !there {
				v.Others = append(v.Others, id)
			}
		}
		slices.Sort(v.Others)
		known := map[model.NodeProgress]int{}
		for _, id := range slices.Concat(order, v.Others) {
			p, held := r.Nodes[id]
			if n := len(v.Runs); n > 0 {
				if last := &v.Runs[n-1]; !held && last[1] == notHeld || held && last[1] != notHeld && v.Progress[last[1]] == p {
					last[0]++
					continue
				}
			}
			at := notHeld
			if held {
				var seen bool
				if at, seen = known[p]; !seen {
					at, known[p] = len(v.Progress), len(v.Progress)
					v.Progress = append(v.Progress, p)
				}
			}
			v.Runs = append(v.Runs, run{1, at})
		}
	}
	by := map[model.ReleaseID]int{}
	for _, id := range slices.Sorted(maps.Keys(r.Restore)) {
		release := r.Restore[id]
		at, seen := by[release]
		if !seen {
			at, by[release] = len(v.Restores), len(v.Restores)
			v.Restores = append(v.Restores, restored{Release: release})
		}
		v.Restores[at].Nodes = append(v.Restores[at].Nodes, id)
	}
	return v
}

// unpack is the rollout of a value. The error says what is damaged.
func (v rolloutValue) unpack() (model.Rollout, error) {
	r := v.Rollout
	if len(v.Runs) > 0 {
		order, _ := inWaves(r.Waves)
		order = append(order, v.Others...)
		r.Nodes = make(map[string]model.NodeProgress, len(order))
		for _, run := range v.Runs {
			count, at := run[0], run[1]
			if count < 1 || count > len(order) || at < notHeld || at >= len(v.Progress) {
				return model.Rollout{}, fmt.Errorf("a run of %d nodes with progress %d does not fit the %d nodes and %d progresses that are left", count, at, len(order), len(v.Progress))
			}
			if at != notHeld {
				for _, id := range order[:count] {
					r.Nodes[id] = v.Progress[at]
				}
			}
			order = order[count:]
		}
		if len(order) > 0 {
			return model.Rollout{}, fmt.Errorf("%d nodes are in no run", len(order))
		}
	}
	for _, given := range v.Restores {
		if r.Restore == nil {
			r.Restore = map[string]model.ReleaseID{}
		}
		for _, id := range given.Nodes {
			r.Restore[id] = given.Release
		}
	}
	return r, nil
}

// inWaves are the nodes of waves in their order, each once: a wave may widen what an earlier one gave to a part of the requests.
func inWaves(waves []model.WaveState) (order []string, in map[string]struct{}) {
	total := 0
	for _, w := range waves {
		total += len(w.Nodes)
	}
	order, in = make([]string, 0, total), make(map[string]struct{}, total)
	for _, w := range waves {
		for _, id := range w.Nodes {
			if _, again := in[id]; !again {
				in[id] = struct{}{}
				order = append(order, id)
			}
		}
	}
	return order, in
}

func encodeRollout(r model.Rollout) (string, error) { return encode("rollout/"+r.Name, pack(r)) }

func decodeRollout(key string, value []byte) (model.Rollout, error) {
	var v rolloutValue
	if err := decode(key, value, &v); err != nil {
		return model.Rollout{}, err
	}
	r, err := v.unpack()
	if err != nil {
		return model.Rollout{}, fmt.Errorf("the value of %s is damaged: %w", key, err)
	}
	return r, nil
}
