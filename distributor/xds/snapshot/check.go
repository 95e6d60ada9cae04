package snapshot

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
)

// Checker says which chains an Envoy over ADS can be given. It remembers what it said, by the hash of the chain and what the Envoy asks for. The zero value is ready. It
// may be used concurrently.
type Checker struct {
	cache Cache
	mu    sync.Mutex
	said  map[string]error
}

// maxSaid is how many verdicts are remembered: of each chain, one for each kind of bootstrap. Beyond it they begin anew.
const maxSaid = 1 << 14

// Misfit says why an Envoy that asks for these collections cannot be given a chain, with the first thing that is wrong of its resources, or that its filters would run
// nowhere: an error of kind model.ErrInvalid that names the resource, the field and what to do. nil: it can.
func (c *Checker) Misfit(chain model.Chain, takes model.Takes) error {
	key := fmt.Sprintf("%s %q %q %v", chain.Hash, takes.Collections, takes.Clusters, takes.Slot)
	c.mu.Lock()
	err, known := c.said[key]
	c.mu.Unlock()
	if known && chain.Hash != "" {
		return err
	}
	s, err := c.cache.Of(chain.Hash, func() []model.RenderedResource { return chain.Resources })
	if err == nil {
		err = s.Check(takes, len(chain.Filters) > 0)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.said) >= maxSaid {
		clear(c.said)
	}
	if c.said == nil {
		c.said = map[string]error{}
	}
	c.said[key] = err
	return err
}

// ownName says whether a name is waft's own: its slots, its clusters, its listeners.
func ownName(name string) bool {
	rest, is := strings.CutPrefix(name, envoy.SlotName)
	return is && (rest == "" || rest[0] == '-' || rest[0] == '.')
}

// Check says what is wrong with the snapshot for an Envoy that asks for these collections; filters: its chain has filters, too.
//
// What refers to something by aggregated discovery must find it, and what is asked for by name must be asked for. A cluster that is named must be in the
// snapshot, or be one that the Envoy has from its bootstrap, as it says itself. What stands in an Any of a type that waft does not know is not seen.
//
// An Envoy that asks for listeners runs filters in those of the snapshot and nowhere else, but where it says that a listener of its own holds the slot. So one of them
// must hold it: else requests would be served that meet no filter, or, where there is no listener at all, none would be. What the Envoy asks for does not tell: one that goes
// on from another distributor asks for the slot first, whichever listener holds it, and a plan must know before it asks.
func (s *Snapshot) Check(takes model.Takes, filters bool) error {
	if len(s.others) > 0 {
		return model.Invalidf("resource/"+s.others[0], "collection", "give it to nodes with an agent, by a release of its own", "an Envoy without an agent takes resources of Envoy's own collections only")
	}
	var wanted [Kinds]map[string]bool
	for k := range Kinds {
		for _, r := range s.list[k] {
			if err := s.checkNames(r, takes); err != nil {
				return err
			}
			for _, n := range r.Needs {
				if err := s.checkReference(r, n, takes); err != nil {
					return err
				}
				if kind, is := KindOf(n.URL); is {
					if wanted[kind] == nil { // mostly a chain has no resources, and every node of a fleet is checked
						wanted[kind] = map[string]bool{}
					}
					wanted[kind][n.Name] = true
				}
			}
		}
	}
	for k := range Kinds {
		for _, r := range s.list[k] {
			switch {
			case slices.Contains(takes.Collections, k.Collection()) || !k.whole() && wanted[k][r.Name]:
			case k.whole():
				return model.Invalidf("resource/"+r.key(), "collection", "start it with what `waft bootstrap --dynamic` prints, or leave the resource out",
					"this Envoy does not ask for %s: its bootstrap does not say so in node.metadata.%s", k.Collection(), envoy.MetadataCollections)
			default:
				return model.Invalidf("resource/"+r.key(), "name", "refer to it, or leave it out",
					"nothing in the release asks for it by aggregated discovery, and the bootstrap does not say that it does (node.metadata.%s)", envoy.MetadataCollections)
			}
		}
	}
	if filters && Listeners.AskedBy(takes) && !takes.Slot && !s.HoldsSlot() {
		return model.Invalidf("chain", Listeners.Collection(),
			fmt.Sprintf("have a listener of the release take %s by config_discovery from ads, or have the bootstrap say in node.metadata.%s that one of its own does, or take the filters out of the release",
				envoy.SlotName, envoy.MetadataSlot),
			"it has filters, and no listener that runs them: this Envoy has its listeners from releases, and none of these holds the slot %s", envoy.SlotName)
	}
	return nil
}

func (s *Snapshot) checkNames(r *Resource, takes model.Takes) error {
	if ownName(r.Name) {
		return model.Invalidf("resource/"+r.key(), "name", "give it another name", "names that are %s, or begin with %s- or %s., are waft's own", envoy.SlotName, envoy.SlotName, envoy.SlotName)
	}
	if r.Kind == Clusters && slices.Contains(takes.Clusters, r.Name) {
		return model.Invalidf("resource/"+r.key(), "name", "give it another name", "the Envoy has a cluster of this name from its bootstrap, and does not take another for it")
	}
	return nil
}

func (s *Snapshot) checkReference(r *Resource, n envoy.Reference, takes model.Takes) error {
	object, field := "resource/"+r.key(), "spec."+n.Field
	kind, is := KindOf(n.URL)
	switch {
	case !is:
		return model.Invalidf(object, field, "give it in place, or by another source", "it asks by aggregated discovery for %s, which waft does not serve", n.Name)
	case kind == Extensions && n.Name == envoy.SlotName && r.Kind == Listeners:
		return nil
	case ownName(n.Name):
		return model.Invalidf(object, field, "name another", "%s is waft's own, and not for this", n.Name)
	case s.by[kind][n.Name] != nil:
		return nil
	case kind == Clusters && slices.Contains(takes.Clusters, n.Name):
		return nil
	}
	next := fmt.Sprintf("add %s:%s to the release, or name one that is there", kind.Collection(), n.Name)
	if kind == Clusters {
		return model.Invalidf(object, field, next+"; a cluster of the bootstrap has to stand in its node.metadata."+envoy.MetadataClusters, "there is no cluster %s", n.Name)
	}
	return model.Invalidf(object, field, next, "it asks for %s:%s, which is not in the release", kind.Collection(), n.Name)
}
