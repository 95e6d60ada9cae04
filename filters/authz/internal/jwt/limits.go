package jwt

// Limits of what the package reads. All sizes are in bytes unless the name says otherwise.
const (
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
