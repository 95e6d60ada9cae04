package agent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/envoy"
)

// String names an action as what cannot be done: "cannot swap".
func (k kind) String() string {
	switch k {
	case start:
		return "start Envoy"
	case restart:
		return "restart Envoy"
	case probe:
		return "probe"
	case load:
		return "load"
	case swap:
		return "swap"
	case place:
		return "put the first chain into the slot"
	case accept:
		return "accept"
	case promote:
		return "keep the good chain"
	case revert:
		return "put the good chain back"
	case lapse:
		return "put the good chain in the place of an earlier trial"
	case restore:
		return "write the good chain again"
	}
	return "wait"
}

// act carries out one decision. An error means that this machine did not allow it; the decision will come again.
func (d *driver) act(ctx context.Context, s situation, a action) error {
	switch a.kind {
	case start:
		return d.start(ctx, s, a.chain)
	case restart:
		d.log.Warn("starting Envoy again", "reason", a.reason, "after", s.now.Sub(s.startedAt))
		if err := d.host.stop(0); err != nil {
			return err
		}
		if s.host == up {
			d.reporter.addRestart(s.now, a.reason)
		}
		return nil
	case probe:
		fresh := *a.chain
		fresh.Filters = d.verdicts.unproven(d.version.Build, a.chain)
		return d.begin(ctx, a, func(ctx context.Context, _ *chain) (probed, error) { return d.probe(ctx, &fresh) })
	case load:
		if err := d.attempted(a.chain); err != nil {
			return err
		}
		d.loadPosition = d.host.log.Position()
		return d.begin(ctx, a, func(ctx context.Context, c *chain) (probed, error) { return probed{}, d.load(ctx, c) })
	case swap:
		return d.swap(ctx, a.chain)
	case place:
		return d.place(a.chain)
	case accept:
		return d.accept(s)
	case promote:
		return d.promote(a.chain)
	case revert:
		return d.revert(ctx, s, a)
	case lapse:
		return d.lapse(a)
	case restore:
		return d.restore(s)
	}
	return nil
}

// restore writes the good chain once more: for an Envoy that started and could not take it from the slot, whose module was damaged then; or where
// the disk has damaged a slot's file, which Envoy reads when it starts.
func (d *driver) restore(s situation) error {
	d.restorePause = min(max(2*d.restorePause, restoreDelay), restoreMax)
	d.astraySince = s.now.Add(d.restorePause - restoreDelay)
	if s.damagedSlot != "" {
		d.log.Error("a slot's file is damaged or gone; writing the good chain again; check the disk", "file", s.damagedSlot, "chain", s.good.Hash)
	} else {
		d.log.Warn("Envoy does not say that it has the good chain; writing it again", "chain", s.good.Hash)
	}
	if err := d.putSlots(s.good); err != nil {
		return err
	}
	d.damagedSlot = ""
	return nil
}

// prepare writes, once, what an Envoy reads that this agent did not start, so that it can start right away: with the good chain, or
// without a listener while there is none.
func (d *driver) prepare() error {
	if d.prepared || !d.attached {
		return nil
	}
	r := d.state.read()
	// What becomes of the chain that an earlier life had in the slots is decided next.
	if err := prepareFiles(d.files, r, !d.trial.pending()); err != nil {
		return err
	}
	d.prepared, d.listening = true, r.Good != nil
	return nil
}

// prepareFiles is prepare without a driver; the slots' files are left as they are where they are not asked for.
func prepareFiles(f *files, r record, slots bool) error {
	if r.Good != nil && slots {
		if err := f.keepSlots(r.Good, r.Slots); err != nil {
			return err
		}
	}
	if err := f.emptyPreload(); err != nil {
		return err
	}
	if f.config.Beside && !f.config.SlotOnly {
		if err := f.putListeners(r.Good != nil, r.Slots, listenersVersion(r.Good)); err != nil {
			return err
		}
	}
	return f.putFallback(r.Good, r.Slots)
}

