package distributor

import (
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/waft-project/waft/registry"
)

// pinFetching owns the pins of what is being fetched.
const pinFetching = "fetching"

// pinned pins what is under way, for as long as somebody holds it. It may be used concurrently.
type pinned struct {
	cache *registry.Cache

	mu    sync.Mutex
	count map[registry.Digest]int
}

// hold pins digests until the function that it gives is called.
func (p *pinned) hold(log *slog.Logger, digests ...registry.Digest) (letGo func()) {
	p.change(log, digests, 1)
	return sync.OnceFunc(func() { p.change(log, digests, -1) })
}

func (p *pinned) change(log *slog.Logger, digests []registry.Digest, by int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range digests {
		if p.count[d] += by; p.count[d] == 0 {
			delete(p.count, d)
		}
	}
	if err := p.cache.Pin(pinFetching, slices.Collect(maps.Keys(p.count))...); err != nil {
		log.Warn("pins of what is being fetched cannot be written; they hold until this process ends", "error", err)
	}
}
