package agent

import (
	"fmt"
	"time"

	"github.com/waft-project/waft/envoy"
)

// Times of the state machine.
const (
	// swapLimit is how long Envoy may take to say something about a chain in its slots, and startLimit from its start to
	// serving; for large chains it is loadLimit. Loading blocks Envoy for seconds per module, and longer on a busy machine.
	swapLimit  = 2 * time.Minute
	startLimit = 2 * time.Minute
	// answerLimit is how long an Envoy that serves may leave the agent without an answer; for large chains it is loadLimit, too. Its main thread
	// hangs then: no watchdog ends it, and it takes no chain any more.
	answerLimit = time.Minute
	// answerTries is how many readings must have failed meanwhile: an agent that was stopped itself, and goes on, has not asked for long.
	answerTries = 3
	// hangLimit is for how long a worker may hang before the agent ends Envoy: several of its rounds, and longer than its own watchdog waits,
	// which before 1.38 ends nothing.
	hangLimit = 15 * time.Second
)

// hostState is how Envoy itself is.
type hostState int

const (
	// down: it does not run, or does not answer.
	down hostState = iota
	// starting: it was started and does not serve yet, or it is run by others and was not asked yet.
	starting
	// up: it answers and is ready.
	up
)

// step is where on its way a chain is, in the words of reports.
type step string

const (
	stepFetch step = "fetch"
	stepTrust step = "trust"
	// stepSecrets: what its configurations name as secrets is put into them.
	stepSecrets step = "secrets"
	stepProbe   step = "probe"
	stepLoad    step = "load"
	stepSwap    step = "swap"
	stepServe   step = "serve"
)

// trial is a chain that was put into the slots and is not good yet.
type trial struct {
	chain *chain
	// since it is in the slots.
	since time.Time
	// epoch of the Envoy that it was given to; 0 when it has not been given to one since the agent started.
	epoch int
	// before is the last observation before that; the zero value when Envoy started with it.
	before observation
	// from is the chain that was in the slots, and proved to serve; nil: it is not known.
	from *chain
	// same are the slots in which Envoy sees no difference to the chain that was there and served.
	same map[string]bool
	// inherited is that of an earlier life of the agent; see pending.
	inherited inheritance
	// proved is when Envoy was seen to serve it, with atProof; zero: not yet.
	proved  time.Time
	atProof observation
	// counted is a first observation countTime after atProof: by then the filters' counters show all that the chain before has counted.
	// The zero value: there is none yet.
	counted observation
}

// refusal is a failure of a chain that need not come again: it is tried again at until.
type refusal struct {
	step   step
	reason string
	until  time.Time
}

// situation is everything that decides what to do next.
type situation struct {
	now time.Time
	// parent: the agent starts Envoy itself.
	parent bool
	// desired is what the node is to run, good its last-known-good, formerly the one before; nil where there is none. leftOut says why desired is without a
	// filter.
	desired, good, formerly *chain
	leftOut                 string
	trial                   *trial
	// slots that this Envoy has for the serving chain.
	slots []string
	// upSince is since when an Envoy run by others runs, with those that it took over from by hot restarts; zero: not known.
	upSince time.Time
	// build of Envoy; empty while it is not known. blocked says why this Envoy can be given nothing; empty: it can.
	build, blocked string
	// misfit says why the desired chain does not fit the slots of this Envoy; empty: it does.
	misfit string
	// have says whether a module is on disk, verified.
	have map[string]bool
	// trust is what the node's policy says of the desired chain.
	trust judgement
	// unfilled: the desired chain is as it came, because the secrets that it names are not known. lacksSecret says why; empty: not yet. Where desired is what runs already,
	// with the secrets that it has, lacksSecret says why it has no newer ones.
	unfilled    bool
	lacksSecret string
	// spoilt says why desired is what the node has, and not the chain with the new values of its secrets; empty: it has no other. See spoilt.
	spoilt string
	// verdict of the probe on the desired chain; nil: not probed. probeAfter: not before.
	verdict    *envoy.Verdict
	probeAfter time.Time
	// refusal of the desired chain; nil: none.
	refusal *refusal
	// lapsed is of the chain that lapsed last; nil: none has.
	lapsed *lapsed
	// awaited: it is not known yet what has become of a chain that an earlier life of the agent has given Envoy; see attempt.
	awaited bool
	// preloads: Envoy has a slot for loading beforehand. loaded is the hash of the chain that was.
	preloads bool
	loaded   string
	// slotOnly: the bootstrap is not the agent's, so it is not the agent's to keep Envoy from listening before there is a chain.
	slotOnly bool
	host     hostState
	// startAfter: Envoy is not started before. startedAt is when it was last.
	startAfter, startedAt time.Time
	// seen is the newest observation.
	seen observation
	// damagedSlot is a slot's file that is not what was written to it; empty: there is none.
	damagedSlot string
	// trouble is what this machine does not allow; empty: it allows what was decided last.
	trouble string
	// astraySince is since when astray holds; zero: it does not.
	astraySince time.Time
	// trialTime is how long a trial takes.
	trialTime time.Duration
}

