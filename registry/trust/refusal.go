package trust

import "errors"

// ErrNotTrusted is what every Refusal is, for errors.Is.
var ErrNotTrusted = errors.New("not trusted")

// Code says which part of a policy refused, for programs.
type Code string

// The codes.
const (
	// CodeExpired: the policy itself has ended.
	CodeExpired Code = "policy-expired"
	// CodeRegistry: the registry is not one of the policy's.
	CodeRegistry Code = "registry"
	// CodeRevoked: the artifact or its module is revoked.
	CodeRevoked Code = "revoked"
	// CodeModuleUnknown: digests are revoked, and the module's is not known yet.
	CodeModuleUnknown Code = "module-unknown"
	// CodeNoRule: no rule is about the repository.
	CodeNoRule Code = "no-rule"
	// CodeSignature: too few of the rule's keys have signed.
	CodeSignature Code = "signature"
	// CodeOtherArtifact: what was brought with the artifact is of another one, or the artifact is of another module.
	CodeOtherArtifact Code = "other-artifact"
	// CodeAttestation: an attestation that the rule asks for is missing.
	CodeAttestation Code = "attestation"
)

// Refusal is why an artifact may not be used. It is an error.
type Refusal struct {
	Code Code `json:"code"`
	// Policy and Rule refused; Rule is empty when it was none.
	Policy string `json:"policy"`
	Rule   string `json:"rule,omitempty"`
	// Subject is the artifact.
	Subject string `json:"subject"`
	// Reason and Next say why, and what to do.
	Reason string `json:"reason"`
	Next   string `json:"next"`
}

// Error puts the parts into one line.
func (r *Refusal) Error() string {
	by := "policy " + r.Policy
	if r.Rule != "" {
		by += ", rule " + r.Rule
	}
	return r.Subject + ": " + ErrNotTrusted.Error() + ": " + by + ": " + r.Reason + "; " + r.Next
}

// Unwrap makes every Refusal an ErrNotTrusted.
func (r *Refusal) Unwrap() error { return ErrNotTrusted }