// listenersVersion names the content of the listeners' file: it depends on nothing but whether there is a listener.
func listenersVersion(c *chain) string {
	if c == nil {
		return "waiting"
	}
	return "listening"
}

// start starts Envoy with a chain in its slots.
func (d *driver) start(ctx context.Context, s situation, c *chain) error {
	now := time.Now()
	if now.Sub(d.startedAt) > startHealthy {
		d.startPause = 0
	}
	d.startPause = min(max(2*d.startPause, startRetryMin), startRetryMax)
	d.startAfter = now.Add(d.startPause)

	r := d.state.read()
	slots := r.Slots
	if !d.version.Number.HasFilterChain() && slots == nil {
		if slots = d.config.Slots; slots == nil {
			slots = firstSlots(c, r.Desired)
		}
		if err := d.state.change(func(r *record) { r.Slots = slots }); err != nil {
			return err
		}
	}
	fallback := r.Good
	if fallback == nil {
		fallback = c
	}
	if err := d.files.keepSlots(c, slots); err != nil {
		return err
	}
	if err := d.unload(); err != nil {
		return err
	}
	if err := d.files.putBootstrap(fallback, slots); err != nil {
		return err
	}
	if err := d.host.roomToStart(); err != nil {
		return err
	}
	d.position = d.host.log.Position()
	epoch, err := d.host.start(ctx, d.config.BootstrapOut, d.config.shape(d.version, slots))
	if err != nil {
		return err
	}
	d.startedAt = now
	if !c.is(r.Good) {
		d.trial = &trial{chain: c, since: now, epoch: epoch}
	}
	for _, was := range d.host.takeRestarts() {
		d.reporter.addRestart(now, was.reason)
	}
	d.log.Info("started Envoy", "chain", c.Hash, "admin", d.config.Admin)
	return nil
}

// firstSlots are the filters that an Envoy gets slots for that starts on a chain: with those that the node was given and does not load, so that they can come later.
func firstSlots(c, given *chain) []string {
	if given != nil && given.Hash == c.Hash {
		return given.names()
	}
	return c.names()
}

