package pushed

import (
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/waft-project/waft/distributor/model"
)

// Chain is what an Envoy has accepted in its serving slot.
type Chain struct {
	// Hash is its version.
	Hash    string
	Filters []Filter
	// Split: a cohort of the requests takes other filters than the others.
	Split bool
}

// Filter is one filter of a chain, by the name that its statistics have.
type Filter struct {
	ID   string
	Side model.Side
}

// Account is what one Envoy has pushed. The zero value has heard nothing. It may not be used concurrently.
type Account struct {
	// flush is the latest, to which more messages may belong; told: it has been counted.
	flush Reading
	told  bool
	// batched: Envoy sends a flush in several messages, so that one is whole when the next begins.
	batched bool
	// deltas: its counters are those of the interval; totals then adds them up.
	deltas bool
	totals map[string]float64
	uptime float64
	meter  meter
}

// Take takes what was read of one message of a node that has accepted the chain; asked are the names that it was read with. It gives what the chain has
// served, as far as that is known now; false: the message says nothing new of it. The account keeps the reading.
func (a *Account) Take(r Reading, of Chain, asked []string, now time.Time) (model.Statistics, bool) {
	if r.at == 0 {
		return model.Statistics{}, false // there is nothing in it that is read
	}
	if r.at == a.flush.at {
		a.batched = true
		a.flush.join(r)
		return model.Statistics{}, false
	}
	whole, told := a.flush, a.told
	a.flush, a.told = r, false
	if !a.batched {
		whole, told, a.told = r, false, true
	}
	if told || whole.at == 0 {
		return model.Statistics{}, false
	}
	return a.count(whole, of, asked, now)
}

// count takes a whole flush.
func (a *Account) count(r Reading, of Chain, asked []string, now time.Time) (model.Statistics, bool) {
	if up, has := r.values[uptimeStat]; has {
		if up.value < a.uptime { // Envoy has started anew
			a.deltas, a.totals = false, nil
			a.meter.anew()
		}
		a.uptime = up.value
	}
	version, has := r.values[versionStat]
	// It holds what it was told here, unless its answer to that is under way, or what it was told next is.
	current := has && of.Hash != "" && version.value == float64(xxhash.Sum64String(of.Hash))
	if reloads, has := r.values[reloadStat]; has && reloads.value == 0 && current && !a.deltas {
		// As a total it were one at least, since the slot holds a chain.
		a.deltas = true
		a.meter.anew()
	}
	if a.deltas {
		a.add(&r)
	}
	a.meter.watch(r, now)
	if !current {
		return model.Statistics{}, false
	}
	return a.meter.follow(r, of, asked, now), true
}

// add turns the counters of a flush from deltas into totals since the first of them.
func (a *Account) add(r *Reading) {
	if a.totals == nil {
		a.totals = map[string]float64{}
	}
	for name, v := range r.values {
		if !v.counter {
			continue
		}
		if _, has := a.totals[name]; !has && len(a.totals) >= maxRead {
			delete(r.values, name)
			continue
		}
		a.totals[name] += v.value
		r.values[name] = sample{value: a.totals[name], counter: true}
	}
}
