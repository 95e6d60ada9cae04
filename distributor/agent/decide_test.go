package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/envoy"
)

// noon is when the situations of these tests are.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

const (
	goodHash = "sha256:good"
	newHash  = "sha256:new"
	build    = "commit/1.40.0/Clean/RELEASE/BoringSSL"
)

func goodChain() *chain {
	return &chain{Hash: goodHash, Generation: 1, Filters: []filter{{Name: "one", Digest: "a"}}}
}

func newChain() *chain {
	return &chain{Hash: newHash, Generation: 2, Filters: []filter{{Name: "one", Digest: "b"}}}
}

// seeing is an observation of a ready Envoy with a chain in its slot.
func seeing(epoch int, version string, reload, rejected int64) observation {
	return observation{
		at: noon, epoch: epoch, ready: true, seen: map[string]int64{},
		slots: map[string]slotSeen{envoy.SlotName: {version: version, reload: reload, rejected: rejected}},
	}
}

// settled is a node, Envoy's parent, that serves its good chain and was given nothing else.
func settled() situation {
	return situation{
		now: noon, parent: true, desired: goodChain(), good: goodChain(), slots: []string{envoy.SlotName}, build: build,
		have: map[string]bool{"a": true, "b": true}, preloads: true, host: up, seen: seeing(1, goodHash, 1, 0),
		startedAt: noon.Add(-time.Hour), trialTime: 8 * time.Second,
	}
}

// trying is a trial of the new chain that was put into the slots ten seconds ago, in an Envoy that served the good one.
func trying() *trial {
	return &trial{chain: newChain(), since: noon.Add(-10 * time.Second), epoch: 1, before: seeing(1, goodHash, 1, 0)}
}

// onTrial is a trial of the new chain that was proved a second ago.
func onTrial() *trial {
	t := trying()
	t.proved, t.atProof = noon.Add(-time.Second), seeing(1, newHash, 2, 0)
	t.atProof.at = noon.Add(-time.Second)
	t.counted = t.atProof
	return t
}

// inherited is a trial of the new chain of which an earlier life of the agent said, a minute ago, that it was proved.
func inherited() *trial {
	return &trial{chain: newChain(), since: noon.Add(-time.Second), inherited: inheritance{there: true, proved: noon.Add(-time.Minute)}}
}