// begin starts a job.
func (d *driver) begin(ctx context.Context, a action, do func(context.Context, *chain) (probed, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	j := &job{kind: a.kind, hash: a.chain.version(), chain: a.chain, cancel: cancel}
	d.busy = j
	go func() {
		found, err := do(ctx, a.chain)
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		d.results <- result{job: j, probed: found, err: err}
	}()
	return nil
}

// probed is what a probe found: of the chain, and of each of its filters alone where the chain was rejected and could do without some.
type probed struct {
	verdict envoy.Verdict
	alone   map[string]envoy.Verdict // by filter.content
}

// redacted is what was found without the values of secrets: it is kept, and reported.
func (p probed) redacted(r *redactor) probed {
	clean := func(v envoy.Verdict) envoy.Verdict {
		v.Reasons = slices.Clone(v.Reasons)
		for i, reason := range v.Reasons {
			v.Reasons[i] = r.redact(reason)
		}
		return v
	}
	alone := make(map[string]envoy.Verdict, len(p.alone))
	for content, v := range p.alone {
		alone[content] = clean(v)
	}
	return probed{verdict: clean(p.verdict), alone: alone}
}

// probe is a job: what would Envoy say? The chain holds only the filters that this build has not accepted yet. One that it rejects is looked
// at filter by filter, where one may be left out: Envoy rejects the whole chain, and only says in its log for which of them.
func (d *driver) probe(ctx context.Context, c *chain) (probed, error) {
	whole, err := d.probeOnce(ctx, c)
	if err != nil || whole.Outcome != envoy.Rejected || !c.mayLack() {
		return probed{verdict: whole}, err
	}
	alone := map[string]envoy.Verdict{}
	for _, f := range c.Filters {
		verdict := whole
		if len(c.Filters) > 1 {
			if verdict, err = d.probeOnce(ctx, &chain{Filters: []filter{f}}); err != nil || verdict.Outcome == envoy.Inconclusive {
				return probed{verdict: verdict}, err
			}
		}
		alone[f.content()] = verdict
		if verdict.Outcome == envoy.Rejected && !f.optional() {
			break // the chain cannot do without it, whatever the others are
		}
	}
	return probed{verdict: whole, alone: alone}, nil
}

func (d *driver) probeOnce(ctx context.Context, c *chain) (envoy.Verdict, error) {
	if len(c.Filters) == 0 {
		return envoy.Verdict{Outcome: envoy.Accepted}, nil
	}
	filters, err := d.files.render(c)
	if err != nil {
		return envoy.Verdict{}, err
	}
	bootstrap, err := envoy.ProbeBootstrap(d.version.Number, filters)
	if err != nil {
		return envoy.Verdict{Outcome: envoy.Rejected, Reasons: []string{err.Error()}}, nil
	}
	return envoy.Validate(ctx, d.config.Envoy, bootstrap, envoy.DefaultLimits(len(filters), c.moduleBytes()))
}

// putSlots puts a chain into the slots that this Envoy has.
func (d *driver) putSlots(c *chain) error { return d.files.putSlots(c, d.state.read().Slots) }

// swap puts a chain into the slots.
func (d *driver) swap(ctx context.Context, c *chain) error {
	before, err := d.host.fresh(ctx)
	if err != nil {
		return err
	}
	d.position = d.host.log.Position()
	var same map[string]bool
	var from *chain
	if d.trial == nil || !d.trial.proved.IsZero() {
		from = d.runningChain()
		same = sameSlots(d.version.Number, d.state.read().Slots, from, c)
		// It must be what Envoy runs, and not only what was written.
		maps.DeleteFunc(same, func(slot string, _ bool) bool { return before.slots[slot].version != from.version() })
	}
	// What Envoy has already, from an agent that ended before it could note that, is not reloaded either.
	for slot, seen := range before.slots {
		if seen.version == c.version() && seen.reload > 0 {
			if same == nil {
				same = map[string]bool{}
			}
			same[slot] = true
		}
	}
	if r := d.state.read(); r.Good != nil && !c.is(r.Good) && !d.trial.pending() {
		if err := d.attempted(c); err != nil {
			return err
		}
	}
	put := d.files.putSlots
	if d.trial.pending() {
		put = d.files.keepSlots // Envoy has it
	}
	if err := put(c, d.state.read().Slots); err != nil {
		return err
	}
	if d.config.Beside && !d.config.SlotOnly && !d.listening {
		if err := d.files.putListeners(true, d.state.read().Slots, listenersVersion(c)); err != nil {
			return err
		}
		d.listening = true
	}
	next := &trial{chain: c, since: time.Now(), epoch: before.epoch, before: before, from: from, same: same}
	if d.trial.pending() {
		next.inherited = d.trial.inherited
	}
	d.trial = next
	d.host.hurry(true)
	return nil
}

// accept notes that the chain in the slots serves.
func (d *driver) accept(s situation) error {
	t := *d.trial
	kept := t.chain
	if kept.is(s.good) {
		kept = nil
	}
	// Of a trial that is an earlier agent's, the disk knows already what the next must know: it is the Envoy in which that was proved.
	if r := d.state.read(); !t.inherited.there || !kept.is(r.Trial) {
		err := d.state.change(func(r *record) { r.Trial, r.Proved, r.ProvedIn, r.Attempt = kept, s.now, s.upSince, nil })
		switch {
		case err == nil:
		case full(err) && r.Attempt != nil && r.Attempt.Chain == t.chain.version():
			// It serves, and is watched. That it was given to Envoy is on disk: an agent after this one puts the good chain back.
			d.log.Warn("the disk of the state folder is full; that Envoy serves the chain on trial holds until the agent ends", "chain", t.chain.Hash, "error", err)
		default:
			return err
		}
	}
	t.proved, t.atProof = s.now, s.current(t.epoch)
	d.trial, d.attempt = &t, nil
	delete(d.refusals, t.chain.version())
	d.host.hurry(false)
	d.log.Info("serving", "chain", t.chain.Hash, "after", t.proved.Sub(t.since))
	return d.unload()
}

// promote makes the chain on trial the good one.
func (d *driver) promote(c *chain) error {
	// First what it takes to start Envoy on it whatever becomes of the cache: until then the way back leads to the one before.
	if err := d.files.kept.hold(c); err != nil {
		return err
	}
	if err := d.keepGood(c); err != nil {
		return err
	}
	r := d.state.read()
	if err := d.files.putFallback(r.Good, r.Slots); err != nil {
		return err
	}
	d.trial = nil
	d.want()
	trim(d.cache, d.config.CacheBytes, d.log)
	if err := d.files.kept.drop(r.Good); err != nil {
		d.log.Warn("copies of modules that nobody needs cannot be removed", "error", err)
	}
	if err := d.reserve.keep(); err != nil {
		d.log.Warn("the room for going back to the good chain on a full disk cannot be kept; it is tried again", "error", err)
	}
	return nil
}

// formerly is the chain that was good before the one that is, and to which a way back leads. One that the node was taken back from is none: it proves itself
// again, as any other.
func formerly(r record) *chain {
	if r.TakenBack {
		return nil
	}
	return r.Before
}

// become makes a chain the good one.
func (r *record) become(c *chain) {
	if r.Good != nil && r.Good.Hash == c.Hash && len(c.Secrets) > 0 {
		r.Good = c // only its secrets are others: a rollback needs the chain before
		return
	}
	r.Before, r.Good, r.TakenBack = r.Good, c, c.is(formerly(*r))
}

func (d *driver) keepGood(c *chain) error {
	err := d.state.change(func(r *record) {
		if !c.is(r.Good) {
			r.become(c)
		}
		r.Trial = nil
		if r.Lapsed != nil && r.Lapsed.Chain == c.version() {
			r.Lapsed = nil
		}
	})
	if err == nil {
		d.lapsed = d.state.read().Lapsed
	}
	return err
}

// revert puts the good chain back, and notes why. Without a good chain Envoy no longer serves.
func (d *driver) revert(ctx context.Context, s situation, a action) error {
	if s.good != nil {
		if err := d.putSlots(s.good); err != nil {
			return err
		}
	} else if d.config.SlotOnly {
		if err := d.files.removeSlots(s.slots); err != nil {
			return err
		}
	} else if d.config.Beside {
		if err := d.files.putListeners(false, nil, listenersVersion(nil)); err != nil {
			return err
		}
		d.listening = false
	}
	if err := d.unload(); err != nil {
		return err
	}
	err := d.reserve.try(func() error { return d.state.change(func(r *record) { r.Trial, r.Attempt = nil, nil }) })
	if err != nil { // Envoy is to run on the good chain all the same
		d.log.Error("that the chain is not on trial any more cannot be kept; an agent that takes this Envoy over will see so by itself", "error", err)
	}
	d.attempt = nil
	if s.good == nil && !d.config.Beside {
		if err := d.host.stop(0); err != nil {
			return err
		}
	}
	d.trial = nil
	d.startAfter = time.Time{} // on the good chain it may come back at once
	d.host.hurry(false)
	d.refuse(a.chain.version(), a.step, d.because(ctx, a))
	return nil
}

// logPatience is how long Envoy's log may be behind its statistics.
const logPatience = 2 * time.Second

// because is the reason of a revert, with what Envoy's log says since the chain was put into the slots.
func (d *driver) because(ctx context.Context, a action) string {
	reason := a.reason
	if a.rejected {
		d.host.awaitRejection(ctx, d.position)
	}
	lines, _ := d.host.log.Since(d.position)
	reasons := envoy.Reasons(lines)
	if len(reasons) == 0 {
		if err := d.host.endedWith(); err != nil {
			reasons = []string{err.Error()}
		}
	}
	if len(reasons) == 0 {
		return reason
	}
	return fmt.Sprintf("%s: %s", reason, strings.Join(reasons, "; "))
}
