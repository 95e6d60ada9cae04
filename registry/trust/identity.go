package trust

import (
	"fmt"
	"strings"
	"time"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/registry/signing/keyless"
)

// MaxIdentities bounds the list of them.
const MaxIdentities = 256

// identity is somebody who signs with certificates. Rules name it among their keys.
type identity struct {
	Name string `json:"name"`
	// Issuer is who vouches for it: the URL of an OpenID Connect provider, as it stands in the certificate.
	Issuer string `json:"issuer"`
	// Subject is a pattern of who it is: * is any text between two slashes.
	Subject string `json:"subject"`
	// NotBefore and NotAfter bound when a signature counts, by the time at which it was made: that is known here, and so what was signed in time counts
	// for ever.
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
}

// is says whether a certificate is this identity's.
func (i identity) is(c signing.Certificate) bool {
	if c.Issuer != i.Issuer {
		return false
	}
	want, have := strings.Split(i.Subject, "/"), strings.Split(c.Subject, "/")
	if len(want) != len(have) {
		return false
	}
	for at := range want {
		if !matchesPart(want[at], have[at]) {
			return false
		}
	}
	return true
}

// against says why a signature made at t does not count; empty when it does.
func (i identity) against(t time.Time) string {
	switch {
	case t.Before(i.NotBefore):
		return i.Name + " did at " + t.Format(time.RFC3339) + ", and counts from " + i.NotBefore.Format(time.RFC3339) + " on"
	case !i.NotAfter.IsZero() && !t.Before(i.NotAfter):
		return i.Name + " did at " + t.Format(time.RFC3339) + ", and counted until " + i.NotAfter.Format(time.RFC3339)
	}
	return ""
}

// validate says what is wrong with an identity: a field, what to do, and why.
func (i identity) validate() (field, next, detail string) {
	const example = "write it as https://github.com/ORG/REPO/.github/workflows/release.yml@refs/tags/*, say"
	literal := strings.Map(func(r rune) rune {
		if r == '*' || r == '/' {
			return -1
		}
		return r
	}, i.Subject)
	switch {
	case !strings.HasPrefix(i.Issuer, "https://") && !strings.HasPrefix(i.Issuer, "http://"):
		return "issuer", "give the issuer's URL as it stands in certificates", fmt.Sprintf("%.100q is not a URL", i.Issuer)
	case len(i.Issuer) > registry.MaxReferenceBytes || len(i.Subject) > registry.MaxReferenceBytes:
		return "subject", "shorten it", fmt.Sprintf("over the limit of %d bytes", registry.MaxReferenceBytes)
	case literal == "":
		return "subject", example, fmt.Sprintf("%q is whoever has an account there", i.Subject)
	case strings.Contains(i.Subject, "**"):
		return "subject", example, fmt.Sprintf("%q: a star is any text between two slashes, and two have no meaning", i.Subject)
	case strings.ContainsFunc(i.Subject, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "subject", example, fmt.Sprintf("%.100q holds what is not printable ASCII", i.Subject)
	case !i.NotAfter.IsZero() && !i.NotBefore.Before(i.NotAfter):
		return "notAfter", "mend the times", "notBefore is not before notAfter"
	}
	return "", "", ""
}

// readIdentities reads the identities and the trusted root, after the keys: both are named alike in rules.
func (p *Policy) readIdentities(s spec) error {
	if len(s.Identities) > MaxIdentities {
		return invalid("spec.identities", "remove some", "%d identities, over the limit of %d", len(s.Identities), MaxIdentities)
	}
	if (len(s.Identities) > 0) != (s.TrustedRoot != "") {
		return invalid("spec.trustedRoot", "write both, or none", "identities are verified by a trusted root, and one of the two is missing")
	}
	p.identities = map[string]identity{}
	for n, i := range s.Identities {
		field := fmt.Sprintf("spec.identities[%d]", n)
		if err := validName(field+".name", i.Name); err != nil {
			return err
		}
		_, key := p.keys[i.Name]
		if _, twice := p.identities[i.Name]; key || twice {
			return invalid(field+".name", "give each key and each identity a name of its own", "%s stands there twice", i.Name)
		}
		if at, next, detail := i.validate(); detail != "" {
			return invalid(field+"."+at, next, "%s", detail)
		}
		p.identities[i.Name] = i
	}
	if s.TrustedRoot == "" {
		return nil
	}
	verifier, err := keyless.NewVerifier([]byte(s.TrustedRoot))
	if err != nil {
		return invalid("spec.trustedRoot", "paste a trusted_root.json, as `cosign trusted-root create` writes it", "%v", err)
	}
	p.verifier = verifier
	return nil
}

// Verify verifies what was found beside an artifact, with the policy's keys and by its trusted root. It gives every proof, whether it counts or not:
// Decide tells.
func (p *Policy) Verify(found signing.Collection, artifact registry.Digest) []signing.Proof {
	proofs, _ := found.VerifyAll(p.PublicKeys(), artifact)
	if p.verifier != nil {
		more, _ := p.verifier.VerifyAll(found, artifact)
		proofs = append(proofs, more...)
	}
	return proofs
}

// countIdentities is count for identities: the names of those whose proofs are wanted and count, and why others do not.
func (p *Policy) countIdentities(proofs []signing.Proof, names map[string]bool, wanted func(signing.Proof) bool) (counted, reasons []string) {
	for _, i := range p.doc.Spec.Identities {
		why, counts := "", false
		for _, proof := range proofs {
			if proof.Certificate == nil || !i.is(*proof.Certificate) || !wanted(proof) {
				continue
			}
			if why = i.against(proof.Certificate.Time); why == "" {
				counts = true
				break
			}
		}
		switch {
		case counts && names[i.Name]:
			counted = append(counted, i.Name)
		case counts:
			reasons = append(reasons, i.Name+" did, who does not count here")
		case why != "":
			reasons = append(reasons, why)
		}
	}
	return counted, reasons
}
