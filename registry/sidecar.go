package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
)

// SidecarLayer is a layer of a sidecar: an image beside an artifact whose tag is made of the artifact's digest and a suffix,
// such as sha256-HEX.sig. It is how cosign kept signatures before registries had referrers, and how most still are kept.
// https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md#storage
type SidecarLayer struct {
	// MediaType of Data.
	MediaType string
	// Data is at most MaxAttachmentBytes. Its digest is verified when it is read; anyone can have written it.
	Data        []byte
	Annotations map[string]string
}

// sidecarConfigJSON is the configuration of a sidecar, of which readers want one digest for each layer.
type sidecarConfigJSON struct {
	Architecture string     `json:"architecture"`
	OS           string     `json:"os"`
	Config       struct{}   `json:"config"`
	RootFS       rootFSJSON `json:"rootfs"`
}

// sidecarJSON is the image manifest of a sidecar.
type sidecarJSON struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        Descriptor        `json:"config"`
	Layers        []layerJSON       `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// AppendSidecar adds a layer to an artifact's sidecar with that suffix ("sig"), and leaves the others as they are. A layer
// that is there already, with the same annotations, is not added. What is said of concurrent writers at Attach holds here.
func (c *Client) AppendSidecar(ctx context.Context, a Artifact, suffix string, layer SidecarLayer) error {
	const op = "attach"
	if len(layer.Data) > MaxAttachmentBytes {
		return tooLarge(op, a.Reference.String()+" (its attachment)", MaxAttachmentBytes, int64(len(layer.Data)))
	}
	ref, err := sidecarReference(a, suffix)
	if err != nil {
		return err
	}
	repo, err := c.repository(ref)
	if err != nil {
		return err
	}
	up := &upload{repo: repo}
	content := newBlob(layer.MediaType, layer.Data)
	if err := up.blob(ctx, content); err != nil {
		return c.orasError(ctx, op, ref, err)
	}
	var config blob // of the latest merge
	merge := func(old []byte) (next blob, err error) {
		next, config, err = addToSidecar(old, layerJSON{content.desc, layer.Annotations})
		return next, err
	}
	return c.mergeTag(ctx, op, ref, tagChange{merge: merge, prepare: func(blob) error {
		if err := up.blob(ctx, config); err != nil {
			return c.orasError(ctx, op, ref, err)
		}
		return nil
	}})
}

// Sidecar reads an artifact's sidecar; nil when there is none. One with more than maxLayers layers, or whose layers together
// have more than MaxAttachmentBytes, is an ErrTooLarge.
func (c *Client) Sidecar(ctx context.Context, a Artifact, suffix string, maxLayers int) ([]SidecarLayer, error) {
	const op = "sidecar"
	ref, err := sidecarReference(a, suffix)
	if err != nil {
		return nil, err
	}
	data, _, err := c.readManifest(ctx, op, ref)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := parseSidecar(data)
	if err != nil {
		return nil, withSubject(err, op, ref.String())
	}
	if len(m.Layers) > maxLayers {
		return nil, tooMany(op, ref.String(), "layers", maxLayers)
	}
	layers := make([]SidecarLayer, 0, len(m.Layers))
	left := int64(MaxAttachmentBytes)
	for _, l := range m.Layers {
		body, err := c.readBlob(ctx, op, ref, l.Digest, l.Size, left)
		if err != nil {
			return nil, err
		}
		left -= int64(len(body))
		layers = append(layers, SidecarLayer{MediaType: l.MediaType, Data: body, Annotations: l.Annotations})
	}
	return layers, nil
}

func sidecarReference(a Artifact, suffix string) (Reference, error) {
	ref := a.Reference.InRepository()
	ref.Tag = digestTag(a.Digest) + "." + suffix
	if err := validTag(ref.Tag); err != nil {
		return Reference{}, &Error{Op: "sidecar", Subject: a.Reference.String(), Kind: ErrInvalidReference, Detail: err.Error(), Next: "give another suffix", Err: err}
	}
	return ref, nil
}

func parseSidecar(data []byte) (sidecarJSON, error) {
	var m sidecarJSON
	if err := decodeStrictly(data, &m); err != nil {
		return m, invalidManifest("not a JSON manifest: %v", err)
	}
	if m.MediaType != mediaTypeOCIManifest && m.MediaType != mediaTypeDockerManifest {
		return m, invalidManifest("media type %s is not one of an image manifest", quote(m.MediaType))
	}
	for i, l := range m.Layers {
		if !l.Digest.Valid() || l.Size < 0 {
			return m, invalidManifest("layers[%d] has the digest %s and the size %d", i, quote(string(l.Digest)), l.Size)
		}
	}
	return m, nil
}

// addToSidecar gives the sidecar's image manifest and configuration with a layer more; blobs without data when it is there.
func addToSidecar(old []byte, layer layerJSON) (image, config blob, err error) {
	m := sidecarJSON{SchemaVersion: 2, MediaType: mediaTypeOCIManifest}
	if old != nil {
		if m, err = parseSidecar(old); err != nil {
			return blob{}, blob{}, err
		}
	}
	for _, l := range m.Layers {
		if l.Digest == layer.Digest && maps.Equal(l.Annotations, layer.Annotations) {
			return blob{}, blob{}, nil
		}
	}
	if len(m.Layers) >= MaxLayers {
		return blob{}, blob{}, tooMany("", "", "layers", MaxLayers)
	}
	m.Layers = append(m.Layers, layer)
	// The layers are not compressed, so each is its own diff.
	conf := sidecarConfigJSON{RootFS: rootFSJSON{Type: "layers"}}
	for _, l := range m.Layers {
		conf.RootFS.DiffIDs = append(conf.RootFS.DiffIDs, l.Digest)
	}
	data, err := encodeJSON(conf)
	if err != nil {
		return blob{}, blob{}, fmt.Errorf("write a configuration: %w", err)
	}
	configType := mediaTypeImageConfig
	if m.MediaType == mediaTypeDockerManifest {
		configType = mediaTypeDockerConfig
	}
	config = newBlob(configType, data)
	m.Config = config.desc
	if data, err = encodeJSON(m); err != nil {
		return blob{}, blob{}, fmt.Errorf("write an image manifest: %w", err)
	}
	return newBlob(m.MediaType, data), config, nil
}
