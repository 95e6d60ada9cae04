package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/registry"
)

// Times of the driver.
const (
	// A chain that Envoy refused while the probe accepted it is tried again after refusedRetryMin, doubling to
	// refusedRetryMax; one that made Envoy end or hang, after crashedRetryMin, doubling to crashedRetryMax.
	refusedRetryMin = 10 * time.Second
	refusedRetryMax = 5 * time.Minute
	crashedRetryMin = time.Minute
	crashedRetryMax = time.Hour
	// An inconclusive probe is tried again after probeRetryMin, doubling to probeRetryMax.
	probeRetryMin = 2 * time.Second
	probeRetryMax = time.Minute
	// An Envoy that ended is started again after startRetryMin, doubling to startRetryMax; at once when it ran for startHealthy.
	startRetryMin = 200 * time.Millisecond
	startRetryMax = 10 * time.Second
	startHealthy  = 30 * time.Second
	// An action that this machine did not allow (a full disk) is tried again after stallRetry.
	stallRetry = 2 * time.Second
	// The good chain is written again after restoreDelay, doubling to restoreMax.
	restoreMax = time.Minute
	// maxRefusals is how many chains' refusals are remembered.
	maxRefusals = 64
)

// Owners of pins in the cache of modules.
const (
	pinServing = "serving"
	pinWanted  = "wanted"
)

// driver carries out what decide says. All of its methods but those of jobs run on one goroutine.
type driver struct {
	config   Config
	log      *slog.Logger
	version  envoy.Version
	state    *stateFolder
	inbox    *inbox
	files    *files
	cache    *registry.Cache
	fetcher  *fetcher
	verdicts *verdicts
	host     *host
	reporter *reporter
	// guard decides by the node's policy; nil: there is none.
	guard   *guard
	secrets *secrets
	// filled is filledFrom with its secrets, as they were at filledTurn.
	filled     filled
	filledFrom *chain
	filledTurn int

	trial *trial
	// lapsed is that of the record, bounded when this life began.
	lapsed *lapsed
	// attempt is that of the record; nil also where it is over, and attemptUnkept: the disk has not taken that.
	attempt       *attempt
	attemptUnkept bool
	// loadPosition in Envoy's log at which it was given a chain to load.
	loadPosition int64
	refusals     map[string]*refusalCount
	// of the probe on the chain probing
	probing      string
	probeAfter   time.Time
	probePause   time.Duration
	probeTrouble string

	loaded     string
	startedAt  time.Time
	startAfter time.Time
	startPause time.Duration
	// of an Envoy that does not say that it has the good chain, and of slots' files that do not hold it; see decideAstray. They were read at slotsRead.
	astraySince  time.Time
	restorePause time.Duration
	damagedSlot  string
	slotsRead    time.Time
	// stalled: nothing is decided before. trouble is why; empty: what was decided last could be done.
	stalled time.Time
	trouble string
	reserve *reserve
	// attached: Envoy may run already, with what an earlier agent put into its files. prepared: they were put right since. listening: an
	// Envoy run by others was told to listen.
	attached, prepared, listening bool
	// position in Envoy's log at which the chain in the slots was put there.
	position int64

	busy    *job
	results chan result

	meter meter
	told  standing
	// shown is the version of the chain whose resources are shown; empty: not known. showAfter is when to try again. dropped is the desired chain for which the bodies that nobody needs
	// were dropped last.
	shown     string
	showAfter time.Time
	dropped   *chain
}

// refusalCount is a refusal, and how often it has come.
type refusalCount struct {
	refusal
	pause time.Duration
}

// job is a probe or a load under way.
type job struct {
	kind   kind
	hash   string
	chain  *chain
	cancel context.CancelFunc
}

// result is what a job found.
type result struct {
	job *job
	probed
	err error
}

// run decides and acts until ctx ends; then it stops an Envoy that it started, or leaves it where it is to go on.
func (d *driver) run(ctx context.Context) error {
	if err := d.resume(); err != nil {
		return err
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		until := d.advance(ctx)
		timer.Reset(untilOrLong(action{until: until}.later(d.showResources()).later(d.report()).until))
		select {
		case <-ctx.Done():
		case <-d.inbox.changed:
		case <-d.fetcher.changed:
		case <-d.guard.changed():
		case <-d.secrets.changed:
		case <-d.host.news:
		case <-d.reporter.answered:
		case r := <-d.results:
			d.finish(r)
		case <-timer.C:
		}
	}
	d.abandon()
	if d.config.LeaveEnvoy || d.config.Beside {
		d.withdraw()
	}
	if !d.attempt.pending() {
		d.attempt = nil // Envoy may end with the agent now, and the chain is not why
		d.keepAttempt()
	}
	if d.config.LeaveEnvoy {
		d.host.leave()
		return nil
	}
	return d.host.stop(d.config.Drain)
}