func TestDecide(t *testing.T) {
	accepted := &envoy.Verdict{Outcome: envoy.Accepted}
	rejected := &envoy.Verdict{Outcome: envoy.Rejected, Reasons: []string{"no"}}
	for _, test := range []struct {
		name   string
		change func(*situation)
		want   kind
		chain  string
		reason string
		until  time.Time
	}{
		// An Envoy that started on the default of its bootstrap.
		{name: "it has not had the time to read its slot", change: func(s *situation) { s.astraySince = noon.Add(-time.Second) }, want: wait, until: noon.Add(restoreDelay - time.Second)},
		{name: "it has had", change: func(s *situation) { s.astraySince = noon.Add(-restoreDelay) }, want: restore, chain: goodHash},
		// What the node is to run.
		{name: "nothing to do", change: func(*situation) {}, want: wait},
		{name: "never given a chain: Envoy is not started", change: func(s *situation) { s.desired, s.good, s.host = nil, nil, down }, want: wait},
		{name: "the chain was taken away: the good one goes on", change: func(s *situation) { s.desired = nil }, want: wait},
		{name: "a new chain waits for its modules", change: func(s *situation) { s.desired, s.have = newChain(), map[string]bool{"a": true} }, want: wait},
		{name: "then it is probed", change: func(s *situation) { s.desired = newChain() }, want: probe, chain: newHash},
		{name: "what the node does not trust is not even probed", change: func(s *situation) { s.desired, s.trust.state = newChain(), distrusted }, want: wait},
		{name: "nor what it cannot judge yet", change: func(s *situation) {
			s.desired, s.trust = newChain(), judgement{state: unjudged, until: noon.Add(time.Second)}
		}, want: wait, until: noon.Add(time.Second)},
		{name: "what is not trusted any more is not loaded", change: func(s *situation) {
			s.desired, s.verdict, s.trust.state = newChain(), accepted, distrusted
		}, want: wait},
		{name: "nor put into the slots", change: func(s *situation) {
			s.desired, s.verdict, s.loaded, s.trust.state = newChain(), accepted, newHash, distrusted
		}, want: wait},
		{name: "nor gone back to when something else was taken into use", change: func(s *situation) {
			s.trial, s.seen, s.trust.state = onTrial(), seeing(1, newHash, 2, 0), distrusted
		}, want: wait, until: noon.Add(7 * time.Second)},
		{name: "what serves is started again, trusted or not", change: func(s *situation) { s.host, s.trust.state = down, distrusted }, want: start, chain: goodHash},
		{name: "a first chain that is not trusted starts no Envoy", change: func(s *situation) {
			s.desired, s.good, s.host, s.verdict, s.trust.state = newChain(), nil, down, accepted, distrusted
		}, want: wait},
		{name: "not before an inconclusive probe may be tried again", change: func(s *situation) { s.desired, s.probeAfter = newChain(), noon.Add(time.Second) }, want: wait, until: noon.Add(time.Second)},
		{name: "a secret of it is missing: wait", change: func(s *situation) { s.desired, s.unfilled = newChain(), true }, want: wait},
		{name: "a secret has another value: it is probed with that", change: func(s *situation) { *s = keyed() }, want: probe, chain: goodHash},
		{name: "a secret is gone: what serves goes on", change: func(s *situation) { *s = keyed(); s.desired, s.lacksSecret = s.good, "no file" }, want: wait},
		{name: "the probe rejects it: never again", change: func(s *situation) { s.desired, s.verdict = newChain(), rejected }, want: wait},
		{name: "the probe accepts it: load", change: func(s *situation) { s.desired, s.verdict = newChain(), accepted }, want: load, chain: newHash},
		{name: "loaded: swap", change: func(s *situation) { s.desired, s.verdict, s.loaded = newChain(), accepted, newHash }, want: swap, chain: newHash},
		{name: "another chain is loaded: load this one", change: func(s *situation) { s.desired, s.verdict, s.loaded = newChain(), accepted, "sha256:other" }, want: load, chain: newHash},
		{name: "no slot for loading: swap", change: func(s *situation) { s.desired, s.verdict, s.preloads = newChain(), accepted, false }, want: swap, chain: newHash},
		{name: "refused lately: wait", change: func(s *situation) {
			s.desired, s.verdict, s.refusal = newChain(), accepted, &refusal{step: stepSwap, until: noon.Add(time.Minute)}
		}, want: wait, until: noon.Add(time.Minute)},
		{name: "refused long ago: again", change: func(s *situation) {
			s.desired, s.verdict, s.refusal = newChain(), accepted, &refusal{step: stepSwap, until: noon}
		}, want: load, chain: newHash},
		{name: "an Envoy of another build: nothing", change: func(s *situation) { s.desired, s.verdict, s.blocked = newChain(), accepted, "another build" }, want: wait},
		{name: "a chain that does not fit the slots: nothing", change: func(s *situation) { s.desired, s.misfit = newChain(), "other slots" }, want: wait},
		{name: "Envoy comes up: the swap waits", change: func(s *situation) {
			s.desired, s.verdict, s.host, s.startedAt = newChain(), accepted, starting, noon
		}, want: wait, until: noon.Add(startLimit)},

		// Envoy itself.
		{name: "Envoy is down: started on the good chain", change: func(s *situation) { s.host = down }, want: start, chain: goodHash},
		{name: "Envoy is down and a new chain is ready: the good one first", change: func(s *situation) { s.host, s.desired, s.verdict = down, newChain(), accepted }, want: start, chain: goodHash},
		{name: "Envoy crashed just now: a pause", change: func(s *situation) { s.host, s.startAfter = down, noon.Add(time.Second) }, want: wait, until: noon.Add(time.Second)},
		{name: "the good chain's module is gone: not started without", change: func(s *situation) { s.host, s.have = down, map[string]bool{} }, want: wait},
		{name: "Envoy does not come up", change: func(s *situation) { s.host, s.startedAt = starting, noon.Add(-startLimit) }, want: restart, reason: "did not come up"},
		{name: "Envoy does not answer for a while", change: func(s *situation) { s.seen.at, s.seen.failed = noon.Add(time.Second-answerLimit), answerTries }, want: wait},
		{name: "the agent did not ask", change: func(s *situation) { s.seen.at, s.seen.failed = noon.Add(-time.Hour), answerTries-1 }, want: wait},
		{name: "Envoy does not answer any more", change: func(s *situation) {
			s.seen.at, s.seen.failed = noon.Add(-goodChain().loadLimit(answerLimit)), answerTries
		}, want: restart, reason: "has not answered for "},
		{name: "it may be loading something large", change: func(s *situation) {
			s.desired, s.verdict, s.loaded, s.seen.at = newChain(), accepted, newHash, noon.Add(-answerLimit)
			s.seen.failed = answerTries
			s.desired.Filters = []filter{{Name: "big", Digest: "a", Size: 1 << 30}}
		}, want: swap, chain: newHash},
		{name: "a worker hangs: Envoy's own watchdog may end it", change: func(s *situation) {
			s.seen.hangs, s.seen.hungSince = 1, noon.Add(time.Second-hangLimit)
		}, want: wait},
		{name: "a worker hangs, and nothing ends it", change: func(s *situation) {
			s.seen.hangs, s.seen.hungSince = 1, noon.Add(-hangLimit)
		}, want: restart, reason: "has hung for 15s"},
		{name: "a worker hung when Envoy was seen last", change: func(s *situation) {
			s.now, s.seen.hangs, s.seen.hungSince = noon.Add(hangLimit), 1, noon.Add(-time.Second)
		}, want: wait},
		{name: "a worker hung once, and goes on", change: func(s *situation) { s.seen.hangs = 1 }, want: wait},
		{name: "others run Envoy, and a worker hangs", change: func(s *situation) {
			s.parent, s.seen.hangs, s.seen.hungSince = false, 1, noon.Add(-time.Hour)
		}, want: wait},
		{name: "others run Envoy, and it does not answer", change: func(s *situation) { s.parent, s.seen.at, s.seen.failed = false, noon.Add(-time.Hour), 99 }, want: wait},
		{name: "the first chain starts Envoy", change: func(s *situation) { s.host, s.good, s.desired, s.verdict = down, nil, newChain(), accepted }, want: start, chain: newHash},
		{name: "the first chain starts Envoy, not before it was probed", change: func(s *situation) { s.host, s.good, s.desired = down, nil, newChain() }, want: probe, chain: newHash},
		{name: "the first chain was refused: nothing is started", change: func(s *situation) {
			s.host, s.good, s.desired, s.verdict, s.refusal = down, nil, newChain(), accepted, &refusal{until: noon.Add(time.Minute)}
		}, want: wait, until: noon.Add(time.Minute)},
		{name: "an empty chain needs no modules", change: func(s *situation) {
			s.host, s.good, s.desired, s.verdict, s.have = down, nil, &chain{Hash: newHash}, accepted, nil
		}, want: start, chain: newHash},
		{name: "the bootstrap is others': it cannot start before there is a chain", change: func(s *situation) {
			s.desired, s.good, s.host, s.parent, s.slotOnly, s.verdict = newChain(), nil, down, false, true, accepted
		}, want: place, chain: newHash},
		{name: "the bootstrap is others', and it was started on the good chain", change: func(s *situation) {
			s.desired, s.host, s.parent, s.slotOnly, s.verdict = newChain(), down, false, true, accepted
		}, want: wait},
		{name: "others run Envoy, and it is down: wait", change: func(s *situation) { s.parent, s.host = false, down }, want: wait},
		{name: "others run Envoy, and it is down: a new chain waits", change: func(s *situation) { s.parent, s.host, s.desired, s.verdict = false, down, newChain(), accepted }, want: wait},
		{name: "the trial of an earlier life is started again", change: func(s *situation) { s.host, s.desired, s.trial = down, newChain(), &trial{chain: newChain()} }, want: start, chain: newHash},

		// The chain in the slots, not proved.
		{name: "no word yet: wait", change: func(s *situation) { s.desired, s.trial = newChain(), trying() }, want: wait, until: noon.Add(-10 * time.Second).Add(swapLimit)},
		{name: "no word yet: another chain waits, too", change: func(s *situation) { s.desired, s.trial = &chain{Hash: "sha256:other"}, trying() }, want: wait, until: noon.Add(-10 * time.Second).Add(swapLimit)},
		{name: "proved", change: func(s *situation) { s.desired, s.trial, s.seen = newChain(), trying(), seeing(1, newHash, 2, 0) }, want: accept, chain: newHash},
		{name: "the version alone proves nothing", change: func(s *situation) { s.desired, s.trial, s.seen = newChain(), trying(), seeing(1, newHash, 1, 0) }, want: wait, until: noon.Add(-10 * time.Second).Add(swapLimit)},
		{name: "config_reload rises with a rejection, too", change: func(s *situation) { s.desired, s.trial, s.seen = newChain(), trying(), seeing(1, goodHash, 2, 1) }, want: revert, chain: newHash, reason: "rejected"},
		{name: "a worker hangs", change: func(s *situation) {
			s.desired, s.trial, s.seen = newChain(), trying(), seeing(1, newHash, 1, 0)
			s.seen.hangs = 1
		}, want: revert, chain: newHash, reason: "hangs"},
		{name: "not ready", change: func(s *situation) {
			s.desired, s.trial, s.seen = newChain(), trying(), seeing(1, newHash, 2, 0)
			s.seen.ready = false
		}, want: wait, until: noon.Add(-10 * time.Second).Add(swapLimit)},
		{name: "too late", change: func(s *situation) {
			s.desired, s.trial = newChain(), trying()
			s.trial.since = noon.Add(-swapLimit)
		}, want: revert, chain: newHash, reason: "within"},
		{name: "Envoy ended", change: func(s *situation) { s.desired, s.trial, s.host = newChain(), trying(), down }, want: revert, chain: newHash, reason: "ended"},
		{name: "Envoy was started anew by others", change: func(s *situation) {
			s.parent, s.desired, s.trial, s.seen = false, newChain(), trying(), seeing(2, newHash, 5, 0)
		}, want: revert, chain: newHash, reason: "ended"},
		{name: "the first start, proved", change: func(s *situation) {
			s.good, s.desired, s.trial, s.seen = nil, newChain(), &trial{chain: newChain(), since: noon, epoch: 1}, seeing(1, newHash, 1, 0)
		}, want: accept, chain: newHash},
		{name: "an observation of the Envoy before proves nothing", change: func(s *situation) {
			s.good, s.desired, s.trial, s.seen, s.host = nil, newChain(), &trial{chain: newChain(), since: noon, epoch: 2}, seeing(1, newHash, 1, 0), starting
		}, want: wait, until: noon.Add(swapLimit)},

		// The chain that an earlier life of the agent had on trial.
		{name: "nobody has asked Envoy yet", change: func(s *situation) {
			s.desired, s.trial, s.host, s.seen, s.startedAt = newChain(), inherited(), starting, observation{}, noon
		}, want: wait, until: noon.Add(-time.Second).Add(swapLimit)},
		{name: "Envoy goes on with it: so does the trial", change: func(s *situation) {
			s.desired, s.trial, s.seen = newChain(), inherited(), seeing(1, newHash, 2, 0)
		}, want: swap, chain: newHash},
		{name: "others' Envoy goes on with it", change: func(s *situation) {
			s.parent, s.upSince, s.desired, s.trial, s.seen = false, noon.Add(-time.Hour), newChain(), inherited(), seeing(1, newHash, 2, 0)
		}, want: swap, chain: newHash},
		{name: "it goes on, and the node is to go back", change: func(s *situation) { s.trial, s.seen = inherited(), seeing(1, newHash, 2, 0) }, want: swap, chain: newHash},
		{name: "nobody kept when it was proved", change: func(s *situation) {
			s.parent, s.upSince, s.desired, s.trial, s.seen = false, noon.Add(-time.Second), newChain(), inherited(), seeing(1, newHash, 2, 0)
			s.trial.inherited.proved = time.Time{}
		}, want: swap, chain: newHash},
		{name: "Envoy was started with it when nobody looked", change: func(s *situation) {
			s.parent, s.upSince, s.desired, s.trial, s.seen = false, noon.Add(-50*time.Second), newChain(), inherited(), seeing(1, newHash, 1, 0)
		}, want: lapse, chain: newHash, reason: "started anew"},
		{name: "it was, and the clock was set back before that", change: func(s *situation) {
			s.parent, s.upSince, s.desired, s.trial, s.seen = false, noon.Add(-30*time.Minute), newChain(), inherited(), seeing(1, newHash, 1, 0)
			s.trial.inherited.in = noon.Add(-time.Hour)
		}, want: lapse, chain: newHash, reason: "started anew"},
		{name: "it was not, and the clock was set back between its start and the proof", change: func(s *situation) {
			s.parent, s.upSince, s.desired, s.trial, s.seen = false, noon.Add(time.Hour), newChain(), inherited(), seeing(1, newHash, 2, 0)
			s.trial.inherited.in = noon.Add(time.Hour - time.Second)
		}, want: swap, chain: newHash},
		{name: "it was not, and the clock was put forward after the proof", change: func(s *situation) {
			s.parent, s.upSince, s.desired, s.trial, s.seen = false, noon.Add(-2*time.Hour), newChain(), inherited(), seeing(1, newHash, 2, 0)
			s.trial.inherited.in = noon.Add(-2 * time.Hour)
		}, want: swap, chain: newHash},
		{name: "Envoy's uptime is in whole seconds", change: func(s *situation) {
			s.parent, s.upSince, s.desired, s.trial, s.seen = false, noon.Add(-time.Minute+uptimeError), newChain(), inherited(), seeing(1, newHash, 1, 0)
		}, want: swap, chain: newHash},
		{name: "others' Envoy ended: the next start is with the good chain", change: func(s *situation) {
			s.parent, s.desired, s.trial, s.host = false, newChain(), inherited(), down
		}, want: lapse, chain: newHash, reason: "does not run"},
		{name: "its own Envoy ended before it was asked", change: func(s *situation) { s.desired, s.trial, s.host = newChain(), inherited(), down }, want: lapse, chain: newHash, reason: "does not run"},
		{name: "its own Envoy does not come up", change: func(s *situation) {
			s.desired, s.trial, s.host, s.startedAt, s.seen = newChain(), inherited(), starting, noon.Add(-startLimit), observation{}
		}, want: restart, reason: "did not come up"},
		{name: "Envoy had been given the good one again", change: func(s *situation) { s.desired, s.trial = newChain(), inherited() }, want: lapse, chain: newHash, reason: "another chain"},
		{name: "Envoy drains", change: func(s *situation) {
			s.desired, s.trial, s.seen = newChain(), inherited(), seeing(1, newHash, 2, 0)
			s.seen.ready = false
		}, want: wait, until: noon.Add(-time.Second).Add(swapLimit)},
		{name: "another chain waits until it is known what runs", change: func(s *situation) {
			s.desired, s.verdict, s.loaded, s.trial = &chain{Hash: "sha256:newer"}, accepted, "sha256:newer", inherited()
			s.seen = seeing(1, newHash, 2, 0)
			s.seen.ready = false
		}, want: wait, until: noon.Add(-time.Second).Add(swapLimit)},
		{name: "its module was damaged and is fetched again", change: func(s *situation) {
			s.desired, s.trial, s.seen, s.have = newChain(), inherited(), seeing(1, newHash, 2, 0), map[string]bool{"a": true}
		}, want: wait, until: noon.Add(-time.Second).Add(swapLimit)},
		{name: "or is not, for long", change: func(s *situation) {
			s.desired, s.trial, s.seen, s.have = newChain(), inherited(), seeing(1, newHash, 2, 0), map[string]bool{"a": true}
			s.trial.since = noon.Add(-swapLimit)
		}, want: lapse, chain: newHash, reason: "damaged"},

		{name: "its trial has lapsed: it is tried again at once", change: func(s *situation) {
			s.desired, s.verdict, s.loaded, s.lapsed = newChain(), accepted, newHash, lapsedOnceMore(nil, newHash, stepServe, "", noon)
		}, want: swap, chain: newHash},
		{name: "and again: after a while", change: func(s *situation) {
			s.desired, s.verdict, s.loaded, s.lapsed = newChain(), accepted, newHash, &lapsed{Chain: newHash, Times: 2, Until: noon.Add(time.Second)}
		}, want: wait, until: noon.Add(time.Second)},
		{name: "what is good is gone back to all the same", change: func(s *situation) {
			s.trial, s.seen, s.lapsed = onTrial(), seeing(1, newHash, 2, 0), &lapsed{Chain: goodHash, Times: 2, Until: noon.Add(time.Hour)}
		}, want: swap, chain: goodHash},
		{name: "and Envoy is started on it", change: func(s *situation) {
			s.desired, s.host, s.lapsed = newChain(), down, &lapsed{Chain: newHash, Times: 9, Until: noon.Add(time.Hour)}
		}, want: start, chain: goodHash},
		{name: "it is not known yet what has become of what Envoy was given", change: func(s *situation) { s.desired, s.verdict, s.awaited = newChain(), accepted, true }, want: wait},
		{name: "that of another chain has", change: func(s *situation) {
			s.desired, s.verdict, s.loaded, s.lapsed = newChain(), accepted, newHash, &lapsed{Chain: "sha256:other", Times: 2, Until: noon.Add(time.Second)}
		}, want: swap, chain: newHash},

		// The chain in the slots, proved.
		{name: "on trial", change: func(s *situation) { s.desired, s.trial, s.seen = newChain(), onTrial(), seeing(1, newHash, 2, 0) }, want: wait, until: noon.Add(7 * time.Second)},
		{name: "the trial is over", change: func(s *situation) {
			s.desired, s.trial, s.seen = newChain(), onTrial(), seeing(1, newHash, 2, 0)
			s.trial.proved = noon.Add(-8 * time.Second)
		}, want: promote, chain: newHash},
		{name: "nothing to go back to: good at once", change: func(s *situation) {
			s.good, s.desired, s.trial, s.seen = nil, newChain(), onTrial(), seeing(1, newHash, 2, 0)
		}, want: promote, chain: newHash},
		{name: "it was good before: good at once, so that nothing brings back what it was taken away from", change: func(s *situation) {
			s.desired, s.trial, s.seen, s.formerly = newChain(), onTrial(), seeing(1, newHash, 2, 0), newChain()
		}, want: promote, chain: newHash},
		{name: "what was good before, and hangs now, is not", change: func(s *situation) {
			s.desired, s.trial, s.seen, s.formerly = newChain(), onTrial(), seeing(1, newHash, 2, 0), newChain()
			s.seen.hangs = 1
		}, want: revert, chain: newHash, reason: "hangs"},
		{name: "another chain was good before", change: func(s *situation) {
			s.desired, s.trial, s.seen, s.formerly = newChain(), onTrial(), seeing(1, newHash, 2, 0), &chain{Hash: "sha256:other"}
		}, want: wait, until: noon.Add(7 * time.Second)},
		{name: "no trial", change: func(s *situation) {
			s.desired, s.trial, s.seen, s.trialTime = newChain(), onTrial(), seeing(1, newHash, 2, 0), -1
		}, want: promote, chain: newHash},
		{name: "Envoy crashes on trial", change: func(s *situation) { s.desired, s.trial, s.host = newChain(), onTrial(), down }, want: revert, chain: newHash, reason: "ended"},
		{name: "a worker hangs on trial", change: func(s *situation) {
			s.desired, s.trial, s.seen = newChain(), onTrial(), seeing(1, newHash, 2, 0)
			s.seen.hangs = 1
		}, want: revert, chain: newHash, reason: "hangs"},
		{name: "requests pass the chain by", change: func(s *situation) {
			s.desired, s.trial, s.seen = newChain(), onTrial(), seeing(1, newHash, 2, 0)
			s.trial.atProof.seen["one"], s.seen.seen["one"], s.seen.settled = 7, 7, bypassRequests
		}, want: revert, chain: newHash, reason: "counted none"},
		{name: "requests meet the chain", change: func(s *situation) {
			s.desired, s.trial, s.seen = newChain(), onTrial(), seeing(1, newHash, 2, 0)
			s.trial.atProof.seen["one"], s.seen.seen["one"], s.seen.settled = 7, 57, bypassRequests
		}, want: wait, until: noon.Add(7 * time.Second)},
		{name: "a filter that does not count", change: func(s *situation) {
			s.desired, s.trial, s.seen = newChain(), onTrial(), seeing(1, newHash, 2, 0)
			s.seen.requests = bypassRequests
		}, want: wait, until: noon.Add(7 * time.Second)},
		{name: "a rollback in the trial goes the short way", change: func(s *situation) { s.trial, s.seen = onTrial(), seeing(1, newHash, 2, 0) }, want: swap, chain: goodHash},
		{name: "a newer chain in the trial", change: func(s *situation) {
			s.desired, s.trial, s.seen = &chain{Hash: "sha256:newer"}, onTrial(), seeing(1, newHash, 2, 0)
		}, want: probe, chain: "sha256:newer"},
		{name: "a newer chain in the trial, loaded: first keep what there is", change: func(s *situation) {
			s.desired, s.trial, s.seen = &chain{Hash: "sha256:newer"}, onTrial(), seeing(1, newHash, 2, 0)
			s.verdict, s.loaded = accepted, "sha256:newer"
		}, want: promote, chain: newHash},
		{name: "a secret has another value in the trial, loaded: nothing has become good", change: func(s *situation) {
			s.desired, s.trial, s.verdict = newChain(), onTrial(), accepted
			s.trial.chain.Secrets, s.desired.Secrets = []heldSecret{{Ref: "env:A", Version: "1"}}, []heldSecret{{Ref: "env:A", Version: "2"}}
			s.seen, s.loaded = seeing(1, s.trial.chain.version(), 2, 0), s.desired.version()
		}, want: swap, chain: newHash},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := settled()
			test.change(&s)
			got := decide(s)
			hash := ""
			if got.chain != nil {
				hash = got.chain.Hash
			}
			if got.kind != test.want || hash != test.chain || !strings.Contains(got.reason, test.reason) || !got.until.Equal(test.until) {
				t.Errorf("decided: %s %s because %q until %s; want: %s %s because %q until %s", got.kind, hash, got.reason, got.until, test.want, test.chain, test.reason, test.until)
			}
			if got.kind == revert && got.step == "" {
				t.Error("a revert without its step")
			}
		})
	}
}

