package agent

import (
	"slices"

	"github.com/waft-project/waft/envoy"
)

// bypassRequests is how many requests must have completed, without the first filter of the chain having counted one of
// them, before the chain counts as bypassed.
const bypassRequests = 50

// proof is what an observation tells about a chain that was put into the slots.
type proof int

const (
	// undecided: Envoy has not said anything about it yet.
	undecided proof = iota
	// proved: every slot says the chain's version, its configuration has reached all workers, nothing was rejected, no worker hangs.
	proved
	// refused: Envoy rejected it.
	refused
	// hung: a worker hangs since.
	hung
)

// prove compares what Envoy says now with what it said before the chain was put into the slots. version_text alone does
// not do: a worker that hangs never gets the configuration that it names. config_reload alone does not either: it rises
// with a rejection, too. A slot whose content is the same takes the version and reloads nothing.
func prove(hash string, slots []string, same map[string]bool, before, now observation) proof {
	if now.hangs > before.hangs {
		return hung
	}
	reached := now.ready
	for _, name := range slots {
		was, is := before.slots[name], now.slots[name]
		if is.rejected > was.rejected {
			return refused
		}
		reached = reached && is.version == hash && (is.reload > was.reload || same[name])
	}
	if !reached {
		return undecided
	}
	return proved
}

// sameSlots are the slots in which Envoy sees no difference between two chains: those differ in what it is not told, such as the artifact that
// a module came in, or in other slots. filters are those that an Envoy before 1.39 has slots for.
func sameSlots(number envoy.Number, filters []string, from, to *chain) map[string]bool {
	if from == nil || to == nil {
		return nil
	}
	alike := func(a, b filter) bool { return a.content() == b.content() }
	if number.HasFilterChain() {
		return map[string]bool{envoy.SlotName: splitsAlike(from, to) && slices.EqualFunc(from.Filters, to.Filters, alike)}
	}
	same := map[string]bool{}
	for _, name := range filters {
		named := func(f filter) bool { return f.Name == name }
		i, j := slices.IndexFunc(from.Filters, named), slices.IndexFunc(to.Filters, named)
		// Where neither has it, nothing stands there in both.
		same[envoy.FilterSlotName(name)] = i < 0 && j < 0 || i >= 0 && j >= 0 && alike(from.Filters[i], to.Filters[j])
	}
	return same
}

// bypassed says whether requests complete without meeting the chain: the first filter, which has a counter, has counted
// none of many, although it had time to; of two chains, neither has. FAIL_OPEN does that, and nothing else in Envoy's statistics tells.
func bypassed(c *chain, since, now observation) bool {
	heads, all := c.heads()
	if !all || now.settled-since.requests < bypassRequests {
		return false
	}
	for _, head := range heads {
		if counted, counts := now.seen[head]; !counts || counted != since.seen[head] {
			return false
		}
	}
	return true
}
