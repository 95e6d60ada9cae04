package distributor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/waft-project/waft/registry"
)

// fetchedPrefix begins the names under which images are read here that were fetched from other registries.
const fetchedPrefix = "waft/fetched/"

// maxImageBytes bounds the blobs of an image that are kept beside its module, the module's own layer among them. Of an image
// that is larger only the module is kept.
const maxImageBytes = 2 * registry.DefaultMaxModuleBytes

// maxOrigins is how many repositories of other registries one artifact is remembered to be in.
const maxOrigins = 16

// fetchedName is the repository under which the images of a repository of another registry are read here:
//
//	registry.example/filters/authz         waft/fetched/registry.example/filters/authz
//	registry.example:5000/filters/authz    waft/fetched/registry.example_5000/filters/authz
//	[2001:db8::1]:5000/filters/authz       waft/fetched/2001-0db8-0000-0000-0000-0000-0000-0001.ipv6_5000/filters/authz
//
// A registry's name may have capitals and a port, which a repository's may not; no registry's name has an underscore. So the
// part before the repository is a prefix that a mirror can be given, see registry.Mirror.
func fetchedName(ref registry.Reference) string {
	host, port := ref.Registry, ""
	if h, p, err := net.SplitHostPort(ref.Registry); err == nil {
		host, port = h, "_"+p
	}
	if ip, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil && ip.Is6() {
		host = strings.ReplaceAll(ip.StringExpanded(), ":", "-") + ".ipv6"
	}
	return fetchedPrefix + strings.ToLower(host+port) + "/" + ref.Repository
}

// origin is what of an image is known beside its module, so that it can be served.
type origin struct {
	// Image names the image manifest, and Blobs what it names, and the waft manifest where there is one.
	Image registry.Descriptor   `json:"image"`
	Blobs []registry.Descriptor `json:"blobs"`
	// Repositories of other registries, HOST/REPOSITORY, in which the image was found; the newest last.
	Repositories []registry.Reference `json:"repositories"`
}

// originOf reads of an artifact what there is to serve; nil when there is too much of it, or may be.
func originOf(a registry.Artifact) (*origin, error) {
	blobs, err := a.Blobs()
	if err != nil {
		return nil, err
	}
	if a.Manifest != nil {
		blobs = append(blobs, registry.Descriptor{MediaType: registry.ManifestArtifactType, Digest: registry.DigestOf(a.Manifest), Size: int64(len(a.Manifest))})
	}
	var total int64
	for i, d := range blobs {
		// A size of 0 says nothing of how much would come.
		if total += d.Size; d.Size == 0 || d.Size > registry.DefaultMaxModuleBytes || total > maxImageBytes {
			return nil, nil
		}
		blobs[i].MediaType = "" // as long as its author liked; blobs are served without
	}
	return &origin{Image: a.Descriptor(), Blobs: blobs, Repositories: []registry.Reference{a.Reference.InRepository()}}, nil
}

// check says what is wrong with what was kept of an artifact's image; of nil nothing.
func (o *origin) check(artifact string) error {
	if o == nil {
		return nil
	}
	if string(o.Image.Digest) != artifact {
		return fmt.Errorf("its image is %.255q", o.Image.Digest)
	}
	for _, d := range append([]registry.Descriptor{o.Image}, o.Blobs...) {
		if !d.Digest.Valid() || d.Size < 0 {
			return fmt.Errorf("its image has a part with the digest %.255q and the size %d", d.Digest, d.Size)
		}
	}
	if n := len(o.Repositories); n > maxOrigins {
		return fmt.Errorf("it was found in %d repositories; at most %d are kept", n, maxOrigins)
	}
	for _, r := range o.Repositories {
		if r == (registry.Reference{}) {
			return errors.New("a repository in which it was found has no name")
		}
	}
	return nil
}

// foundIn adds the repositories of an earlier find of the same image.
func (o *origin) foundIn(earlier []registry.Reference) {
	all := o.Repositories
	for _, r := range slices.Backward(earlier) {
		if !slices.Contains(all, r) && len(all) < maxOrigins {
			all = slices.Insert(all, 0, r)
		}
	}
	o.Repositories = all
}

// digests are those of everything that there is to serve; none for nil.
func (o *origin) digests() []registry.Digest {
	if o == nil {
		return nil
	}
	all := []registry.Digest{o.Image.Digest}
	for _, d := range o.Blobs {
		all = append(all, d.Digest)
	}
	return all
}

// object is a manifest or a blob of a repository, and what a registry calls it: "manifests" or "blobs".
type object struct {
	kind   string
	digest registry.Digest
}

const (
	kindManifests = "manifests"
	kindBlobs     = "blobs"
)

// fetched is what was fetched from other registries, by the names under which it is read here. It may be used concurrently.
type fetched struct {
	mu    sync.Mutex
	names map[string]*repository
}

// repository is one of another registry.
type repository struct {
	ref registry.Reference
	// objects are what may be read, and the artifact that each belongs to.
	objects map[object]held
}

// held is an object that a repository holds.
type held struct {
	registry.Descriptor
	artifact registry.Digest
}

// add makes an image readable under the names of its repositories.
func (f *fetched) add(o *origin) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, ref := range o.Repositories {
		name := fetchedName(ref)
		if f.names[name] == nil {
			f.names[name] = &repository{objects: map[object]held{}}
		}
		r := f.names[name]
		r.ref = ref
		r.objects[object{kindManifests, o.Image.Digest}] = held{o.Image, o.Image.Digest}
		// By their digests, manifests are blobs, too.
		for _, d := range append([]registry.Descriptor{o.Image}, o.Blobs...) {
			r.objects[object{kindBlobs, d.Digest}] = held{d, o.Image.Digest}
		}
	}
}

// Errors of find.
var (
	errNoName   = errors.New("nothing was fetched from a repository that has this name")
	errNoObject = errors.New("nothing with this digest was fetched from there")
)

// find gives what a name holds, and the repository that it stands for.
func (f *fetched) find(name string, o object) (held, registry.Reference, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.names[name]
	if r == nil {
		return held{}, registry.Reference{}, errNoName
	}
	h, ok := r.objects[o]
	if !ok {
		return held{}, r.ref, errNoObject
	}
	return h, r.ref, nil
}

// openFetched gives the verified bytes of what was fetched: from the disk, or once more from where they came from when the
// disk has lost them or had to make room.
func (m *modules) openFetched(ctx context.Context, name string, o object) (*os.File, held, error) {
	h, ref, err := m.fetched.find(name, o)
	if err != nil {
		return nil, h, err
	}
	cache := m.client.Cache()
	f, _, err := cache.Open(h.Digest)
	if !errors.Is(err, registry.ErrNotCached) {
		return f, h, err
	}
	defer m.grow()() // until it is open
	m.log.Info("a part of an image is not on the disk and is fetched again", "reference", ref.AtDigest(h.artifact).String(), "digest", string(h.Digest))
	if h.Digest == h.artifact {
		resolved, err := m.client.Resolve(ctx, ref.AtDigest(h.artifact))
		if err == nil {
			err = m.putManifest(ctx, resolved)
		}
		if err != nil {
			return nil, h, moduleError(ref.AtDigest(h.artifact).String(), err)
		}
	} else if _, err := m.client.FetchModule(ctx, ref, h.Digest, h.Size); err != nil {
		return nil, h, moduleError(ref.AtDigest(h.artifact).String(), err)
	}
	f, _, err = cache.Open(h.Digest)
	return f, h, err
}