// untilOrLong is the pause until a time; long when there is none.
func untilOrLong(until time.Time) time.Duration {
	if until.IsZero() {
		return time.Hour
	}
	return max(0, time.Until(until))
}

// resume takes up what an earlier life of the agent left.
func (d *driver) resume() error {
	r := d.state.read()
	d.attached = d.config.Beside
	if !d.config.Beside {
		shape := "" // what was never good is started and tried again
		if r.Good != nil || r.Trial != nil {
			shape = d.config.shape(d.version, r.Slots)
		}
		var err error
		if d.attached, err = d.host.takeOver(shape); err != nil {
			return err
		}
		d.startedAt = time.Now()
	}
	d.inherit()
	return nil
}

// advance acts until there is nothing to do at once, and returns when to look again.
func (d *driver) advance(ctx context.Context) time.Time {
	d.want()
	d.heed()
	for ctx.Err() == nil {
		if now := time.Now(); now.Before(d.stalled) {
			return d.stalled
		}
		if err := d.prepare(); err != nil {
			d.stallUnlessRoom("prepare what Envoy reads", err)
			continue
		}
		s := d.situation(time.Now())
		d.carryOver(&s)
		d.baseline(&s)
		d.noteAstray(&s)
		was := d.attempt
		if err := d.follow(s); err != nil {
			d.stallUnlessRoom("empty the slot for loading", err)
			continue
		}
		if was != d.attempt {
			continue
		}
		a := decide(s)
		if a.kind == restart && d.loading() {
			if err := d.lapseLoad(a.reason); err != nil {
				d.stallUnlessRoom("empty the slot for loading", err)
			}
			continue
		}
		if d.busy != nil {
			if a.kind == d.busy.kind && a.chain.version() == d.busy.hash {
				return a.until
			}
			if d.abandon() {
				continue // its result may have changed the situation
			}
		}
		if a.kind == wait {
			d.trouble = ""
			return a.until
		}
		err := d.act(ctx, s, a)
		switch {
		case err == nil:
			d.trouble = ""
		case a.goesBack(s):
			d.stallUnlessRoom(a.kind.String(), err)
		default:
			d.stall(a.kind.String(), err)
		}
	}
	return time.Time{}
}

// carryOver takes a trial over into the process that an Envoy run by others was hot restarted into. That one loads what is in the slots
// by itself, and is asked for a proof of its own: it counts from the start, but for a few seconds of its parent's. So does the first that
// starts on a chain that was placed for it.
func (d *driver) carryOver(s *situation) {
	t := d.trial
	placed := t != nil && t.epoch == 0 && d.config.SlotOnly && !t.pending()
	if t == nil || s.seen.epoch <= t.epoch || !placed && (t.epoch == 0 || !d.host.continues(t.epoch)) {
		return
	}
	d.trial = &trial{chain: t.chain, since: s.now, epoch: s.seen.epoch, before: observation{epoch: s.seen.epoch}}
	s.trial = d.trial
}

// noteAstray notes since when Envoy, or a slot's file, does not have the good chain.
func (d *driver) noteAstray(s *situation) {
	if s.now.Sub(d.slotsRead) >= restoreDelay {
		d.damagedSlot, d.slotsRead = d.files.damagedSlot(), s.now
	}
	s.damagedSlot = d.damagedSlot
	switch {
	case !s.astray():
		d.astraySince, d.restorePause = time.Time{}, 0
	case d.astraySince.IsZero():
		d.astraySince = s.now
	}
	s.astraySince = d.astraySince
}

// baseline notes from where the filters' counters count the chain on trial only.
func (d *driver) baseline(s *situation) {
	t := d.trial
	if t == nil || t.proved.IsZero() || !t.counted.at.IsZero() {
		return
	}
	if seen := s.current(t.epoch); seen.at.Sub(t.atProof.at) >= countTime {
		settled := *t
		settled.counted = seen
		d.trial, s.trial = &settled, &settled
	}
}

