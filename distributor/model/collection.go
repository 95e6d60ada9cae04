package model

import "slices"

// Names of collections that are not a user's own.
const (
	// reservedCollections is the first part of the names that waft keeps for itself.
	reservedCollections = "waft"
	// envoyCollections is the first part of the names of those whose resources are for Envoy itself.
	envoyCollections = "envoy"
)

// envoyTypes are the collections of Envoy's resources, each with the one type that it may hold (xDS, in its own words).
var envoyTypes = map[string]string{
	"envoy/listeners":  "envoy.config.listener.v3.Listener",
	"envoy/routes":     "envoy.config.route.v3.RouteConfiguration",
	"envoy/clusters":   "envoy.config.cluster.v3.Cluster",
	"envoy/endpoints":  "envoy.config.endpoint.v3.ClusterLoadAssignment",
	"envoy/secrets":    "envoy.extensions.transport_sockets.tls.v3.Secret",
	"envoy/extensions": "envoy.config.core.v3.TypedExtensionConfig",
}

// EnvoyType is the full name of the only message that a collection of Envoy's resources holds; empty for every other collection.
func EnvoyType(collection string) string { return envoyTypes[collection] }

// CollectionSpec declares a collection: what its resources are, and how their lists are merged. A collection need not be declared.
type CollectionSpec struct {
	Name string `json:"name"`
	// Type is the full name of the message that each resource is. Empty: any.
	Type string `json:"type,omitempty"`
	// Lists are the lists that are merged by key. All others are replaced whole.
	Lists []ListKey `json:"lists,omitempty"`
}

// ListKey says of a list of objects that it is merged item by item: items with the same key are one (what Kubernetes calls a list map key). Values can be compared.
type ListKey struct {
	// Path of the list: members with dots between them, and [] behind a list that is itself merged by key: rules, rules[].headers.
	Path string `json:"path"`
	// Key is the member by which items are told apart. Its values are strings, numbers or booleans.
	Key string `json:"key"`
}

// Clone is a copy that shares nothing with c.
func (c CollectionSpec) Clone() CollectionSpec {
	c.Lists = slices.Clone(c.Lists)
	return c
}

func cloneCollections(collections []CollectionSpec) []CollectionSpec {
	collections = slices.Clone(collections)
	for i := range collections {
		collections[i] = collections[i].Clone()
	}
	return collections
}
