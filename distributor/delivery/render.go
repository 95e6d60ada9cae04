package delivery

import "github.com/waft-project/waft/distributor/model"

// Render merges the releases of a node's layers into the chain that the node runs. An empty map gives the zero chain: the
// node was never given anything. Releases without any filter give a chain with a hash and no filters.
//
// It fails with kind model.ErrInvalid when a filter ends without a module, a config cannot be merged, or the merge gives
// FAIL_OPEN to a filter of phase AUTHN or AUTHZ.
func Render(layers map[model.Layer]model.Release) (model.Chain, error) { return model.Chain{}, nil }

// Origins says which layer each field of each filter came from: filter name → field path (module, phase, priority,
// failurePolicy, config, config.rules) → layer.
type Origins map[string]map[string]model.Layer

// Explain is Render with the origins.
func Explain(layers map[model.Layer]model.Release) (model.Chain, Origins, error) {
	return model.Chain{}, nil, nil
}

// Collections are what a node is sent, always all three in the order waft/v1/filters, waft/v1/chains, waft/v1/prefetch.
// chain is what Render gave for the node's Assigned; the zero chain leaves the first two empty, so that the node waits.
// Resources are named by filter name, by node id, and by module digest, and sorted by name. prefetch may hold
// duplicates.
func Collections(node model.Node, chain model.Chain, prefetch []model.Module) []model.Collection {
	return nil
}
