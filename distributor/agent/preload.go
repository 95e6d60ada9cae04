package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/envoy"
)

// load is a job: it has Envoy load the modules of a chain that it does not run yet, one at a time, while the old chain
// serves. Each step keeps what the steps before have loaded, because V8 drops compiled code that nobody uses. What it needs of
// the driver it must not change: it runs on a goroutine of its own, and only it writes the slot meanwhile.
func (d *driver) load(ctx context.Context, c *chain) error {
	filters, err := d.files.render(c)
	if err != nil {
		return err
	}
	var fresh []envoy.WasmFilter
	for i, f := range c.Filters {
		if !runs(d.runningChain(), f) {
			fresh = append(fresh, filters[i])
		}
	}
	restore := d.host.lowerMain()
	defer restore()
	for i, again := 0, 0; i < len(fresh); i++ {
		version := fmt.Sprintf("%s#%d", c.version(), i+1)
		if again > 0 {
			version += fmt.Sprintf("/%d", again) // a process that took over has read the file already; it must see a change
		}
		epoch, took, err := d.loadStep(ctx, fresh[:i+1], version, c.loadLimit(swapLimit))
		if errors.Is(err, errStartedAnew) && d.host.continues(epoch) {
			i, again = -1, again+1
			continue
		}
		if err != nil {
			return fmt.Errorf("filter %s: %w", fresh[i].Name, err)
		}
		d.log.Info("loaded a module", "chain", c.version(), "filter", fresh[i].Name, "of", len(fresh), "took", took)
	}
	return nil
}

// errStartedAnew means that what was loaded is gone with the process that had loaded it.
var errStartedAnew = errors.New("envoy was started anew meanwhile")

// runningChain is what is in the slots. The driver changes it only after it has ended a job.
func (d *driver) runningChain() *chain {
	if d.trial != nil {
		return d.trial.chain
	}
	return d.state.read().Good
}

// runs says whether a chain has loaded the very VM that the filter needs: its id is the filter's name in Envoy.
func runs(c *chain, f filter) bool {
	return c != nil && slices.ContainsFunc(c.Filters, func(other filter) bool {
		return other.id() == f.id() && other.Digest == f.Digest && other.Policy == f.Policy
	})
}

// loadStep has some filters loaded, and says by which epoch of Envoy, and how long that took from when Envoy was given them.
func (d *driver) loadStep(ctx context.Context, filters []envoy.WasmFilter, version string, limit time.Duration) (epoch int, took time.Duration, err error) {
	before, err := d.answering(ctx, limit)
	if err != nil {
		return 0, 0, err
	}
	epoch = before.epoch
	d.host.giveWay()
	position := d.host.log.Position()
	given := time.Now()
	if err := d.files.putPreload(filters, version); err != nil {
		return epoch, 0, err
	}
	// A job that was given up may have had it loaded already. Where Envoy has not read since that the slot was emptied, it sees no change, and reloads nothing.
	same := map[string]bool{envoy.PreloadSlotName: before.slots[envoy.PreloadSlotName].version == version}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(observeSoon)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return epoch, 0, fmt.Errorf("envoy did not load it within %s: %w", limit, ctx.Err())
		case <-ticker.C:
		}
		d.host.giveWay()
		now, err := d.host.fresh(ctx)
		if err != nil {
			continue // it is busy loading
		}
		if now.epoch != before.epoch {
			return epoch, 0, errStartedAnew
		}
		switch prove(version, []string{envoy.PreloadSlotName}, same, before, now) {
		case proved:
			return epoch, now.at.Sub(given), nil
		case refused:
			d.host.awaitRejection(ctx, position)
			lines, _ := d.host.log.Since(position)
			return epoch, 0, fmt.Errorf("envoy rejected it: %s", strings.Join(envoy.Reasons(lines), "; "))
		case hung:
			return epoch, 0, errors.New("a worker of Envoy hangs since it was to load it")
		}
	}
}

// answering is an observation made as soon as Envoy answers: one that has ended is its driver's concern.
func (d *driver) answering(ctx context.Context, limit time.Duration) (observation, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(observeSoon)
	defer ticker.Stop()
	for {
		o, err := d.host.fresh(ctx)
		if err == nil {
			return o, nil
		}
		select {
		case <-ctx.Done():
			return observation{}, fmt.Errorf("envoy did not answer within %s: %w", limit, err)
		case <-ticker.C:
		}
	}
}

// unload empties the slot for loading; what the serving chain uses stays loaded.
func (d *driver) unload() error {
	d.loaded = ""
	return d.files.emptyPreload()
}

// emptyPreload empties the slot for loading, where this Envoy has one.
func (f *files) emptyPreload() error {
	if !f.number.HasFilterChain() {
		return nil
	}
	content, err := envoy.Chain(envoy.PreloadSlotName, nil, "empty")
	if err != nil {
		return err
	}
	return replaceOther(filepath.Join(f.slotsDir(), envoy.SlotFileName(envoy.PreloadSlotName)), content)
}
