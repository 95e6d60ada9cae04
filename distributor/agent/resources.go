package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
	mcpv1 "github.com/waft-project/waft/distributor/mcp/gen/istio/mcp/v1alpha1"
	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/sealed"
	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/wholefile"
)

// maxResourceBytes bounds the resources that a node is offered at a time, all collections together. It is more than a release may have, in whatever form.
const maxResourceBytes = 4 * model.MaxReleaseResources

// heldResource is one of a collection that is not waft's own, as the agent holds it. Its message is in a file of bodies. Values are never changed.
type heldResource struct {
	Collection string `json:"collection"`
	Name       string `json:"name"`
	// Version is the distributor's.
	Version string `json:"version"`
	// Digest is that of the resource as it came, istio.mcp.v1alpha1.Resource, and names its file.
	Digest string `json:"digest"`
	// Size of it, in bytes.
	Size int `json:"size"`
	// Type is the URL of the message's type, Content the digest of its bytes.
	Type    string `json:"type"`
	Content string `json:"content"`
	// Descriptors is the digest of the descriptor set by which its fields were read, as the distributor says; see the same in model.ResourceBody. Only
	// of a chain's.
	Descriptors string `json:"descriptors,omitempty"`
}

// key names a resource among all of a chain.
func (r heldResource) key() string { return r.Collection + ":" + r.Name }

// decodeResources reads a collection that is not waft's own, and gives the serialized resources beside, in the same order.
func decodeResources(collection string, resources []*mcpv1.Resource) ([]heldResource, [][]byte, error) {
	if err := model.ValidateCollection("collection", "name", collection); err != nil {
		return nil, nil, err
	}
	if len(resources) > model.MaxResources {
		return nil, nil, fmt.Errorf("collection %s has %d resources; at most %d are taken", collection, len(resources), model.MaxResources)
	}
	packed, err := pack(resources)
	if err != nil {
		return nil, nil, err
	}
	out := make([]heldResource, 0, len(resources))
	for i, r := range resources {
		name := r.GetMetadata().GetName()
		if err := model.ValidateResourceName("collection "+collection, "name", name); err != nil {
			return nil, nil, err
		}
		if r.GetBody().GetTypeUrl() == "" {
			return nil, nil, fmt.Errorf("resource %s:%s has no body", collection, name)
		}
		out = append(out, heldResource{
			Collection: collection, Name: name, Version: r.GetMetadata().GetVersion(), Digest: model.Digest(packed[i]), Size: len(packed[i]),
			Type: r.GetBody().GetTypeUrl(), Content: model.Digest(r.GetBody().GetValue()),
		})
	}
	return out, packed, nil
}

// checkResources says what is wrong with the resources that a chain names.
func checkResources(object string, c *waftv1.Chain) error {
	if n := len(c.GetResources()); n > model.MaxResources {
		return fmt.Errorf("%s names %d resources; at most %d are taken", object, n, model.MaxResources)
	}
	seen, collections := map[string]bool{}, map[string]bool{}
	for _, r := range c.GetResources() {
		if err := model.ValidateCollection(object, "resources.collection", r.GetCollection()); err != nil {
			return err
		}
		if err := model.ValidateResourceName(object, "resources.name", r.GetName()); err != nil {
			return err
		}
		if d := r.GetDescriptors(); d != "" { // it becomes part of a path
			if err := model.ValidateDigest(object, "resources.descriptors", d); err != nil {
				return err
			}
		}
		key := r.GetCollection() + ":" + r.GetName()
		if seen[key] {
			return fmt.Errorf("%s names the resource %s twice", object, key)
		}
		seen[key], collections[r.GetCollection()] = true, true
	}
	if n := len(collections); n > model.MaxReleaseCollections {
		return fmt.Errorf("%s names resources of %d collections; at most %d are taken", object, n, model.MaxReleaseCollections)
	}
	return nil
}

// assembleResources adds to a chain the resources that it names; missing are those that are not there, or not at that version, yet.
func (o offer) assembleResources(c *chain) (missing []string) {
	held := map[string]heldResource{}
	for _, resources := range o.resources {
		for _, r := range resources {
			held[r.key()] = r
		}
	}
	for _, want := range o.chain.GetResources() {
		key := want.GetCollection() + ":" + want.GetName()
		r, ok := held[key]
		if !ok || r.Version != want.GetVersion() {
			missing = append(missing, key)
			continue
		}
		r.Descriptors = want.GetDescriptors()
		c.Resources = append(c.Resources, r)
	}
	return missing
}

// fits refuses more resources than a node is to hold.
func (o offer) fits() error {
	count, size := 0, 0
	for _, resources := range o.resources {
		count += len(resources)
		for _, r := range resources {
			size += r.Size
		}
	}
	if count > 2*model.MaxResources || size > maxResourceBytes {
		return fmt.Errorf("the collections have %d resources and %d bytes together; at most %d and %d are taken", count, size, 2*model.MaxResources, maxResourceBytes)
	}
	return nil
}

// more are the collections, besides those that every agent asks for, that the node is to ask for, sorted: those that the chain which it was given has resources of, and that of
// kept secrets where it names any.
func (o offer) more() []string {
	names := map[string]bool{}
	if o.namesKept() {
		names[model.CollectionSecrets] = true
	}
	for _, r := range o.chain.GetResources() {
		names[r.GetCollection()] = true
	}
	return sorted(names)
}

// bodies are the messages of resources on disk, one file each, by digest. Whoever writes a record that names some holds mu from before they are put until
// the record is written, so that drop takes none of them away.
type bodies struct {
	dir string
	mu  sync.Mutex
}

func (b *bodies) path(digest string) string {
	return filepath.Join(b.dir, registry.Digest(digest).Hex())
}

// put writes one; mu is held.
func (b *bodies) put(digest string, packed []byte) error {
	if _, err := b.get(digest); err == nil {
		return nil
	}
	return wholefile.Replace(b.path(digest), packed)
}

// get reads one, verified.
func (b *bodies) get(digest string) (*mcpv1.Resource, error) {
	packed, err := readBounded(b.path(digest))
	if err != nil {
		return nil, err
	}
	if have := model.Digest(packed); have != digest {
		return nil, fmt.Errorf("%w: %s has the digest %s", sealed.ErrTorn, b.path(digest), have)
	}
	r := new(mcpv1.Resource)
	if err := proto.Unmarshal(packed, r); err != nil {
		return nil, fmt.Errorf("%s: %w", b.path(digest), err)
	}
	return r, nil
}

// drop removes all that the record does not name, nor a chain.
func (b *bodies) drop(state *stateFolder, also *chain) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := state.read()
	needed := map[string]bool{}
	need := func(resources []heldResource) {
		for _, one := range resources {
			needed[filepath.Base(b.path(one.Digest))] = true
		}
	}
	for _, resources := range r.Resources {
		need(resources)
	}
	for _, c := range []*chain{r.Desired, r.Good, r.Before, r.Trial, also} {
		if c != nil {
			need(c.Resources)
		}
	}
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return fmt.Errorf("look for resources that nobody needs: %w", err)
	}
	for _, entry := range entries {
		if !needed[entry.Name()] {
			if err := os.Remove(filepath.Join(b.dir, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// byCollection are the resources of a chain, in the chain's order.
func (c *chain) byCollection() map[string][]heldResource {
	out := map[string][]heldResource{}
	for _, r := range c.Resources {
		out[r.Collection] = append(out[r.Collection], r)
	}
	for _, resources := range out {
		slices.SortFunc(resources, func(a, b heldResource) int { return strings.Compare(a.Name, b.Name) })
	}
	return out
}
