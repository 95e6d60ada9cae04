package agent

import "time"

// A chain that Envoy was seen to serve is on trial until it has done so for a while, and the agent may end within that time. What becomes of the
// trial then depends on what becomes of Envoy; last-known-good stays what it was in each case.
//
//	Envoy goes on (left by the agent, or run by others):
//	    pending ── it serves the chain, in the life in which that was proved ──► put into the slots again, proved, on trial: the usual way
//	    pending ── it is down, was started anew, or has another chain ──► lapsed: the good chain is put back
//	Envoy ended with the agent:
//	    lapsed: Envoy is started on the good chain
//
// A trial that has lapsed has not failed, since nobody saw why Envoy ended. Where the node is still to run that chain, it goes there from the good
// one again: the first time at once, and later after a pause, see lapsed.

// inheritance is what an earlier life of the agent knew of a trial. The zero value is that of a trial of this life.
type inheritance struct {
	// there: an earlier life saw Envoy serve the chain.
	there bool
	// proved is when, and in since when the Envoy ran that it was proved in; zero: not known.
	proved, in time.Time
}

// restartSlack is how far apart two lives of the agent may put the start of one Envoy: each knows it to the second in which an answer came.
const restartSlack = 3 * time.Second

// uptimeError is how far the start of an Envoy may be from what its uptime says, which is in whole seconds.
const uptimeError = time.Second

// anew says whether an Envoy that runs since a time is another one than that in which the chain was proved. An Envoy counts its uptime by the clock that people
// set, as the agent computes the start from it: the start stays what it is however that clock jumps, and a time of the proof would not be comparable to it. That has to
// do for what an agent before this one has kept.
func (i inheritance) anew(since time.Time) bool {
	switch {
	case since.IsZero():
		return false
	case !i.in.IsZero():
		return since.Sub(i.in).Abs() > restartSlack
	}
	return !i.proved.IsZero() && since.Sub(i.proved) > uptimeError
}

// pending says whether it is not known yet what has become of a trial of an earlier life.
func (t *trial) pending() bool { return t != nil && t.inherited.there && t.epoch == 0 }

// decideInherited decides what becomes of a pending trial. There is a good chain, or there would be no trial.
func decideInherited(s situation) action {
	t := s.trial
	lapsed := func(reason string) action { return action{kind: lapse, chain: t.chain, reason: reason} }
	switch known := s.host == up && s.seen.ready; {
	case s.host == down:
		return lapsed("Envoy does not run")
	case known && t.inherited.anew(s.upSince):
		return lapsed("Envoy was started anew while no agent ran")
	case known && !s.seen.serves(s.slots, t.chain.version()):
		return lapsed("Envoy has another chain")
	case known && s.hasModules(t.chain):
		return action{kind: swap, chain: t.chain}
	}
	limit := t.since.Add(t.chain.loadLimit(swapLimit))
	if !s.now.Before(limit) {
		return lapsed("Envoy could not be asked, or a module of the chain is damaged")
	}
	return action{until: limit}
}

// inherit takes up the trial that an earlier life of the agent left.
func (d *driver) inherit() {
	r := d.state.read()
	d.lapsed = r.Lapsed.bounded(time.Now())
	defer d.inheritAttempt(r.Attempt)
	switch {
	case r.Trial == nil:
	case r.Good == nil && d.attached:
		// There is nothing to go back to, so what serves is the best there is.
		if err := d.keepGood(r.Trial); err != nil {
			d.log.Error("the chain that serves cannot be kept as the good one", "error", err)
		}
	case r.Good == nil:
		d.trial = &trial{chain: r.Trial}
	case d.attached:
		d.trial = &trial{chain: r.Trial, since: time.Now(), inherited: inheritance{there: true, proved: r.Proved, in: r.ProvedIn}}
	default:
		d.log.Info("Envoy ended with the agent while a chain was on trial; it is started on the good one", "chain", r.Trial.Hash, "good", r.Good.Hash)
		if err := d.noteLapsed(r.Trial, "Envoy ended with the agent"); err != nil {
			d.log.Error("that it is not on trial any more cannot be kept; an agent that takes this Envoy over will see so by itself", "error", err)
		}
	}
}

// inheritAttempt takes up the attempt that an earlier life of the agent left.
func (d *driver) inheritAttempt(a *attempt) {
	if d.attempt = a; a == nil || d.attached {
		return
	}
	d.attempt, d.lapsed = nil, d.lapsedNow(a.Chain, stepLoad, "Envoy ended with the agent")
	d.keepAttempt()
}

// lapse puts the good chain back in the place of a pending trial.
func (d *driver) lapse(a action) error {
	r := d.state.read()
	d.log.Info("putting the good chain back in the place of one that an earlier agent had on trial", "chain", a.chain.Hash, "reason", a.reason, "good", r.Good.Hash)
	if err := d.putSlots(r.Good); err != nil {
		return err
	}
	if err := d.noteLapsed(a.chain, a.reason); err != nil {
		return err
	}
	d.trial = nil
	return nil
}

// noteLapsed keeps that a chain is not on trial any more, and when it may be again. What the disk does not take holds for this life all the same.
func (d *driver) noteLapsed(c *chain, reason string) error {
	next := d.lapsedNow(c.version(), stepServe, reason)
	err := d.reserve.try(func() error { return d.state.change(func(r *record) { r.Trial, r.Lapsed = nil, next }) })
	if err == nil || d.trial == nil {
		d.lapsed = next
	}
	return err
}
