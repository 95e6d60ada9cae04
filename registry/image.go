package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/waft-project/waft/registry/internal/strictjson"
)

// image is what an image manifest says, as far as it matters here.
// https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md
type image struct {
	layout      Layout
	module      Descriptor // zero when packed
	layer       Descriptor
	config      Descriptor
	annotations map[string]string
}

// imageJSON is the part of an image manifest or an index that is read.
type imageJSON struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        *Descriptor       `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Manifests     []Descriptor      `json:"manifests"`
	Annotations   map[string]string `json:"annotations"`
}

// parseImage tells the layout of an image manifest. contentType is what the registry called it, or empty.
func parseImage(data []byte, contentType string) (image, error) {
	var m imageJSON
	if err := decodeStrictly(data, &m); err != nil {
		return image{}, invalidManifest("not a JSON manifest: %v", err)
	}
	mediaType := m.MediaType
	switch {
	case mediaType == "":
		mediaType = contentType
	case contentType != "" && contentType != mediaType:
		return image{}, invalidManifest("the registry calls it %s, and it calls itself %s", quote(contentType), quote(mediaType))
	}
	switch mediaType {
	case mediaTypeOCIManifest, mediaTypeDockerManifest:
	case mediaTypeOCIIndex, mediaTypeDockerList:
		return image{}, indexError(m.Manifests)
	default:
		return image{}, unsupported("media type %s is not one of an image manifest", quote(mediaType))
	}
	if m.SchemaVersion != 2 {
		return image{}, invalidManifest("schemaVersion %d, want 2", m.SchemaVersion)
	}
	if m.Manifests != nil {
		return image{}, invalidManifest("it is an image manifest and an index at once")
	}
	if m.Config == nil {
		return image{}, invalidManifest("it has no config")
	}
	if len(m.Layers) > MaxLayers {
		return image{}, invalidManifest("%d layers, over the limit of %d", len(m.Layers), MaxLayers)
	}
	for i, d := range append([]Descriptor{*m.Config}, m.Layers...) {
		where := "config"
		if i > 0 {
			where = fmt.Sprintf("layers[%d]", i-1)
		}
		if _, err := ParseDigest(string(d.Digest)); err != nil {
			return image{}, invalidManifest("%s: %v", where, err)
		}
		if d.Size < 0 {
			return image{}, invalidManifest("%s: size %d", where, d.Size)
		}
	}
	img := image{config: *m.Config, annotations: m.Annotations}
	if err := img.findModule(mediaType, m); err != nil {
		return image{}, err
	}
	if img.layer.Size == 0 {
		return image{}, invalidManifest("the layer that holds the module is empty")
	}
	return img, nil
}

// decodeStrictly reads JSON that has one reading only; see package strictjson.
func decodeStrictly(data []byte, into any) error {
	if err := strictjson.Check(data); err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// findModule applies the layouts' rules, the way their readers do.
func (img *image) findModule(mediaType string, m imageJSON) error {
	layers := m.Layers
	if len(layers) == 0 {
		return unsupported("it has no layers")
	}
	last := layers[len(layers)-1]
	packed := last.MediaType == mediaTypeOCITarGzip || last.MediaType == mediaTypeOCITarZstd || last.MediaType == mediaTypeDockerTarGzip
	if packed && slices.ContainsFunc(layers, func(l Descriptor) bool { return l.MediaType == mediaTypeModuleContent }) {
		// Istio goes on to the raw layer where it cannot unpack the last one, and so it would load another module.
		return unsupported("it holds a packed module and a raw one, and readers disagree which is meant: %s", layerTypes(layers))
	}
	switch {
	case (last.MediaType == mediaTypeOCITarGzip || last.MediaType == mediaTypeOCITarZstd) && mediaType == mediaTypeOCIManifest,
		last.MediaType == mediaTypeDockerTarGzip && mediaType == mediaTypeDockerManifest:
		img.layout, img.layer = LayoutCompat, last
		return nil
	case m.Config.MediaType == mediaTypeCNCFConfig:
		if len(layers) != 1 || layers[0].MediaType != mediaTypeCNCFContent {
			return unsupported("a CNCF artifact has exactly one layer %s, this one has %s", mediaTypeCNCFContent, layerTypes(layers))
		}
		img.layout, img.layer = LayoutCNCF, last
	case len(layers) == 1 && last.MediaType == mediaTypeOldContent:
		img.layout, img.layer = LayoutWasmToOCI, last
	default:
		var content []Descriptor
		for _, l := range layers {
			if l.MediaType == mediaTypeModuleContent {
				content = append(content, l)
			}
		}
		// Istio and Envoy Gateway refuse more than two layers, and so what they would not load is not taken here.
		if len(content) != 1 || len(layers) != 2 {
			return unsupported("its layers are %s; want %s and %s, or another layout that holds one module",
				layerTypes(layers), mediaTypeModuleConfig, mediaTypeModuleContent)
		}
		img.layout, img.layer = LayoutOCI, content[0]
	}
	img.module = img.layer
	return nil
}

func layerTypes(layers []Descriptor) string {
	const shown = 4
	var types []string
	for i, l := range layers {
		if i == shown {
			types = append(types, fmt.Sprintf("%d more", len(layers)-shown))
			break
		}
		types = append(types, quote(l.MediaType))
	}
	return strings.Join(types, ", ")
}

func indexError(manifests []Descriptor) error {
	const shown = 3
	var digests []string
	for i, m := range manifests {
		if i == shown {
			digests = append(digests, "…")
			break
		}
		digests = append(digests, clip(string(m.Digest)))
	}
	return &Error{Kind: ErrUnsupportedLayout, Detail: "it is an index of images, and none of them is meant more than another",
		Next: "name one of its images by digest: " + strings.Join(digests, ", ")}
}

func invalidManifest(format string, args ...any) error {
	return &Error{Kind: ErrInvalidManifest, Detail: fmt.Sprintf(format, args...), Next: "publish the artifact again"}
}

func unsupported(format string, args ...any) error {
	return &Error{Kind: ErrUnsupportedLayout, Detail: fmt.Sprintf(format, args...), Next: "check that the reference names a Wasm filter, and publish it with `waft push`"}
}

// withSubject completes an error of a pure function with what was being done, to what.
func withSubject(err error, op, subject string) error {
	var e *Error
	if errors.As(err, &e) && e.Op == "" {
		e.Op, e.Subject = op, subject
	}
	return err
}
