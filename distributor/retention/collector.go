package retention

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/waft-project/waft/registry"
)

// Collector collects what nothing needs from the registry in a folder. It may be used concurrently.
type Collector struct {
	dir    string
	uses   *Uses
	policy Policy
	log    *slog.Logger

	// looking is held during a look, and reading by who uses reader.
	looking, reading turn
	reader           *reader
	// recorded is what was recorded to go and is still there; looking guards it.
	recorded map[Object]bool

	// mu guards waits, which are never changed but replaced, and the file that keeps them.
	mu sync.Mutex
	// waits are for how long things were unneeded when they were last looked at; nil: they are to be read from the disk.
	waits Waits
	// kept says whether that is so on the disk.
	kept bool
}

// NewCollector makes one for the registry in dir, before which uses stands.
func NewCollector(dir string, uses *Uses, policy Policy, log *slog.Logger) *Collector {
	return &Collector{dir: dir, uses: uses, policy: policy, log: log, looking: newTurn(), reading: newTurn(), reader: newReader(dir), recorded: map[Object]bool{}}
}

// turn is a lock for which nobody waits longer than they want.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t turn) give() { <-t }

// Collected is what a look has found and done.
type Collected struct {
	Outcome
	// Unreadable are the repositories of which something cannot be read, so that all of them stays, and why.
	Unreadable map[string]error
	// Removed are the artifacts that were removed, and Freed the bytes.
	Removed []Fate
	Freed   int64
	// Bytes are those of the blobs that are left.
	Bytes int64
}

// See looks without counting time and removes nothing.
func (c *Collector) See(ctx context.Context, named Named) (Collected, error) {
	all, out, err := c.decide(ctx, named, 0)
	return found(all, out), err
}

func found(all Registry, out Outcome) Collected {
	c := Collected{Outcome: out, Unreadable: map[string]error{}, Bytes: all.bytes()}
	for _, r := range all.Repositories {
		if r.Unreadable != nil {
			c.Unreadable[r.Name] = r.Unreadable
		}
	}
	return c
}

// Look looks once. watched is how long it is since the last look of this process; zero for the first. named is what is named elsewhere: what was named since it was read was used since
// the last look, too. Before anything is removed record is told of it, and where that fails nothing more is. What was done until an error is in what is returned.
func (c *Collector) Look(ctx context.Context, named Named, watched time.Duration, record func(context.Context, Removal) error) (Collected, error) {
	if err := c.looking.take(ctx); err != nil {
		return Collected{}, err
	}
	defer c.looking.give()
	// From here on what is used is known to come after what is read.
	c.uses.begin()
	all, decided, err := c.decide(ctx, named, watched)
	if err != nil {
		c.uses.decided(false)
		return Collected{}, err
	}
	c.mu.Lock()
	c.waits, c.kept = decided.Waits, false
	c.mu.Unlock()
	c.uses.decided(true)
	out := found(all, decided)
	err = c.remove(ctx, all, &out, record)
	return out, errors.Join(err, c.Keep())
}

// decide reads and decides, while others push.
func (c *Collector) decide(ctx context.Context, named Named, watched time.Duration) (Registry, Outcome, error) {
	if err := c.reading.take(ctx); err != nil {
		return Registry{}, Outcome{}, err
	}
	defer c.reading.give()
	all, err := c.reader.read(ctx)
	if err != nil {
		return Registry{}, Outcome{}, err
	}
	return all, Decide(all, named, c.uses.has, c.earlier(), watched, time.Now(), c.policy), nil
}

