package model

import (
	"slices"
	"time"
)

// Names of collections that are not a user's own.
const (
	// reservedCollections is the first part of the names that waft keeps for itself.
	reservedCollections = "waft"
	// envoyCollections is the first part of the names of those whose resources are for Envoy itself.
	envoyCollections = "envoy"
)

// envoyResource is what a collection of Envoy's resources holds.
type envoyResource struct {
	// message is the full name.
	message string
	// member is the field by which Envoy knows a resource, by its JSON name, and field by its name in the proto file.
	member, field string
}

// envoyResources are those of xDS, in its own words.
var envoyResources = map[string]envoyResource{
	"envoy/listeners":  {"envoy.config.listener.v3.Listener", "name", "name"},
	"envoy/routes":     {"envoy.config.route.v3.RouteConfiguration", "name", "name"},
	"envoy/clusters":   {"envoy.config.cluster.v3.Cluster", "name", "name"},
	"envoy/endpoints":  {"envoy.config.endpoint.v3.ClusterLoadAssignment", "clusterName", "cluster_name"},
	"envoy/secrets":    {"envoy.extensions.transport_sockets.tls.v3.Secret", "name", "name"},
	"envoy/extensions": {"envoy.config.core.v3.TypedExtensionConfig", "name", "name"},
}

// EnvoyType is the full name of the only message that a collection of Envoy's resources holds; empty for every other collection.
func EnvoyType(collection string) string { return envoyResources[collection].message }

// EnvoyNameMember is the field of such a message that holds the resource's name, by its JSON name; EnvoyNameMemberInProto by its name in the proto file. Empty for every
// other collection.
func EnvoyNameMember(collection string) string        { return envoyResources[collection].member }
func EnvoyNameMemberInProto(collection string) string { return envoyResources[collection].field }

// CollectionSpec declares a collection: what its resources are, and how their lists are merged. A collection need not be declared.
type CollectionSpec struct {
	Name string `json:"name"`
	// Type is the full name of the message that each resource is. Empty: any.
	Type string `json:"type,omitempty"`
	// Lists are the lists that are merged by key. All others are replaced whole.
	Lists []ListKey `json:"lists,omitempty"`
}

// DeclaredCollection is a declaration as it is stored.
type DeclaredCollection struct {
	CollectionSpec
	// Version is the hash of the declaration.
	Version   string    `json:"version"`
	UpdatedAt time.Time `json:"updatedAt"`
	UpdatedBy string    `json:"updatedBy"`
	Reason    string    `json:"reason,omitempty"`
	// Revision is the store's: of what was read, to be given back when it is replaced. 0: there is none.
	Revision int64 `json:"-"`
}

// ContentHash is the hash of a declaration, sha256:HEX.
func (c CollectionSpec) ContentHash() (string, error) {
	c.Lists = sortedLists(c.Lists)
	return HashOf(c)
}

// LayerCollection is what a layer has stored of a collection. It is read and written whole.
type LayerCollection struct {
	Layer     Layer            `json:"layer"`
	Name      string           `json:"name"`
	Resources []StoredResource `json:"resources"`
	// Revision is as in DeclaredCollection.
	Revision int64 `json:"-"`
}

// CollectionChanges are what one application writes, all of it or nothing. Each part replaces what had its Revision, and nothing else; a collection without resources, and a
// declaration without a Version, are removed.
type CollectionChanges struct {
	Collections  []LayerCollection
	Declarations []DeclaredCollection
}

// TypeSet is a descriptor set that is registered under a name, by which types of messages are found. Releases hold its digest, and what is registered under a name may change.
type TypeSet struct {
	Name string `json:"name"`
	// Digest is that of the serialized set, sha256:HEX.
	Digest string `json:"digest"`
	// Size of the set in bytes.
	Size int `json:"size"`
	// Messages are the full names of those that it defines, sorted.
	Messages  []string  `json:"messages"`
	UpdatedAt time.Time `json:"updatedAt"`
	UpdatedBy string    `json:"updatedBy"`
	Reason    string    `json:"reason,omitempty"`
	// Revision is as in DeclaredCollection.
	Revision int64 `json:"-"`
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
