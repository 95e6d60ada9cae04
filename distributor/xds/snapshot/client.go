package snapshot

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/waft-project/waft/envoy"
)

// How long a cluster is kept that nothing refers to any more. A request that has chosen its route looks the cluster up later, when its filters are through.
const (
	// RemovalPause is that after Envoy has accepted what stopped referring to it.
	RemovalPause = 5 * time.Second
	// DrainTime is for how long the connections of a listener that was replaced or removed go on with the routes that stand in it: Envoy's default for
	// --drain-time-s. Routes that it asked for by name are seen to go.
	DrainTime = 600 * time.Second
)

// maxRefusals is how many rejected resources are remembered of a node.
const maxRefusals = 256

// maxAwaited is how much is remembered of what clusters may be waiting for that were sent over streams which ended.
const maxAwaited = 4096

// Client is what is known of one Envoy: what it asks for, what it holds, and what it was sent and has not answered yet. The zero value is one that has not asked
// for anything. What it holds outlives the stream; see Reset.
type Client struct {
	// incremental: what is in a response is a change, and what is not in it stays (delta). Else a response of clusters or listeners is all of them.
	incremental bool
	target      *Snapshot
	of          [Kinds]side
	refused     []Refusal
	// drains are clusters that stand in listeners which were replaced or removed, with the time until which their connections may go on.
	drains map[string]time.Time
	// stranger is when it came last with what another server gave it, whose listeners may be draining; zero: it did not.
	stranger time.Time
	// awaited is what clusters refer to that it may have been sent over the stream before, and may be waiting for.
	awaited []*Resource
	// settled is since when nothing is left to do but to remove clusters; zero: something is.
	settled time.Time
	wake    time.Time
}

// side is a kind as the client sees it.
type side struct {
	// asked: it has asked for the kind on this stream. names are those that it asks for, of kinds that are asked for by name.
	asked bool
	names map[string]bool
	// held is what it has accepted, by name, and version what that is together. It is not changed in place.
	held    map[string]*Resource
	version string
	// claimed is the version that it said it holds of a kind when it connected, while what that is is not known yet.
	claimed string
	// maybe are names of resources that it may hold: they were in a response that it rejected because of another.
	maybe map[string]bool
	// again are resources to be sent although it holds them.
	again map[string]bool
	// pending is the offer that waits for its answer.
	pending *Offer
	// lost is an offer of the stream before whose answer never came: Envoy may have accepted it.
	lost *Offer
	// limit is how many changes the next offer may have; 0: any number.
	limit int
}

// Refusal is a resource that Envoy rejected, in a version, with Envoy's words.
type Refusal struct {
	Kind                  Kind
	Name, Version, Reason string
}

// Offer is a response, or is to be one.
type Offer struct {
	Kind Kind
	// Resources are those that the response carries. Incremental ones carry changes, others all of the kind where it is asked for as a whole.
	Resources []*Resource
	// Removed are names; only incremental responses have any.
	Removed []string
	// Version is that of all that Envoy holds of the kind once it has accepted this.
	Version string

	changed []*Resource
	// gone are the names that it takes away, after what is held of a kind that is asked for as a whole once it is accepted.
	gone  []string
	after map[string]*Resource
	// with is what its clusters refer to, of the same snapshot: Envoy answers when it has that, though it is to hold something else by then.
	with []*Resource
}

// Gate is what the decision depends on that is decided elsewhere.
type Gate struct {
	// Swapped: the slot holds the filters of the same chain, or Envoy has none yet. Until then neither listeners nor routes are changed: they
	// would be reachable without the filters that they were released with.
	Swapped bool
	// SlotBusy: a response for a slot waits for its answer, and slots are extensions, too.
	SlotBusy bool
}

// Reset begins a new stream: nothing is asked for yet, and nothing is under way. Of what it held before, that counts which it says it still holds.
func (c *Client) Reset(incremental bool) {
	c.incremental, c.settled = incremental, time.Time{}
	for k := range c.of {
		s := &c.of[k]
		if o := s.pending; o != nil {
			s.lost = o
			for _, r := range o.changed {
				if Kind(k) == Endpoints { // a cluster may be waiting for them
					c.sendAgain(Endpoints, r.Name)
				}
			}
		}
		s.asked, s.names, s.pending, s.limit, s.claimed = false, nil, nil, 0, ""
	}
}

