package trust

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
)

// ReleaseArtifactType is the artifact type of a release, and the media type of its canonical form.
const ReleaseArtifactType = "application/vnd.waft.release.v1+json"

// AnnotationRelease holds a release's name in its artifact. The hash does not cover the name; the artifact, which is signed, does.
const AnnotationRelease = "dev.waft.release"

// ReleasesRepository is the repository that has a repository for each release's name below it.
const ReleasesRepository = "waft/releases"

// ReleaseDocument is the artifact of a release: its canonical form (RFC 8785 JSON, whose digest is the release's hash), under
// its name. The same release has the same artifact everywhere, so whoever has both can tell the digest that is signed.
func ReleaseDocument(name string, canonical []byte) registry.Document {
	return registry.Document{ArtifactType: ReleaseArtifactType, Data: canonical, Annotations: map[string]string{AnnotationRelease: name}}
}

// ReleaseReference is where a release's artifact stands in a registry: HOST/waft/releases/NAME, at a tag that is the hash's HEX.
func ReleaseReference(host, name string, hash registry.Digest) (registry.Reference, error) {
	return registry.ParseReference(host + "/" + ReleasesRepository + "/" + name + ":" + hash.Hex())
}

// Release is a release that is decided about.
type Release struct {
	Name, Layer string
	// Canonical is its canonical form, whose digest is its hash.
	Canonical []byte
}

// emergencyLayers begins the layers that take filters out of chains, guards too. A rule is about one only where it says so: rules for all
// layers were written by people who thought of those that give filters, many of them before there were others.
const emergencyLayers = "emergency/"

// ofEmergencies are those of a rule's patterns of layers that mean emergencies by name.
func ofEmergencies(layers []string) []string {
	return slices.DeleteFunc(slices.Clone(layers), func(pattern string) bool { return !strings.HasPrefix(pattern, emergencyLayers) })
}

// Digest is the digest of the release's artifact, which proofs are about.
func (r Release) Digest() (registry.Digest, error) {
	a, err := ReleaseDocument(r.Name, r.Canonical).Artifact(registry.Reference{})
	return a.Digest, err
}

// DecideRelease says whether a release may be used: a Decision, or a *Refusal as the error. A policy without rules about
// releases allows every one, and then the Decision has no rule. Layer must be what Canonical says. Proofs must be about Release.Digest. It is a pure
// function of its arguments.
func (p *Policy) DecideRelease(r Release, proofs []signing.Proof, now time.Time) (Decision, error) {
	s := p.doc.Spec
	hash := registry.DigestOf(r.Canonical)
	refuse := func(code Code, rule, next, format string, args ...any) (Decision, error) {
		return Decision{}, &Refusal{Code: code, Policy: p.Name(), Rule: rule, Subject: "release " + r.Name + "@" + string(hash), Reason: fmt.Sprintf(format, args...), Next: next}
	}
	digest, err := r.Digest()
	if err != nil {
		return Decision{}, err
	}
	d := Decision{Policy: p.Name(), SignedBy: []string{}, Attestations: []string{}, Expires: s.Expires}
	switch {
	case len(s.Rules) == 0: // the zero Policy
		return refuse(CodeNoRule, "", "give a policy", "there is no policy")
	case !s.Expires.IsZero() && !now.Before(s.Expires):
		return refuse(CodeExpired, "", "install a policy that is valid now", "the policy ended at %s", s.Expires.Format(time.RFC3339))
	case slices.Contains(s.Revoked.Digests, hash) || slices.Contains(s.Revoked.Digests, digest):
		return refuse(CodeRevoked, "", "use another release", "the release is revoked")
	case len(s.Releases) == 0:
		return d, nil
	}
	matching := func(patterns []string, text string) bool {
		return slices.ContainsFunc(patterns, func(pattern string) bool { return matchesPart(pattern, text) })
	}
	at := slices.IndexFunc(s.Releases, func(rule releaseRule) bool {
		if !matching(rule.Releases, r.Name) {
			return false
		}
		if strings.HasPrefix(r.Layer, emergencyLayers) {
			return matching(ofEmergencies(rule.Layers), r.Layer)
		}
		return len(rule.Layers) == 0 || matching(rule.Layers, r.Layer)
	})
	if at < 0 && strings.HasPrefix(r.Layer, emergencyLayers) {
		return refuse(CodeNoRule, "", `add a rule to spec.releases for those who may take filters out, such as {releases: ["disable-*"], layers: ["emergency/*"], signatures: {keys: [on-call]}}`,
			"no rule is about releases of this name in layer %s: a rule is about an emergency only where its layers say %s, whatever else it is about", r.Layer, emergencyLayers)
	}
	if at < 0 {
		return refuse(CodeNoRule, "", "add a rule for it to spec.releases, or use another name or layer", "no rule is about releases of this name in layer %s", r.Layer)
	}
	rule := s.Releases[at]
	d.Rule = rule.Name
	if rule.Signatures == nil {
		return d, nil
	}
	counted, against := p.count(proofs, now, rule.Signatures.Keys, func(proof signing.Proof) bool { return proof.PredicateType == signing.PredicateSignature })
	if need := max(rule.Signatures.AtLeast, 1); len(counted) < need {
		return refuse(CodeSignature, rule.Name, "sign it with `waft release sign --key` and a key that counts", "%d of the keys %s must have signed it, and %d did%s",
			need, strings.Join(rule.Signatures.Keys, ", "), len(counted), against)
	}
	d.SignedBy, d.Expires = counted, p.earliest(d.Expires, counted)
	return d, nil
}

// CheckRelease collects what stands beside a release's artifact in a registry (HOST[:PORT]), and decides. That the artifact is not
// there is no error: then nobody has signed it.
func CheckRelease(ctx context.Context, client *registry.Client, p *Policy, host string, r Release, now time.Time) (Decision, error) {
	evidence, err := GatherRelease(ctx, client, host, r.Name, r.Canonical)
	if err != nil {
		return Decision{}, err
	}
	digest, err := r.Digest()
	if err != nil {
		return Decision{}, err
	}
	return p.DecideRelease(r, p.Verify(signing.Collection{Evidence: evidence}, digest), now)
}
