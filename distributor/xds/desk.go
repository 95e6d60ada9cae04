package xds

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/distributor/xds/snapshot"
	"github.com/waft-project/waft/envoy"
)

// memory is what is known of one Envoy from stream to stream. The zero value: nothing.
type memory struct {
	// build is Envoy's; what it rejected counts for that build.
	build string
	// held is the version of the chain in the serving slot; empty: none. chain is that chain, nil where it is not known.
	held  string
	chain *chain
	// last is the chain that it accepted last in the serving slot; nil: not known. A process that starts is given it while its version is refused.
	last *chain
	// has are the modules in its code cache, by digest.
	has codeCache
	// refused are the versions that it rejected for good, the newest last.
	refused []refusal
	// rejections counts the offers that it rejected, from 0 anew at maxAgain.
	rejections int
	// retry is the directive that was followed last.
	retry int64
	// client is what is known of its resources; nil for one that asks for none.
	client *snapshot.Client
	// whole is the version of the chain that it runs all of: its filters, and its resources. Empty also while it has something of another.
	whole string
	// supplied are the versions of the chains that it was sent something of last, by kind.
	supplied [snapshot.Kinds]string
}

type refusal struct{ version, step, reason string }

// slots are which of waft's Envoy asks for. The zero value: none.
type slots struct{ serves, loads bool }

func (s slots) has(name string) bool {
	return s.serves && name == envoy.SlotName || s.loads && name == envoy.PreloadSlotName
}

// codeCache is what is known of a code cache, module by module. There are few: a list is a tenth of a map, in memory and in time.
type codeCache []cached

// cached is what is known of a module in a code cache: when that was last seen, and whether Envoy has loaded it, or has read it, or was only sent it, as somebody
// says.
type cached struct {
	digest       string
	at           time.Time
	loaded, read bool
}

// still says whether it counts.
func (c *cached) still(now time.Time) bool { return now.Sub(c.at) <= fetchKept }

// of is what is known of a module, whether it still counts or not; nil: nothing.
func (c codeCache) of(digest string) *cached {
	for i := range c {
		if c[i].digest == digest {
			return &c[i]
		}
	}
	return nil
}

// notice is what somebody says of a module: that Envoy was sent it, whole; read: and was seen to read it.
type notice struct {
	digest string
	read   bool
}

// desk decides what one Envoy is sent on one stream, and what its answers mean. It does no I/O, and is told what time it is.
//
// A chain goes through these: its fresh filters one more at a time to the slot for loading, where Envoy has one; then all of it to the serving slot. An Envoy
// that starts, and serves nothing yet, is first asked to fetch all the modules, which it accepts at once (RemoteModule.Unfetched): any rejection, of whatever
// slot, ends its wait for a chain, and by Envoy's code it then listens without one, and answers 500.
//
// Each offer to load that Envoy rejects is made again while it may have lacked a module: once for each module that it then fetches, and, where it was not seen to
// have read them, after the pauses of fetchDoubts or startDoubts. After that the version is refused. At once it is refused only if Envoy has loaded all its modules
// before.
//
// An Envoy that serves nothing while its version is refused goes back to the chain that it accepted last; see goal.
type desk struct {
	*memory
	// slots are those that Envoy asks for; preloaded is the version in the one for loading, empty where it is not known.
	slots     slots
	preloaded string
	// asksUntil is when the Envoy has asked for all that it has, on this stream.
	asksUntil time.Time
	// want is what it is to run; nil: nothing yet, so it is sent nothing.
	want *chain
	// ownSlot: a listener of its bootstrap holds the serving slot, though it asks for listeners, too. So it asks for the slot, whatever it holds.
	ownSlot bool
	// unfit says why this Envoy can be given no chain at all.
	unfit   string
	attempt attempt
	// pending is the offer that waits for its answer.
	pending *offer
	// lately are snapshots that the node had before.
	lately []*snapshot.Snapshot
}

// attempt is how far the goal has come.
type attempt struct {
	// of is the version of the goal; empty: there is none.
	of      string
	offered bool
	// fresh are the filters to load, loaded how many of them are.
	fresh  []filter
	loaded int
	// asked: an Envoy that starts was asked to fetch the modules; awaited are those of which that was not seen yet.
	asked   bool
	awaited []string
	// again is when it may be offered next.
	again time.Time
	// blind counts the offers in a row that no fetch came of, doubts those that were rejected although the modules had been fetched.
	blind, doubts int
	// rejected counts the offers of this step that were.
	rejected int
	// notices counts what was said to be fetched, spared the rejections that were put down to that.
	notices, spared int
	// fetched: a module was fetched for this step; refetched: one that Envoy was asked to fetch when it started, once more.
	fetched, refetched bool
	// reason is that of the latest rejection, while it is not believed.
	reason string
}

