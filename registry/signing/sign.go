package signing

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/waft-project/waft/registry"
)

// Sign signs an artifact, as Resolve or Push gave it, and keeps the signature beside it in both forms, so that every reader of
// cosign's signatures finds one that it knows. It gives the key that it was signed with.
//
// The bundle is written first; when the second form fails, the artifact is signed for those who read bundles, and signing
// again completes it.
func Sign(ctx context.Context, client *registry.Client, a registry.Artifact, s Signer) (PublicKey, error) {
	return SignWith(ctx, client, a, s, nil)
}

// SignWith is Sign, and attaches other things, such as what Attestation made, with the bundle, in one change of the list of referrers.
func SignWith(ctx context.Context, client *registry.Client, a registry.Artifact, s Signer, beside []registry.Attachment) (PublicKey, error) {
	key, bundle, err := attestation(ctx, a, s, PredicateSignature, []byte("{}"))
	if err != nil {
		return PublicKey{}, err
	}
	if _, err := client.AttachAll(ctx, a, append(slices.Clone(beside), bundle)); err != nil {
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
	key, bundle, err := Attestation(ctx, a, s, predicateType, predicate)
	if err != nil {
		return PublicKey{}, err
	}
	_, err = client.Attach(ctx, a, bundle)
	return key, err
}

// Attestation is what Attest attaches, for whoever attaches several things at once.
func Attestation(ctx context.Context, a registry.Artifact, s Signer, predicateType string, predicate []byte) (PublicKey, registry.Attachment, error) {
	if predicateType == PredicateSignature {
		return PublicKey{}, registry.Attachment{}, &registry.Error{Op: "attest", Subject: a.Reference.String(), Kind: ErrInvalidPayload,
			Detail: predicateType + " is the type of a signature, and not of a statement", Next: "sign it with `waft sign`, or give the type of what is stated"}
	}
	return attestation(ctx, a, s, predicateType, predicate)
}

// attestation is Attestation for every type.
func attestation(ctx context.Context, a registry.Artifact, s Signer, predicateType string, predicate []byte) (PublicKey, registry.Attachment, error) {
	key, err := PublicKeyOf(ctx, s)
	if err != nil {
		return PublicKey{}, registry.Attachment{}, err
	}
	statement, err := encodeStatement(a, predicateType, predicate)
	if err != nil {
		return PublicKey{}, registry.Attachment{}, err
	}
	sig, err := sign(ctx, s, key, pae(statement))
	if err != nil {
		return PublicKey{}, registry.Attachment{}, err
	}
	bundle, err := encodeBundle(statement, sig, key)
	if err != nil {
		return PublicKey{}, registry.Attachment{}, fmt.Errorf("sign %s: %w", a.Reference, err)
	}
	return key, bundleAttachment(bundle, predicateType), nil
}
