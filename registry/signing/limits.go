package signing

// Limits on what is read from outside.
const (
	// MaxKeyBytes is the size of a PEM file with a key.
	MaxKeyBytes = 64 << 10
	// MaxPayloadBytes is the size of a simple-signing payload.
	MaxPayloadBytes = 64 << 10
	// MaxSignatureBytes is the size of a signature: an RSA key of 16384 bits makes 2048.
	MaxSignatureBytes = 4 << 10
	// MaxEvidence is how many signatures and attestations of one artifact are read, of each form.
	MaxEvidence = 64
	// MaxEvidenceBytes is how much of them is read, of both forms together.
	MaxEvidenceBytes = 32 << 20
	// maxPredicateType is the length of a predicate's type, in bytes.
	maxPredicateType = 1024
	// minRSABits is the least that is taken; cosign takes no less.
	minRSABits = 2048
)
