package registry

import (
	"fmt"
	"slices"
	"strings"
)

// A bundle is a tar of an OCI image layout, for where no registry can be reached. It holds artifacts with everything that
// is attached to them, and is the same, byte for byte, whenever and wherever the same artifacts are exported.
// https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
//
// Each manifest stands in index.json under the name REPOSITORY:TAG or REPOSITORY@DIGEST, without a host: a bundle does not
// say where it comes from, and Import says where it goes.

// Files of an image layout.
const (
	bundleLayoutFile = "oci-layout"
	bundleLayoutText = `{"imageLayoutVersion":"1.0.0"}`
	bundleIndexFile  = "index.json"
	bundleBlobs      = "blobs/sha256/"
)

// Limits on a bundle.
const (
	// maxBundleEntries is the number of files and folders in it.
	maxBundleEntries = 64 << 10
	// maxBundleManifests is the number of manifests in it, and maxBundleManifestBytes what they are together: they are
	// held in memory.
	maxBundleManifests     = 8 << 10
	maxBundleManifestBytes = 32 << 20
	// maxBundleNameBytes is the length of a file's name; that of a blob has 77.
	maxBundleNameBytes = 255
)

// annotationRefName is the name of a manifest in an image layout.
const annotationRefName = "org.opencontainers.image.ref.name"

// Bundle says what was exported or imported.
type Bundle struct {
	// Artifacts are what was asked for, or what was written, with tags and digests.
	Artifacts []Reference `json:"artifacts"`
	// Attached is how many manifests came with them: waft manifests, signatures, and what else is attached.
	Attached int `json:"attached"`
	// LeftOut is what is attached and was not exported, since it is no image manifest that can be read. Anyone who may write there can
	// attach such things.
	LeftOut []Reference `json:"leftOut,omitempty"`
	// Blobs is how many different blobs there are, manifests aside, and Bytes what they are together.
	Blobs int   `json:"blobs"`
	Bytes int64 `json:"bytes"`
}

// bundleManifest is a manifest of a bundle.
type bundleManifest struct {
	repository string
	tag        string // empty for one that has none
	desc       Descriptor
	data       []byte
	blobs      []Descriptor
	attached   bool
}

// name is the manifest's name in index.json.
func (m bundleManifest) name() string {
	if m.tag != "" {
		return m.repository + ":" + m.tag
	}
	return m.repository + "@" + string(m.desc.Digest)
}

// bundleIndexJSON is index.json.
type bundleIndexJSON struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []bundleItem `json:"manifests"`
}

type bundleItem struct {
	Descriptor
	ArtifactType string            `json:"artifactType,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// parseBundled reads of an image manifest which blobs belong to it.
func parseBundled(data []byte, mediaType string) ([]Descriptor, error) {
	var m imageJSON
	if err := decodeStrictly(data, &m); err != nil {
		return nil, invalidManifest("not a JSON manifest: %v", err)
	}
	if m.MediaType == "" {
		m.MediaType = mediaType
	}
	if m.MediaType != mediaTypeOCIManifest && m.MediaType != mediaTypeDockerManifest {
		return nil, unsupported("a bundle holds image manifests, not %s", quote(m.MediaType))
	}
	if m.Config == nil || len(m.Layers) > MaxLayers {
		return nil, invalidManifest("it has no config, or more than %d layers", MaxLayers)
	}
	blobs := append([]Descriptor{*m.Config}, m.Layers...)
	for _, d := range blobs {
		if !d.Digest.Valid() || d.Size < 0 {
			return nil, invalidManifest("a blob has the digest %s and the size %d", quote(string(d.Digest)), d.Size)
		}
	}
	return blobs, nil
}

// bundleName reads a manifest's name: REPOSITORY:TAG, REPOSITORY@DIGEST, or as other tools write it TAG alone, or nothing.
func bundleName(name string) (repository, tag string, err error) {
	if name == "" {
		return "", "", nil
	}
	if repository, digest, ok := strings.Cut(name, "@"); ok {
		if _, err := ParseDigest(digest); err != nil {
			return "", "", err
		}
		return repository, "", validRepository(repository)
	}
	at := strings.LastIndex(name, ":")
	if at < 0 {
		return "", name, validTag(name)
	}
	if err := validTag(name[at+1:]); err != nil {
		return "", "", err
	}
	return name[:at], name[at+1:], validRepository(name[:at])
}

// uniqueBlobs are the blobs of manifests, each once, in the order of their digests. A blob that is described twice in
// different ways is an error.
func uniqueBlobs(manifests []bundleManifest) ([]Descriptor, error) {
	sizes := map[Digest]int64{}
	var blobs []Descriptor
	for _, m := range manifests {
		for _, d := range m.blobs {
			size, seen := sizes[d.Digest]
			if seen && size != d.Size {
				return nil, invalidManifest("blob %s is said to have %d bytes and %d bytes", d.Digest, size, d.Size)
			}
			if d.Size == 0 && d.Digest != DigestOf(nil) {
				return nil, invalidManifest("blob %s is said to be empty, and that is not the digest of nothing", d.Digest)
			}
			if !seen {
				sizes[d.Digest] = d.Size
				blobs = append(blobs, d)
			}
		}
	}
	slices.SortFunc(blobs, func(a, b Descriptor) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	return blobs, nil
}

func bundleOf(manifests []bundleManifest, blobs []Descriptor, reference func(bundleManifest) Reference) Bundle {
	b := Bundle{Blobs: len(blobs)}
	for _, m := range manifests {
		if m.attached {
			b.Attached++
		} else {
			b.Artifacts = append(b.Artifacts, reference(m))
		}
	}
	for _, d := range blobs {
		b.Bytes += d.Size
	}
	return b
}

func invalidBundle(format string, args ...any) error {
	return &Error{Kind: ErrInvalidArchive, Detail: fmt.Sprintf(format, args...), Next: "export it again, and check how it was copied"}
}