// kind of an action.
type kind int

const (
	// wait for something to happen, or for action.until.
	wait kind = iota
	// start Envoy with the chain. It is a trial unless it is the good one.
	start
	// restart ends an Envoy that does not come up, or does not answer any more; the next decision starts another.
	restart
	// probe the chain. Takes time; other decisions go on.
	probe
	// load the chain's modules beforehand. Takes time; other decisions go on.
	load
	// swap puts the chain into the slots.
	swap
	// accept notes that the trial is proved to serve.
	accept
	// promote makes the trial the good chain.
	promote
	// revert puts the good chain back in the trial's place.
	revert
	// lapse puts the good chain in the place of a trial of an earlier life of the agent, of which nothing is said: it may be tried again, the first time at once.
	lapse
	// place puts the first chain into the slots for an Envoy that cannot start without.
	place
	// restore writes the good chain into the slots again, where Envoy does not say that it has it, or a file is damaged.
	restore
)

// action is a decision.
type action struct {
	kind  kind
	chain *chain
	// step and reason say why, for revert, and reason for restart and lapse; rejected: Envoy refused the chain, and its log says why.
	step     step
	reason   string
	rejected bool
	// until bounds a wait; zero: until something happens.
	until time.Time
}

// goesBack says whether without the action Envoy would be left without the good chain.
func (a action) goesBack(s situation) bool {
	switch a.kind {
	case start, revert, lapse, restore:
		return true
	case swap:
		return a.chain.is(s.good)
	}
	return false
}

// later adds a time at which to decide again.
func (a action) later(at time.Time) action {
	if a.until.IsZero() || !at.IsZero() && at.Before(a.until) {
		a.until = at
	}
	return a
}

// decide is the state machine of the agent: what to do next. It is pure. The order is that of urgency: what was just
// put into the slots, then an Envoy that does not run, then what the node is to run.
func decide(s situation) action {
	tried := decideTrial(s)
	if tried.kind == promote && s.trouble != "" { // it cannot be kept, and Envoy is watched meanwhile
		if hosted := decideHost(s); hosted.kind != wait {
			return hosted
		}
	}
	if tried.kind != wait || s.trial != nil && s.trial.epoch != 0 && s.trial.proved.IsZero() {
		return tried
	}
	hosted := decideHost(s)
	if hosted.kind != wait {
		return hosted
	}
	strayed := decideAstray(s)
	if strayed.kind != wait {
		return strayed
	}
	return decideDesired(s).orLater(tried.until).orLater(hosted.until).orLater(strayed.until).orLater(s.trust.until)
}

// restoreDelay is for how long Envoy must not say that it has the good chain before that is written again: it takes a moment to read a file.
const restoreDelay = 5 * time.Second

// astray says whether the slots' files should hold the good chain alone, and do not, or whether Envoy is up and does not have it.
func (s situation) astray() bool {
	return s.good != nil && s.trial == nil && (s.damagedSlot != "" || s.host == up && s.seen.ready && !s.seen.serves(s.slots, s.good.version()))
}

// decideAstray has the good chain written again: for an Envoy that started on the default of its bootstrap, and for one that will read the files. One
// whose bootstrap has no default waits for them, and is not up.
func decideAstray(s situation) action {
	if s.astraySince.IsZero() {
		return action{}
	}
	if at := s.astraySince.Add(restoreDelay); s.now.Before(at) {
		return action{until: at}
	}
	return action{kind: restore, chain: s.good}
}

// orLater is later for a wait; other actions are done at once.
func (a action) orLater(at time.Time) action {
	if a.kind != wait || at.IsZero() {
		return a
	}
	return a.later(at)
}

// decideTrial judges the chain that is in the slots and is not good yet.
func decideTrial(s situation) action {
	t := s.trial
	if t.pending() {
		return decideInherited(s)
	}
	if t == nil || t.epoch == 0 {
		return action{}
	}
	at := stepServe
	if t.proved.IsZero() {
		at = stepSwap
	}
	back := func(reason string) action { return action{kind: revert, chain: t.chain, step: at, reason: reason} }
	// Whoever starts it again must find the good chain in the slots.
	if s.host == down || s.seen.epoch > t.epoch {
		return back("Envoy ended while it ran this chain")
	}
	if t.proved.IsZero() {
		limit := t.since.Add(t.chain.loadLimit(swapLimit))
		switch prove(t.chain.version(), s.slots, t.same, t.before, s.current(t.epoch)) {
		case proved:
			return action{kind: accept, chain: t.chain}
		case refused:
			rejected := back("Envoy rejected it")
			rejected.rejected = true
			return rejected
		case hung:
			return back("a worker of Envoy hangs since it was given this chain")
		}
		if !s.now.Before(limit) {
			return back(fmt.Sprintf("Envoy did not take it into use within %s", t.chain.loadLimit(swapLimit)))
		}
		return action{until: limit}
	}
	switch seen := s.current(t.epoch); {
	case seen.hangs > t.atProof.hangs:
		return back("a worker of Envoy hangs since it serves this chain")
	case !t.counted.at.IsZero() && seen.at.After(t.counted.at) && bypassed(t.chain, t.counted, seen):
		return back(fmt.Sprintf("%d requests completed and filter %s counted none of them", seen.settled-t.counted.requests, t.chain.Filters[0].Name))
	}
	// Where there is nothing to go back to, what serves is the best there is. And what was good before has shown it: the node was taken back to it, and
	// an Envoy that ends now must not bring back what it was taken away from.
	if end := t.proved.Add(s.trialTime); s.good != nil && !t.chain.is(s.formerly) && s.now.Before(end) {
		return action{until: end}
	}
	return action{kind: promote, chain: t.chain}
}