// offer is a response, or is to be one.
type offer struct {
	slot, version string
	// chain is what it is a part of; nil for one that empties the slot for loading. filters are what is in it.
	chain   *chain
	filters []filter
	// fetch: it is to be fetched, not to be loaded.
	fetch bool
	// again makes an offer after a rejection another one to Envoy; see envoy.RemoteModule.
	again int
	// missing are the digests that Envoy was not known to have when it was made.
	missing []string
}

// emptied is the version of the slot for loading when there is nothing to load.
const emptied = "empty"

// accepted is the reason that stands beside a chain that Envoy has accepted: what the ledger can say without an agent.
const accepted = "Envoy has loaded and accepted it; there is no agent that proves more"

// Steps of an offer, in the words of the ledger.
const (
	stepReceive = "receive"
	stepFetch   = "fetch"
	stepLoad    = "load"
	stepSwap    = "swap"
)

// begin takes what Envoy says it holds, at the start of a stream. One that holds nothing may be a new process, whose code cache is empty.
func (d *desk) begin(build, held string) {
	if d.build != build {
		d.build, d.refused = build, nil
		if d.client != nil {
			d.client.Forgive()
		}
	}
	if held == "" {
		d.has = nil
	}
	d.hold(held)
}

// hold takes what Envoy says is in the serving slot.
func (d *desk) hold(version string) {
	if d.held = version; d.chain != nil && d.chain.hash != version {
		d.chain = nil
	}
	if version != "" && version != d.whole {
		d.whole = ""
	}
	offered := d.attempt
	d.attempt = attempt{}
	d.aim()
	d.attempt.offered = offered.offered && offered.of == d.attempt.of
}

// goal is the chain to bring Envoy to: what it is to run, or, while that is refused and Envoy serves nothing, what it accepted last; it would not listen
// else. nil: neither.
func (d *desk) goal() *chain {
	if d.want == nil {
		return nil
	}
	if _, refused := d.refusalOf(d.want.hash); !refused {
		return d.want
	}
	if d.held != "" || d.last == nil {
		return nil
	}
	if _, refused := d.refusalOf(d.last.hash); refused {
		return nil
	}
	return d.last
}

// aim begins a new attempt if the goal is another. It is called after whatever may change that.
func (d *desk) aim() {
	switch g := d.goal(); {
	case g == nil:
		d.attempt = attempt{}
	case d.attempt.of != g.hash:
		d.attempt = attempt{of: g.hash, fresh: g.fresh(d.chain)}
	}
}

// subscribe takes the slots that Envoy asks for. One that it asks for anew holds nothing.
func (d *desk) subscribe(names []string) {
	asked := slots{serves: slices.Contains(names, envoy.SlotName), loads: slices.Contains(names, envoy.PreloadSlotName)}
	if d.slots.serves && !asked.serves {
		d.hold("")
	}
	if !asked.loads {
		d.preloaded = ""
		d.attempt.loaded, d.attempt.asked = 0, false
	}
	d.slots = asked
}

// assign takes what the node is to run now.
func (d *desk) assign(c *chain, now time.Time) {
	d.want = c
	if c != nil && d.held == c.hash {
		d.chain = c
		if d.client == nil {
			d.last = c
		}
		d.know(c.filters, true, now)
	}
	d.aim()
	if g := d.goal(); g != nil && d.attempt.loaded == 0 {
		d.attempt.fresh = g.fresh(d.chain)
	}
}

// know notes that modules are in the code cache; loaded: Envoy has proved it.
func (d *desk) know(filters []filter, loaded bool, now time.Time) {
	if len(d.has) > len(filters) { // else it has no more than it will
		d.has = slices.DeleteFunc(d.has, func(c cached) bool { return !c.still(now) })
	}
	for i := range filters {
		digest := filters[i].digest
		if c := d.has.of(digest); c != nil {
			before := *c
			if !c.still(now) {
				before = cached{}
			}
			*c = cached{digest: digest, at: now, loaded: loaded || before.loaded, read: before.read}
			continue
		}
		d.has = append(d.has, cached{digest: digest, at: now, loaded: loaded})
	}
}

// known says whether a module is known to be in the code cache.
func (d *desk) known(digest string, now time.Time) bool {
	c := d.has.of(digest)
	return c != nil && c.still(now)
}

// missing are the digests of filters that are not known to be in the code cache.
func (d *desk) missing(filters []filter, now time.Time) []string {
	var missing []string
	for i := range filters {
		if digest := filters[i].digest; !d.known(digest, now) && !slices.Contains(missing, digest) {
			missing = append(missing, digest)
		}
	}
	return missing
}

