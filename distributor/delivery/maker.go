package delivery

import (
	"reflect"
	"sync"

	"github.com/waft-project/waft/distributor/model"
)

// Maker gives what Collections does, and remembers what nodes have in common: nodes that are given the same rendered chain share the resources in memory,
// with their versions, so that a chain that goes to a thousand nodes is hashed once. The zero value is ready. It may be used concurrently.
type Maker struct {
	mu sync.Mutex
	// made are the latest, the oldest overwritten first.
	made [maxMade]*made
	next int
}

// maxMade is how many chains are remembered: during a rollout those before and after it, for each set of layers that nodes have.
const maxMade = 16

// made is what is made of one chain of one generation. It is not changed once it is there.
type made struct {
	chain      model.Chain
	generation int64
	filters    model.Collection
	// secrets are for nodes that take them.
	secrets model.Collection
	// body is the resource of the collection of chains, but for its name.
	body model.Resource
}

// of says whether it was made of that very chain, in memory. Chains that say the same in other memory count as others: references and names of releases have no
// part in the hash.
func (m *made) of(chain model.Chain, generation int64) bool {
	return m.generation == generation && m.chain.Hash == chain.Hash && len(m.chain.Filters) == len(chain.Filters) && &m.chain.Filters[0] == &chain.Filters[0] &&
		m.chain.Split == chain.Split && reflect.ValueOf(m.chain.Releases).Pointer() == reflect.ValueOf(chain.Releases).Pointer()
}

// Collections is what the function Collections gives; nodes with one chain share it, and nobody may change it.
func (m *Maker) Collections(node model.Node, chain model.Chain, prefetch []model.Module) []model.Collection {
	if len(chain.Filters) == 0 || len(chain.Resources) > 0 { // collections of the user's own are not shared yet
		return Collections(node, chain, prefetch)
	}
	common := m.common(chain, node)
	its := &ofNode{own: [1]model.Resource{common.body}}
	its.own[0].Name = node.ID
	ahead := nothingAhead
	if len(prefetch) > 0 {
		ahead = collection(model.CollectionPrefetch, prefetchResources(prefetch))
	}
	its.collections = [...]model.Collection{common.filters, collection(model.CollectionChains, its.own[:]), ahead}
	collections := its.collections[:]
	if len(common.secrets.Resources) > 0 && node.TakesKept() {
		collections = append(collections, common.secrets)
	}
	return collections
}

// ofNode is what a node has for itself, in one piece of memory.
type ofNode struct {
	collections [3]model.Collection
	own         [1]model.Resource
}

// nothingAhead is the collection of modules of a node that is to have none on its disk before a wave, as mostly.
var nothingAhead = collection(model.CollectionPrefetch, prefetchResources(nil))

func (m *Maker) common(chain model.Chain, node model.Node) *made {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.made {
		if one != nil && one.of(chain, node.Generation) {
			return one
		}
	}
	one := &made{
		chain: chain, generation: node.Generation,
		filters: collection(model.CollectionFilters, filterResources(chain)), body: chainResources(node, chain)[0],
	}
	if secrets := secretResources(chain); len(secrets) > 0 {
		one.secrets = collection(model.CollectionSecrets, secrets)
	}
	m.made[m.next] = one
	m.next = (m.next + 1) % maxMade
	return one
}
