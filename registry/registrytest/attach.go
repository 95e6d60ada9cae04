package registrytest

import (
	"context"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waft-project/waft/registry"
)

// Attach pushes something as a referrer of an artifact, by oras-go and not by the code that is under test.
func Attach(t testing.TB, e Endpoint, a registry.Artifact, artifactType string, data []byte) {
	t.Helper()
	attach(t, e, a, artifactType, data, "")
}

// Tag pushes an image with one layer under a tag, as cosign keeps its signatures.
func Tag(t testing.TB, e Endpoint, ref registry.Reference, layerType string, data []byte) registry.Digest {
	t.Helper()
	return put(t, e, ref, image{configType: ociConfig, layers: []layer{{layerType, data}}})
}

// Layer is a layer of an image.
type Layer struct {
	MediaType string
	Data      []byte
}

// Put writes an OCI image under a tag as it is, by oras-go and not by the code that is under test.
func Put(t testing.TB, e Endpoint, ref registry.Reference, configType string, config []byte, layers ...Layer) registry.Digest {
	t.Helper()
	img := image{configType: configType, config: config}
	for _, l := range layers {
		img.layers = append(img.layers, layer{l.MediaType, l.Data})
	}
	return put(t, e, ref, img)
}

// Referrers lists what is attached to an artifact, by the artifact type.
func Referrers(t testing.TB, e Endpoint, a registry.Artifact) map[string]registry.Digest {
	t.Helper()
	repo := orasRepository(t, e, a.Reference)
	subject := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.Digest(a.Digest), Size: int64(len(a.ImageManifest))}
	found := map[string]registry.Digest{}
	err := repo.Referrers(context.Background(), subject, "", func(page []ocispec.Descriptor) error {
		for _, d := range page {
			found[d.ArtifactType] = registry.Digest(d.Digest)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
