package client

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
)

// offer is what the distributor has sent, decoded. Values are never changed, only replaced.
type offer struct {
	// chain is what the node is to have; nil: nothing yet.
	chain *waftv1.Chain
	// raw is the same as it came.
	raw  *mcpv1.Resource
	sets map[string]set
	// broken says of resources that were refused (NACK) why, by collection, name and version.
	broken map[string]map[versioned]string
}

// versioned is one version of a resource.
type versioned struct{ name, version string }

// assembled is what becomes of an offer: exactly one of its fields is set.
type assembled struct {
	complete *Snapshot
	// missing are resources that the chain names and that have not come yet; they are on their way.
	missing []string
	// refused says why the chain can never be taken.
	refused string
}

// assemble makes a snapshot of the resources that the chain of an offer names, in the collections that are taken; the chain must be there.
func assemble(o offer, takes []string) assembled {
	if n := len(o.chain.GetFilters()); n > 0 || o.chain.GetSplit() != nil {
		names := make([]string, 0, n)
		for _, f := range o.chain.GetFilters() {
			names = append(names, f.GetName())
		}
		return assembled{refused: fmt.Sprintf("an application runs no filters, and the chain has %s; give it a release with resources only", strings.Join(names, ", "))}
	}
	s := &Snapshot{release: release{hash: o.chain.GetHash(), generation: o.chain.GetGeneration()}, sets: make(map[string]set, len(takes)), replaced: make(chan struct{})}
	for _, r := range o.chain.GetReleases() {
		s.releases = append(s.releases, Release{Layer: r.GetLayer(), Name: r.GetRelease()})
	}
	for _, collection := range takes {
		s.sets[collection] = set{}
	}
	var missing []string
	for _, want := range o.chain.GetResources() {
		in, taken := s.sets[want.GetCollection()]
		if !taken {
			continue
		}
		collection, name := want.GetCollection(), want.GetName()
		if why, broken := o.broken[collection][versioned{name, want.GetVersion()}]; broken {
			return assembled{refused: why}
		}
		have, there := o.sets[collection][name]
		if !there || have.resource.GetMetadata().GetVersion() != want.GetVersion() {
			missing = append(missing, collection+":"+name)
			continue
		}
		in[name] = have
	}
	if len(missing) > 0 {
		return assembled{missing: missing}
	}
	return assembled{complete: s}
}

// checkChain says what is wrong with a chain that came.
func checkChain(c *waftv1.Chain) error {
	const object = "the chain of this node"
	if err := model.ValidateDigest(object, "hash", c.GetHash()); err != nil {
		return err
	}
	if n := len(c.GetResources()); n > maxResources {
		return fmt.Errorf("%s names %d resources; at most %d are taken", object, n, maxResources)
	}
	seen := make(map[[2]string]bool, len(c.GetResources()))
	for _, r := range c.GetResources() {
		key := [2]string{r.GetCollection(), r.GetName()}
		if seen[key] {
			return fmt.Errorf("%s names the resource %s:%s twice", object, r.GetCollection(), r.GetName())
		}
		seen[key] = true
	}
	return nil
}

// tooMuchText says that a collection has more than is taken.
func tooMuchText(collection string, count, size int) string {
	return fmt.Sprintf("collection %s has %d resources, and all collections have %d bytes together; at most %d and %d are taken", collection, count, size, maxResources, maxBytes)
}

// decodeSet reads a collection. What of held is the same resource still is not decoded again. broken says of each resource that cannot be read why.
func decodeSet(from Subscription, resources []*mcpv1.Resource, held set) (next set, broken map[versioned]string) {
	next = make(set, len(resources))
	for _, r := range resources {
		name := r.GetMetadata().GetName()
		if one, there := held[name]; there && one.resource == r {
			next[name] = one
			continue
		}
		message, err := decodeResource(from, r)
		if err != nil {
			if broken == nil {
				broken = map[versioned]string{}
			}
			broken[versioned{name, r.GetMetadata().GetVersion()}] = err.Error()
			continue
		}
		next[name] = item{resource: r, message: message}
	}
	return next, broken
}

// decodeResource reads one resource. The error names it, and goes back to the distributor.
func decodeResource(from Subscription, r *mcpv1.Resource) (proto.Message, error) {
	name := r.GetMetadata().GetName()
	if err := model.ValidateResourceName("collection "+from.Name(), "name", name); err != nil {
		return nil, err
	}
	if r.GetBody() == nil {
		return nil, fmt.Errorf("resource %s:%s has no body", from.Name(), name)
	}
	message, err := from.decode(r.GetBody())
	if err != nil {
		return nil, fmt.Errorf("resource %s:%s, %s, cannot be read: %w", from.Name(), name, r.GetBody().GetTypeUrl(), err)
	}
	return message, nil
}
