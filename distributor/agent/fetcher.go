package agent

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/waft-project/waft/registry"
)

// Limits of fetching.
const (
	// fetchParallel is how many modules are downloaded at once.
	fetchParallel = 3
	// A failed download is tried again after fetchRetryMin, doubling to fetchRetryMax, with jitter, for ever.
	fetchRetryMin = 500 * time.Millisecond
	fetchRetryMax = 30 * time.Second
)

// fetcher brings modules onto the disk and keeps at it until they are there.
type fetcher struct {
	// fetch gets one module, from the disk or from the distributor, verified.
	fetch func(ctx context.Context, digest string, size int64) error
	// changed receives after have or trouble have changed; several changes may be one receipt.
	changed chan struct{}

	wake chan struct{}

	mu     sync.Mutex
	wanted map[string]int64
	have   map[string]bool
	failed map[string]failure
	busy   map[string]bool
}

// fetchModule is what a fetcher fetches with: from the disk, from the second copy of a good one, or from the distributor, verified, and within what the modules may use of
// the disk. What is wanted is pinned before it is fetched (driver.want).
func fetchModule(config Config, client *registry.Client, kept *kept) func(ctx context.Context, digest string, size int64) error {
	repository := config.modulesRepository()
	return func(ctx context.Context, digest string, size int64) error {
		if err := kept.restore(ctx, digest, size); err != nil {
			config.Log.Warn("the second copy of a module cannot be used", "module", digest, "error", err)
		}
		_, err := client.FetchModule(ctx, repository, registry.Digest(digest), size)
		if err == nil {
			trim(client.Cache(), config.CacheBytes, config.Log)
		}
		return err
	}
}

// trim removes the copies that are not pinned and were not used for longest, until what stays is within maxBytes.
func trim(cache *registry.Cache, maxBytes int64, log *slog.Logger) {
	if maxBytes < 0 {
		return
	}
	if freed, err := cache.Trim(maxBytes); err != nil {
		log.Warn("modules that nobody needs cannot be removed", "error", err)
	} else if freed > 0 {
		log.Info("removed modules that nobody needs", "bytes", freed)
	}
}

// failure is what became of the last attempt at a digest.
type failure struct {
	reason string
	pause  time.Duration
	again  time.Time
}

func newFetcher(fetch func(context.Context, string, int64) error) *fetcher {
	return &fetcher{
		fetch: fetch, changed: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		wanted: map[string]int64{}, have: map[string]bool{}, failed: map[string]failure{}, busy: map[string]bool{},
	}
}

// want says which modules are to be on disk, digest → size. What is no longer wanted is forgotten, not deleted.
func (f *fetcher) want(wanted map[string]int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if maps.Equal(wanted, f.wanted) {
		return
	}
	f.wanted = maps.Clone(wanted)
	dropped := func(digest string) bool { _, ok := wanted[digest]; return !ok }
	maps.DeleteFunc(f.have, func(digest string, _ bool) bool { return dropped(digest) })
	maps.DeleteFunc(f.failed, func(digest string, _ failure) bool { return dropped(digest) })
	notify(f.wake)
	notify(f.changed)
}

// wants says whether that is what is wanted now.
func (f *fetcher) wants(wanted map[string]int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Equal(wanted, f.wanted)
}

// again fetches what is here once more, unless that is under way or failed a moment ago.
func (f *fetcher) again(digest string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.have[digest] {
		delete(f.have, digest)
		notify(f.wake)
	}
}

// lost says that a module turned out not to be on disk after all.
func (f *fetcher) lost(digest string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.have, digest)
	notify(f.wake)
	notify(f.changed)
}

// hurry tries failed downloads again now; called when the distributor has come back.
func (f *fetcher) hurry() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for digest, failed := range f.failed {
		failed.again = time.Time{}
		f.failed[digest] = failed
	}
	notify(f.wake)
}

// state returns which digests are on disk, and why others are not.
func (f *fetcher) state() (have map[string]bool, trouble map[string]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	trouble = make(map[string]string, len(f.failed))
	for digest, failed := range f.failed {
		trouble[digest] = failed.reason
	}
	return maps.Clone(f.have), trouble
}

// run fetches until ctx ends.
func (f *fetcher) run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		due, size, next := f.next(time.Now())
		if due != "" {
			running.Go(func() { f.one(ctx, due, size) })
			continue
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-f.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// next picks a digest to fetch and marks it, or says how long to wait.
func (f *fetcher) next(now time.Time) (digest string, size int64, pause time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	pause = fetchRetryMax
	if len(f.busy) >= fetchParallel {
		return "", 0, pause // one that ends wakes us
	}
	for _, digest := range sorted(f.wanted) {
		if f.have[digest] || f.busy[digest] {
			continue
		}
		if wait := f.failed[digest].again.Sub(now); wait > 0 {
			pause = min(pause, wait)
			continue
		}
		f.busy[digest] = true
		return digest, f.wanted[digest], 0
	}
	return "", 0, pause
}

func (f *fetcher) one(ctx context.Context, digest string, size int64) {
	err := f.fetch(ctx, digest, size)
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.busy, digest)
	notify(f.wake)
	if _, wanted := f.wanted[digest]; !wanted || ctx.Err() != nil {
		return
	}
	if err == nil {
		f.have[digest] = true
		delete(f.failed, digest)
	} else {
		pause := min(max(2*f.failed[digest].pause, fetchRetryMin), fetchRetryMax)
		f.failed[digest] = failure{reason: err.Error(), pause: pause, again: time.Now().Add(jitter(pause))}
	}
	notify(f.changed)
}

// jitter is half to whole of a pause: nodes that lost the distributor together do not come back together.
func jitter(pause time.Duration) time.Duration { return pause/2 + rand.N(pause/2+1) }

// notify puts a receipt into a channel of capacity one.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
