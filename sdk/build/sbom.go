package build

import (
	"bytes"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/waft-project/waft/sdk/manifest"
)

const (
	// SBOMSuffix ends the name of a module's list of Go modules: NAME.cdx.json, beside NAME.wasm.
	SBOMSuffix = ".cdx.json"
	// SBOMMediaType is what it is: CycloneDX 1.6, as JSON.
	SBOMMediaType = "application/vnd.cyclonedx+json"
)

// sbom lists the Go modules that a filter is made of, in CycloneDX. It has neither a serial number nor a time, so the same
// build gives the same bytes. https://cyclonedx.org/docs/1.6/json/
func sbom(m manifest.Manifest, modules []goModule) ([]byte, error) {
	refs := map[string]string{}
	for _, module := range modules {
		refs[module.path] = module.purl()
	}
	const filterRef = "filter"
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Component: &cdx.Component{
		BOMRef: filterRef, Type: cdx.ComponentTypeApplication, Name: m.Name, Version: m.Version,
		Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: m.SHA256}},
	}}
	components := make([]cdx.Component, 0, len(modules))
	dependencies := make([]cdx.Dependency, 0, len(modules)+1)
	for _, module := range modules {
		components = append(components, cdx.Component{
			BOMRef: module.purl(), Type: cdx.ComponentTypeLibrary, Name: module.path, Version: module.version, PackageURL: module.purl(),
		})
		on := make([]string, 0, len(module.requires))
		for _, path := range module.requires {
			on = append(on, refs[path])
		}
		dependencies = append(dependencies, cdx.Dependency{Ref: module.purl(), Dependencies: &on})
		if module.main {
			dependencies = append(dependencies, cdx.Dependency{Ref: filterRef, Dependencies: &[]string{module.purl()}})
		}
	}
	bom.Components, bom.Dependencies = &components, &dependencies
	var text bytes.Buffer
	if err := cdx.NewBOMEncoder(&text, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bom, cdx.SpecVersion1_6); err != nil {
		return nil, err
	}
	return text.Bytes(), nil
}
