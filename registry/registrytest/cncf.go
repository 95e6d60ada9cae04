package registrytest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"github.com/waft-project/waft/registry"
)

// readAsCNCF reads an image by the rules of the CNCF's note on Wasm artifacts
// (https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/) and of its readers, by oras-go and not by package
// registry.
func readAsCNCF(t testing.TB, e Endpoint, ref registry.Reference) ([]byte, error) {
	t.Helper()
	repo := orasRepository(t, e, ref)
	desc, err := repo.Resolve(t.Context(), ref.Tag)
	if err != nil {
		return nil, err
	}
	raw, err := content.FetchAll(t.Context(), repo, desc)
	if err != nil {
		return nil, err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, err
	}
	if m.MediaType != ocispec.MediaTypeImageManifest || m.Config.MediaType != "application/vnd.wasm.config.v0+json" {
		return nil, fmt.Errorf("a %s with the configuration %s", m.MediaType, m.Config.MediaType)
	}
	if len(m.Layers) != 1 || m.Layers[0].MediaType != "application/wasm" {
		return nil, fmt.Errorf("want one layer application/wasm, have %+v", m.Layers)
	}
	raw, err = content.FetchAll(t.Context(), repo, m.Config)
	if err != nil {
		return nil, err
	}
	var config struct {
		Created      *time.Time      `json:"created"` // the crate oci-wasm asks for it
		Architecture string          `json:"architecture"`
		OS           string          `json:"os"`
		LayerDigests []digest.Digest `json:"layerDigests"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, err
	}
	if config.Created == nil || config.Architecture != "wasm" || config.OS != "wasip1" || len(config.LayerDigests) != 1 || config.LayerDigests[0] != m.Layers[0].Digest {
		return nil, fmt.Errorf("configuration %s", raw)
	}
	return content.FetchAll(t.Context(), repo, m.Layers[0])
}