// fetched takes that Envoy has fetched a module, as somebody says.
func (d *desk) fetched(n notice, now time.Time) {
	g, digest := d.goal(), n.digest
	if g == nil || !slices.ContainsFunc(g.filters, func(f filter) bool { return f.digest == digest }) {
		return
	}
	d.know([]filter{{digest: digest}}, false, now)
	if n.read {
		d.has.of(digest).read = true
	}
	a := &d.attempt
	if a.notices++; a.notices > maxNotices*len(g.filters) {
		return // Envoy does not fetch that often, so somebody else does, and would have it offered for ever
	}
	a.fetched, a.doubts, a.blind = true, 0, 0
	settle := fetchSettle
	if len(a.awaited) > 0 {
		if a.awaited = slices.DeleteFunc(slices.Clone(a.awaited), func(d string) bool { return d == digest }); len(a.awaited) > 0 {
			a.again = now.Add(startPause) // the next is under way
			return
		}
		settle = startSettle
	} else if a.asked {
		a.refetched = true
	}
	if soon := now.Add(settle); a.again.After(soon) {
		a.again = soon
	}
}

// forgive has the version that is wanted offered again although it was refused. Where it is not known yet what is wanted, that is any version.
func (d *desk) forgive() {
	if d.client != nil {
		d.client.Forgive()
	}
	d.refused = slices.DeleteFunc(d.refused, func(r refusal) bool { return d.want == nil || r.version == d.want.hash })
	d.attempt = attempt{}
	d.aim()
}

// refusalOf is why a version was refused; false: it was not.
func (d *desk) refusalOf(version string) (refusal, bool) {
	i := slices.IndexFunc(d.refused, func(r refusal) bool { return r.version == version })
	if i < 0 {
		return refusal{}, false
	}
	return d.refused[i], true
}

func (d *desk) refuse(r refusal) {
	d.refused = append(d.refused, r)
	if n := len(d.refused) - maxRefused; n > 0 {
		d.refused = slices.Clone(d.refused[n:])
	}
	d.aim()
}

// next is what to send now, nil for nothing. Who sends it says so by sent.
func (d *desk) next(now time.Time) *offer {
	if d.pending != nil || d.want == nil || d.unfit != "" {
		return nil
	}
	g := d.goal()
	if g == nil || d.held == g.hash || !d.needsSlot(g) {
		if d.slots.loads && d.preloaded != emptied {
			return &offer{slot: envoy.PreloadSlotName, version: emptied}
		}
		return nil
	}
	a := &d.attempt
	if now.Before(a.again) {
		return nil
	}
	o := &offer{slot: envoy.SlotName, version: g.hash, chain: g, filters: g.filters, again: d.rejections}
	if d.slots.loads && a.loaded < len(a.fresh) {
		// What the steps before have loaded is in it: V8 drops compiled code that nobody uses.
		o.slot, o.filters = envoy.PreloadSlotName, a.fresh[:a.loaded+1]
		o.version = fmt.Sprintf("%s#%d", g.hash, len(o.filters))
	}
	if !d.slots.has(o.slot) || o.slot == envoy.SlotName && !d.made(g) {
		return nil
	}
	o.missing = d.missing(o.filters, now)
	if o.slot == envoy.PreloadSlotName && d.held == "" && !a.asked && a.loaded == 0 {
		if all := d.missing(a.fresh, now); len(all) > 0 {
			o.fetch, o.filters, o.missing = true, a.fresh, all
			o.version = g.hash + "#0"
		}
	}
	return o
}

// sent notes that an offer is under way.
func (d *desk) sent(o *offer) {
	d.pending = o
	if o.chain != nil {
		d.attempt.offered = true
	}
}

// accept takes an ACK of the pending offer.
func (d *desk) accept(now time.Time) {
	o := d.pending
	d.pending = nil
	if o.fetch {
		d.preloaded = o.version
		if a := &d.attempt; a.of == o.chain.hash {
			a.asked, a.awaited, a.again = true, d.left(o, now), now.Add(startSettle)
			if len(a.awaited) > 0 {
				a.again = now.Add(startPause)
			}
		}
		return
	}
	if o.slot != envoy.SlotName || d.want == nil || d.want.hash != o.version { // else assign notes it
		d.know(o.filters, true, now)
	}
	if o.slot == envoy.PreloadSlotName {
		d.preloaded = o.version
		if o.chain != nil && d.attempt.of == o.chain.hash {
			d.attempt = attempt{of: d.attempt.of, offered: true, fresh: d.attempt.fresh, loaded: len(o.filters), asked: d.attempt.asked}
		}
		return
	}
	if d.held, d.chain = o.chain.hash, o.chain; d.held != d.whole {
		d.whole = ""
	}
	if d.client == nil {
		d.last = o.chain
	}
	d.assign(d.want, now)
}

