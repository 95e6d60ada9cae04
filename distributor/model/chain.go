package model

// RenderedFilter is a filter of a rendered chain: the merge of its layers, with every field decided.
type RenderedFilter struct {
	FilterSpec
	// Version is the hash of the filter's content, sha256:HEX; metadata.version of its resource.
	Version string `json:"version"`
	// Side says which requests meet it, in a chain that is split.
	Side Side `json:"side,omitempty"`
}

// Chain is what a node runs: the merge of its layers' releases, in the order in which a request meets the filters.
// The zero value means that the node was never given a release; an explicit empty chain has a Hash and no filters.
type Chain struct {
	// Hash is the chain's identity: sha256:HEX of the canonical JSON of its ordered filters. References of modules and
	// names of releases take no part in it, so two releases with the same content render the same chain.
	Hash     string              `json:"hash"`
	Filters  []RenderedFilter    `json:"filters,omitempty"`
	Releases map[Layer]ReleaseID `json:"releases,omitempty"`
	// Split is nil for a chain that every request takes. Else Filters are those of two chains, each with its side, Hash is SplitHash of both, and
	// Releases are those that the rest's is rendered from.
	Split *ChainSplit `json:"split,omitempty"`
}

// Collection is a named, typed, versioned set of resources, as in MCP.
type Collection struct {
	// Name is group/version/plural: waft/v1/filters.
	Name string
	// Version is the hash of the resources' names and versions; equal versions mean equal content.
	Version   string
	Resources []Resource
}

// The collections of a node.
const (
	CollectionFilters  = "waft/v1/filters"
	CollectionChains   = "waft/v1/chains"
	CollectionPrefetch = "waft/v1/prefetch"
)

// Resource is a named, versioned body. Exactly one of the body fields is set; adapters encode it.
type Resource struct {
	Name    string
	Version string
	Labels  map[string]string

	Filter   *RenderedFilter
	Chain    *NodeChain
	Prefetch *Module
}

// NodeChain is the body of the resource in CollectionChains: a chain as one node is given it.
type NodeChain struct {
	Chain
	// Generation rises with each assignment to this node; a sink ignores one that is lower than the last it saw.
	Generation int64
}
