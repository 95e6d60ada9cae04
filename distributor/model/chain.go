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
	// Hash is the chain's identity: sha256:HEX of the canonical JSON of its ordered filters, and of its resources where there are any. References of modules and
	// names of releases take no part in it, so two releases with the same content render the same chain.
	Hash    string           `json:"hash"`
	Filters []RenderedFilter `json:"filters,omitempty"`
	// Resources of all collections, by collection and name. Where a chain is split they are those of the rest: a request does not choose among them.
	Resources []RenderedResource  `json:"resources,omitempty"`
	Releases  map[Layer]ReleaseID `json:"releases,omitempty"`
	// Split is nil for a chain that every request takes. Else Filters are those of two chains, each with its side, Hash is SplitHash of both, and
	// Releases are those that the rest's is rendered from.
	Split *ChainSplit `json:"split,omitempty"`
}

// Collection is a named, typed, versioned set of resources, as in MCP.
type Collection struct {
	// Name is group/version/plural, waft/v1/filters, or a user's own.
	Name string
	// Version is the hash of the resources' names and versions; equal versions mean equal content.
	Version   string
	Resources []Resource
}

// The collections of a node that are waft's own. The others are those of the resources of its chain.
const (
	CollectionFilters  = "waft/v1/filters"
	CollectionChains   = "waft/v1/chains"
	CollectionPrefetch = "waft/v1/prefetch"
	// CollectionSecrets are the kept secrets that the node's chain names. Agents alone are given any.
	CollectionSecrets = "waft/v1/secrets"
)

// Resource is a named, versioned body. Exactly one of the body fields is set; adapters encode it.
type Resource struct {
	Name    string
	Version string
	Labels  map[string]string

	Filter   *RenderedFilter
	Chain    *NodeChain
	Prefetch *Module
	// Secret names a kept secret. Its value is put in where the resource is sent.
	Secret *SecretRef `json:",omitempty"`
	// Any is the body of a resource of a user's own collection.
	Any *AnyBody `json:",omitempty"`
}

// AnyBody is a message as it travels, as in google.protobuf.Any. It is shared by all who are sent it, and never changed.
type AnyBody struct {
	Type  string
	Bytes []byte
}

// NodeChain is the body of the resource in CollectionChains: a chain as one node is given it. Of its resources it has collection, name, type and version only: the
// bodies are in their collections.
type NodeChain struct {
	Chain
	// Generation rises with each assignment to this node; a sink ignores one that is lower than the last it saw.
	Generation int64
}
