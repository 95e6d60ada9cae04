package trust

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
)

// Artifact is what is decided about.
type Artifact struct {
	// Reference says where it is from. Its tag and its digest do not matter.
	Reference registry.Reference
	// Digest is the artifact's identity, which proofs are about.
	Digest registry.Digest
	// Module is the digest of its module. Empty: not known, as for a packed layout before it was pulled.
	Module registry.Digest
}

// Decision is why an artifact may be used.
type Decision struct {
	Policy string `json:"policy"`
	Rule   string `json:"rule"`
	// SignedBy are the names of the keys whose signatures counted; empty by a rule that takes unsigned artifacts.
	SignedBy []string `json:"signedBy"`
	// Attestations are the names of those that the rule asks for, all of which were found.
	Attestations []string `json:"attestations"`
	// Expires is the first time at which the decision may be another one, because the policy or a key that counted ends.
	// Zero: never, as far as time goes.
	Expires time.Time `json:"expires,omitzero"`
}

// canonicalHost is the one spelling of a registry's host by which rules are found: whoever names an artifact must not choose the rule.
func canonicalHost(host string) string { return strings.TrimSuffix(strings.ToLower(host), ":443") }

// Decide says whether an artifact may be used: a Decision, or a *Refusal as the error. Proofs must be about the artifact's
// digest, as signing.Evidence.Verify gives them. It is a pure function of its arguments.
func (p *Policy) Decide(a Artifact, proofs []signing.Proof, now time.Time) (Decision, error) {
	s := p.doc.Spec
	a.Reference.Registry = canonicalHost(a.Reference.Registry)
	repository := a.Reference.InRepository().String()
	subject := a.Reference.InRepository().AtDigest(a.Digest).String()
	refuse := func(code Code, rule, next, format string, args ...any) (Decision, error) {
		return Decision{}, &Refusal{Code: code, Policy: p.Name(), Rule: rule, Subject: subject, Reason: fmt.Sprintf(format, args...), Next: next}
	}
	if !s.Expires.IsZero() && !now.Before(s.Expires) {
		return refuse(CodeExpired, "", "install a policy that is valid now", "the policy ended at %s", s.Expires.Format(time.RFC3339))
	}
	if len(s.Registries) > 0 && !slices.ContainsFunc(s.Registries, func(host string) bool { return canonicalHost(host) == a.Reference.Registry }) {
		return refuse(CodeRegistry, "", "use one of "+strings.Join(s.Registries, ", ")+", or add it to spec.registries", "the registry %s is not allowed", a.Reference.Registry)
	}
	if slices.Contains(s.Revoked.Digests, a.Digest) {
		return refuse(CodeRevoked, "", "use another version", "the artifact is revoked")
	}
	if a.Module != "" && slices.Contains(s.Revoked.Digests, a.Module) {
		return refuse(CodeRevoked, "", "use another version", "its module %s is revoked", a.Module)
	}
	at := slices.IndexFunc(s.Rules, func(r rule) bool {
		return slices.ContainsFunc(r.Repositories, func(pattern string) bool { return matches(pattern, repository) })
	})
	if at < 0 {
		return refuse(CodeNoRule, "", "add a rule for it, or use another repository", "no rule is about %s", repository)
	}
	r := s.Rules[at]
	d := Decision{Policy: p.Name(), Rule: r.Name, SignedBy: []string{}, Attestations: []string{}, Expires: s.Expires}
	if r.Signatures != nil {
		counted, against := p.count(proofs, now, r.Signatures.Keys, func(proof signing.Proof) bool {
			return proof.PredicateType == signing.PredicateSignature && (!r.Signatures.Named || names(proof, repository))
		})
		if need := max(r.Signatures.AtLeast, 1); len(counted) < need {
			what := "it"
			if r.Signatures.Named {
				what = "it as an artifact of " + repository
			}
			return refuse(CodeSignature, r.Name, "sign it with `waft sign --key` and a key that counts", "%d of the keys %s must have signed %s, and %d did%s",
				need, strings.Join(r.Signatures.Keys, ", "), what, len(counted), against)
		}
		d.SignedBy = counted
		d.Expires = p.earliest(d.Expires, counted)
	}
	for _, want := range r.Attestations {
		counted, against := p.count(proofs, now, want.Keys, func(proof signing.Proof) bool {
			return proof.PredicateType == want.PredicateType && contains(proof.Predicate, want.Contains)
		})
		if len(counted) == 0 {
			if n := p.otherPredicates(proofs, want); n > 0 {
				against += fmt.Sprintf("; %d of that type do not contain what the rule asks for", n)
			}
			return refuse(CodeAttestation, r.Name, "attest it with `waft attest --key` and a key that counts", "the attestation %q (%s) by one of the keys %s is missing%s",
				want.Name, want.PredicateType, strings.Join(want.Keys, ", "), against)
		}
		d.Attestations = append(d.Attestations, want.Name)
		d.Expires = p.earliest(d.Expires, counted)
	}
	// Last, so that whoever must download it to know has asked everything else before.
	if a.Module == "" && len(s.Revoked.Digests) > 0 {
		return refuse(CodeModuleUnknown, "", "pull it, and decide with its module's digest", "digests are revoked, and which module it holds is not known")
	}
	return d, nil
}

