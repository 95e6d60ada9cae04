package signing

import (
	"context"

	"github.com/waft-project/waft/registry"
)

// AttestAny is Attest without its refusal, for tests that need one of the two forms of a signature alone.
func AttestAny(ctx context.Context, client *registry.Client, a registry.Artifact, s Signer, predicateType string, predicate []byte) (PublicKey, error) {
	key, bundle, err := attestation(ctx, a, s, predicateType, predicate)
	if err != nil {
		return PublicKey{}, err
	}
	_, err = client.Attach(ctx, a, bundle)
	return key, err
}
