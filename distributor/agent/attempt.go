package agent

import (
	"fmt"
	"strings"
	"time"

	"github.com/waft-project/waft/envoy"
)

// attempt is a chain that Envoy is given, for loading or to serve, and that it was not seen to serve or to refuse yet. It is on disk before Envoy has it: what ends
// Envoy may end the agent with it, and the next agent must know which chain that was.
//
//	Envoy ends, or has to be ended, while it loads the chain ──► lapsed
//	Envoy ends with the chain in its slots                   ──► reverted, and refused: the usual way of a trial
//	the agent ends, and so does Envoy                        ──► lapsed, by the next agent
//	Envoy serves it or refuses it, or is given something else ──► it is over
type attempt struct {
	// Chain is its version.
	Chain string `json:"chain"`
	// Since when, and In since when that Envoy ran, by its own word; see lives. Zero: not known, or the agent's own child.
	Since time.Time `json:"since"`
	In    time.Time `json:"in,omitzero"`
	// epoch of the Envoy that has it; 0: it is of an earlier life of the agent, and what has become of it is not known yet.
	epoch int
	// ended: it has lapsed, and the slot for loading is not empty yet.
	ended bool
}

// reasonEndedLoading is why a chain has lapsed that was being loaded.
const reasonEndedLoading = "Envoy ended while it loaded it"

// pending says whether it is not known yet what has become of an attempt of an earlier life.
func (a *attempt) pending() bool { return a != nil && a.epoch == 0 }

// outcome says why a pending attempt has lapsed; empty: it has not, since Envoy has survived it. It is not known before Envoy was asked.
func (a *attempt) outcome(s situation) (reason string, known bool) {
	switch {
	case s.host == down:
		return "Envoy does not run", true
	case s.host != up || !s.seen.ready:
		return "", false
	case (inheritance{proved: a.Since, in: a.In}).anew(s.upSince):
		return "Envoy was started anew while no agent ran", true
	}
	return "", true
}

// attempted notes that Envoy is about to be given a chain.
func (d *driver) attempted(c *chain) error {
	next := attempt{Chain: c.version(), Since: time.Now(), In: d.host.upSince(), epoch: d.host.current()}
	if a := d.attempt; a != nil && a.Chain == next.Chain && a.epoch == next.epoch {
		return nil
	}
	err := d.state.change(func(r *record) {
		if r.Attempt = &next; c.is(r.Trial) {
			r.Trial = nil // it is to show anew that it serves
		}
	})
	if err != nil {
		return err
	}
	d.attempt = &next
	return nil
}

// loading says whether an attempt has not come further than the slot for loading.
func (d *driver) loading() bool {
	return d.attempt != nil && (d.trial == nil || d.trial.chain.version() != d.attempt.Chain) && (d.busy != nil && d.busy.kind == load && d.busy.hash == d.attempt.Chain || d.loaded == d.attempt.Chain)
}

// follow finds out what has become of an attempt.
func (d *driver) follow(s situation) error {
	switch a := d.attempt; {
	case a.pending() && !d.trial.pending():
		reason, known := a.outcome(s)
		if known && reason != "" {
			d.lapsed = d.lapsedNow(a.Chain, stepLoad, reason)
		}
		if known {
			d.attempt = nil
		}
	case a.pending():
	case a != nil && (a.ended || d.loading() && d.host.hasEnded(a.epoch)):
		return d.lapseLoad(reasonEndedLoading)
	case a != nil && !d.loading() && (d.trial == nil || !d.trial.proved.IsZero() || d.trial.chain.version() != a.Chain):
		// An Envoy that others start again would load by itself what is left there, and it may be what ends it.
		if err := d.unload(); err != nil {
			return err
		}
		d.attempt = nil
	}
	d.keepAttempt()
	return nil
}

// keepAttempt has the disk forget an attempt that is over, and remember that it has lapsed. Where the disk does not take that, it holds for this life, and the next agent counts once
// more what it finds.
func (d *driver) keepAttempt() {
	if r := d.state.read(); d.attempt != nil || r.Attempt == nil {
		return
	}
	err := d.state.change(func(r *record) { r.Attempt, r.Lapsed = nil, d.lapsed })
	if err != nil && !d.attemptUnkept {
		d.log.Error("that Envoy is not given a chain any more cannot be kept; make room on the disk of the state folder", "error", err)
	}
	d.attemptUnkept = err != nil
}

// lapsedNow is what is known of a chain that has just lapsed.
func (d *driver) lapsedNow(version string, at step, reason string) *lapsed {
	next := lapsedOnceMore(d.lapsed, version, at, reason, time.Now())
	d.log.Warn("lapsed", "chain", version, "step", next.at(), "reason", reason, "times", next.Times, "again", next.Until)
	return next
}

// lapseLoad gives up the load of a chain in which Envoy has ended, or has to be ended: who starts Envoy must not find the chain in the slot for loading.
func (d *driver) lapseLoad(reason string) error {
	if a := *d.attempt; !a.ended {
		a.ended = true
		d.attempt, d.lapsed = &a, d.lapsedNow(a.Chain, stepLoad, d.withLog(reason))
		if d.busy != nil && d.busy.kind == load {
			d.abandon()
		}
		d.startAfter = time.Time{} // on the good chain it may come back at once: how often it ends is bounded by when the chain is tried again
	}
	if err := d.unload(); err != nil {
		return err
	}
	d.attempt = nil
	d.keepAttempt()
	return nil
}

// withLog is a reason with what Envoy's log says since it was given a chain to load, or how it ended. It is kept, so that it is without the values of secrets.
func (d *driver) withLog(reason string) string {
	lines, _ := d.host.log.Since(d.loadPosition)
	because := envoy.Reasons(lines)
	if err := d.host.endedWith(); err != nil && len(because) == 0 {
		because = []string{err.Error()}
	}
	if len(because) == 0 {
		return reason
	}
	return d.secrets.redactor.redact(fmt.Sprintf("%s: %s", reason, strings.Join(because, "; ")))
}
