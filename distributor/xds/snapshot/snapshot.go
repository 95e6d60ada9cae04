package snapshot

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
)

// Kind is one type of resource. The order of the kinds is the one in which they are sent.
type Kind int

// The kinds. Clusters and Listeners are asked for as a whole, the others by name.
const (
	Clusters Kind = iota
	Endpoints
	Secrets
	Extensions
	Listeners
	Routes
	// Kinds is how many there are.
	Kinds
)

var kinds = [Kinds]struct{ collection, url string }{
	Clusters:   {"envoy/clusters", envoy.ClusterURL},
	Endpoints:  {"envoy/endpoints", envoy.EndpointsURL},
	Secrets:    {"envoy/secrets", envoy.SecretURL},
	Extensions: {"envoy/extensions", envoy.ExtensionConfigURL},
	Listeners:  {"envoy/listeners", envoy.ListenerURL},
	Routes:     {"envoy/routes", envoy.RouteURL},
}

// URL is the type in discovery.
func (k Kind) URL() string { return kinds[k].url }

// Collection is the name of the collection that holds such resources.
func (k Kind) Collection() string { return kinds[k].collection }

// whole says whether Envoy asks for all there are, and not by name.
func (k Kind) whole() bool { return k == Clusters || k == Listeners }

// AskedBy says whether an Envoy that says this of its bootstrap is answered about the kind: what is asked for as a whole it must say, what is asked for by name follows
// from that.
func (k Kind) AskedBy(t model.Takes) bool {
	return len(t.Collections) > 0 && (!k.whole() || slices.Contains(t.Collections, k.Collection()))
}

// KindOf is the kind of a type in discovery; false where there is none.
func KindOf(url string) (Kind, bool) {
	for k, one := range kinds {
		if one.url == url {
			return Kind(k), true
		}
	}
	return 0, false
}

func kindOfCollection(name string) (Kind, bool) {
	for k, one := range kinds {
		if one.collection == name {
			return Kind(k), true
		}
	}
	return 0, false
}

// Resource is one resource. It is not changed once made, and nodes share it.
type Resource struct {
	Kind          Kind
	Name, Version string
	// Bytes are the message; nil for one of which Envoy has only said that it holds it.
	Bytes []byte
	// Needs is what it refers to; nil where Bytes is.
	Needs []envoy.Reference
}

// key is as in model.ResourceSpec.
func (r *Resource) key() string { return r.Kind.Collection() + ":" + r.Name }

// Snapshot is what a chain has for Envoy itself. It is not changed once made, and nodes share it.
type Snapshot struct {
	by [Kinds]map[string]*Resource
	// list are the same, by name.
	list [Kinds][]*Resource
	// others are the collections that are not Envoy's, sorted.
	others []string
}

// New reads the resources of a chain. Errors are of kind model.ErrInvalid: Envoy could not read one.
func New(resources []model.RenderedResource) (*Snapshot, error) {
	s := &Snapshot{}
	for k := range s.by {
		s.by[k] = map[string]*Resource{}
	}
	for _, one := range resources {
		kind, is := kindOfCollection(one.Collection)
		if !is {
			if !slices.Contains(s.others, one.Collection) {
				s.others = append(s.others, one.Collection)
			}
			continue
		}
		r := &Resource{Kind: kind, Name: one.Name, Version: one.Version, Bytes: one.Bytes}
		name, needs, err := envoy.References(kind.URL(), one.Bytes)
		if err != nil {
			return nil, model.Invalidf("resource/"+r.key(), "spec", "correct it in a layer that gives it", "%v", err)
		}
		if name != one.Name {
			return nil, model.Invalidf("resource/"+r.key(), "spec", "write "+one.Name+" into the message", "Envoy would know it as %q", name)
		}
		if r.Needs = needs; needs == nil {
			r.Needs = []envoy.Reference{}
		}
		s.by[kind][one.Name] = r
	}
	slices.Sort(s.others)
	for k := range s.by {
		s.list[k] = sorted(s.by[k])
	}
	return s, nil
}

// Empty says whether there is nothing in it.
func (s *Snapshot) Empty() bool {
	return !slices.ContainsFunc(s.list[:], func(of []*Resource) bool { return len(of) > 0 })
}

// HoldsSlot says whether one of its listeners takes the filters of the chain.
func (s *Snapshot) HoldsSlot() bool {
	return slices.ContainsFunc(s.list[Listeners], (*Resource).takesSlot)
}

// takesSlot says whether a listener takes the filters of the chain.
func (r *Resource) takesSlot() bool {
	return slices.ContainsFunc(r.Needs, func(n envoy.Reference) bool { return n.URL == envoy.ExtensionConfigURL && n.Name == envoy.SlotName })
}

// sorted are the resources of a kind by name.
func sorted(of map[string]*Resource) []*Resource {
	out := make([]*Resource, 0, len(of))
	for _, name := range slices.Sorted(maps.Keys(of)) {
		out = append(out, of[name])
	}
	return out
}

// versionOf is the version of some resources together: the hash of their names and versions.
func versionOf(of map[string]*Resource) string {
	var b strings.Builder
	for _, r := range sorted(of) {
		fmt.Fprintf(&b, "%q %q\n", r.Name, r.Version)
	}
	return model.Digest([]byte(b.String()))
}

// Cache remembers snapshots by the hash of the chain, which says all that is in it, so that nodes which run the same share one, and it is read once. The zero value is
// ready. It may be used concurrently.
type Cache struct {
	mu   sync.Mutex
	made map[string]*made
	// empty is that of all chains without resources; nil: none was asked for yet.
	empty *Snapshot
}

// made is one snapshot, or why there is none. Who asks for it first makes it, outside the lock; others wait for that one only.
type made struct {
	once sync.Once
	is   *Snapshot
	err  error
}

// maxMade is how many are remembered, as many as the service remembers chains; beyond it the cache begins anew. Chains without resources do not count.
const maxMade = 4096

// Of is New for the resources of the chain with that hash.
func (c *Cache) Of(hash string, resources func() []model.RenderedResource) (*Snapshot, error) {
	one := c.known(hash)
	if one == nil {
		given := resources()
		switch {
		case len(given) == 0:
			return c.nothing(), nil
		case hash == "":
			return New(given)
		}
		resources = func() []model.RenderedResource { return given }
		one = c.enter(hash)
	}
	one.once.Do(func() { one.is, one.err = New(resources()) })
	return one.is, one.err
}

func (c *Cache) known(hash string) *made {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.made[hash]
}

func (c *Cache) enter(hash string) *made {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one := c.made[hash]; one != nil {
		return one
	}
	if len(c.made) >= maxMade {
		clear(c.made)
	}
	if c.made == nil {
		c.made = map[string]*made{}
	}
	one := &made{}
	c.made[hash] = one
	return one
}

func (c *Cache) nothing() *Snapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.empty == nil {
		c.empty, _ = New(nil) // what is not there can be read
	}
	return c.empty
}
