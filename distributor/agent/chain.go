package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	"github.com/waft-project/waft/distributor/mcp"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/envoy"
	"github.com/waft-project/waft/registry"
)

// maxFilters is how many filters a chain may have; each costs Envoy a VM for every worker.
const maxFilters = 64

// maxReleases is how many releases a chain may be rendered from: one of each layer.
const maxReleases = 256

// chain is a complete chain: what the node is to run, with everything that it takes to run it. Values are never changed
// once made. How they are kept on disk: onDisk.
type chain struct {
	// Hash is the rendered chain's identity, sha256:HEX.
	Hash       string
	Generation int64
	Filters    []filter
	// LeftOut names the filters of the rendered chain that are not in Filters, because this Envoy cannot load them; mostly none. See without.
	LeftOut []string
	// Releases are those that it was rendered from, as the distributor says.
	Releases []release
	// Resources are those of other collections that belong to it.
	Resources []heldResource
	// Split is nil for a chain that every request takes.
	Split *split
	// Secrets are those whose values stand in the filters' configurations; none in a chain as the distributor sends it, whose configurations name them. See fill.
	Secrets []heldSecret
}

// filter is one filter of a chain.
type filter struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Digest  string `json:"digest"`
	// Reference and Artifact say where the module is from, as the distributor says.
	Reference string              `json:"reference,omitempty"`
	Artifact  string              `json:"artifact,omitempty"`
	Size      int64               `json:"size"`
	Config    []byte              `json:"config,omitempty"`
	Policy    model.FailurePolicy `json:"policy"`
	// Side says which requests meet it, in a chain that is split.
	Side  model.Side  `json:"side,omitempty"`
	Phase model.Phase `json:"phase,omitempty"`
}

// content is a digest of all that decides how the filter loads. It is taken here, not from the resource's version, which is
// only what the distributor says.
func (f filter) content() string {
	h := sha256.New()
	for _, part := range [][]byte{[]byte(f.id()), []byte(f.Digest), []byte(f.Policy), f.Config} {
		fmt.Fprintf(h, "%d:%s,", len(part), part)
	}
	return "filter:" + hex.EncodeToString(h.Sum(nil))
}

// is says whether both are the same rendered chain, without the same filters; two absent ones are not.
func (c *chain) is(other *chain) bool {
	return c != nil && other != nil && c.version() == other.version()
}

// names of the filters in Envoy, in order.
func (c *chain) names() []string {
	names := make([]string, 0, len(c.Filters))
	for _, f := range c.Filters {
		names = append(names, f.id())
	}
	return names
}

// digests adds the modules of some chains, with their sizes, to wanted. Absent chains have none.
func digests(wanted map[string]int64, chains ...*chain) {
	for _, c := range chains {
		if c == nil {
			continue
		}
		for _, f := range c.Filters {
			wanted[f.Digest] = f.Size
		}
	}
}

// loadLimit is how long Envoy may take to load the chain on a busy machine: some times what it computes, and at least the time given. That is
// less than the probe may take, which gives way to it.
func (c *chain) loadLimit(least time.Duration) time.Duration {
	if c == nil {
		return least
	}
	const busy = 6
	return max(least, busy*envoy.DefaultLimits(len(c.Filters), c.moduleBytes()).CPU)
}

// moduleBytes is the size of all modules of the chain.
func (c *chain) moduleBytes() int64 {
	sizes := map[string]int64{}
	digests(sizes, c)
	var sum int64
	for _, size := range sizes {
		sum += size
	}
	return sum
}

// offer is what the node's collections hold, decoded.
type offer struct {
	// chain is the node's resource in waft/v1/chains; nil when there is none.
	chain *waftv1.Chain
	// filters of waft/v1/filters, by name.
	filters map[string]filter
	// prefetch is digest → size, of waft/v1/prefetch.
	prefetch map[string]int64
	// secrets are the kept ones that the distributor has sent, of waft/v1/secrets.
	secrets map[model.SecretRef]keptSecret
	// resources are those of all other collections, by collection.
	resources map[string][]heldResource
}

// decode reads one collection into the offer. The error names the resource and what is wrong with it; it goes back to the
// source as a NACK.
func (o *offer) decode(node, collection string, resources []*mcpv1.Resource) error {
	switch collection {
	case model.CollectionFilters:
		filters := make(map[string]filter, len(resources))
		for _, r := range resources {
			f, err := decodeFilter(r)
			if err != nil {
				return err
			}
			filters[r.GetMetadata().GetName()] = f
		}
		o.filters = filters
	case model.CollectionChains:
		var mine *waftv1.Chain
		for _, r := range resources {
			if r.GetMetadata().GetName() != node {
				continue // another node's; a source that sends too much does no harm
			}
			mine = new(waftv1.Chain)
			if err := body(r, mine); err != nil {
				return err
			}
			if err := model.ValidateDigest("chain of node "+node, "hash", mine.GetHash()); err != nil {
				return err
			}
			if len(mine.GetFilters()) > maxFilters {
				return fmt.Errorf("chain of node %s has %d filters; at most %d are taken", node, len(mine.GetFilters()), maxFilters)
			}
			if len(mine.GetReleases()) > maxReleases {
				return fmt.Errorf("chain of node %s has %d releases; at most %d are taken", node, len(mine.GetReleases()), maxReleases)
			}
			if err := checkSplit("chain of node "+node, mine); err != nil {
				return err
			}
			if err := checkResources("chain of node "+node, mine); err != nil {
				return err
			}
			for _, r := range mine.GetReleases() {
				if ref, err := model.ParseReleaseRef(r.GetRelease()); err != nil || !ref.Exact() {
					return fmt.Errorf("chain of node %s: release %q is not NAME@sha256:HEX", node, r.GetRelease())
				}
			}
		}
		o.chain = mine
	case model.CollectionPrefetch:
		prefetch := make(map[string]int64, len(resources))
		for _, r := range resources {
			var p waftv1.Prefetch
			if err := body(r, &p); err != nil {
				return err
			}
			if err := checkModule("prefetch "+r.GetMetadata().GetName(), p.GetModule()); err != nil {
				return err
			}
			prefetch[p.GetModule().GetDigest()] = p.GetModule().GetSize()
		}
		o.prefetch = prefetch
	case model.CollectionSecrets:
		secrets, err := decodeSecrets(resources)
		if err != nil {
			return err
		}
		o.secrets = secrets
	default:
		held, _, err := decodeResources(collection, resources)
		if err != nil {
			return err
		}
		o.hold(collection, held)
	}
	return nil
}

