package trust

// Limits of a policy. What is over them is refused by Parse.
const (
	// MaxPolicyBytes is the size of a policy's file.
	MaxPolicyBytes = 1 << 20
	// MaxKeys, MaxRules and MaxRevoked bound the lists.
	MaxKeys    = 256
	MaxRules   = 1024
	MaxRevoked = 16384
	// MaxPatterns is the number of patterns of a rule, and of its attestations.
	MaxPatterns = 256
	// MaxNameBytes is the length of a name.
	MaxNameBytes = 128
)

// Limits of a dossier.
const (
	// MaxDossierBytes is the size of one as JSON.
	MaxDossierBytes = 16 << 20
	// MaxDossierEvidence is how many signatures and attestations one holds.
	MaxDossierEvidence = 256
	// maxEvidenceText bounds them together, as JSON; the rest of MaxDossierBytes is for the manifest in base64.
	maxEvidenceText = 8 << 20
)
