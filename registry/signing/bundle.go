package signing

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	bundlepb "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/waft-project/waft/registry/internal/strictjson"
)

const (
	// bundleMediaType is that of the bundles that are written, and the artifact type of their referrers.
	bundleMediaType = "application/vnd.dev.sigstore.bundle.v0.3+json"
	// bundlePrefix begins the media types of all bundles, older ones included.
	bundlePrefix = "application/vnd.dev.sigstore.bundle"
	// What cosign finds bundles by.
	annotationBundleContent   = "dev.sigstore.bundle.content"
	annotationBundlePredicate = "dev.sigstore.bundle.predicateType"
	bundleContentDSSE         = "dsse-envelope"
)

// bundleJSON is the part of a Sigstore bundle that is written: a DSSE envelope, and a hint at the key. It is written by
// encoding/json, since protojson varies its white space on purpose; it is read as protobuf.
// https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto
type bundleJSON struct {
	MediaType            string `json:"mediaType"`
	VerificationMaterial struct {
		PublicKey struct {
			Hint string `json:"hint"`
		} `json:"publicKey"`
	} `json:"verificationMaterial"`
	DSSEEnvelope dsse.Envelope `json:"dsseEnvelope"`
}

// encodeBundle puts a signed statement into a bundle.
func encodeBundle(statement, sig []byte, key PublicKey) ([]byte, error) {
	b := bundleJSON{MediaType: bundleMediaType}
	b.VerificationMaterial.PublicKey.Hint = string(key.id)
	b.DSSEEnvelope = dsse.Envelope{
		PayloadType: payloadType, Payload: base64.StdEncoding.EncodeToString(statement),
		Signatures: []dsse.Signature{{Sig: base64.StdEncoding.EncodeToString(sig)}},
	}
	return json.Marshal(b)
}

// pae is what is signed of a statement: https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md
func pae(statement []byte) []byte { return dsse.PAE(payloadType, statement) }

// parseBundle takes a bundle apart. Nothing of what it gives is to be trusted.
func parseBundle(data []byte) (Evidence, error) {
	if err := strictjson.Check(data); err != nil {
		return Evidence{}, invalidBundle("not a Sigstore bundle: %v", err)
	}
	var b bundlepb.Bundle
	// Members that are not known are of later versions; those that count here have been the same in all.
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true, RecursionLimit: strictjson.MaxDepth}).Unmarshal(data, &b); err != nil {
		return Evidence{}, invalidBundle("not a Sigstore bundle: %v", err)
	}
	if !strings.HasPrefix(b.GetMediaType(), bundlePrefix) {
		return Evidence{}, invalidBundle("its media type is %s", cut(b.GetMediaType()))
	}
	envelope := b.GetDsseEnvelope()
	if envelope == nil {
		return Evidence{}, invalidBundle("it holds no DSSE envelope")
	}
	if envelope.GetPayloadType() != payloadType {
		return Evidence{}, invalidBundle("its payload is a %s, want %s", cut(envelope.GetPayloadType()), payloadType)
	}
	if n := len(envelope.GetSignatures()); n != 1 {
		return Evidence{}, invalidBundle("it has %d signatures, want 1", n)
	}
	sig := envelope.GetSignatures()[0].GetSig()
	if len(sig) == 0 || len(sig) > MaxSignatureBytes {
		return Evidence{}, invalidBundle("its signature has %d bytes", len(sig))
	}
	e := Evidence{
		Form: FormBundle, payload: envelope.GetPayload(), signature: sig, message: pae(envelope.GetPayload()),
		certificate: b.GetVerificationMaterial().GetPublicKey() == nil, hint: b.GetVerificationMaterial().GetPublicKey().GetHint(),
	}
	if e.certificate {
		e.bundle = data
	}
	return e, nil
}
