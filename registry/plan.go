package registry

import (
	"bytes"
	"io"
	"maps"
)

// blob is something to upload: from memory, or from the module's reader.
type blob struct {
	desc    Descriptor
	data    []byte
	content io.ReaderAt
}

func (b blob) open() io.Reader {
	if b.content != nil {
		return io.NewSectionReader(b.content, 0, b.desc.Size)
	}
	return bytes.NewReader(b.data)
}

// pushPlan is everything that a push of one layout uploads. It depends on the module alone: not on the time, the machine or
// the registry.
type pushPlan struct {
	layout      Layout
	layer       Descriptor // holds the module
	blobs       []blob
	image       blob
	referrer    blob // without data when there is none
	annotations map[string]string
}

func (p pushPlan) blobBytes() int64 {
	var n int64
	for _, b := range p.blobs {
		n += b.desc.Size
	}
	return n
}

// layerJSON is a layer with the file name that `oras pull` gives it.
type layerJSON struct {
	Descriptor
	Annotations map[string]string `json:"annotations,omitempty"`
}

// imageManifestJSON is an image manifest that is written.
type imageManifestJSON struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        Descriptor        `json:"config"`
	Layers        []layerJSON       `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// shape is how one layout lays out a module: what the image manifest says, and the blobs that it names.
type shape struct {
	artifactType string
	config       blob
	layers       []layerJSON
	layer        Descriptor // the one of layers that holds the module
	blobs        []blob     // config among them
	annotations  map[string]string
}

// plan lays out a module in the layout that it asks for. module describes its bytes, and has the media type of LayoutOCI.
func plan(m Module, module Descriptor) (pushPlan, error) {
	var s shape
	var err error
	switch m.layout() {
	case LayoutOCI:
		s, err = shapeOCI(m, module)
	case LayoutCompat:
		s, err = shapeCompat(m, module)
	case LayoutCNCF:
		s, err = shapeCNCF(m, module)
	default:
		err = notWritten(m.Layout)
	}
	if err != nil {
		return pushPlan{}, err
	}
	p := pushPlan{layout: m.layout(), layer: s.layer, blobs: s.blobs, annotations: map[string]string{}}
	maps.Copy(p.annotations, m.Annotations)
	maps.Copy(p.annotations, s.annotations)
	if m.Name != "" {
		p.annotations[annotationTitle] = m.Name
	}
	if m.Version != "" {
		p.annotations[annotationVersion] = m.Version
	}
	var attachment blob
	if m.Manifest != nil {
		attachment = newBlob(ManifestArtifactType, m.Manifest)
		p.annotations[AnnotationManifest] = string(attachment.desc.Digest)
	}
	image, err := encodeJSON(imageManifestJSON{
		SchemaVersion: 2, MediaType: mediaTypeOCIManifest, ArtifactType: s.artifactType, Config: s.config.desc,
		Layers: s.layers, Annotations: p.annotations,
	})
	if err != nil {
		return pushPlan{}, err
	}
	p.image = newBlob(mediaTypeOCIManifest, image)
	if m.Manifest == nil {
		return p, nil
	}
	blobs, referrer, err := planReferrer(p.image.desc, Attachment{ArtifactType: ManifestArtifactType, Data: m.Manifest})
	if err != nil {
		return pushPlan{}, err
	}
	p.blobs = appendBlobs(p.blobs, blobs...)
	p.referrer = referrer
	return p, nil
}

// appendBlobs adds the blobs that are not there yet.
func appendBlobs(blobs []blob, more ...blob) []blob {
next:
	for _, b := range more {
		for _, have := range blobs {
			if have.desc.Digest == b.desc.Digest {
				continue next
			}
		}
		blobs = append(blobs, b)
	}
	return blobs
}

func newBlob(mediaType string, data []byte) blob {
	return blob{desc: Descriptor{MediaType: mediaType, Digest: DigestOf(data), Size: int64(len(data))}, data: data}
}

// emptyBlob stands where a manifest must name a configuration and has none.
// https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md#guidance-for-an-empty-descriptor
func emptyBlob() blob { return newBlob(mediaTypeEmpty, []byte("{}")) }
