package retention

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// Collector collects what nothing needs from the registry in a folder. It may be used concurrently.
type Collector struct {
	dir    string
	uses   *Uses
	policy Policy
	log    *slog.Logger

	// looking is held during a look.
	looking sync.Mutex
	reader  *reader
	// waits are for how long things were unneeded when they were last looked at; nil: they are to be read from the disk.
	waits Waits
}

// NewCollector makes one for the registry in dir, before which uses stands.
func NewCollector(dir string, uses *Uses, policy Policy, log *slog.Logger) *Collector {
	return &Collector{dir: dir, uses: uses, policy: policy, log: log, reader: newReader(dir)}
}

// Collected is what a look has found and done.
type Collected struct {
	Outcome
	// Removed are the artifacts that were removed, and Freed the bytes.
	Removed []Fate
	Freed   int64
	// Bytes are those of the blobs that are left.
	Bytes int64
}

// See looks without counting time and removes nothing.
func (c *Collector) See(ctx context.Context, named Named) (Outcome, error) {
	c.looking.Lock()
	defer c.looking.Unlock()
	var out Outcome
	err := c.uses.quiet(ctx, func() error {
		_, decided, err := c.decide(named, 0)
		out = decided
		return err
	})
	return out, err
}

// Look looks once. watched is how long it is since the last look of this process; zero for the first. named is what is named elsewhere: what was named since it was read was used since
// the last look, too. Before anything is removed record is told of it, and where that fails nothing is.
func (c *Collector) Look(ctx context.Context, named Named, watched time.Duration, record func(context.Context, Removal) error) (Collected, error) {
	c.looking.Lock()
	defer c.looking.Unlock()
	var out Collected
	var removal Removal
	var settled bool
	err := c.uses.quiet(ctx, func() error {
		all, decided, err := c.decide(named, watched)
		if err != nil {
			return err
		}
		out, removal = Collected{Outcome: decided, Bytes: total(all.Blobs)}, decided.removal()
		if settled = removal.empty() && len(unlinked(all, removal)) == 0; settled {
			return c.settle(decided.Waits)
		}
		return nil
	})
	if err != nil || settled {
		return out, err
	}
	if !removal.empty() {
		if err := record(ctx, removal); err != nil {
			return out, err
		}
	}
	err = c.uses.quiet(ctx, func() error {
		all, decided, err := c.decide(named, watched)
		if err != nil {
			return err
		}
		// Something of it may be needed by now, so that less goes; but never more than was recorded.
		last := decided.removal()
		if !last.within(removal) {
			return errChanged
		}
		freed, err := c.reader.remove(all, last)
		if err != nil {
			return err
		}
		for _, gone := range last.objects() {
			delete(decided.Waits, gone)
		}
		out = Collected{Outcome: decided, Removed: last.Artifacts, Freed: freed, Bytes: total(all.Blobs) - freed}
		return c.settle(decided.Waits)
	})
	return out, err
}

// errChanged is that more could go than was recorded.
var errChanged = errors.New("the registry has changed meanwhile")

// decide reads and decides; nobody pushes meanwhile.
func (c *Collector) decide(named Named, watched time.Duration) (Registry, Outcome, error) {
	if c.waits == nil {
		waits, err := readWaits(c.dir)
		if err != nil {
			c.log.Warn("for how long artifacts were unneeded cannot be read; they wait anew", "error", err)
			waits = Waits{}
		}
		c.waits = waits
	}
	all, err := c.reader.read()
	if err != nil {
		return Registry{}, Outcome{}, err
	}
	return all, Decide(all, named, c.uses.has, c.waits, watched, c.policy), nil
}

// settle keeps what was decided.
func (c *Collector) settle(waits Waits) error {
	c.uses.forget()
	if maps.Equal(c.waits, waits) {
		return nil
	}
	c.waits = waits
	return waits.keep(c.dir)
}