// remove removes what goes, step by step. It is under the eyes of who uses the registry: each step is short, and what was used since it was decided stays, with all that belongs to it.
func (c *Collector) remove(ctx context.Context, all Registry, out *Collected, record func(context.Context, Removal) error) error {
	list := steps(all, out.Outcome, stepObjects, lookObjects)
	going, within := map[Object]bool{}, map[string]bool{}
	for _, step := range list {
		for _, of := range step.objects() {
			going[of], within[of.Repository] = true, true
		}
	}
	maps.DeleteFunc(c.recorded, func(of Object, _ bool) bool { return !going[of] })
	if len(list) == 0 {
		return nil
	}
	stale := map[Object][]string{}
	for _, r := range all.Repositories {
		if !within[r.Name] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.reader.stale(r, going, stale); err != nil {
			return err
		}
	}
	links, spared := all.links(), newSpared(all, c.reader.since)
	for _, step := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		spared.use(c.uses.since())
		step = step.except(spared.stays)
		if err := c.record(ctx, step, record); err != nil {
			return err
		}
		err := c.uses.quiet(ctx, func() error {
			spared.use(c.uses.since())
			gone := step.except(spared.stays)
			freed, err := c.reader.removeStep(gone, stale, unlink(links, gone, spared), all.Blobs)
			out.Freed += freed
			out.Bytes -= freed
			if err == nil {
				out.Removed = append(out.Removed, gone.Artifacts...)
				c.forget(gone)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// unlink takes the links away from what goes, and says which blobs have none then.
func unlink(links map[registry.Digest]int, gone Removal, spared *spared) (blobs []registry.Digest) {
	for _, of := range gone.objects() {
		if of.Repository != "" {
			links[of.Digest]--
		}
		if links[of.Digest] == 0 && !spared.bytes[of.Digest] {
			blobs = append(blobs, of.Digest)
		}
	}
	return blobs
}

// recordObjects is how many artifacts are recorded at once where more belong together than one step takes: as many as one transaction of the store takes, so that of what fails nothing is recorded.
const recordObjects = 50

// record has a step recorded, but for what was recorded already.
func (c *Collector) record(ctx context.Context, step Removal, record func(context.Context, Removal) error) error {
	step = step.except(func(of Object) bool { return c.recorded[of] })
	var parts []Removal
	for artifacts := range slices.Chunk(step.Artifacts, recordObjects) {
		parts = append(parts, Removal{Artifacts: artifacts})
	}
	if len(step.Layers) > 0 { // no more than one step takes are by themselves, and recorded
		parts = append(parts, Removal{Layers: step.Layers})
	}
	for _, part := range parts {
		if err := record(ctx, part); err != nil {
			return err
		}
		for _, of := range part.objects() {
			c.recorded[of] = true
		}
	}
	return nil
}

// forget forgets what is gone.
func (c *Collector) forget(gone Removal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := maps.Clone(c.waits)
	for _, of := range gone.objects() {
		delete(left, of)
		delete(c.recorded, of)
	}
	c.waits, c.kept = left, false
}

// earlier are for how long things were unneeded when they were last looked at.
func (c *Collector) earlier() Waits {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known()
}

// known reads them from the disk, once; mu is held.
func (c *Collector) known() Waits {
	if c.waits == nil {
		waits, err := readWaits(c.dir)
		if err != nil {
			c.log.Warn("for how long artifacts were unneeded cannot be read; they wait anew", "error", err)
			waits = Waits{}
		}
		c.waits, c.kept = waits, err == nil
	}
	return c.waits
}

// Keep has on disk for how long things were unneeded, and of what was used since that it was not: who has pulled something is not forgotten by a restart.
func (c *Collector) Keep() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	waits := c.known()
	var used []Object
	for of := range waits {
		if c.uses.has(of) {
			used = append(used, of)
		}
	}
	if len(used) > 0 {
		left := maps.Clone(waits)
		for _, of := range used {
			delete(left, of)
		}
		c.waits, c.kept = left, false
	}
	if c.kept {
		return nil
	}
	err := c.waits.keep(c.dir)
	c.kept = err == nil
	return err
}

// Forget removes what is kept of how long things were unneeded: where nobody notes what is used, they wait anew once somebody does.
func Forget(dir string) error {
	if err := os.Remove(filepath.Join(dir, WaitsFile)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// since reads a manifest that came since the registry was read.
func (r *reader) since(of Object) (Content, bool, error) {
	_, err := os.Lstat(filepath.Join(r.folder(of.Repository), manifestsFolder, "revisions", "sha256", of.Digest.Hex(), "link"))
	if errors.Is(err, fs.ErrNotExist) {
		return Content{}, false, nil
	}
	if err != nil {
		return Content{}, false, err
	}
	text, err := os.ReadFile(filepath.Join(r.blob(of.Digest), "data"))
	if err != nil {
		return Content{}, true, err
	}
	content, err := ParseManifest(text)
	return content, true, err
}
