package registry

// moduleConfigJSON is the configuration layer of LayoutOCI, as wasme writes it.
type moduleConfigJSON struct {
	Type        string   `json:"type"`
	ABIVersions []string `json:"abiVersions"`
	Config      struct {
		RootIDs []string `json:"rootIds"`
	} `json:"config"`
}

// shapeOCI lays out a module in LayoutOCI.
func shapeOCI(m Module, module Descriptor) (shape, error) {
	conf := moduleConfigJSON{Type: "envoy_proxy", ABIVersions: append([]string{}, m.ABIVersions...)}
	conf.Config.RootIDs = append([]string{}, m.RootIDs...)
	data, err := encodeJSON(conf)
	if err != nil {
		return shape{}, err
	}
	config, empty := newBlob(mediaTypeModuleConfig, data), emptyBlob()
	return shape{
		artifactType: mediaTypeModuleConfig, config: empty, layer: module,
		layers: []layerJSON{
			{config.desc, map[string]string{annotationTitle: fileModuleConfig}},
			{module, map[string]string{annotationTitle: fileModule}},
		},
		blobs: []blob{empty, config, {desc: module, content: m.Content}},
	}, nil
}
