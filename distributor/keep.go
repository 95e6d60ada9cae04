package distributor

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/registry"
)

// pinNeeded owns the pins of the modules that nodes run, are to run, or may have to go back to.
const pinNeeded = "needed"

// settleInterval is how often the pins follow what nodes need, beside each time that something was fetched.
const settleInterval = time.Minute

// keepBound keeps the copies on the disk within maxBytes until ctx ends: those go that were not used for longest, and none that
// needed names. While that is not known, nothing goes. A module that is needed and not there is fetched again. It looks that often: every settleInterval
// will do for whoever fetches everything itself.
func (m *modules) keepBound(ctx context.Context, maxBytes int64, every time.Duration, needed func(context.Context) ([]model.Module, error)) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		m.settle(ctx, maxBytes, needed)
		select {
		case <-ctx.Done():
			return
		case <-m.grown:
		case <-t.C:
		}
	}
}

// settle does that once.
func (m *modules) settle(ctx context.Context, maxBytes int64, needed func(context.Context) ([]model.Module, error)) {
	modules, err := needed(ctx)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, model.ErrUnavailable) {
			m.log.Error("which modules nodes need cannot be read; none is removed until it can", "error", err)
		}
		return
	}
	byDigest := map[registry.Digest]model.Module{}
	for _, module := range modules {
		byDigest[registry.Digest(module.Digest)] = module
	}
	cache := m.client.Cache()
	if err := cache.Pin(pinNeeded, slices.Collect(maps.Keys(byDigest))...); err != nil {
		m.log.Warn("pins of modules cannot be written; they hold until this process ends", "error", err)
	}
	// Whoever fetches something looks again when it has it (grow).
	if maxBytes >= 0 && m.growing.TryLock() {
		freed, err := cache.Trim(maxBytes)
		m.growing.Unlock()
		if err != nil {
			m.log.Warn("copies of modules that no node needs cannot be removed", "error", err)
		} else if freed > 0 {
			m.log.Info("removed copies that no node needs", "bytes", freed)
		}
	}
	entries, err := cache.List()
	if err != nil {
		m.log.Warn("the copies of modules cannot be listed", "error", err)
		return
	}
	for _, e := range entries {
		delete(byDigest, e.Digest)
	}
	for digest, module := range byDigest {
		if err := m.fetchLost(ctx, digest, module); err != nil && ctx.Err() == nil {
			m.log.Warn("a module that nodes need is not on the disk and cannot be fetched; it is tried again", "module", string(digest), "reference", module.Reference, "error", err)
		}
	}
}
