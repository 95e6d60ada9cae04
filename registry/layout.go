package registry

import (
	"fmt"
	"slices"
	"strings"
)

// Layout is the shape of an artifact: which media types stand where. Istio and Envoy Gateway read LayoutOCI
// and LayoutCompat, generic Wasm tools read LayoutCNCF.
type Layout string

// The layouts. Push writes the first three; all of them are read.
const (
	// LayoutOCI has two layers, configuration and raw module:
	// https://github.com/solo-io/wasm/blob/master/spec/spec.md
	LayoutOCI Layout = "oci"
	// LayoutCompat is an image whose last layer is a gzipped tar with a plugin.wasm:
	// https://github.com/solo-io/wasm/blob/master/spec/spec-compat.md
	LayoutCompat Layout = "compat"
	// LayoutCNCF has one raw layer: https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/
	LayoutCNCF Layout = "cncf"
	// LayoutWasmToOCI is what the old tool wasm-to-oci wrote: one raw layer under other names.
	LayoutWasmToOCI Layout = "wasm-to-oci"
)

// Media types of the layouts.
const (
	mediaTypeOCIManifest    = "application/vnd.oci.image.manifest.v1+json"
	mediaTypeOCIIndex       = "application/vnd.oci.image.index.v1+json"
	mediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	mediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	mediaTypeEmpty          = "application/vnd.oci.empty.v1+json"

	mediaTypeModuleConfig  = "application/vnd.module.wasm.config.v1+json"
	mediaTypeModuleContent = "application/vnd.module.wasm.content.layer.v1+wasm"

	mediaTypeImageConfig   = "application/vnd.oci.image.config.v1+json"
	mediaTypeOCITarGzip    = "application/vnd.oci.image.layer.v1.tar+gzip"
	mediaTypeDockerTarGzip = "application/vnd.docker.image.rootfs.diff.tar.gzip"
	mediaTypeDockerConfig  = "application/vnd.docker.container.image.v1+json"

	mediaTypeCNCFConfig  = "application/vnd.wasm.config.v0+json"
	mediaTypeCNCFContent = "application/wasm"

	mediaTypeOldConfig  = "application/vnd.wasm.config.v1+json"
	mediaTypeOldContent = "application/vnd.wasm.content.layer.v1+wasm"
)

// Names of files inside layouts. wasme and `oras pull` write the first two; readers of LayoutCompat look for the third.
const (
	fileModuleConfig = "runtime-config.json"
	fileModule       = "filter.wasm"
	filePlugin       = "plugin.wasm"
)

// Annotations of the image manifests that Push writes.
const (
	annotationTitle   = "org.opencontainers.image.title"
	annotationVersion = "org.opencontainers.image.version"
	// AnnotationManifest holds the digest of the waft manifest that belongs to the artifact, so that whoever pins the
	// artifact's digest has pinned the manifest, too: a referrer that is added later does not replace it.
	AnnotationManifest = "dev.waft.manifest"
)

// ManifestArtifactType is the artifact type of the referrer that carries a waft manifest, and the media type of its JSON.
const ManifestArtifactType = "application/vnd.waft.manifest.v1+json"

// WrittenLayouts are those that Push writes.
func WrittenLayouts() []Layout { return []Layout{LayoutOCI, LayoutCompat, LayoutCNCF} }

// ParseLayout reads the name of a layout that Push writes.
func ParseLayout(s string) (Layout, error) {
	if l := Layout(s); slices.Contains(WrittenLayouts(), l) {
		return l, nil
	}
	return "", notWritten(Layout(s))
}

func notWritten(l Layout) error {
	var names []string
	for _, w := range WrittenLayouts() {
		names = append(names, string(w))
	}
	return &Error{Op: "layout", Subject: quote(string(l)), Kind: ErrUnsupportedLayout, Detail: "it is not one that is written",
		Next: fmt.Sprintf("use %s", strings.Join(names, ", "))}
}
