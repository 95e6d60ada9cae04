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

// pushPlan is everything that a push uploads. It depends on the module alone: not on the time, the machine or the registry.
type pushPlan struct {
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

// moduleConfigJSON is the configuration layer of LayoutOCI, as wasme writes it.
type moduleConfigJSON struct {
	Type        string   `json:"type"`
	ABIVersions []string `json:"abiVersions"`
	Config      struct {
		RootIDs []string `json:"rootIds"`
	} `json:"config"`
}

// layerJSON is a layer with the file name that `oras pull` gives it.
type layerJSON struct {
	Descriptor
	Annotations map[string]string `json:"annotations,omitempty"`
}

// imageManifestJSON is an image manifest of LayoutOCI.
type imageManifestJSON struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        Descriptor        `json:"config"`
	Layers        []layerJSON       `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// plan lays out a module in LayoutOCI.
func plan(m Module, module Descriptor) (pushPlan, error) {
	conf := moduleConfigJSON{Type: "envoy_proxy", ABIVersions: append([]string{}, m.ABIVersions...)}
	conf.Config.RootIDs = append([]string{}, m.RootIDs...)
	confData, err := encodeJSON(conf)
	if err != nil {
		return pushPlan{}, err
	}
	config := newBlob(mediaTypeModuleConfig, confData)
	empty := newBlob(mediaTypeEmpty, []byte("{}"))
	p := pushPlan{
		blobs:       []blob{empty, config, {desc: module, content: m.Content}},
		annotations: map[string]string{},
	}
	maps.Copy(p.annotations, m.Annotations)
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
		p.blobs = append(p.blobs, attachment)
	}
	image, err := encodeJSON(imageManifestJSON{
		SchemaVersion: 2, MediaType: mediaTypeOCIManifest, ArtifactType: mediaTypeModuleConfig, Config: empty.desc,
		Layers: []layerJSON{
			{config.desc, map[string]string{annotationTitle: fileModuleConfig}},
			{module, map[string]string{annotationTitle: fileModule}},
		},
		Annotations: p.annotations,
	})
	if err != nil {
		return pushPlan{}, err
	}
	p.image = newBlob(mediaTypeOCIManifest, image)
	if m.Manifest == nil {
		return p, nil
	}
	referrer, err := encodeJSON(referrerJSON{
		SchemaVersion: 2, MediaType: mediaTypeOCIManifest, ArtifactType: ManifestArtifactType, Config: empty.desc,
		Layers: []Descriptor{attachment.desc}, Subject: p.image.desc,
	})
	if err != nil {
		return pushPlan{}, err
	}
	p.referrer = newBlob(mediaTypeOCIManifest, referrer)
	return p, nil
}

func newBlob(mediaType string, data []byte) blob {
	return blob{desc: Descriptor{MediaType: mediaType, Digest: DigestOf(data), Size: int64(len(data))}, data: data}
}