// stall puts off everything for a while, because this machine does not allow it now.
func (d *driver) stall(what string, err error) {
	if missing, ok := errors.AsType[*missingModule](err); ok {
		d.fetcher.lost(missing.digest)
	}
	d.stalled = time.Now().Add(jitter(stallRetry))
	d.trouble = troubleWith(what, err, d.config.StateDir)
	d.log.Error("cannot "+what+"; trying again", "error", err, "retry_in", time.Until(d.stalled))
}

// stallUnlessRoom is stall for what Envoy would be left without the good chain without: on a full disk it is tried again at once, with the room that is kept for that.
func (d *driver) stallUnlessRoom(what string, err error) {
	if d.reserve.spend(err) {
		d.log.Warn("the disk of the state folder is full; going back to the good chain with the room that was kept for that", "error", err)
		return
	}
	d.stall(what, err)
}

// troubleWith says in the ledger what this machine does not allow, and what to do. It is the same for the same trouble: files that are being written have names by chance.
func troubleWith(what string, err error, dir string) string {
	why := err.Error()
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		why = file.Err.Error()
	} else if link, ok := errors.AsType[*os.LinkError](err); ok {
		why = link.Err.Error()
	}
	next := "see the agent's log"
	if full(err) {
		next = "make room on the disk of " + dir
	}
	return fmt.Sprintf("the agent cannot %s: %s; %s; it is tried again each %s", what, why, next, stallRetry)
}

// situation gathers what decide needs.
func (d *driver) situation(now time.Time) situation {
	r := d.state.read()
	state, seen := d.host.now()
	have, _ := d.fetcher.state()
	s := situation{
		now: now, parent: !d.config.Beside,
		desired: r.Desired, good: r.Good, formerly: formerly(r), trial: d.trial,
		slots: slotNames(d.version.Number, r.Slots), upSince: d.host.upSince(), build: d.version.Build, blocked: d.blocked(seen),
		have: have, lapsed: d.lapsed, awaited: d.attempt.pending(), trouble: d.trouble,
		preloads: d.preloads(seen), loaded: d.loaded, slotOnly: d.config.SlotOnly,
		host: state, seen: seen, startAfter: d.startAfter, startedAt: d.startedAt,
		trialTime: d.config.Trial,
	}
	if r.Desired != nil {
		s.trust = d.guard.judge(r.Desired, r.Retry, now)
		switch full := d.fillDesired(r.Desired); {
		case full.chain != nil:
			s.desired, s.leftOut = without(full.chain, d.version, d.verdicts)
			had := older(r.Desired, d.trial, r.Good, r.Before)
			s.spoilt = spoilt(full.chain, s.desired, had, d.version, d.verdicts)
			if s.spoilt == "" && (r.Good == nil || r.Good.Hash != r.Desired.Hash) {
				s.spoilt = d.spoiltWay(s.desired, had, now)
			}
			if s.spoilt != "" {
				s.desired, s.leftOut = had, ""
			}
		default:
			s.lacksSecret = full.trouble
			before := r.Before
			if full.trouble == "" {
				before = nil // nothing is gone back to with an old value that may have another in a moment
			}
			if s.desired = older(r.Desired, d.trial, r.Good, before); s.desired == nil {
				s.desired, s.unfilled = r.Desired, true
			}
		}
		version := s.desired.version()
		s.verdict = d.verdicts.of(d.version.Build, version)
		s.misfit = misfit(d.version.Number, r.Slots, r.Desired)
		if d.probing == version {
			s.probeAfter = d.probeAfter
		}
		if refused := d.refusals[version]; refused != nil {
			s.refusal = &refused.refusal
		}
	}
	return s
}

// blocked says why the Envoy that others run can be given nothing: a probe by another build proves nothing.
func (d *driver) blocked(seen observation) string {
	if reason := d.slotless(seen); reason != "" {
		return reason
	}
	running := d.host.running()
	if !d.config.Beside || running.Build == "" || running.Build == d.version.Build {
		return ""
	}
	return fmt.Sprintf("the Envoy at %s is %s, and %s, which the agent probes with, is %s; give the agent the same one", d.config.Admin, running.Build, d.config.Envoy.Path, d.version.Build)
}

