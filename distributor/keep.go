package distributor

import (
	"context"
	"errors"
	"maps"
	"os"
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
		grown := m.grown
		if !m.settle(ctx, maxBytes, needed) {
			grown = nil // what fails is fetching, too, and would wake it at once, for ever
		}
		select {
		case <-ctx.Done():
			return
		case <-grown:
		case <-t.C:
		}
	}
}

// settle does that once; false where something that is needed could not be fetched.
func (m *modules) settle(ctx context.Context, maxBytes int64, needed func(context.Context) ([]model.Module, error)) bool {
	modules, err := needed(ctx)
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, model.ErrUnavailable) {
			m.log.Error("which modules nodes need cannot be read; none is removed until it can", "error", err)
		}
		return true
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
		return true
	}
	for _, e := range entries {
		// Without what is known of its artifact a module is of no use to a release; a fetch that was cut short leaves the one without the other.
		if module, need := byDigest[e.Digest]; need && m.described(module) {
			delete(byDigest, e.Digest)
		}
	}
	settled := true
	for digest, module := range byDigest {
		if err := m.fetchLost(ctx, digest, module); err != nil && ctx.Err() == nil {
			settled = false
			m.log.Warn("a module that nodes need is not on the disk and cannot be fetched; it is tried again", "module", string(digest), "reference", module.Reference, "error", err)
		}
	}
	return settled
}

// described says whether what is known of a module's artifact is on the disk.
func (m *modules) described(module model.Module) bool {
	path, err := m.path(module.Artifact)
	if err != nil {
		return true // nothing could be fetched of it either
	}
	_, err = os.Stat(path)
	return err == nil
}

// pushedHere are the modules that came out of this distributor's own registry, which no other registry has.
func (m *modules) pushedHere() []model.Module {
	m.mu.Lock()
	defer m.mu.Unlock()
	var pushed []model.Module
	for _, a := range m.sources {
		if a.Origin == nil {
			pushed = append(pushed, a.Module)
		}
	}
	return pushed
}