// Forget takes that it is a new process, which holds only what it was sent over this stream.
func (c *Client) Forget() {
	for k := range c.of {
		if !c.of[k].asked {
			c.of[k] = side{}
		}
	}
	c.drains, c.awaited, c.stranger = nil, nil, time.Time{}
}

// Claim takes what it says it holds of a kind when it first asks for it on a stream: the version of the whole, or that of each resource where discovery is
// incremental.
func (c *Client) Claim(k Kind, version string, each map[string]string, now time.Time) {
	s := &c.of[k]
	known, sent := s.version, ""
	if s.lost != nil {
		sent = s.lost.Version
	}
	c.claim(k, version, each, now)
	if has := cmp.Or(s.version, s.claimed); k.whole() && has != "" && has != known && has != sent {
		c.stranger = now
	}
}

func (c *Client) claim(k Kind, version string, each map[string]string, now time.Time) {
	s := &c.of[k]
	lost := s.lost
	s.lost = nil
	if k == Clusters && lost != nil {
		c.warm(lost)
		if len(c.awaited) > maxAwaited {
			c.awaited = nil // it goes on without when it has waited for long enough
		}
		c.awaited = append(slices.Clip(c.awaited), lost.with...)
	}
	if k == Listeners && lost != nil {
		c.drain(lost, now)
	}
	if !c.incremental {
		switch {
		case version == "":
			s.held, s.version, s.maybe = nil, "", nil
		case lost != nil && version == lost.Version:
			s.held, s.version = lost.after, version
		case version != s.version:
			s.held, s.version = nil, ""
			if k != Endpoints { // clusters may be waiting for them, whatever it had before
				s.claimed = version
			}
		}
		return
	}
	held := make(map[string]*Resource, len(each))
	for name, version := range each {
		if before := s.held[name]; before != nil && before.Version == version {
			held[name] = before
			continue
		}
		if lost != nil && lost.after[name] != nil && lost.after[name].Version == version {
			held[name] = lost.after[name]
			continue
		}
		if k != Endpoints { // likewise
			held[name] = &Resource{Kind: k, Name: name, Version: version}
		}
	}
	s.held, s.version, s.maybe = held, "", nil
	if len(held) > 0 {
		s.version = versionOf(held)
	}
	c.recognize(k)
}

// recognize finds in the snapshot what is known of the client by version only.
func (c *Client) recognize(k Kind) {
	s := &c.of[k]
	if c.target == nil {
		return
	}
	if s.claimed != "" {
		if all := c.wantedOf(k); versionOf(all) == s.claimed {
			s.held, s.version, s.claimed = all, s.claimed, ""
		}
		return
	}
	var known map[string]*Resource
	for name, r := range s.held {
		if t := c.target.by[k][name]; r.Bytes == nil && t != nil && t.Version == r.Version {
			if known == nil {
				known = maps.Clone(s.held)
			}
			known[name] = t
		}
	}
	if known != nil {
		s.held = known
	}
}

// Unknown says whether it holds clusters or listeners of which only the version is known.
func (c *Client) Unknown() bool { return c.of[Clusters].claimed != "" || c.of[Listeners].claimed != "" }

// HoldsSlot says whether one of the listeners that it holds takes the filters of its chain; maybe: there are, or may be, listeners of which that is not known.
func (c *Client) HoldsSlot() (holds, maybe bool) {
	s := &c.of[Listeners]
	maybe = !s.asked || s.claimed != "" || len(s.maybe) > 0
	for _, r := range s.held {
		holds, maybe = holds || r.takesSlot(), maybe || r.Bytes == nil
	}
	return holds, maybe
}

// Recall takes what it may have been sent before, by another server: a snapshot, or the clusters of that and of the one that it is to hold, on the way from one to the
// other. What has the version that it says it holds is what it holds.
func (c *Client) Recall(before *Snapshot) {
	if c.target == nil {
		return
	}
	for _, k := range [...]Kind{Clusters, Listeners} {
		s := &c.of[k]
		for _, guess := range [...]map[string]*Resource{before.by[k], over(before.by[k], c.target.by[k]), over(c.target.by[k], before.by[k])} {
			if s.claimed != "" && versionOf(guess) == s.claimed {
				s.held, s.version, s.claimed = guess, s.claimed, ""
			}
		}
	}
}

// over is both, where the second goes before the first.
func over(a, b map[string]*Resource) map[string]*Resource {
	both := maps.Clone(a)
	maps.Copy(both, b)
	return both
}