// misfit says why a chain does not fit an Envoy that has a slot for each filter. One with fewer filters than there are slots fits: see envoy.Fill.
func misfit(number envoy.Number, slots []string, c *chain) string {
	if !number.HasFilterChain() && c.Split != nil {
		return fmt.Sprintf("Envoy %s cannot run two chains side by side; it needs Envoy 1.39 or later", number)
	}
	if number.HasFilterChain() || slots == nil {
		return ""
	}
	filters := make([]envoy.WasmFilter, 0, len(c.Filters))
	for _, name := range c.names() {
		filters = append(filters, envoy.WasmFilter{Name: name})
	}
	if _, err := envoy.Fill(slots, filters); err == nil {
		return ""
	}
	return fmt.Sprintf("Envoy %s has one slot a filter, here for [%s], and the chain has the filters [%s]; it needs Envoy 1.39 or later, or a bootstrap with those slots",
		number, strings.Join(slots, " "), strings.Join(c.names(), " "))
}

// want tells the fetcher which modules are needed, and keeps them from being evicted.
func (d *driver) want() {
	r := d.state.read()
	wanted := d.inbox.askedFor()
	serving := map[string]int64{}
	digests(serving, r.Good, r.Before, r.Trial)
	if d.trial != nil {
		digests(serving, d.trial.chain)
	}
	digests(wanted, r.Desired)
	if err := errors.Join(d.cache.Pin(pinWanted, registryDigests(wanted)...), d.cache.Pin(pinServing, registryDigests(serving)...)); err != nil {
		d.log.Warn("pins of modules cannot be written; they hold until the agent ends", "error", err)
	}
	digests(wanted, r.Good, r.Trial)
	if r.Desired != d.dropped {
		var trying *chain
		if d.trial != nil {
			trying = d.trial.chain
		}
		if err := d.inbox.bodies.drop(d.state, trying); err != nil {
			d.log.Warn("resources that nobody needs cannot be removed", "error", err)
		}
		d.dropped = r.Desired
	}
	d.fetcher.want(wanted)
	d.guard.want(r.Desired, r.Good, r.Before, r.Trial)
	d.secrets.want(r.Desired)
	d.secrets.redactor.learnFrom(r.Good, r.Before, r.Trial)
}

func registryDigests(of map[string]int64) []registry.Digest {
	list := make([]registry.Digest, 0, len(of))
	for digest := range of {
		list = append(list, registry.Digest(digest))
	}
	return list
}

// heed acts on what the distributor says on the report stream: to try a rejected chain again.
func (d *driver) heed() {
	d.host.ask(d.reporter.askedFor())
	retry, heard := d.reporter.directive()
	r := d.state.read()
	if !heard || retry <= r.Retry {
		return
	}
	if err := d.state.change(func(r *record) { r.Retry, r.Lapsed = retry, nil }); err != nil {
		d.log.Error("a request to try again cannot be kept", "error", err)
		return
	}
	d.lapsed = nil
	if r.Desired == nil {
		return
	}
	d.log.Info("trying the chain again, as asked", "chain", r.Desired.Hash)
	asked := r.Desired
	if full := d.fillDesired(r.Desired); full.chain != nil {
		asked = full.chain // verdicts are of what Envoy was given
	}
	if err := d.verdicts.forget(d.version.Build, asked); err != nil {
		d.log.Error("a verdict cannot be forgotten on disk", "error", err)
	}
	maps.DeleteFunc(d.refusals, func(version string, _ *refusalCount) bool { return strings.HasPrefix(version, r.Desired.Hash) })
	d.probeAfter = time.Time{}
}

// finish takes the result of a job.
func (d *driver) finish(r result) {
	if d.busy == r.job {
		d.busy = nil
	}
	r.job.cancel()
	if errors.Is(r.err, context.Canceled) {
		return
	}
	switch r.job.kind {
	case probe:
		d.finishProbe(r)
	case load:
		if r.err == nil {
			d.loaded = r.job.hash
			d.log.Info("loaded", "chain", r.job.hash)
			return
		}
		if missing, ok := errors.AsType[*missingModule](r.err); ok {
			d.fetcher.lost(missing.digest) // it is there again when the refusal is over
		}
		if errors.Is(r.err, errStartedAnew) && d.attempt != nil {
			if d.attempt.ended {
				return
			}
			if err := d.lapseLoad(reasonEndedLoading); err != nil {
				d.log.Error("the slot for loading cannot be emptied", "error", err)
			}
			return
		}
		d.refuse(r.job.hash, stepLoad, r.err.Error())
		if err := d.unload(); err != nil {
			d.log.Error("the slot for loading cannot be emptied", "error", err)
		}
	}
}