// names says whether a signer named that repository, HOST[:PORT]/REPOSITORY in its canonical spelling.
func names(proof signing.Proof, repository string) bool {
	ref, err := registry.ParseReference(proof.Identity)
	if err != nil {
		return false
	}
	ref.Registry = canonicalHost(ref.Registry)
	return ref.InRepository().String() == repository
}

// count gives the names of those keys whose proofs are wanted and count now, each once and in the policy's order, and says
// why other proofs that are wanted do not count.
func (p *Policy) count(proofs []signing.Proof, now time.Time, names []string, wanted func(signing.Proof) bool) (counted []string, against string) {
	signed := map[signing.KeyID]bool{}
	for _, proof := range proofs {
		if wanted(proof) {
			signed[proof.Key] = true
		}
	}
	counted = []string{}
	var reasons []string
	for _, k := range p.doc.Spec.Keys {
		id := p.keys[k.Name].ID()
		if !signed[id] {
			continue
		}
		switch {
		case !slices.Contains(names, k.Name):
			reasons = append(reasons, k.Name+" did, which does not count here")
		case slices.Contains(p.doc.Spec.Revoked.Keys, id):
			reasons = append(reasons, k.Name+" did, which is revoked")
		case now.Before(k.NotBefore):
			reasons = append(reasons, k.Name+" did, which counts from "+k.NotBefore.Format(time.RFC3339)+" on")
		case !k.NotAfter.IsZero() && !now.Before(k.NotAfter):
			reasons = append(reasons, k.Name+" did, which counted until "+k.NotAfter.Format(time.RFC3339))
		default:
			counted = append(counted, k.Name)
		}
	}
	named := map[string]bool{}
	for _, name := range names {
		named[name] = true
	}
	more, others := p.countIdentities(proofs, named, wanted)
	counted, reasons = append(counted, more...), append(reasons, others...)
	if len(reasons) > 0 {
		against = " (" + strings.Join(reasons, "; ") + ")"
	}
	return counted, against
}

// otherPredicates counts the attestations of the wanted type that say something else.
func (p *Policy) otherPredicates(proofs []signing.Proof, want attestation) int {
	n := 0
	for _, proof := range proofs {
		if proof.PredicateType == want.PredicateType && !contains(proof.Predicate, want.Contains) {
			n++
		}
	}
	return n
}

// earliest is the first end among t and those of some keys.
func (p *Policy) earliest(t time.Time, names []string) time.Time {
	for _, k := range p.doc.Spec.Keys {
		if slices.Contains(names, k.Name) && !k.NotAfter.IsZero() && (t.IsZero() || k.NotAfter.Before(t)) {
			t = k.NotAfter
		}
	}
	return t
}