// wantedOf is what it is to hold of a kind as far as it asks for it.
func (c *Client) wantedOf(k Kind) map[string]*Resource {
	if k.whole() {
		return c.target.by[k]
	}
	wanted := map[string]*Resource{}
	for name := range c.of[k].names {
		if r := c.target.by[k][name]; r != nil {
			wanted[name] = r
		}
	}
	return wanted
}

// Asked says whether it has asked for a kind on this stream.
func (c *Client) Asked(k Kind) bool { return c.of[k].asked }

// Ask takes that it asks for a kind: all there is, or those names and no others. What it does not ask for any more it does not hold.
func (c *Client) Ask(k Kind, names []string) {
	s := &c.of[k]
	s.asked = true
	if k.whole() {
		c.recognize(k)
		return
	}
	s.names = make(map[string]bool, len(names))
	for _, name := range names {
		s.names[name] = true
	}
	held := maps.Clone(s.held)
	maps.DeleteFunc(held, func(name string, _ *Resource) bool { return !s.names[name] })
	if len(held) != len(s.held) {
		s.held = held
	}
	maps.DeleteFunc(s.again, func(name string, _ bool) bool { return !s.names[name] })
	maps.DeleteFunc(s.maybe, func(name string, _ bool) bool { return !s.names[name] })
	c.recognize(k)
}

// AskAlso takes that it asks for more names of a kind, and no longer for others. One that it asks for already is sent again.
func (c *Client) AskAlso(k Kind, names, dropped []string) {
	s := &c.of[k]
	if k.whole() {
		s.asked = true
		c.recognize(k)
		return
	}
	gone := make(map[string]bool, len(dropped))
	for _, name := range dropped {
		gone[name] = true
	}
	all := make([]string, 0, len(s.names)+len(names))
	for name := range s.names {
		if !gone[name] {
			all = append(all, name)
		}
	}
	before := len(all)
	var twice []string
	for _, name := range names {
		if s.names[name] && !gone[name] {
			twice = append(twice, name)
		}
		all = append(all, name)
	}
	if len(dropped) > 0 { // what it lets go of and takes again it does not hold meanwhile
		c.Ask(k, all[:before])
	}
	c.Ask(k, all)
	for _, name := range twice {
		c.sendAgain(k, name)
	}
}

// Names is how many names of a kind it asks for.
func (c *Client) Names(k Kind) int { return len(c.of[k].names) }

func (c *Client) sendAgain(k Kind, name string) {
	if c.of[k].again == nil {
		c.of[k].again = map[string]bool{}
	}
	c.of[k].again[name] = true
}

// Aim takes what it is to hold; nil: nothing is sent, whatever it asks for.
func (c *Client) Aim(target *Snapshot) {
	if c.target == target {
		return
	}
	c.target, c.settled = target, time.Time{}
	for k := range c.of {
		c.of[k].limit = 0
		c.recognize(Kind(k))
	}
}

// Next is what to send now; nil: nothing. Who sends it says so by Sent.
func (c *Client) Next(g Gate, now time.Time) *Offer {
	c.wake = time.Time{}
	if c.target == nil {
		return nil
	}
	for k := range Kinds {
		if s := &c.of[k]; s.asked && s.pending == nil && c.mayChange(k, g) {
			if o := c.change(k); o != nil {
				return o
			}
		}
	}
	return c.removal(g, now)
}

// Wake is when Next may give something without anything having happened; zero: never.
func (c *Client) Wake() time.Time { return c.wake }

// mayChange says whether it is the turn of a kind.
func (c *Client) mayChange(k Kind, g Gate) bool {
	switch k {
	case Clusters:
		return true
	case Extensions:
		return !g.SlotBusy && c.mayChange(Secrets, g)
	case Endpoints, Secrets:
		return c.of[Clusters].pending != nil || c.done(Clusters)
	case Listeners:
		return g.Swapped && c.done(Clusters) && c.done(Endpoints) && c.done(Secrets) && c.done(Extensions)
	}
	return g.Swapped && c.done(Clusters) && c.done(Endpoints) && c.done(Listeners)
}

// Made says whether it holds the clusters and what they need, as far as it takes them: filters may call them.
func (c *Client) Made() bool {
	return c.target == nil || !c.of[Clusters].asked && len(c.target.by[Clusters]) == 0 || c.of[Clusters].asked && c.done(Clusters) && c.done(Endpoints) && c.done(Secrets)
}