func (d *driver) finishProbe(r result) {
	if d.probing != r.job.hash {
		d.probing, d.probePause = r.job.hash, 0
	}
	d.probeTrouble = ""
	if missing, ok := errors.AsType[*missingModule](r.err); ok {
		d.fetcher.lost(missing.digest)
	}
	if r.err != nil {
		d.probeTrouble = r.err.Error()
	} else if r.verdict.Outcome == envoy.Inconclusive {
		d.probeTrouble = r.verdict.Reason()
	}
	if d.probeTrouble != "" {
		d.probePause = min(max(2*d.probePause, probeRetryMin), probeRetryMax)
		d.probeAfter = time.Now().Add(jitter(d.probePause))
		d.log.Warn("the probe found nothing out; trying again", "chain", r.job.hash, "reason", d.probeTrouble, "retry_in", time.Until(d.probeAfter))
		return
	}
	r.probed = r.redacted(d.secrets.redactor)
	d.log.Info("probed", "chain", r.job.hash, "outcome", r.verdict.Outcome, "reason", r.verdict.Reason(), "took", r.verdict.Took)
	if err := d.verdicts.keep(d.version.Build, r.job.chain, r.probed, time.Now()); err != nil {
		d.log.Error("a verdict cannot be kept on disk; it will be found again", "error", err)
	}
}

// abandon ends the job that is under way, and says whether there was one.
func (d *driver) abandon() bool {
	if d.busy == nil {
		return false
	}
	d.busy.cancel()
	d.finish(<-d.results)
	return true
}

// refuse notes that a chain failed in a way that need not come again.
func (d *driver) refuse(hash string, at step, reason string) {
	least, most := refusedRetryMin, refusedRetryMax
	if at == stepServe {
		least, most = crashedRetryMin, crashedRetryMax
	}
	if len(d.refusals) >= maxRefusals {
		clear(d.refusals) // a node that was refused that many is tried again earlier, no worse
	}
	r := d.refusals[hash]
	if r == nil {
		r = new(refusalCount)
		d.refusals[hash] = r
	}
	r.pause = min(max(2*r.pause, least), most)
	r.refusal = refusal{step: at, reason: reason, until: time.Now().Add(jitter(r.pause))}
	d.log.Warn("refused", "chain", hash, "step", at, "reason", reason, "retry_in", time.Until(r.until))
}

// report tells the reporter what has changed, and returns when that may be something else though nothing happens; zero: never.
func (d *driver) report() (again time.Time) {
	now := time.Now()
	have, trouble := d.fetcher.state()
	d.reporter.setFetched(have, trouble)
	if d.config.Beside {
		for _, r := range d.host.takeRestarts() {
			d.reporter.addRestart(r.at, r.reason)
		}
	}
	s := d.situation(now)
	var fetchTrouble string
	if s.desired != nil {
		for _, f := range s.desired.Filters {
			if reason := trouble[f.Digest]; reason != "" {
				fetchTrouble = reason
				break
			}
		}
		probeTrouble := ""
		if d.probing == s.desired.version() {
			probeTrouble = d.probeTrouble
		}
		if standing, ok := stand(s, fetchTrouble, probeTrouble); ok && standing != d.told {
			d.log.Info("chain", "hash", standing.hash, "state", standing.state, "step", standing.step, "reason", standing.reason, "final", standing.final, "serving", standing.serving)
			d.told = standing
			d.reporter.setStanding(standing, now)
		}
	}
	d.measure(s)
	if s.host == up && !s.blind() {
		return s.blindAt()
	}
	return time.Time{}
}

// measure counts for the chain that serves.
func (d *driver) measure(s situation) {
	var serving *chain
	switch hash := s.serving(); {
	case hash == "":
		return
	case s.trial != nil && s.trial.chain.Hash == hash:
		serving = s.trial.chain
	case s.good != nil && s.good.Hash == hash:
		serving = s.good
	}
	before := d.meter.hash
	if before == "" && serving != nil {
		d.meter.found(serving, s.trial == nil || s.trial.inherited.there || s.trial.chain.Hash != serving.Hash, d.state.read().Baseline)
	}
	if d.meter.follow(serving, s.seen); d.meter.hash != before {
		d.keepBaseline()
	}
	if d.busy == nil && d.loaded == "" && s.trial == nil {
		d.meter.rest(s.seen)
	}
	d.reporter.setStatistics(d.meter.hash, d.meter.since, s.seen.at, d.meter.total(serving), d.meter.cohort(serving), d.meter.rise.total())
}
