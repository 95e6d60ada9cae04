package envoy

import (
	"fmt"
	"slices"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
)

// Keys, in the metadata of Envoy's node, by which the server knows what the bootstrap asks for and has: lists of strings, but for the last.
const (
	// MetadataCollections are the collections of resources that it asks for by aggregated discovery: envoy/listeners, envoy/clusters. A server that is not told
	// so answers none.
	MetadataCollections = "collections"
	// MetadataClusters are the names of the clusters that the bootstrap has itself, to which resources may refer.
	MetadataClusters = "clusters"
	// MetadataSlot, true, says that a listener of the bootstrap's own holds the slot of the filters, though it asks for listeners, too.
	MetadataSlot = "slot"
)

// dynamicCollections are what a bootstrap with ADS.Dynamic asks for. What these refer to is asked for as it comes.
func dynamicCollections() []any { return []any{"envoy/clusters", "envoy/listeners"} }

// dynamic has Envoy ask the server for its listeners and clusters, for as long as that takes.
func (a *ADS) dynamic(b *bootstrapv3.Bootstrap) {
	b.DynamicResources.CdsConfig, b.DynamicResources.LdsConfig = aggregated(forEver), aggregated(forEver)
}

// metadata is what the bootstrap says of itself beside the labels.
func (a *ADS) metadata(b *bootstrapv3.Bootstrap) map[string]any {
	if !a.Dynamic {
		return nil
	}
	said := map[string]any{MetadataCollections: dynamicCollections()}
	var own []string
	for _, c := range b.GetStaticResources().GetClusters() {
		if c.GetName() != ADSCluster && c.GetName() != ModulesCluster {
			own = append(own, c.GetName())
		}
	}
	slices.Sort(own)
	if len(own) > 0 {
		names := make([]any, 0, len(own))
		for _, name := range own {
			names = append(names, name)
		}
		said[MetadataClusters] = names
	}
	return said
}

// checkDynamic says what does not go together.
func (c BootstrapConfig) checkDynamic() error {
	switch {
	case c.Listen != "" || c.DirectResponse != nil || len(c.Routes) > 0:
		return fmt.Errorf("%w: an Envoy that is given its listeners (Dynamic) has none of its own: no address to listen on, and no routes", ErrInvalid)
	case c.StreamIdleTimeout != 0 || c.MaxStreamDuration != 0:
		return fmt.Errorf("%w: limits of streams stand in the listeners, which are given to this Envoy (Dynamic)", ErrInvalid)
	}
	return nil
}

// forEver is an initial_fetch_timeout that never ends the wait.
const forEver = time.Duration(0)
