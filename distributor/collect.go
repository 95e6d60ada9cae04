package distributor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/retention"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/distributor/store"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/trust"
)

const (
	// registryLook is how often is looked for what may go; sooner, where little time is given to what is unneeded.
	registryLook = time.Hour
	// looksBefore is how many times at least something is seen to be unneeded before it goes.
	looksBefore = 10
	// lookTimeout bounds what is asked of etcd, and of the replica that leads, in one look.
	lookTimeout = 5 * time.Minute
	// usesKept is how often it is written down what was used.
	usesKept = time.Minute
	// listKept is for how long the pages of a list are of the same look at the registry.
	listKept = time.Minute
)

// collection collects from the embedded registry of this process what nothing needs. Each replica does so for its own: whether an artifact is needed it reads from etcd, and what it removes stands in the audit log before, which
// the replica that leads writes.
type collection struct {
	dir       string
	after     time.Duration
	collector *retention.Collector
	// store is what says what is needed.
	store func(context.Context) (*store.Store, error)
	// record puts into the audit log what goes.
	record  func(context.Context, []service.CollectedArtifact) error
	metrics collectionMetrics
	log     *slog.Logger
	// modules are told to forget what is in no registry any more; unknown are the artifacts that were so at the last look, too.
	modules *modules
	unknown map[string]bool
	// told is why all of it stays, and unreadable which repositories could not be read, as they were logged last; look alone has them.
	told, unreadable string

	// mu guards listed, the list whose pages are being read, and since when it is.
	mu          sync.Mutex
	listed      service.ArtifactList
	listedSince time.Time
}

// newCollection makes one for the registry in dir, before which uses stands.
func newCollection(cfg Config, dir string, uses *retention.Uses, r prometheus.Registerer, log *slog.Logger) (*collection, error) {
	policy := retention.Policy{After: cfg.RegistryRetention, Documents: trust.ReleasesRepository}
	metrics, err := newCollectionMetrics(r)
	if err == nil && !cfg.collects() {
		err = retention.Forget(dir)
	}
	return &collection{dir: dir, after: cfg.RegistryRetention, collector: retention.NewCollector(dir, uses, policy, log), metrics: metrics, log: log}, err
}

// collects says whether anything is removed from the embedded registry while it is served.
func (c Config) collects() bool { return c.RegistryRetention > 0 }

// run looks again and again until ctx ends; never where nothing is to be removed. Time counts only while it runs: by the process's own clock, and no more than two intervals at once.
func (c *collection) run(ctx context.Context) {
	if c.after <= 0 {
		c.log.Info("what was pushed to the registry stays", "next", "waft artifact list --unneeded shows what waft serve --registry-retention would remove")
		return
	}
	c.begin(ctx)
	var keeping sync.WaitGroup
	defer keeping.Wait()
	keeping.Go(func() { c.keepUses(ctx) })
	every := max(min(registryLook, c.after/looksBefore), time.Millisecond)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := time.Now()
		watched := min(now.Sub(last), 2*every)
		last = now
		if err := c.look(ctx, watched); err != nil && ctx.Err() == nil {
			c.log.Warn("what nothing needs was not removed from the registry; it is tried again", "after", every, "error", err)
		}
	}
}

// begin says what is on, and how much waits.
func (c *collection) begin(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	list, err := c.List(ctx, true)
	if err != nil {
		c.log.Warn("what nothing needs is removed from the registry; it cannot be looked at now", "after", c.after, "error", err)
		return
	}
	unneeded, bytes, next := 0, int64(0), time.Duration(0)
	for _, a := range list.Artifacts {
		if a.Needed == "" {
			unneeded++
			bytes += a.Bytes
			next = max(next, a.Unneeded)
		}
	}
	c.log.Info("what nothing needs is removed from the registry", "after", c.after, "artifacts", len(list.Artifacts), "unneeded", unneeded, "unneededBytes", bytes, "unneededFor", next.Round(time.Second), "allStay", list.AllStay)
}

