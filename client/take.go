package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/sealed"
)

// The steps of a report.
const (
	stepFetch  = "fetch"
	stepLoad   = "load"
	stepAccept = "accept"
	stepKeep   = "keep"
	stepTrial  = "trial"
	stepServe  = "serve"
)

// taker is what the goroutine that takes releases knows; it alone touches it, once it runs.
type taker struct {
	// refused is the chain that is not taken.
	refused *refusal
	// retried is how often a person had asked to try again when that was done last.
	retried int64
	// trialEnds is when what is served becomes last-known-good; zero: there is no trial.
	trialEnds time.Time
	// storeAfter is when the disk is tried again, storePause how long after the next failure.
	storeAfter time.Time
	storePause time.Duration
}

// resume goes on with what an earlier life left on disk, and returns the chain of the snapshot as it came; nil where there is none.
func (c *Client) resume() *mcpv1.Resource {
	r := c.state.read()
	crashed := r.Open
	if crashed && r.Trial != nil {
		r.Refused = &refusal{
			Hash: r.Trial.Hash, Generation: r.Trial.Generation, Version: r.Version, Takes: r.Trial.Takes, Step: stepTrial,
			Reason: fmt.Sprintf("the application ended within %s of taking it, without closing its client; it goes on with what it had before", c.cfg.Trial),
		}
		c.log.Error("the application ended while a release was on trial, which is rejected; waft nodes retry tries it again", "chain", r.Trial.Hash)
		r.Trial = nil
	}
	if r.Refused != nil && !r.Refused.by(c.cfg) {
		r.Refused = nil
	}
	served, raw := c.best(&r)
	if r.Trial != nil {
		c.taker.trialEnds = time.Now().Add(c.cfg.Trial)
	}
	r.Open, r.Version = true, c.cfg.Version
	if err := c.state.note(func(old *record) { *old = r }); err != nil {
		c.log.Warn("the client's state cannot be written; nothing new is taken before it can", "error", err)
	}
	if served != nil {
		c.current.Store(served)
		c.begin(served.hash)
		c.stand(stepServe, waftv1.ChainState_SERVING, served.hash, served.generation, "", false)
	}
	c.taker.retried = r.Retry
	if c.taker.refused = r.Refused; r.Refused != nil {
		c.reject(r.Refused)
	}
	if crashed {
		c.reporter.restart("the application ended without closing its client")
	}
	return raw
}

// best is the newest snapshot on disk that can be used, and its chain as it came; nil: there is none. A good one that is damaged or gone is taken out of the record.
// One that only this application cannot read, or that the disk does not give just now, stays there for a start that can. What is on trial is served, or is on trial no
// more: it was not good yet, and the distributor has it. What is served is this version's from now on.
func (c *Client) best(r *record) (*Snapshot, *mcpv1.Resource) {
	usable := func(k *kept) (s *Snapshot, raw *mcpv1.Resource, lost bool) {
		if k == nil {
			return nil, nil, false
		}
		s, raw, err := c.state.get(k, c.cfg.Collections)
		if err != nil {
			c.log.Error("a release on disk cannot be used; going on with the one before, if there is any", "chain", k.Hash, "error", err)
		}
		return s, raw, errors.Is(err, sealed.ErrTorn) || errors.Is(err, os.ErrNotExist)
	}
	if s, raw, _ := usable(r.Trial); s != nil {
		r.Trial = r.Trial.of(c.cfg)
		return s, raw
	}
	r.Trial = nil
	s, raw, lost := usable(r.Good)
	if s != nil {
		r.Good = r.Good.of(c.cfg)
		return s, raw
	}
	s, raw, beforeLost := usable(r.Before)
	if s != nil {
		r.Before = r.Before.of(c.cfg)
	}
	if beforeLost {
		r.Before = nil
	}
	if lost {
		r.Good, r.Before = r.Before, nil
	}
	return s, raw
}

