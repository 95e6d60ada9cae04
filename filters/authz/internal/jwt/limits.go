package jwt

import "time"

// Limits of what the package reads. All sizes are in bytes unless the name says otherwise.
const (
	// DefaultMaxTokenBytes is the longest token that is taken when the configuration does not say.
	DefaultMaxTokenBytes = 8 << 10
	// MaxTokenBytes is the highest limit that a configuration may set. Envoy's own default for all headers is 60 KiB.
	MaxTokenBytes = 48 << 10
	// MaxClockSkew is the widest tolerance that a configuration may set. A wider one would be a second life for tokens.
	MaxClockSkew = 10 * time.Minute
	// DefaultClockSkew is the tolerance when the configuration does not say, the same as Envoy's jwt_authn.
	DefaultClockSkew = 60 * time.Second

	// MaxKeySetBytes is the longest JWKS that is read.
	MaxKeySetBytes = 256 << 10
	// MaxKeys is the most keys that one JWKS may hold.
	MaxKeys = 64
	// MaxKeyTrials is how many keys one token may be checked with. A token without kid fits every key of its algorithm,
	// and each check of a signature costs up to a millisecond.
	MaxKeyTrials = 8
	// MaxKeyIDBytes is the longest kid, in a key or a token.
	MaxKeyIDBytes = 256

	// MinRSABits is the shortest RSA modulus (RFC 7518, section 3.3).
	MinRSABits = 2048
	// MaxRSABits is the longest RSA modulus. A check with 8192 bits takes some milliseconds; no issuer needs more.
	MaxRSABits = 8192
	// MinHMACBytes is the shortest HS256 secret (RFC 7518, section 3.2: as long as the hash output).
	MinHMACBytes = 32
	// MaxHMACBytes is the longest HS256 secret.
	MaxHMACBytes = 1024

	// maxJSONDepth is how deep objects and lists may nest, in a JWKS, a token's header or its claims.
	maxJSONDepth = 16
)
