package xds

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/xds/snapshot"
	"github.com/waft-project/waft/envoy"
)

// modulesURL is where Envoy fetches modules, with the digest behind it. The host is in the request only: the connection is the cluster's.
const modulesURL = "http://waft/v2/waft/modules/blobs/"

// chain is what a node is to run, as Envoy takes it. It is not changed once made, and nodes share it.
type chain struct {
	hash       string
	generation int64
	filters    []filter
	// split: a cohort of the requests meets other filters than the others.
	split bool
	// resources are what the release has for Envoy itself; nil only in tests.
	resources *snapshot.Snapshot
}

// chains remembers the chains that were made last, so that nodes which are given the same resource have the same chain in memory. The zero value is ready. It
// may be used concurrently.
type chains struct {
	mu   sync.Mutex
	made [maxChains]struct {
		of *model.NodeChain
		is *chain
	}
	next int
	// snapshots are by hash: chains with resources are made for each node.
	snapshots snapshot.Cache
}

// maxChains is how many are remembered.
const maxChains = 16

// of is the chain of a resource, which is told by its place in memory: nobody changes it.
func (c *chains) of(given *model.NodeChain, collections []model.Collection) (*chain, error) {
	resources, err := c.snapshots.Of(given.Hash, func() []model.RenderedResource { return resourcesIn(collections) })
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.made {
		if one.of == given {
			return one.is, nil
		}
	}
	made, err := newChain(given)
	if err != nil {
		return nil, err
	}
	made.resources = resources
	c.made[c.next].of, c.made[c.next].is = given, made
	c.next = (c.next + 1) % maxChains
	return made, nil
}

// filter is one filter of a chain.
type filter struct {
	envoy.WasmFilter
	digest string
	// version covers what is in it, side names who meets it.
	version, side string
}

// same says whether two filters have the same content.
func (f *filter) same(other *filter) bool {
	return f.Name == other.Name && f.side == other.side && f.version == other.version
}

// chainOf reads a node's collections: the chain, nil for a node that waits for its first release, and the digests of modules that it will need.
func (c *chains) chainOf(id string, collections []model.Collection) (*chain, []string, error) {
	var given *model.NodeChain
	var prefetch []string
	for _, one := range collections {
		for _, r := range one.Resources {
			switch {
			case r.Chain != nil && r.Name == id:
				given = r.Chain
			case r.Prefetch != nil:
				prefetch = append(prefetch, r.Prefetch.Digest)
			}
		}
	}
	if given == nil {
		return nil, prefetch, nil
	}
	made, err := c.of(given, collections)
	return made, prefetch, err
}

// resourcesIn are those of collections that are not waft's own.
func resourcesIn(collections []model.Collection) []model.RenderedResource {
	var out []model.RenderedResource
	for _, one := range collections {
		for _, r := range one.Resources {
			if r.Any == nil {
				continue
			}
			named := model.ResourceSpec{Collection: one.Name, Name: r.Name, ResourceBody: model.ResourceBody{Type: r.Any.Type}}
			out = append(out, model.RenderedResource{ResourceSpec: named, Version: r.Version, Bytes: r.Any.Bytes})
		}
	}
	return out
}

func newChain(given *model.NodeChain) (*chain, error) {
	c := &chain{hash: given.Hash, generation: given.Generation, split: given.Split != nil}
	for _, f := range given.Filters {
		if f.Module == nil {
			return nil, fmt.Errorf("filter %s of chain %s has no module", f.Name, given.Hash)
		}
		wasm := envoy.WasmFilter{
			Name: f.Name, FailurePolicy: envoy.FailurePolicy(f.FailurePolicy),
			Remote: envoy.RemoteModule{
				URL: modulesURL + f.Module.Digest, Cluster: envoy.ModulesCluster, SHA256: strings.TrimPrefix(f.Module.Digest, "sha256:"),
			},
		}
		if len(f.Config) > 0 {
			wasm.Config = f.Config
		}
		if given.Split != nil && f.Side != model.SideBoth {
			of := given.Split.Cohort
			wasm.Only = envoy.Only{
				Cohort:  envoy.Cohort{Header: of.Header.Name, Value: of.Header.Value, Percent: of.Percent},
				Outside: f.Side == model.SideRest,
			}
		}
		c.filters = append(c.filters, filter{WasmFilter: wasm, digest: f.Module.Digest, version: f.Version, side: string(f.Side)})
	}
	return c, nil
}

// fresh are the filters that Envoy does not have as they are while it runs the chain held; nil: nothing is known of what it runs. Those of which only the
// configuration differs are among them: they compile nothing, and one that refuses its configuration then does so where nothing serves.
func (c *chain) fresh(held *chain) []filter {
	if held == nil {
		return slices.Clip(c.filters) // which nodes share
	}
	if held == c {
		return nil
	}
	had := 0
	for i := range c.filters {
		if held.has(&c.filters[i]) {
			had++
		}
	}
	switch had {
	case 0:
		return slices.Clip(c.filters)
	case len(c.filters):
		return nil
	}
	fresh := make([]filter, 0, len(c.filters)-had)
	for i := range c.filters {
		if !held.has(&c.filters[i]) {
			fresh = append(fresh, c.filters[i])
		}
	}
	return fresh
}

// has says whether a filter of that content is in the chain.
func (c *chain) has(f *filter) bool {
	for i := range c.filters {
		if c.filters[i].same(f) {
			return true
		}
	}
	return false
}
