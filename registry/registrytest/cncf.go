package registrytest

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"github.com/waft-project/waft/registry"
)

// ReadAsCNCF reads an image by the rules of the CNCF's note on Wasm artifacts
// (https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/) and of its readers, by oras-go and not by package
// registry. It gives the module, and the image manifest's digest.
func ReadAsCNCF(ctx context.Context, e Endpoint, ref registry.Reference) (wasm []byte, manifest registry.Digest, err error) {
	repo, err := e.repository(ref)
	if err != nil {
		return nil, "", err
	}
	desc, err := repo.Resolve(ctx, ref.Tag)
	if err != nil {
		return nil, "", err
	}
	raw, err := content.FetchAll(ctx, repo, desc)
	if err != nil {
		return nil, "", err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, "", err
	}
	if m.MediaType != ocispec.MediaTypeImageManifest || m.Config.MediaType != "application/vnd.wasm.config.v0+json" {
		return nil, "", fmt.Errorf("a %s with the configuration %s", m.MediaType, m.Config.MediaType)
	}
	if len(m.Layers) != 1 || m.Layers[0].MediaType != "application/wasm" {
		return nil, "", fmt.Errorf("want one layer application/wasm, have %+v", m.Layers)
	}
	raw, err = content.FetchAll(ctx, repo, m.Config)
	if err != nil {
		return nil, "", err
	}
	var config struct {
		Created      *time.Time      `json:"created"` // the crate oci-wasm asks for it
		Architecture string          `json:"architecture"`
		OS           string          `json:"os"`
		LayerDigests []digest.Digest `json:"layerDigests"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, "", err
	}
	if config.Created == nil || config.Architecture != "wasm" || config.OS != "wasip1" || len(config.LayerDigests) != 1 || config.LayerDigests[0] != m.Layers[0].Digest {
		return nil, "", fmt.Errorf("configuration %s", raw)
	}
	wasm, err = content.FetchAll(ctx, repo, m.Layers[0])
	return wasm, registry.Digest(desc.Digest), err
}
