package registrytest

import (
	"bytes"
	"context"
	"encoding/json"
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

// AttachIndex pushes an index as a referrer of an artifact, which the specification allows and nobody in this field does.
func AttachIndex(t testing.TB, e Endpoint, a registry.Artifact) registry.Digest {
	t.Helper()
	index := ocispec.Index{
		MediaType: ocispec.MediaTypeImageIndex, ArtifactType: "application/vnd.example.index", Manifests: []ocispec.Descriptor{},
		Subject: &ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.Digest(a.Digest), Size: int64(len(a.ImageManifest))},
	}
	index.SchemaVersion = 2
	data, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: index.MediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if err := orasRepository(t, e, a.Reference).Manifests().Push(context.Background(), d, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	return registry.Digest(d.Digest)
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
