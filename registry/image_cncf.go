package registry

// wasmConfigJSON is the configuration of LayoutCNCF. Readers in Rust (the crate oci-wasm) refuse one without created, so it
// is there, and always the same.
type wasmConfigJSON struct {
	Created      string   `json:"created"`
	Architecture string   `json:"architecture"`
	OS           string   `json:"os"`
	LayerDigests []Digest `json:"layerDigests"`
}

// shapeCNCF lays out a module in LayoutCNCF.
func shapeCNCF(m Module, module Descriptor) (shape, error) {
	data, err := encodeJSON(wasmConfigJSON{
		Created: "1970-01-01T00:00:00Z", Architecture: architectureWasm, OS: osWasm, LayerDigests: []Digest{module.Digest},
	})
	if err != nil {
		return shape{}, err
	}
	config := newBlob(mediaTypeCNCFConfig, data)
	module.MediaType = mediaTypeCNCFContent
	return shape{
		artifactType: mediaTypeCNCFContent, config: config, layer: module, layers: []layerJSON{{Descriptor: module}},
		blobs: []blob{config, {desc: module, content: m.Content}},
	}, nil
}