// keepUses has what was used on disk, until ctx ends.
func (c *collection) keepUses(ctx context.Context) {
	ticker := time.NewTicker(usesKept)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.keep()
		}
	}
}

// keep has on disk what was used, as at the end, when nobody is served any more.
func (c *collection) keep() {
	if c.after <= 0 {
		return
	}
	if err := c.collector.Keep(); err != nil {
		c.log.Warn("what was used of the registry is not on disk; after a restart it may go sooner than it should", "file", filepath.Join(c.dir, retention.WaitsFile), "error", err)
	}
}

// look looks once.
func (c *collection) look(ctx context.Context, watched time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	named, unknown, err := c.named(ctx)
	if err != nil {
		return err
	}
	if unknown != c.told && unknown != "" {
		c.log.Info("all that is in the registry stays", "reason", unknown)
	}
	if c.told = unknown; unknown != "" {
		seen, err := c.collector.See(ctx, named)
		if err == nil {
			c.metrics.observe(seen)
			c.tellUnreadable(seen.Unreadable)
		}
		return err
	}
	found, err := c.collector.Look(ctx, named, watched, func(ctx context.Context, gone retention.Removal) error {
		return c.record(ctx, collected(gone))
	})
	if found.Waits != nil { // it was decided, whatever was done of it
		c.metrics.observe(found)
		c.forget(named, found)
		c.tellUnreadable(found.Unreadable)
	}
	for _, gone := range found.Removed {
		c.log.Info("artifact removed from the registry: nothing needs it", "artifact", gone.Repository+"@"+string(gone.Digest), "tags", gone.Tags, "unneeded", gone.Unneeded.Round(time.Second))
	}
	if found.Freed > 0 {
		c.log.Info("the registry has become smaller", "artifacts", len(found.Removed), "freed", found.Freed, "bytes", found.Bytes)
	}
	return err
}

// tellUnreadable logs which repositories stay as they are since they cannot be read, once.
func (c *collection) tellUnreadable(unreadable map[string]error) {
	told := ""
	for _, name := range slices.Sorted(maps.Keys(unreadable)) {
		told += name + ": " + unreadable[name].Error() + "\n"
	}
	if told != c.unreadable && told != "" {
		c.log.Warn("all that is in some repositories stays: something of them cannot be read", "repositories", len(unreadable), "reasons", strings.TrimSpace(told))
	}
	c.unreadable = told
}

// forget has those artifacts forgotten that came out of this distributor's registry, are not there any more, and that no release names: nobody could fetch them again. They must have been so at the last look,
// too, since a release may be about to be created.
func (c *collection) forget(named retention.Named, found retention.Collected) {
	gone := removed(found)
	has := map[string]bool{}
	for _, a := range found.Artifacts {
		has[string(a.Digest)] = has[string(a.Digest)] || !gone[a.Object]
	}
	unknown := map[string]bool{}
	for _, module := range c.modules.pushedHere() {
		if has[module.Artifact] || named[registry.Digest(module.Artifact)] != "" {
			continue
		}
		if !c.unknown[module.Artifact] {
			unknown[module.Artifact] = true
			continue
		}
		if err := c.modules.forget(module); err != nil {
			c.log.Warn("what is known of an artifact that is gone cannot be removed", "artifact", module.Artifact, "error", err)
		}
	}
	c.unknown = unknown
}

// removed are the artifacts that a look has removed.
func removed(found retention.Collected) map[retention.Object]bool {
	gone := map[retention.Object]bool{}
	for _, a := range found.Removed {
		gone[a.Object] = true
	}
	return gone
}

// List is service.Artifacts'.
func (c *collection) List(ctx context.Context, first bool) (service.ArtifactList, error) {
	c.mu.Lock()
	listed, since := c.listed, c.listedSince
	c.mu.Unlock()
	if !first && time.Since(since) < listKept {
		return listed, nil
	}
	list, err := c.see(ctx)
	if err == nil {
		c.mu.Lock()
		c.listed, c.listedSince = list, time.Now()
		c.mu.Unlock()
	}
	return list, err
}

