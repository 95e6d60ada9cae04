package signing

import (
	"bytes"
	"context"
	"crypto"
	"fmt"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"

	"github.com/waft-project/waft/registry"
)

// Signer signs with one private key, wherever that is: in memory, in a KMS, in a hardware token. Anyone may implement it.
// Implementations may be called concurrently.
type Signer interface {
	// PublicKey is the key's public half; see NewPublicKey for which are taken.
	PublicKey(ctx context.Context) (crypto.PublicKey, error)
	// Sign signs the message, which is not hashed yet: by ECDSA with SHA-256 in ASN.1, by Ed25519 (pure), or by RSA with
	// PKCS #1 v1.5 and SHA-256.
	Sign(ctx context.Context, message []byte) ([]byte, error)
}

// FromSigstore makes a Signer of one of Sigstore's, which there are for the KMS of the large clouds and for Vault
// (github.com/sigstore/sigstore/pkg/signature/kms/…).
func FromSigstore(s signature.Signer) Signer { return sigstoreSigner{s} }

type sigstoreSigner struct{ signature.Signer }

func (s sigstoreSigner) PublicKey(ctx context.Context) (crypto.PublicKey, error) {
	return s.Signer.PublicKey(options.WithContext(ctx))
}

func (s sigstoreSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	return s.SignMessage(bytes.NewReader(message), options.WithContext(ctx))
}

// FromPrivateKey makes a Signer of a key of crypto/ecdsa, crypto/ed25519 or crypto/rsa. Errors are ErrInvalidKey.
func FromPrivateKey(key crypto.PrivateKey) (Signer, error) {
	holder, ok := key.(interface{ Public() crypto.PublicKey })
	if !ok {
		return nil, invalidKey("a private key", "give a key of ECDSA P-256, Ed25519 or RSA", "its type is %T", key)
	}
	if _, err := NewPublicKey(holder.Public()); err != nil {
		return nil, err
	}
	s, err := signature.LoadSigner(key, crypto.SHA256)
	if err != nil {
		return nil, invalidKey("a private key", "give a key of ECDSA P-256, Ed25519 or RSA", "%v", err)
	}
	return FromSigstore(s), nil
}

// PublicKeyOf is a signer's key, for verifying.
func PublicKeyOf(ctx context.Context, s Signer) (PublicKey, error) {
	key, err := s.PublicKey(ctx)
	if err != nil {
		return PublicKey{}, &registry.Error{Op: "sign", Subject: "the signer", Kind: ErrSigner, Detail: fmt.Sprintf("it gives no public key: %v", err), Next: "check the key and the right to it", Err: err}
	}
	return NewPublicKey(key)
}

// sign signs, and verifies what came back: what a faulty signer made must not be published.
func sign(ctx context.Context, s Signer, key PublicKey, message []byte) ([]byte, error) {
	sig, err := s.Sign(ctx, message)
	if err != nil {
		return nil, &registry.Error{Op: "sign", Subject: "key " + key.id.Short(), Kind: ErrSigner, Detail: err.Error(), Next: "check the key and the right to it", Err: err}
	}
	if len(sig) > MaxSignatureBytes || !key.verify(message, sig) {
		return nil, &registry.Error{Op: "sign", Subject: "key " + key.id.Short(), Kind: ErrSigner, Detail: "its signature does not verify with its public key", Next: "check which key and which algorithm the signer uses"}
	}
	return sig, nil
}
