package agent

import (
	"cmp"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/envoy"
)

// standing is what the agent reports of the desired chain. Comparable, so that a change can be seen.
type standing struct {
	hash       string
	generation int64
	state      waftv1.ChainState
	step       step
	reason     string
	final      bool
	// secrets are the versions of those in the chain that serves, where that is this one; see chain.secretVersions.
	secrets string
	// serving is the hash of the chain that Envoy serves; empty when none.
	serving string
}

// serving is the hash of the chain that Envoy is known to serve now; empty when it serves none.
func (s situation) serving() string {
	if c := s.servingChain(); c != nil {
		return c.Hash
	}
	return ""
}

// servingChain is that chain; nil for none.
func (s situation) servingChain() *chain {
	seen := s.seen
	if s.host != up || !seen.ready || seen.hung() || s.blind() {
		return nil
	}
	t := s.trial
	switch {
	case t != nil && t.proved.IsZero() && t.epoch == seen.epoch && s.good != nil && t.before.serves(s.slots, s.good.version()):
		return s.good // the chain before serves until the swap is proved
	case t != nil && t.proved.IsZero() && t.epoch == seen.epoch && t.from != nil && t.from.Hash == t.chain.Hash && t.before.serves(s.slots, t.from.version()):
		return t.from // the same with other values of its secrets, which was on trial itself
	case t != nil && !t.proved.IsZero() && seen.serves(s.slots, t.chain.version()):
		return t.chain
	case t == nil && s.good != nil && seen.serves(s.slots, s.good.version()):
		return s.good
	}
	return nil
}

// stand derives from a situation how far the desired chain has come. trouble says why modules are not on disk, or why the
// probe found nothing; it is shown while the chain waits for them. It is false when the node was given no chain.
func stand(s situation, fetchTrouble, probeTrouble string) (standing, bool) {
	d := s.desired
	if d == nil {
		return standing{}, false
	}
	r := standing{hash: d.Hash, generation: d.Generation, serving: s.serving()}
	inUse := d.is(s.running()) && (s.trial == nil || !s.trial.proved.IsZero())
	// The same chain serves, and its secrets have other values now, which are on their way into Envoy.
	rotating := !inUse && len(d.Secrets) > 0 && r.serving == d.Hash
	if r.serving == d.Hash {
		r.secrets = s.servingChain().secretVersions()
	}
	switch {
	case inUse && r.serving == d.Hash && s.trust.state == distrusted:
		r.state, r.step, r.reason = waftv1.ChainState_DEGRADED, stepTrust, s.trust.reason
	case inUse && r.serving == d.Hash && s.lacksSecret != "":
		r.state, r.step, r.reason = waftv1.ChainState_DEGRADED, stepSecrets, "it serves with the secrets that it had: "+s.lacksSecret
	case inUse && r.serving == d.Hash && s.spoilt != "":
		r.state, r.step, r.reason = waftv1.ChainState_DEGRADED, stepProbe, "it serves with the secrets that it had, and the new ones were rejected: "+s.spoilt
	case rotating && s.verdict != nil && s.verdict.Outcome == envoy.Rejected:
		r.state, r.step, r.reason = waftv1.ChainState_DEGRADED, stepProbe, "it serves with the secrets that it had, and the new ones were rejected: "+s.verdict.Reason()
	case rotating && s.refusal != nil:
		r.state, r.step, r.reason = waftv1.ChainState_DEGRADED, s.refusal.step, "it serves with the secrets that it had, and the new ones were refused: "+s.refusal.reason
	case inUse && r.serving == d.Hash && len(d.LeftOut) > 0:
		r.state, r.step, r.reason = waftv1.ChainState_DEGRADED, stepProbe, s.leftOut
	case inUse && r.serving == d.Hash, rotating:
		r.state, r.step = waftv1.ChainState_SERVING, stepServe
	case s.misfit != "":
		r.state, r.step, r.reason, r.final = waftv1.ChainState_REJECTED, stepLoad, s.misfit, true
	case s.trust.state == distrusted && !d.is(s.running()):
		r.state, r.step, r.reason, r.final = waftv1.ChainState_REJECTED, stepTrust, s.trust.reason, true
	case s.unfilled && s.lacksSecret != "":
		r.state, r.step, r.reason, r.final = waftv1.ChainState_REJECTED, stepSecrets, s.lacksSecret, true
	case s.verdict != nil && s.verdict.Outcome == envoy.Rejected && !inUse:
		r.state, r.step, r.reason, r.final = waftv1.ChainState_REJECTED, stepProbe, s.verdict.Reason(), true
	case s.refusal != nil:
		r.state, r.step, r.reason = waftv1.ChainState_REJECTED, s.refusal.step, s.refusal.reason
	case inUse:
		r.state, r.step, r.reason = waftv1.ChainState_LOADED, stepServe, s.whyNothing()
	case s.trust.state == unjudged && !d.is(s.running()) && s.hasModules(d):
		r.state, r.step, r.reason = waftv1.ChainState_FETCHED, stepTrust, s.trust.reason
	case s.lapsed.holds(d, s.now) && s.hasModules(d) && !d.is(s.running()):
		r.state, r.step, r.reason = waftv1.ChainState_FETCHED, s.lapsed.at(), s.lapsed.because()
	case d.is(s.running()), s.preloads && s.loaded == d.version(), s.verdict != nil && !s.preloads:
		r.state, r.step, r.reason = waftv1.ChainState_LOADED, stepSwap, s.blocked
	case s.verdict != nil:
		r.state, r.step, r.reason = waftv1.ChainState_FETCHED, stepLoad, s.blocked
	case s.hasModules(d) && s.unfilled:
		r.state, r.step, r.reason = waftv1.ChainState_FETCHED, stepSecrets, reasonReading
	case s.hasModules(d):
		r.state, r.step, r.reason = waftv1.ChainState_FETCHED, stepProbe, cmp.Or(s.blocked, probeTrouble)
	default:
		r.state, r.step, r.reason = waftv1.ChainState_OFFERED, stepFetch, fetchTrouble
	}
	r.reason = cmp.Or(r.reason, s.trouble)
	return r, true
}

// whyNothing says why Envoy is not known to serve what is in its slots.
func (s situation) whyNothing() string {
	switch {
	case s.host == up && s.seen.hung():
		return "a worker of Envoy hangs"
	case s.blind():
		return "Envoy does not answer"
	}
	return "Envoy is not up"
}