func (c *collection) see(ctx context.Context) (service.ArtifactList, error) {
	list := service.ArtifactList{Retention: c.after}
	named, why, err := c.named(ctx)
	if err != nil {
		return list, err
	}
	seen, err := c.collector.See(ctx, named)
	if err != nil {
		return list, &model.Error{Kind: model.ErrUnavailable, Object: "the registry", Message: "cannot be looked at: " + err.Error(), Next: "try again in a moment, or put it right", Cause: err}
	}
	c.metrics.observe(seen)
	if list.AllStay = why; c.after <= 0 {
		list.AllStay = strings.TrimSuffix("waft serve was not told to remove what nothing needs (--registry-retention); and "+why, "; and ")
	}
	for _, a := range seen.Artifacts {
		list.Artifacts = append(list.Artifacts, service.Artifact{Repository: a.Repository, Digest: string(a.Digest), Tags: a.Tags, Bytes: a.Size, Pushed: a.Pushed, Needed: a.Kept, Unneeded: a.Unneeded})
	}
	return list, nil
}

// named is what releases and collections name, or why the store cannot say what of this registry is needed: it has no release, so that it may be one that was made since the real one was not found,
// or the registry was used with another one, too.
func (c *collection) named(ctx context.Context) (_ retention.Named, unknown string, err error) {
	st, err := c.store(ctx)
	if err != nil {
		return nil, "", err
	}
	identity, err := st.Identity(ctx)
	if err != nil {
		return nil, "", err
	}
	artifacts, err := namedArtifacts(ctx, st.ListReleases)
	if err != nil {
		return nil, "", err
	}
	only, err := usedWith(c.dir, identity, artifacts)
	switch {
	case err != nil:
		return nil, "", err
	case !only:
		unknown = "the registry was used with other stores, too, whose releases may name what is in it; where only this one is left, delete " + filepath.Join(c.dir, storesFile)
	case len(artifacts) == 0:
		unknown = "no release names a module, so that nobody can say what is needed"
	}
	named, err := namedIn(ctx, st)
	return named, unknown, err
}

// digestHex is how many hexadecimal digits a digest has.
const digestHex = 64

// digestsIn calls found for all in a text that may be a digest, with its algorithm before it or without, as Envoy and Istio have it, and in capitals, too. Where more digits stand together than a digest has, it may begin at
// each of the first ones: the end of a colon that is escaped ("sha256%3a…"), or the length before a text in an opaque message, reads as a part of it.
func digestsIn(text []byte, found func(registry.Digest)) {
	text = bytes.ToLower(text)
	begin := 0 // of the digits that stand together
	for end := 0; end <= len(text); end++ {
		if end < len(text) && (text[end] >= '0' && text[end] <= '9' || text[end] >= 'a' && text[end] <= 'f') {
			continue
		}
		for at := begin; at+digestHex <= end; at++ {
			if shift := at - begin; shift < digestHex || shift%digestHex == 0 { // all of them would be as many as a long message has bytes
				found(registry.Digest("sha256:" + string(text[at:at+digestHex])))
			}
		}
		begin = end + 1
	}
}

// namedIn is what the releases and the collections of a store name: the artifacts of modules, and everything else that may be a digest, since resources name artifacts as their own types have it.
func namedIn(ctx context.Context, st service.Store) (retention.Named, error) {
	named := retention.Named{}
	name := func(by string, what any, opaque ...[]byte) error {
		text, err := json.Marshal(what)
		if err != nil {
			return err
		}
		for _, text := range append(opaque, text) {
			digestsIn(text, func(digest registry.Digest) {
				if named[digest] == "" {
					named[digest] = by
				}
			})
		}
		return nil
	}
	for cursor := int64(0); ; {
		releases, next, err := st.ListReleases(ctx, "", cursor, namedStep)
		if err != nil {
			return nil, err
		}
		for _, r := range releases {
			if err := name("release "+r.ID.String(), r, opaqueOf(r.Resources, r.ResourceOverrides)...); err != nil {
				return nil, err
			}
		}
		if cursor = next; cursor == 0 {
			break
		}
	}
	for after := ""; ; {
		collections, err := st.ListCollections(ctx, "", after, namedStep)
		if err != nil {
			return nil, err
		}
		for _, one := range collections {
			var specs []model.ResourceSpec
			for _, r := range one.Resources {
				specs = append(specs, r.ResourceSpec)
			}
			if err := name("collection "+one.Name+" of layer "+string(one.Layer), one, opaqueOf(specs)...); err != nil {
				return nil, err
			}
			after = string(one.Layer) + "\n" + one.Name
		}
		if len(collections) < namedStep {
			return named, nil
		}
	}
}