// run takes releases until ctx ends.
func (c *Client) run(ctx context.Context) {
	for {
		again := c.step(ctx)
		var timer *time.Timer
		var due <-chan time.Time
		if !again.IsZero() {
			timer = time.NewTimer(time.Until(again))
			due = timer.C
		}
		select {
		case <-ctx.Done():
		case <-c.inbox.changed:
		case <-c.reporter.asked:
		case <-due:
		}
		if timer != nil {
			timer.Stop()
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// step does what is to be done now, and says when to look again, whatever comes; zero: no need.
func (c *Client) step(ctx context.Context) (again time.Time) {
	again = c.endTrial()
	c.retry()
	o := c.inbox.read()
	if o.chain == nil {
		return again // the node was given nothing, or the distributor has said nothing yet
	}
	hash, generation := o.chain.GetHash(), o.chain.GetGeneration()
	if c.current.Load().hash == hash {
		c.forgive()
		c.stand(stepServe, waftv1.ChainState_SERVING, hash, generation, "", false)
		return again
	}
	if r := c.taker.refused; r != nil && r.Hash == hash && r.Generation == generation {
		c.reject(r)
		return again
	}
	c.forgive()
	a := assemble(o, c.takes)
	switch {
	case a.refused != "":
		c.refuse(hash, generation, stepLoad, a.refused)
		return again
	case len(a.missing) > 0:
		c.stand(stepFetch, waftv1.ChainState_OFFERED, hash, generation, "waits for "+brief(a.missing), false)
		return again
	case time.Now().Before(c.taker.storeAfter):
		return earliest(again, c.taker.storeAfter)
	}
	c.stand(stepAccept, waftv1.ChainState_LOADED, hash, generation, "", false)
	if !c.known(hash) {
		if err := c.ask(ctx, a.complete); ctx.Err() != nil {
			return again
		} else if err != nil {
			c.refuse(hash, generation, stepAccept, err.Error())
			return again
		}
		if now := c.inbox.read().chain; now.GetHash() != hash {
			notify(c.inbox.changed) // it was taken back while it was asked about
			return again
		}
	}
	if err := c.take(o.raw, a.complete); err != nil {
		c.taker.storePause = min(max(2*c.taker.storePause, storeRetryMin), storeRetryMax)
		c.taker.storeAfter = time.Now().Add(c.taker.storePause)
		c.log.Error("a release cannot be kept on disk, and is not taken before it can", "chain", hash, "error", err, "retry_in", c.taker.storePause)
		c.stand(stepKeep, waftv1.ChainState_LOADED, hash, generation, "cannot be kept on disk: "+err.Error(), false)
		return earliest(again, c.taker.storeAfter)
	}
	c.taker.storePause, c.taker.storeAfter = 0, time.Time{}
	c.log.Info("took a release", "chain", hash)
	c.stand(stepServe, waftv1.ChainState_SERVING, hash, generation, "", false)
	return c.taker.trialEnds
}

// known says whether a chain was good once for this version of the application, with the collections that it takes, so that it is not asked about it again.
func (c *Client) known(hash string) bool {
	r, next := c.state.read(), (&kept{Hash: hash}).of(c.cfg)
	return r.Good.ran(next) || r.Before.ran(next)
}

// ask asks the application whether it takes a snapshot. A panic of its check is a no.
func (c *Client) ask(ctx context.Context, s *Snapshot) (err error) {
	if c.cfg.Accept == nil {
		return nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the application's check panicked: %v", p)
			c.log.Error("Accept panicked", "chain", s.hash, "panic", p)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, c.cfg.AcceptTimeout)
	defer cancel()
	err = c.cfg.Accept(ctx, s)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("the application's check took longer than %s: %w", c.cfg.AcceptTimeout, err)
	}
	return err
}

// take keeps a snapshot on disk, and then serves it.
func (c *Client) take(raw *mcpv1.Resource, s *Snapshot) error {
	k, err := c.state.put(raw, s)
	if err != nil {
		return err
	}
	k = k.of(c.cfg)
	if err := c.state.change(func(r *record) { *r = taken(*r, k, c.cfg.Trial > 0) }); err != nil {
		return err
	}
	c.taker.trialEnds = time.Time{}
	if c.state.read().Trial != nil {
		c.taker.trialEnds = time.Now().Add(c.cfg.Trial)
	}
	before := c.current.Swap(s)
	close(before.replaced)
	c.begin(s.hash)
	c.sweep()
	return nil
}

// taken is a record after a snapshot was taken: on trial, unless it was good before for this version of the application, or there is none other to go back to.
func taken(r record, k *kept, trials bool) record {
	if !trials || r.Good == nil || r.Good.Digest == k.Digest || r.Good.ran(k) || r.Before.ran(k) {
		return proven(r, k)
	}
	r.Trial = k
	return r
}

// proven is a record in which a snapshot is last-known-good. What was that before is Before, unless it is the same chain.
func proven(r record, k *kept) record {
	if r.Good != nil && r.Good.Hash != k.Hash {
		r.Before = r.Good
	}
	r.Good, r.Trial = k, nil
	return r
}

// endTrial makes what is served last-known-good when its time has come, and says when that is; zero: there is no trial.
func (c *Client) endTrial() time.Time {
	t := &c.taker
	if t.trialEnds.IsZero() || time.Now().Before(t.trialEnds) {
		return t.trialEnds
	}
	if err := c.state.change(func(r *record) { *r = proven(*r, r.Trial) }); err != nil {
		t.trialEnds = time.Now().Add(storeRetryMax)
		c.log.Error("that a release is good cannot be kept on disk", "error", err, "retry_in", storeRetryMax)
		return t.trialEnds
	}
	t.trialEnds = time.Time{}
	c.sweep()
	return time.Time{}
}

func (c *Client) sweep() {
	if err := c.state.sweep(); err != nil {
		c.log.Warn("releases on disk that nobody needs stay there", "error", err)
	}
}

// retry tries a chain again that was refused, when a person has asked for it.
func (c *Client) retry() {
	asked := c.reporter.retries()
	if asked <= c.taker.retried {
		return
	}
	c.taker.refused, c.taker.retried = nil, asked
	c.rejected.Store(nil)
	if err := c.state.note(func(r *record) { r.Retry, r.Refused = asked, nil }); err != nil {
		c.log.Warn("that a chain is to be tried again is not on disk", "error", err)
	}
}

// refuse does not take a chain, until it is given anew, or a person asks to try it again.
func (c *Client) refuse(hash string, generation int64, step, reason string) {
	reason = clip(reason)
	c.log.Error("a release is rejected; the application goes on with what it has", "chain", hash, "step", step, "reason", reason)
	c.taker.refused = &refusal{Hash: hash, Generation: generation, Version: c.cfg.Version, Takes: c.cfg.taken(), Step: step, Reason: reason}
	c.reject(c.taker.refused)
}

// reject reports a refusal.
func (c *Client) reject(r *refusal) {
	c.rejected.Store(r)
	c.stand(r.Step, waftv1.ChainState_REJECTED, r.Hash, r.Generation, r.Reason, true)
}

// forgive forgets a refusal that is about another chain than the one that the node was given, or was given before.
func (c *Client) forgive() {
	if c.taker.refused == nil {
		return
	}
	c.taker.refused = nil
	c.rejected.Store(nil)
	if err := c.state.note(func(r *record) { r.Refused = nil }); err != nil {
		c.log.Warn("that a chain is rejected no longer is not on disk", "error", err)
	}
}

// stand reports where the application stands with a chain.
func (c *Client) stand(step string, state waftv1.ChainState, hash string, generation int64, reason string, final bool) {
	c.reporter.stand(&waftv1.ChainReport{
		Hash: hash, Generation: generation, State: state, Step: step, Reason: reason, Final: final, ServingHash: c.current.Load().hash,
	})
}

// brief names some things of many.
func brief(names []string) string {
	const some = 5
	if len(names) <= some {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:some], ", "), len(names)-some)
}

// clip bounds a reason, in bytes, and makes it text.
func clip(text string) string {
	return strings.ToValidUTF8(text[:min(len(text), maxReason)], "\uFFFD")
}