// FuzzDecide looks, in situations at random, at what must hold in each.
func FuzzDecide(f *testing.F) {
	f.Add(uint64(0))
	f.Add(uint64(0xffffffffffff))
	f.Fuzz(func(t *testing.T, bits uint64) {
		flag := func() bool { b := bits&1 == 1; bits >>= 1; return b }
		s := settled()
		s.parent = flag()
		if flag() {
			s.desired = newChain()
		}
		if flag() {
			s.good = nil
		}
		switch {
		case flag():
			s.trial = trying()
		case flag():
			s.trial = onTrial()
		case flag():
			s.trial = &trial{chain: newChain()}
		case flag() && s.good != nil:
			s.trial = inherited()
		}
		s.host = hostState(bits & 3 % 3)
		bits >>= 2
		if flag() {
			s.have = nil
		}
		if flag() {
			s.verdict = &envoy.Verdict{Outcome: envoy.Accepted}
			if flag() {
				s.verdict.Outcome = envoy.Rejected
			}
		}
		if flag() {
			s.loaded = newHash
		}
		if flag() {
			s.refusal = &refusal{step: stepServe, until: noon.Add(time.Second)}
		}
		if flag() {
			s.seen = seeing(int(bits&3), newHash, int64(bits>>2&3), int64(bits>>4&1))
		}
		a := decide(s)
		switch a.kind {
		case start:
			if !s.parent || s.host != down || !s.hasModules(a.chain) {
				t.Errorf("%s in %+v", a.kind, s)
			}
		case swap, load:
			goesOn := a.kind == swap && s.trial.pending() && a.chain.is(s.trial.chain) && s.seen.serves(s.slots, newHash)
			if s.host != up || !s.hasModules(a.chain) || !a.chain.is(s.good) && !goesOn && (s.verdict == nil || s.verdict.Outcome != envoy.Accepted) {
				t.Errorf("%s in %+v", a.kind, s)
			}
			if s.trial.pending() && !goesOn || s.trial != nil && s.trial.epoch != 0 && s.trial.proved.IsZero() {
				t.Errorf("%s while another chain is not proved: %+v", a.kind, s)
			}
		case lapse:
			if !s.trial.pending() || s.good == nil {
				t.Errorf("%s without a trial of an earlier life: %+v", a.kind, s)
			}
		case accept, promote, revert:
			if s.trial == nil || !a.chain.is(s.trial.chain) {
				t.Errorf("%s without a trial: %+v", a.kind, s)
			}
		}
	})
}

func TestAstray(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*situation)
		want   bool
	}{
		{"it has the good chain", func(*situation) {}, false},
		{"it has none", func(s *situation) { s.seen = seeing(1, "", 0, 1) }, true},
		{"it is not up", func(s *situation) { s.seen, s.host = seeing(1, "", 0, 1), starting }, false},
		{"another is on trial", func(s *situation) { s.seen, s.trial = seeing(1, newHash, 1, 0), onTrial() }, false},
		{"a slot's file is damaged", func(s *situation) { s.damagedSlot = "waft.json" }, true},
		{"it is, and Envoy waits for it", func(s *situation) { s.damagedSlot, s.host, s.seen = "waft.json", starting, observation{} }, true},
		{"it is, and Envoy does not run", func(s *situation) { s.damagedSlot, s.host, s.seen = "waft.json", down, observation{} }, true},
		{"it is, and should hold another chain", func(s *situation) { s.damagedSlot, s.trial = "waft.json", onTrial() }, false},
		{"there is no good one", func(s *situation) { s.seen, s.good = seeing(1, "", 0, 1), nil }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := settled()
			test.change(&s)
			if got := s.astray(); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}