// hold puts a collection that is not waft's own into the offer.
func (o *offer) hold(collection string, held []heldResource) {
	resources := maps.Clone(o.resources) // it is another offer's as well
	if resources == nil {
		resources = map[string][]heldResource{}
	}
	if resources[collection] = held; len(held) == 0 {
		delete(resources, collection)
	}
	o.resources = resources
}

func body(r *mcpv1.Resource, into proto.Message) error { return mcp.Body(r, into) }

func decodeFilter(r *mcpv1.Resource) (filter, error) {
	var message waftv1.Filter
	if err := body(r, &message); err != nil {
		return filter{}, err
	}
	object := "filter " + r.GetMetadata().GetName()
	if err := model.ValidateName(object, "name", message.GetName()); err != nil {
		return filter{}, err
	}
	if named := r.GetMetadata().GetName(); named != message.GetName() && named != message.GetName()+model.CohortSuffix {
		return filter{}, fmt.Errorf("%s: its body is of filter %s", object, message.GetName())
	}
	if err := checkModule(object, message.GetModule()); err != nil {
		return filter{}, err
	}
	f := filter{
		Name: message.GetName(), Version: r.GetMetadata().GetVersion(),
		Digest: message.GetModule().GetDigest(), Size: message.GetModule().GetSize(),
		Reference: message.GetModule().GetReference(), Artifact: message.GetModule().GetArtifact(),
	}
	if len(message.GetConfig()) > 0 {
		f.Config = message.GetConfig()
	}
	switch message.GetPhase() {
	case waftv1.Phase_AUTHN:
		f.Phase = model.PhaseAuthn
	case waftv1.Phase_AUTHZ:
		f.Phase = model.PhaseAuthz
	case waftv1.Phase_STATS:
		f.Phase = model.PhaseStats
	case waftv1.Phase_PHASE_UNSPECIFIED:
	default:
		return filter{}, fmt.Errorf("%s: phase %d is not known to this agent", object, message.GetPhase())
	}
	switch message.GetFailurePolicy() {
	case waftv1.FailurePolicy_FAILURE_POLICY_UNSPECIFIED, waftv1.FailurePolicy_FAIL_RELOAD:
		f.Policy = model.FailReload
	case waftv1.FailurePolicy_FAIL_CLOSED:
		f.Policy = model.FailClosed
	case waftv1.FailurePolicy_FAIL_OPEN:
		// The distributor refuses this as well; the node does not rely on it.
		if phase := message.GetPhase(); phase == waftv1.Phase_AUTHN || phase == waftv1.Phase_AUTHZ {
			return filter{}, fmt.Errorf("%s: FAIL_OPEN is never taken for a filter of phase %s", object, phase)
		}
		f.Policy = model.FailOpen
	default:
		return filter{}, fmt.Errorf("%s: failure policy %d is not known to this agent", object, message.GetFailurePolicy())
	}
	return f, nil
}

func checkModule(object string, m *waftv1.ModuleRef) error {
	if err := model.ValidateDigest(object, "module.digest", m.GetDigest()); err != nil {
		return err
	}
	// An artifact's digest goes into the path of a request; a distributor before this agent may send none.
	if a := m.GetArtifact(); a != "" {
		if err := model.ValidateDigest(object, "module.artifact", a); err != nil {
			return err
		}
	}
	if size := m.GetSize(); size < 0 || size > registry.DefaultMaxModuleBytes {
		return fmt.Errorf("%s: module.size: %d bytes; at most %d are taken", object, size, int64(registry.DefaultMaxModuleBytes))
	}
	return nil
}

// assemble makes the complete chain out of an offer. It is nil when there is no chain, or when filters or resources that it names are
// not there, or not at that version, yet; those are missing.
func assemble(o offer) (complete *chain, missing []string) {
	if o.chain == nil {
		return nil, nil
	}
	c := &chain{Hash: o.chain.GetHash(), Generation: o.chain.GetGeneration()}
	for _, want := range o.chain.GetFilters() {
		f, ok := o.filters[want.GetName()]
		if !ok || f.Version != want.GetVersion() {
			missing = append(missing, want.GetName())
			continue
		}
		c.Filters = append(c.Filters, f)
	}
	missing = append(missing, o.assembleSplit(c)...)
	if missing = append(missing, o.assembleResources(c)...); len(missing) > 0 {
		return nil, missing
	}
	for _, r := range o.chain.GetReleases() {
		c.Releases = append(c.Releases, release{Layer: model.Layer(r.GetLayer()), ID: r.GetRelease()})
	}
	return c, nil
}

// askedFor lists the modules that the collections ask for, digest → size.
func (o offer) askedFor() map[string]int64 {
	wanted := maps.Clone(o.prefetch)
	if wanted == nil {
		wanted = map[string]int64{}
	}
	for _, f := range o.filters {
		wanted[f.Digest] = f.Size
	}
	return wanted
}

// sorted keys, for what is compared or shown.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