// done says whether nothing of a kind is to be sent, nor was without an answer.
func (c *Client) done(k Kind) bool { return c.of[k].pending == nil && c.change(k) == nil }

// change is the next offer of a kind that adds or changes, nil for none. Listeners that are not wanted any more go with it; clusters do not.
func (c *Client) change(k Kind) *Offer {
	s := &c.of[k]
	if !s.asked || c.target == nil {
		return nil
	}
	var due []*Resource
	behind := false
	for _, r := range c.wantedNow(k) {
		held := s.held[r.Name]
		switch {
		case !k.whole() && !s.names[r.Name]:
		case held != nil && held.Version == r.Version && !s.again[r.Name]:
		case c.isRefused(r) || !c.ready(r):
			behind = true
			if held != nil && held.Bytes != nil && s.again[r.Name] && !c.isRefused(held) {
				due = append(due, held)
			}
		default:
			due = append(due, r)
		}
	}
	cut := s.limit > 0 && len(due) > s.limit
	if cut {
		due = due[:s.limit]
	}
	var removed []string
	if k == Listeners && !behind && !cut {
		removed = c.stale(k)
	}
	// A kind that is asked for as a whole is answered also with nothing: Envoy waits for that.
	if first := k.whole() && s.version == "" && !behind; len(due) == 0 && len(removed) == 0 && !first {
		return nil
	}
	return c.offer(k, due, removed)
}

// wantedNow is what the client is to be sent of a kind: what it is to hold, and what it has to have before it answers.
func (c *Client) wantedNow(k Kind) []*Resource {
	all, awaited := c.target.list[k], c.awaited
	if pending := c.of[Clusters].pending; pending != nil {
		awaited = append(slices.Clip(awaited), pending.with...)
	}
	var more []*Resource
	for _, r := range slices.Backward(awaited) { // the later ones count
		if r.Kind == k && c.target.by[k][r.Name] == nil && !slices.ContainsFunc(more, func(m *Resource) bool { return m.Name == r.Name }) {
			more = append(more, r)
		}
	}
	return append(slices.Clip(all), more...)
}

// offer is one that changes and removes these.
func (c *Client) offer(k Kind, changed []*Resource, removed []string) *Offer {
	s := &c.of[k]
	after := make(map[string]*Resource, len(s.held)+len(changed))
	maps.Copy(after, s.held)
	for _, r := range changed {
		after[r.Name] = r
	}
	for _, name := range removed {
		delete(after, name)
	}
	o := &Offer{Kind: k, Resources: changed, Version: versionOf(after), changed: changed, gone: removed, after: after}
	if k == Clusters {
		for _, r := range changed {
			for _, n := range r.Needs {
				if kind, is := KindOf(n.URL); is && (kind == Endpoints || kind == Secrets) && c.target.by[kind][n.Name] != nil {
					o.with = append(o.with, c.target.by[kind][n.Name])
				}
			}
		}
	}
	switch {
	case c.incremental:
		o.Removed = removed
	case k.whole():
		o.Resources = sorted(after)
	}
	return o
}

