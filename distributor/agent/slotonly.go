package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/waft-project/waft/envoy"
)

// place puts the first chain into the slots of an Envoy that does not run: without the slots' files it cannot start. Its trial begins with
// the start (driver.carryOver).
func (d *driver) place(c *chain) error {
	if err := d.putSlots(c); err != nil {
		return err
	}
	d.trial = &trial{chain: c, since: time.Now()}
	d.log.Info("the first chain is in the slot; Envoy can be started", "chain", c.Hash, "slots", d.files.slotsDir())
	return nil
}

// removeSlots takes the slots' files away: an Envoy without one does not start, rather than answer without a chain.
func (f *files) removeSlots(slots []string) error {
	f.written = nil
	var errs []error
	for _, slot := range slots {
		if err := os.Remove(filepath.Join(f.slotsDir(), envoy.SlotFileName(slot))); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// preloads says whether Envoy has the slot for loading beforehand. A bootstrap of others need not have it; a swap then takes as long as the
// module takes to load.
func (d *driver) preloads(seen observation) bool {
	if !d.version.Number.HasFilterChain() {
		return false
	}
	_, has := seen.slots[envoy.PreloadSlotName]
	return !d.config.SlotOnly || has
}

// slotless says why an Envoy whose bootstrap is not the agent's can be given nothing: it has no slot.
func (d *driver) slotless(seen observation) string {
	if !d.config.SlotOnly || !seen.ready {
		return ""
	}
	for _, slot := range slotNames(d.version.Number, d.state.read().Slots) {
		if _, has := seen.slots[slot]; !has {
			return fmt.Sprintf("the Envoy at %s has no slot named %s among its HTTP filters; add one that watches %s", d.config.Admin, slot, filepath.Join(d.files.slotsDir(), envoy.SlotFileName(slot)))
		}
	}
	return ""
}
