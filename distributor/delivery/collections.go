package delivery

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/waft-project/waft/distributor/model"
)

// Collections are what a node is sent: always the three waft/v1/filters, waft/v1/chains, waft/v1/prefetch, in that order, behind them waft/v1/secrets where the chain names kept
// secrets and the node has an agent that asks for them, and then, by name, those that the chain has resources of. A collection that it no longer has resources of is left out, and empty.
// chain is what Render gave for the node's Assigned; the zero chain leaves the first two empty, so that the node waits.
// What comes out shares memory with what went in, and neither is to be changed after that: thousands of nodes are given the same. Resources are named by filter
// name (RenderedFilter.ResourceName), by node id, by the module's digest, and by their own name, and sorted by name. prefetch may hold duplicates.
func Collections(node model.Node, chain model.Chain, prefetch []model.Module) []model.Collection {
	collections := []model.Collection{
		collection(model.CollectionFilters, filterResources(chain)),
		collection(model.CollectionChains, chainResources(node, chain)),
		collection(model.CollectionPrefetch, prefetchResources(prefetch)),
	}
	if node.TakesKept() {
		if secrets := secretResources(chain); len(secrets) > 0 {
			collections = append(collections, collection(model.CollectionSecrets, secrets))
		}
	}
	own := ownResources(chain)
	for _, name := range slices.Sorted(maps.Keys(own)) {
		collections = append(collections, collection(name, own[name]))
	}
	return collections
}

// secretResources name the kept secrets of a chain. A value never changes, so that its id is the version: its number alone may have been another value's, before a backup was
// restored.
func secretResources(chain model.Chain) []model.Resource {
	var resources []model.Resource
	for _, ref := range chain.KeptSecrets() {
		resources = append(resources, model.Resource{Name: ref.String(), Version: ref.ID, Secret: &ref})
	}
	return resources
}

// ownResources are those of a user's own collections, and of Envoy's, by collection.
func ownResources(chain model.Chain) map[string][]model.Resource {
	own := map[string][]model.Resource{}
	for _, r := range chain.Resources {
		body := &model.AnyBody{Type: r.Type, Bytes: r.Bytes}
		own[r.Collection] = append(own[r.Collection], model.Resource{Name: r.Name, Version: r.Version, Any: body})
	}
	return own
}

// collection sorts the resources and versions them together.
func collection(name string, resources []model.Resource) model.Collection {
	slices.SortFunc(resources, func(a, b model.Resource) int { return strings.Compare(a.Name, b.Name) })
	var some [16]string // mostly enough
	content := some[:0]
	for _, r := range resources {
		content = append(content, r.Name, r.Version)
	}
	return model.Collection{Name: name, Version: version(content), Resources: resources}
}

func filterResources(chain model.Chain) []model.Resource {
	resources := make([]model.Resource, 0, len(chain.Filters))
	for _, f := range chain.Filters {
		resources = append(resources, model.Resource{Name: f.ResourceName(), Version: f.Version, Filter: &f})
	}
	return resources
}

func chainResources(node model.Node, chain model.Chain) []model.Resource {
	if chain.Hash == "" {
		return []model.Resource{}
	}
	resources := make([]model.RenderedResource, 0, len(chain.Resources))
	for _, r := range chain.Resources {
		named := model.ResourceSpec{Collection: r.Collection, Name: r.Name, ResourceBody: model.ResourceBody{Type: r.Type, Descriptors: r.Descriptors}}
		resources = append(resources, model.RenderedResource{ResourceSpec: named, Version: r.Version})
	}
	chain.Resources = nil // their bodies are large, and not part of the message
	body := model.NodeChain{Chain: chain, Generation: node.Generation}
	if len(resources) > 0 {
		body.Resources = resources
	}
	// The version covers the whole body.
	content := []string{chain.Hash, strconv.FormatInt(node.Generation, 10)}
	for _, f := range chain.Filters {
		content = append(content, f.Name, f.Version)
	}
	for _, layer := range slices.SortedFunc(maps.Keys(chain.Releases), model.CompareLayers) {
		content = append(content, string(layer), chain.Releases[layer].Name, chain.Releases[layer].Hash)
	}
	if len(resources) > 0 {
		content = append(content, "resources")
		for _, r := range resources {
			content = append(content, r.Collection, r.Name, r.Version)
		}
	}
	if chain.Split != nil {
		content = append(content, "split")
		for _, f := range chain.Filters {
			content = append(content, string(f.Side))
		}
		content = append(content, string(chain.Split.Layer), chain.Split.Release.Name, chain.Split.Release.Hash)
	}
	return []model.Resource{{Name: node.ID, Version: version(content), Chain: &body}}
}

// prefetchResources are one for each digest.
func prefetchResources(modules []model.Module) []model.Resource {
	resources := make([]model.Resource, 0, len(modules))
	seen := map[string]bool{}
	for _, m := range modules {
		if seen[m.Digest] {
			continue
		}
		seen[m.Digest] = true
		resources = append(resources, model.Resource{Name: m.Digest, Version: version([]string{m.Digest, m.Artifact}), Prefetch: &m})
	}
	return resources
}

// version is the hash of a list of words, quoted so that no two lists read the same.
func version(words []string) string {
	var some [512]byte // mostly enough
	b := some[:0]
	for _, w := range words {
		b = append(appendQuoted(b, w), '\n')
	}
	return model.Digest(b)
}

// appendQuoted is strconv.AppendQuote, which looks at each rune, faster for words that need no escapes: nearly all.
func appendQuoted(b []byte, word string) []byte {
	for i := range len(word) {
		if c := word[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return strconv.AppendQuote(b, word)
		}
	}
	return append(append(append(b, '"'), word...), '"')
}