// stale are the names of a kind that the client holds, or may hold, and is not to.
func (c *Client) stale(k Kind) []string {
	s := &c.of[k]
	var names []string
	for name := range s.held {
		if c.target.by[k][name] == nil {
			names = append(names, name)
		}
	}
	for name := range s.maybe {
		if c.target.by[k][name] == nil && s.held[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// ready says whether the client holds what must be there before a resource is. Names that the snapshot does not have are the bootstrap's.
func (c *Client) ready(r *Resource) bool {
	for _, n := range r.Needs {
		switch n.URL {
		case envoy.ClusterURL:
			if r.Kind != Clusters && c.target.by[Clusters][n.Name] != nil && !c.isWarm(n.Name) {
				return false
			}
		case envoy.RouteURL:
			// A listener that comes to be without its routes answers 404.
			if route := c.target.by[Routes][n.Name]; route != nil && c.of[Routes].held[n.Name] == nil && (c.isRefused(route) || !c.ready(route)) {
				return false
			}
		}
	}
	return true
}

// isWarm says whether the client holds a cluster, and its endpoints where these are the snapshot's.
func (c *Client) isWarm(name string) bool {
	held := c.of[Clusters].held[name]
	if held == nil {
		return false
	}
	for _, n := range held.Needs {
		if n.URL == envoy.EndpointsURL && c.target.by[Endpoints][n.Name] != nil && c.of[Endpoints].held[n.Name] == nil {
			return false
		}
	}
	return true
}

// removal is the offer that takes away clusters which nothing refers to any more, when that is so for long enough.
func (c *Client) removal(g Gate, now time.Time) *Offer {
	var stale []string
	if c.of[Clusters].asked {
		stale = c.stale(Clusters)
	}
	if len(stale) == 0 || !g.Swapped || c.Missing(false) != "" || c.isPending() {
		c.settled = time.Time{}
		return nil
	}
	if c.settled.IsZero() {
		c.settled = now
	}
	var gone []string
	for _, name := range stale {
		if c.isNamed(name) {
			continue
		}
		at := c.settled.Add(RemovalPause)
		if until := c.drains[name]; until.After(at) {
			at = until
		}
		if until := c.stranger.Add(DrainTime); !c.stranger.IsZero() && until.After(at) {
			at = until
		}
		if !at.After(now) {
			gone = append(gone, name)
			continue
		}
		if c.wake.IsZero() || at.Before(c.wake) {
			c.wake = at
		}
	}
	if len(gone) == 0 {
		return nil
	}
	return c.offer(Clusters, nil, gone)
}

// isNamed says whether something that the client holds names a cluster, or may.
func (c *Client) isNamed(cluster string) bool {
	for _, k := range [...]Kind{Listeners, Routes, Extensions} {
		if len(c.of[k].maybe) > 0 {
			return true
		}
		for _, r := range c.of[k].held {
			if r.Bytes == nil || slices.ContainsFunc(r.Needs, func(n envoy.Reference) bool { return n.URL == envoy.ClusterURL && n.Name == cluster }) {
				return true
			}
		}
	}
	return false
}

func (c *Client) isPending() bool {
	return slices.ContainsFunc(c.of[:], func(s side) bool { return s.pending != nil })
}

// Sent notes that an offer is under way.
func (c *Client) Sent(o *Offer) {
	s := &c.of[o.Kind]
	s.pending = o
	for _, r := range o.changed {
		delete(s.again, r.Name)
	}
	if o.Kind == Clusters {
		c.warm(o)
	}
}

// warm has the endpoints of the clusters that an offer changes sent again: Envoy waits for them, though it has them.
func (c *Client) warm(o *Offer) {
	for _, r := range o.changed {
		for _, n := range r.Needs {
			if n.URL == envoy.EndpointsURL && c.of[Endpoints].held[n.Name] != nil {
				c.sendAgain(Endpoints, n.Name)
			}
		}
	}
}

// Accept takes an ACK of the pending offer of a kind.
func (c *Client) Accept(k Kind, now time.Time) {
	s := &c.of[k]
	o := s.pending
	if o == nil {
		return
	}
	if k == Listeners {
		c.drain(o, now)
	}
	s.pending, s.version, s.claimed = nil, o.Version, ""
	if k == Clusters {
		c.awaited = nil
	}
	if k.whole() {
		s.held = o.after
	} else { // it may have let go of some meanwhile
		held := maps.Clone(s.held)
		if held == nil {
			held = map[string]*Resource{}
		}
		for _, r := range o.changed {
			if s.names[r.Name] {
				held[r.Name] = r
			}
		}
		s.held = held
	}
	for _, r := range o.changed {
		delete(s.maybe, r.Name)
	}
	for _, name := range o.gone {
		delete(s.maybe, name)
	}
}

// drain notes the clusters that stand in listeners which an offer replaces or removes.
func (c *Client) drain(o *Offer, now time.Time) {
	maps.DeleteFunc(c.drains, func(_ string, until time.Time) bool { return !until.After(now) })
	for name, before := range c.of[Listeners].held {
		if after := o.after[name]; after == nil || after.Version != before.Version {
			c.drainsFrom(before, now)
		}
	}
}

// drainsFrom notes the clusters that stand in a listener which goes.
func (c *Client) drainsFrom(l *Resource, now time.Time) {
	for _, n := range l.Needs {
		if n.URL != envoy.ClusterURL {
			continue
		}
		if c.drains == nil {
			c.drains = map[string]time.Time{}
		}
		c.drains[n.Name] = now.Add(DrainTime)
	}
}

// Reject takes a NACK of the pending offer of a kind. Of several changes the next offer has the half; the one that is left is refused. What else was in the offer Envoy may
// have taken or not; Reject says whether that is so.
func (c *Client) Reject(k Kind, reason string, now time.Time) (partly bool) {
	s := &c.of[k]
	o := s.pending
	if o == nil {
		return false
	}
	s.pending = nil
	if k == Listeners {
		c.drain(o, now)
	}
	doubt := func(name string) {
		if s.maybe == nil {
			s.maybe = map[string]bool{}
		}
		s.maybe[name] = true
	}
	if len(o.changed) > 0 && len(o.gone) > 0 {
		s.held = maps.Clone(s.held)
		for _, name := range o.gone {
			delete(s.held, name)
			doubt(name)
		}
	}
	switch n := len(o.changed); {
	case n == 0: // there is no point in insisting
		s.held, s.version, s.maybe = o.after, o.Version, nil
	case n == 1:
		s.limit = 0
		r := o.changed[0]
		if held := s.held[r.Name]; s.maybe[r.Name] && held != nil && held.Version != r.Version {
			c.sendAgain(k, r.Name)
		}
		c.refused = append(c.refused, Refusal{Kind: k, Name: r.Name, Version: r.Version, Reason: reason})
		if more := len(c.refused) - maxRefusals; more > 0 {
			c.refused = slices.Clone(c.refused[more:])
		}
	default:
		s.limit = n / 2
		for _, r := range o.changed {
			doubt(r.Name)
			if s.held[r.Name] != nil {
				c.sendAgain(k, r.Name)
			}
			if k == Listeners {
				c.drainsFrom(r, now)
			}
		}
	}
	return len(o.changed) != 1 || len(o.gone) > 0
}

// isRefused says whether a resource was rejected in its version.
func (c *Client) isRefused(r *Resource) bool {
	return slices.ContainsFunc(c.refused, func(f Refusal) bool { return f.Kind == r.Kind && f.Name == r.Name && f.Version == r.Version })
}

// Refused are those of a snapshot that were rejected; nil for none.
func (c *Client) Refused(s *Snapshot) []Refusal {
	if s == nil {
		return nil
	}
	var of []Refusal
	for _, f := range c.refused {
		if r := s.by[f.Kind][f.Name]; r != nil && r.Version == f.Version {
			of = append(of, f)
		}
	}
	return of
}

// Forgive has what was rejected sent again.
func (c *Client) Forgive() { c.refused = nil }

// Missing says what the client does not hold yet of what it is to hold, or holds of listeners beside that; empty for nothing. Clusters that are to be removed do not
// count: nothing names them. assume: of what it has not asked for on this stream it is taken to hold what it is to.
func (c *Client) Missing(assume bool) string {
	if c.target == nil {
		return ""
	}
	for k := range Kinds {
		if s := &c.of[k]; s.asked || !assume {
			if missing := c.missing(k, assume); missing != "" {
				return missing
			}
		}
	}
	return ""
}

func (c *Client) missing(k Kind, assume bool) string {
	s := &c.of[k]
	unanswered := "Envoy has not answered what it was sent of " + k.Collection()
	for _, r := range c.target.list[k] {
		held := s.held[r.Name]
		switch {
		case !s.asked:
			return "Envoy has not asked for " + k.Collection()
		case held != nil && held.Version == r.Version && !s.again[r.Name]:
		case !k.whole() && !s.names[r.Name]:
			return "Envoy has not asked for " + r.key()
		case c.isRefused(r):
			return "Envoy has rejected " + r.key()
		case !c.ready(r):
			return r.key() + " waits for what it refers to"
		case s.pending != nil:
			return unanswered
		default:
			return r.key() + " is to be sent"
		}
	}
	switch {
	case !s.asked || !k.whole():
	case s.version == "" && assume && len(c.target.list[k]) == 0: // one that holds nothing has nothing to say of it
	case s.version == "":
		return unanswered
	case k == Listeners:
		if stale := c.stale(k); len(stale) > 0 {
			return k.Collection() + ":" + stale[0] + " is to be removed"
		}
	}
	return ""
}

// IsPending says whether an offer of a kind waits for its answer.
func (c *Client) IsPending(k Kind) bool { return c.of[k].pending != nil }

// Aims says whether that is what it is to hold.
func (c *Client) Aims(s *Snapshot) bool { return c.target == s }

// HoldsAny says whether the client is known to hold anything.
func (c *Client) HoldsAny() bool {
	return slices.ContainsFunc(c.of[:], func(s side) bool { return len(s.held) > 0 || s.claimed != "" })
}
