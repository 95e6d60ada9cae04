package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Digest is the sha256 of some bytes in OCI's form: "sha256:" and 64 lower-case hex digits. The zero value is no digest.
// OCI knows other algorithms; Envoy and Istio compare sha256, so this package takes nothing else.
type Digest string

const sha256Prefix = "sha256:"

// ParseDigest checks that s is a digest.
func ParseDigest(s string) (Digest, error) {
	hexPart, ok := strings.CutPrefix(s, sha256Prefix)
	if !ok {
		if algorithm, _, found := strings.Cut(s, ":"); found {
			return "", fmt.Errorf("digest %s: algorithm %s is not supported, want sha256", quote(s), quote(algorithm))
		}
		return "", fmt.Errorf("digest %s: want sha256:HEX", quote(s))
	}
	if len(hexPart) != 2*sha256.Size {
		return "", fmt.Errorf("digest %s: want %d hex digits after sha256:, have %d", quote(s), 2*sha256.Size, len(hexPart))
	}
	for _, c := range []byte(hexPart) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return "", fmt.Errorf("digest %s: want lower-case hex digits", quote(s))
		}
	}
	return Digest(s), nil
}

// DigestOf is the digest of data.
func DigestOf(data []byte) Digest {
	sum := sha256.Sum256(data)
	return Digest(sha256Prefix + hex.EncodeToString(sum[:]))
}

// Hex is the digest without its prefix: what Envoy calls sha256.
func (d Digest) Hex() string { return strings.TrimPrefix(string(d), sha256Prefix) }

// Valid says whether d is a well-formed digest.
func (d Digest) Valid() bool {
	_, err := ParseDigest(string(d))
	return err == nil
}

// Short is enough of the digest for a person to tell it from others: sha256: and 12 digits.
func (d Digest) Short() string {
	if len(d) > len(sha256Prefix)+12 {
		return string(d[:len(sha256Prefix)+12])
	}
	return string(d)
}

// quote shows a value from outside in an error: quoted, and cut so that the message stays one line.
func quote(s string) string {
	if len(s) > 120 {
		s = s[:120] + "…"
	}
	return fmt.Sprintf("%q", s)
}
