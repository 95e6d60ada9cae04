package signing

import (
	"context"
	"encoding/base64"
	"fmt"

	"github.com/waft-project/waft/registry"
)

// Sign signs an artifact, as Resolve or Push gave it, and keeps the signature beside it in both forms, so that every reader of
// cosign's signatures finds one that it knows. It gives the key that it was signed with.
//
// The bundle is written first; when the second form fails, the artifact is signed for those who read bundles, and signing
// again completes it.
func Sign(ctx context.Context, client *registry.Client, a registry.Artifact, s Signer) (PublicKey, error) {
	key, err := attest(ctx, client, a, s, PredicateSignature, []byte("{}"))
	if err != nil {
		return PublicKey{}, err
	}
	payload, err := encodePayload(a)
	if err != nil {
		return PublicKey{}, fmt.Errorf("sign %s: %w", a.Reference, err)
	}
	sig, err := sign(ctx, s, key, payload)
	if err != nil {
		return PublicKey{}, err
	}
	return key, client.AppendSidecar(ctx, a, signatureSuffix, registry.SidecarLayer{
		MediaType: simpleSigningMediaType, Data: payload,
		Annotations: map[string]string{annotationSignature: base64.StdEncoding.EncodeToString(sig)},
	})
}

// Attest signs a statement about an artifact and keeps it beside it as a bundle: a predicate, which is one JSON object, of a
// type, which is a URI. https://github.com/in-toto/attestation/tree/v1.1.0/spec/predicates lists some. The type of a plain signature
// is an ErrInvalidPayload: whoever asks for a statement must not be given a signature, which lets the artifact be used.
func Attest(ctx context.Context, client *registry.Client, a registry.Artifact, s Signer, predicateType string, predicate []byte) (PublicKey, error) {
	if predicateType == PredicateSignature {
		return PublicKey{}, &registry.Error{Op: "attest", Subject: a.Reference.String(), Kind: ErrInvalidPayload,
			Detail: predicateType + " is the type of a signature, and not of a statement", Next: "sign it with `waft sign`, or give the type of what is stated"}
	}
	return attest(ctx, client, a, s, predicateType, predicate)
}

// attest is Attest for every type.
func attest(ctx context.Context, client *registry.Client, a registry.Artifact, s Signer, predicateType string, predicate []byte) (PublicKey, error) {
	key, err := PublicKeyOf(ctx, s)
	if err != nil {
		return PublicKey{}, err
	}
	statement, err := encodeStatement(a, predicateType, predicate)
	if err != nil {
		return PublicKey{}, err
	}
	sig, err := sign(ctx, s, key, pae(statement))
	if err != nil {
		return PublicKey{}, err
	}
	bundle, err := encodeBundle(statement, sig, key)
	if err != nil {
		return PublicKey{}, fmt.Errorf("sign %s: %w", a.Reference, err)
	}
	return key, attachBundle(ctx, client, a, bundle, predicateType)
}
