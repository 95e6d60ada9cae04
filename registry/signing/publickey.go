package signing

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/waft-project/waft/registry"
)

// KeyID names a public key: the sha256 of its PKIX form (DER), as `openssl pkey -pubin -outform DER | sha256sum` has it.
type KeyID = registry.Digest

// PublicKey verifies what one key signed: ECDSA on P-256 with SHA-256, Ed25519, or RSA of at least 2048 bits with SHA-256 and
// PKCS #1 v1.5, which are those that cosign makes. It is immutable, and may be used concurrently. The zero value verifies
// nothing.
type PublicKey struct {
	id       KeyID
	key      crypto.PublicKey
	verifier signature.Verifier
}

// NewPublicKey takes a key of crypto/ecdsa, crypto/ed25519 or crypto/rsa. Errors are ErrInvalidKey.
func NewPublicKey(key crypto.PublicKey) (PublicKey, error) {
	const next = "use a key of ECDSA P-256, Ed25519, or RSA of 2048, 3072 or 4096 bits"
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return PublicKey{}, invalidKey("an ECDSA key", next, "its curve is %s", k.Params().Name)
		}
	case ed25519.PublicKey:
	case *rsa.PublicKey:
		if k.N == nil || k.N.BitLen() < minRSABits {
			return PublicKey{}, invalidKey("an RSA key", next, "it has fewer than %d bits", minRSABits)
		}
	default:
		return PublicKey{}, invalidKey("a key", next, "its type is %T", key)
	}
	verifier, err := signature.LoadVerifier(key, crypto.SHA256)
	if err != nil {
		return PublicKey{}, invalidKey("a key", next, "%v", err)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return PublicKey{}, invalidKey("a key", next, "%v", err)
	}
	return PublicKey{id: registry.DigestOf(der), key: key, verifier: verifier}, nil
}

// ParsePublicKey reads a PEM public key, as `cosign generate-key-pair` and openssl write it. Errors are ErrInvalidKey.
func ParsePublicKey(text []byte) (PublicKey, error) {
	const next = "give a PEM file with one PUBLIC KEY, such as cosign.pub"
	if len(text) > MaxKeyBytes {
		return PublicKey{}, invalidKey("a public key", next, "%d bytes, over the limit of %d", len(text), MaxKeyBytes)
	}
	block, rest := pem.Decode(text)
	if block == nil {
		return PublicKey{}, invalidKey("a public key", next, "it is not PEM")
	}
	if more, _ := pem.Decode(rest); more != nil {
		return PublicKey{}, invalidKey("a public key", next, "there is a second one behind it")
	}
	key, err := cryptoutils.UnmarshalPEMToPublicKey(text)
	if err != nil {
		return PublicKey{}, invalidKey("a public key", next, "%v", err)
	}
	return NewPublicKey(key)
}

// ID names the key.
func (k PublicKey) ID() KeyID { return k.id }

// PEM is the key as ParsePublicKey reads it.
func (k PublicKey) PEM() ([]byte, error) { return cryptoutils.MarshalPublicKeyToPEM(k.key) }

// verify says whether the key signed the message.
func (k PublicKey) verify(message, sig []byte) bool {
	return k.verifier != nil && k.verifier.VerifySignature(bytes.NewReader(sig), bytes.NewReader(message)) == nil
}