// reject takes a NACK of the pending offer.
func (d *desk) reject(reason string, now time.Time) {
	o := d.pending
	d.pending = nil
	d.rejections = (d.rejections + 1) % maxAgain
	if o.chain == nil {
		d.preloaded = o.version // what is in there serves nothing; there is no point in insisting
		return
	}
	if d.attempt.of != o.chain.hash {
		return // it is not to run any more
	}
	a := &d.attempt
	a.reason = reason
	a.rejected++
	a.asked = a.asked || o.fetch
	left, pauses := d.left(o, now), d.pauses(o, now)
	switch {
	case len(left) < len(o.missing) && a.spared < len(o.filters): // fetched since it was sent
		a.again = now.Add(fetchSettle)
		a.spared++
	case len(left) > 0 && a.blind < len(blindPauses):
		a.again = now.Add(blindPauses[a.blind])
		a.blind++
	case len(left) == 0 && a.doubts < len(pauses):
		a.again = now.Add(pauses[a.doubts])
		a.doubts++
	default:
		step := stepSwap
		switch {
		case len(left) > 0:
			step = stepFetch
			reason += fmt.Sprintf("; no fetch of module %s was seen, see how %s is reached from there", strings.Join(left, ", "), envoy.ModulesCluster)
		case o.slot == envoy.PreloadSlotName:
			step = stepLoad
		}
		a.reason = ""
		d.refuse(refusal{o.chain.hash, step, reason})
	}
}

// pauses are those before the offers that are made although nothing seems to be missing. There is one at least, unless Envoy has loaded all that is offered, or has
// read it and had an offer more since then: that a module was fetched is else only what somebody says.
func (d *desk) pauses(o *offer, now time.Time) []time.Duration {
	a := &d.attempt
	// What was known when it was offered may be too old by now.
	without := func(seen func(c *cached) bool) bool {
		return slices.ContainsFunc(o.filters, func(f filter) bool { c := d.has.of(f.digest); return c == nil || !c.still(now) || !seen(c) })
	}
	switch {
	case a.rejected > 1 && !without(func(c *cached) bool { return c.loaded || c.read }):
		return nil
	case a.fetched && a.asked && !a.refetched:
		return startDoubts[:]
	case a.fetched || without(func(c *cached) bool { return c.loaded }):
		return fetchDoubts[:]
	}
	return nil
}

// left are the digests that an offer's Envoy lacked and lacks still.
func (d *desk) left(o *offer, now time.Time) []string {
	return slices.DeleteFunc(slices.Clone(o.missing), func(digest string) bool { return d.known(digest, now) })
}

// wake is when next may give something without anything having happened; zero: never.
func (d *desk) wake(now time.Time) time.Time {
	if g := d.goal(); d.pending != nil || g == nil || d.held == g.hash || !d.attempt.again.After(now) {
		return time.Time{}
	}
	return d.attempt.again
}

// report is where the node stands.
func (d *desk) report(now time.Time) service.ChainReport {
	r := service.ChainReport{Serving: d.whole}
	if d.client == nil {
		r.Serving = d.held
	}
	if d.want == nil {
		return r
	}
	refused, isRefused := d.refusalOf(d.want.hash)
	a, spoilt := &d.attempt, d.rejected()
	switch {
	case d.unfit != "":
		r.State, r.Step, r.Reason, r.Final = model.ChainRejected, stepReceive, d.unfit, true
	case spoilt != "":
		r.State, r.Step, r.Reason, r.Final = model.ChainRejected, stepResources, spoilt, true
	case d.client != nil && d.lacks(d.want) == "":
		r.State, r.Step, r.Reason = model.ChainLoaded, stepSwap, acceptedAll
	case d.client != nil && d.held == d.want.hash || d.client != nil && a.offered && !isRefused && !d.needsSlot(d.want):
		r.State, r.Step, r.Reason = model.ChainFetched, stepResources, d.lacks(d.want)
	case d.held == d.want.hash:
		r.State, r.Step, r.Reason = model.ChainLoaded, stepSwap, accepted
	case isRefused:
		r.State, r.Step, r.Reason, r.Final = model.ChainRejected, refused.step, refused.reason, true
	case d.client == nil && len(a.fresh) > 0 && a.loaded == len(a.fresh):
		r.State, r.Step, r.Reason = model.ChainLoaded, stepLoad, a.reason
	case a.offered && len(d.missing(d.want.filters, now)) == 0:
		r.State, r.Step, r.Reason = model.ChainFetched, stepFetch, a.reason
	case a.offered:
		r.State, r.Step, r.Reason = model.ChainOffered, stepReceive, a.reason
	default:
		return r // it was said nothing of it yet
	}
	if d.client != nil && r.Reason == "" {
		r.Reason = d.lacks(d.want)
	}
	r.Chain, r.Generation = d.want.hash, d.want.generation
	return r
}
