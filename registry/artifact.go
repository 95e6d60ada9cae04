package registry

import "encoding/json"

// Descriptor names some bytes in a registry.
// https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md
type Descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    Digest `json:"digest"`
	// Size in bytes.
	Size int64 `json:"size"`
}

// Artifact is the image that carries a module, as a registry has it. It is plain data and shares its slices and maps with
// its copies: treat it as read-only.
type Artifact struct {
	// Reference is what was asked for, its defaults filled in, and always with Digest.
	Reference Reference `json:"reference"`
	// Digest is the artifact's identity: the digest of ImageManifest. Istio and Envoy Gateway compare their sha256 with it
	// for oci:// URLs.
	Digest Digest `json:"digest"`
	// Layout is how the module stands in it.
	Layout Layout `json:"layout"`
	// Module is the module's identity: digest and size of the Wasm bytes. Envoy compares its sha256 with this one. In a
	// layout that packs the module (Packed) it is the zero value until the module was pulled.
	Module Descriptor `json:"module"`
	// Layer is the blob that holds the module; in a raw layout the same as Module.
	Layer Descriptor `json:"layer"`
	// Annotations are those of the image manifest. Anyone can have written them.
	Annotations map[string]string `json:"annotations,omitempty"`
	// ImageManifest is the raw image manifest.
	ImageManifest []byte `json:"-"`
	// Manifest is the waft manifest (JSON, verified by digest and not read), or nil when none is attached.
	Manifest []byte `json:"-"`
}

// Packed says whether the module stands inside an archive, so that its own digest is known only after a pull.
func (a Artifact) Packed() bool { return a.Layout == LayoutCompat }

// Blobs are the blobs that the image manifest names, each once: its configuration, then its layers. It reads ImageManifest; of
// an artifact without one, or with one that is broken, it gives ErrInvalidManifest.
func (a Artifact) Blobs() ([]Descriptor, error) {
	var m imageJSON
	if err := json.Unmarshal(a.ImageManifest, &m); err != nil || m.Config == nil {
		return nil, withSubject(invalidManifest("not a JSON manifest with a config: %v", err), "artifact", a.Reference.String())
	}
	seen := map[Digest]bool{}
	var blobs []Descriptor
	for _, d := range append([]Descriptor{*m.Config}, m.Layers...) {
		if !d.Digest.Valid() || d.Size < 0 {
			return nil, withSubject(invalidManifest("a blob with the digest %s and the size %d", quote(string(d.Digest)), d.Size), "artifact", a.Reference.String())
		}
		if !seen[d.Digest] {
			seen[d.Digest] = true
			blobs = append(blobs, d)
		}
	}
	return blobs, nil
}