// current is the newest observation of one life of Envoy; the zero value when there is none.
func (s situation) current(epoch int) observation {
	if s.seen.epoch != epoch {
		return observation{epoch: epoch}
	}
	return s.seen
}

// decideHost starts an Envoy that should run and does not.
func decideHost(s situation) action {
	if !s.parent {
		return action{}
	}
	serve := s.good
	if s.trial != nil {
		serve = s.trial.chain
	}
	switch s.host {
	case starting:
		if limit := s.startedAt.Add(serve.loadLimit(startLimit)); s.now.Before(limit) {
			return action{until: limit}
		}
		return action{kind: restart, reason: "Envoy did not come up"}
	case up:
		// The chain that it may be loading is not known to be small.
		if limit := max(serve.loadLimit(answerLimit), s.desired.loadLimit(answerLimit)); s.seen.failed >= answerTries && s.now.Sub(s.seen.at) >= limit {
			return action{kind: restart, reason: fmt.Sprintf("Envoy has not answered for %s", s.now.Sub(s.seen.at).Round(time.Second))}
		}
		if s.seen.hung() && s.seen.at.Sub(s.seen.hungSince) >= hangLimit {
			return action{kind: restart, reason: fmt.Sprintf("a worker of Envoy has hung for %s, and Envoy's own watchdog does not end it",
				s.seen.at.Sub(s.seen.hungSince).Round(time.Second))}
		}
	case down:
		if serve == nil || !s.hasModules(serve) {
			return action{} // there is nothing to serve yet
		}
		if s.now.Before(s.startAfter) {
			return action{until: s.startAfter}
		}
		return action{kind: start, chain: serve}
	}
	return action{}
}

// decideDesired takes the desired chain one step further.
func decideDesired(s situation) action {
	d := s.desired
	if s.trial.pending() || s.awaited {
		return action{} // it is not known yet what runs
	}
	if d == nil || d.is(s.running()) || s.blocked != "" || s.misfit != "" || s.build == "" {
		return action{}
	}
	// Before the probe, which gives its modules to an Envoy, too. What runs, and what a failed trial goes back to, is not asked about: a node
	// is never left without.
	if s.trust.state != trusted {
		return action{}
	}
	if s.unfilled {
		return action{} // who reads them says when they are there
	}
	if s.verdict != nil && s.verdict.Outcome == envoy.Rejected {
		return action{}
	}
	if s.refusal != nil && s.now.Before(s.refusal.until) {
		return action{until: s.refusal.until}
	}
	if s.lapsed.holds(d, s.now) && !d.is(s.good) {
		return action{until: s.lapsed.Until}
	}
	if !s.hasModules(d) {
		return action{} // the fetcher says when it has them
	}
	// What has been good was probed when it came.
	if s.verdict == nil && !d.is(s.good) {
		if s.now.Before(s.probeAfter) {
			return action{until: s.probeAfter}
		}
		return action{kind: probe, chain: d}
	}
	switch {
	case s.parent && s.host == down && s.good == nil && s.trial == nil:
		if s.now.Before(s.startAfter) {
			return action{until: s.startAfter}
		}
		return action{kind: start, chain: d}
	case s.slotOnly && s.host == down && s.good == nil && (s.trial == nil || s.trial.epoch == 0):
		return action{kind: place, chain: d}
	case s.host != up:
		return action{}
	case s.preloads && s.loaded != d.version() && !d.is(s.good): // back to the good chain the short way
		return action{kind: load, chain: d}
	case s.trial != nil && s.trial.chain.Hash != d.Hash && !d.is(s.good):
		// What the node had is what it goes back to, however short its trial was. The same chain with other values of its secrets begins its trial anew.
		return action{kind: promote, chain: s.trial.chain}
	}
	return action{kind: swap, chain: d}
}

// running is the chain that is in the slots.
func (s situation) running() *chain {
	if s.trial != nil {
		return s.trial.chain
	}
	return s.good
}

func (s situation) hasModules(c *chain) bool {
	for _, f := range c.Filters {
		if !s.have[f.Digest] {
			return false
		}
	}
	return true
}
