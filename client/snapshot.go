package client

import (
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
)

// Snapshot is what an application has at one moment: the resources of one chain, over all collections that it takes. It never changes, and may be read
// concurrently. Before the node was given a first release there is a snapshot with nothing in it, whose Chain is empty; nil is read as that, too.
type Snapshot struct {
	release
	sets map[string]set
	// replaced is closed when the client has a newer one.
	replaced chan struct{}
}

// release says what a snapshot is made of.
type release struct {
	// hash and generation are those of the chain.
	hash       string
	generation int64
	releases   []Release
}

// Release is one that a chain was rendered from.
type Release struct {
	// Layer is global, team/NAME or service/NAME.
	Layer string
	// Name is NAME@sha256:HEX.
	Name string
}

// set is a collection of a snapshot, by name.
type set map[string]item

// item is a resource as it came, and what it decodes to. Both are shared, and never changed.
type item struct {
	resource *mcpv1.Resource
	message  proto.Message
}

// Chain identifies what the node was given, as `waft nodes show` does: sha256:HEX of all its releases together. Empty before the first.
func (s *Snapshot) Chain() string {
	if s == nil {
		return ""
	}
	return s.hash
}

// Releases are those that it was rendered from, in the order of their layers. Do not change them.
func (s *Snapshot) Releases() []Release {
	if s == nil {
		return nil
	}
	return s.releases
}

// Replaced is closed when the client has a newer snapshot. Of nil it never is.
func (s *Snapshot) Replaced() <-chan struct{} {
	if s == nil {
		return nil
	}
	return s.replaced
}

func (s *Snapshot) item(collection, name string) (item, bool) {
	if s == nil {
		return item{}, false
	}
	one, there := s.sets[collection][name]
	return one, there
}

func (s *Snapshot) names(collection string) []string {
	if s == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(s.sets[collection]))
}