// opaqueOf are the messages of resources that are passed through as they are. Texts in them stand there as they are.
func opaqueOf(lists ...[]model.ResourceSpec) (all [][]byte) {
	for _, list := range lists {
		for _, r := range list {
			if r.Opaque != nil {
				all = append(all, r.Opaque)
			}
		}
	}
	return all
}

// collected is what the audit log is told of a removal: each artifact, and of each repository how many blobs go by themselves.
func collected(gone retention.Removal) []service.CollectedArtifact {
	var all []service.CollectedArtifact
	for _, a := range gone.Artifacts {
		all = append(all, service.CollectedArtifact{Repository: a.Repository, Digest: string(a.Digest), Tags: a.Tags, Bytes: a.Size, Unneeded: a.Unneeded})
	}
	for _, l := range gone.Alone() {
		all = append(all, service.CollectedArtifact{Repository: l.Repository, Blobs: l.Blobs, Bytes: l.Size, Unneeded: l.Unneeded})
	}
	return all
}

// errNotRecorded is that the replica that leads does not put into the audit log what another one removes.
var errNotRecorded = errors.New("the replica that leads does not record it")

// collectionMetrics are the figures of a collection. Of what there is there are none until it was looked at: 0 would be a lie.
type collectionMetrics struct {
	artifacts, bytes, unreadable *prometheus.GaugeVec
	collected, freed             prometheus.Counter
}

func newCollectionMetrics(r prometheus.Registerer) (collectionMetrics, error) {
	m := collectionMetrics{
		artifacts:  prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "waft_registry_artifacts", Help: "Artifacts in the embedded registry when it was last looked at, by whether anything needs them."}, []string{"needed"}),
		bytes:      prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "waft_registry_bytes", Help: "Size of all that the embedded registry keeps, when it was last looked at."}, nil),
		unreadable: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "waft_registry_unreadable_repositories", Help: "Repositories of the embedded registry of which something could not be read when it was last looked at, so that all of them stays."}, nil),
		collected:  prometheus.NewCounter(prometheus.CounterOpts{Name: "waft_registry_collected_artifacts_total", Help: "Artifacts that were removed from the embedded registry since nothing needed them."}),
		freed:      prometheus.NewCounter(prometheus.CounterOpts{Name: "waft_registry_collected_bytes_total", Help: "Bytes that were removed from the embedded registry since nothing needed them."}),
	}
	return m, errors.Join(r.Register(m.artifacts), r.Register(m.bytes), r.Register(m.unreadable), r.Register(m.collected), r.Register(m.freed))
}

func (m collectionMetrics) observe(found retention.Collected) {
	gone := removed(found)
	needed, unneeded := 0, 0
	for _, a := range found.Artifacts {
		switch {
		case a.Kept != "":
			needed++
		case !gone[a.Object]:
			unneeded++
		}
	}
	m.artifacts.WithLabelValues("yes").Set(float64(needed))
	m.artifacts.WithLabelValues("no").Set(float64(unneeded))
	m.bytes.WithLabelValues().Set(float64(found.Bytes))
	m.unreadable.WithLabelValues().Set(float64(len(found.Unreadable)))
	m.collected.Add(float64(len(found.Removed)))
	m.freed.Add(float64(found.Freed))
}
