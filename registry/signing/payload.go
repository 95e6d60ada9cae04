package signing

import (
	"encoding/json"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/internal/strictjson"
)

// simpleSigning is the payload of cosign's signature images.
// https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md#payload
type simpleSigning struct {
	Critical struct {
		Identity struct {
			DockerReference string `json:"docker-reference"`
		} `json:"identity"`
		Image struct {
			DockerManifestDigest registry.Digest `json:"docker-manifest-digest"`
		} `json:"image"`
		Type string `json:"type"`
	} `json:"critical"`
	Optional map[string]any `json:"optional"`
}

const (
	simpleSigningType      = "cosign container image signature"
	simpleSigningMediaType = "application/vnd.dev.cosign.simplesigning.v1+json"
	// annotationSignature holds the base64 of the signature over the layer's bytes.
	annotationSignature = "dev.cosignproject.cosign/signature"
	// signatureSuffix is that of the sidecar's tag.
	signatureSuffix = "sig"
)

// encodePayload is what is signed for an artifact in the tag form.
func encodePayload(a registry.Artifact) ([]byte, error) {
	var p simpleSigning
	p.Critical.Identity.DockerReference = a.Reference.InRepository().String()
	p.Critical.Image.DockerManifestDigest = a.Digest
	p.Critical.Type = simpleSigningType
	return json.Marshal(p)
}

// parsePayload reads a payload whose signature was verified.
func parsePayload(data []byte) (simpleSigning, error) {
	var p simpleSigning
	if err := strictjson.Check(data); err != nil {
		return p, invalidPayload("not a JSON payload: %v", err)
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return p, invalidPayload("not a simple-signing payload: %v", err)
	}
	if p.Critical.Type != simpleSigningType {
		return p, invalidPayload("its type is %s, want %s", cut(p.Critical.Type), cut(simpleSigningType))
	}
	if !p.Critical.Image.DockerManifestDigest.Valid() {
		return p, invalidPayload("it signs %s, which is not a digest", cut(string(p.Critical.Image.DockerManifestDigest)))
	}
	return p, nil
}
