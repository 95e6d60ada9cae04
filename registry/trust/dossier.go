package trust

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/internal/strictjson"
	"github.com/waft-project/waft/registry/signing"
)

// Dossier is what a decision about an artifact rests on, besides the policy: the image manifest, which says what module the artifact
// holds, and the signatures and attestations beside it. It travels as JSON to whoever decides and cannot reach the registry, such
// as a node. Whoever carries it need not be trusted: they can leave things out, and then less is allowed, but add nothing.
type Dossier struct {
	// Manifest is the raw image manifest; its digest is the artifact's.
	Manifest []byte `json:"manifest"`
	// Evidence is at most MaxDossierEvidence, and MaxDossierBytes in all.
	Evidence []signing.Evidence `json:"evidence"`
}

// ReleaseDossier is the same for a release.
type ReleaseDossier struct {
	// Canonical is the release's canonical form; its digest is the release's hash.
	Canonical []byte             `json:"canonical"`
	Evidence  []signing.Evidence `json:"evidence"`
}

// Gather reads the dossier of an artifact, as Resolve or Pull gave it, from its registry.
func Gather(ctx context.Context, client *registry.Client, a registry.Artifact) (Dossier, error) {
	found, err := signing.Collect(ctx, client, a)
	if err != nil {
		return Dossier{}, err
	}
	return Dossier{Manifest: a.ImageManifest, Evidence: fitting(found.Evidence)}, nil
}

// GatherRelease reads the evidence beside a release's artifact from a registry (HOST[:PORT]). There is none where the artifact is not.
func GatherRelease(ctx context.Context, client *registry.Client, host, name string, canonical []byte) ([]signing.Evidence, error) {
	ref, err := ReleaseReference(host, name, registry.DigestOf(canonical))
	if err != nil {
		return nil, err
	}
	a, err := ReleaseDocument(name, canonical).Artifact(ref)
	if err != nil {
		return nil, err
	}
	// A registry that has no such repository has no list of referrers in it, and no sidecar: both are found empty.
	found, err := signing.Collect(ctx, client, a)
	return fitting(found.Evidence), err
}

// With adds evidence to what was gathered earlier: a signature does not become wrong by being taken out of a registry. Where there is more than a
// dossier holds, what came first keeps half of it, in the order in which it came, and what is new has the rest, the largest left out first. So
// whoever may attach things to an artifact can fill a dossier neither over what is known already, nor against all that comes later.
func With(evidence, earlier []signing.Evidence) []signing.Evidence {
	known, isKnown := pieces(earlier), map[string]bool{}
	for _, p := range known {
		isKnown[string(p.text)] = true
	}
	fresh := slices.DeleteFunc(bySize(pieces(evidence)), func(p piece) bool { return isKnown[string(p.text)] })
	d := filling{evidence: []signing.Evidence{}, seen: map[string]bool{}, pieces: MaxDossierEvidence / 2, text: maxEvidenceText / 2}
	left := d.take(known)
	d.pieces, d.text = d.pieces+MaxDossierEvidence/2, d.text+maxEvidenceText/2
	d.take(fresh)
	d.take(left)
	return d.evidence
}

// fitting is each piece of evidence once, the smallest first, as many as a dossier holds: signatures are small, and what somebody
// else attaches does not push them out by its size.
func fitting(evidence []signing.Evidence) []signing.Evidence {
	d := filling{evidence: []signing.Evidence{}, seen: map[string]bool{}, pieces: MaxDossierEvidence, text: maxEvidenceText}
	d.take(bySize(pieces(evidence)))
	return d.evidence
}

// piece is evidence as it travels.
type piece struct {
	evidence signing.Evidence
	text     []byte
}

// pieces leaves out what cannot travel.
func pieces(evidence []signing.Evidence) []piece {
	out := make([]piece, 0, len(evidence))
	for _, e := range evidence {
		if text, err := json.Marshal(e); err == nil {
			out = append(out, piece{e, text})
		}
	}
	return out
}

func bySize(p []piece) []piece {
	slices.SortStableFunc(p, func(a, b piece) int {
		return cmp.Or(cmp.Compare(len(a.text), len(b.text)), bytes.Compare(a.text, b.text))
	})
	return p
}

// filling is a dossier's evidence while it is gathered; pieces and text are what there is still room for.
type filling struct {
	evidence     []signing.Evidence
	seen         map[string]bool
	pieces, text int
}

// take takes what there is room for, each piece once, and gives what it left.
func (d *filling) take(from []piece) (left []piece) {
	for _, p := range from {
		switch {
		case d.seen[string(p.text)]:
		case d.pieces == 0 || len(p.text) > d.text:
			left = append(left, p)
		default:
			d.seen[string(p.text)] = true
			d.evidence = append(d.evidence, p.evidence)
			d.pieces, d.text = d.pieces-1, d.text-len(p.text)
		}
	}
	return left
}

// ParseDossier reads a dossier, strictly and within the limits. Nothing in it is to be trusted.
func ParseDossier(data []byte) (Dossier, error) {
	var d Dossier
	return d, parseDossier(data, &d, func() int { return len(d.Evidence) })
}

// ParseReleaseDossier is ParseDossier for a release's.
func ParseReleaseDossier(data []byte) (ReleaseDossier, error) {
	var d ReleaseDossier
	return d, parseDossier(data, &d, func() int { return len(d.Evidence) })
}

func parseDossier(data []byte, into any, pieces func() int) error {
	if len(data) > MaxDossierBytes {
		return fmt.Errorf("a dossier of %d bytes is over the limit of %d", len(data), MaxDossierBytes)
	}
	if err := strictjson.Check(data); err != nil {
		return fmt.Errorf("not a dossier: %w", err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("not a dossier: %w", err)
	}
	if n := pieces(); n > MaxDossierEvidence {
		return fmt.Errorf("a dossier with %d pieces of evidence is over the limit of %d", n, MaxDossierEvidence)
	}
	return nil
}

// Judge is Decide by a dossier that somebody has brought. Besides what Decide refuses, it refuses a dossier that is of another artifact, and an
// artifact that does not hold the module, which must be named: who brings both must not join a signature to another module. A layout
// that packs the module cannot be judged so.
func (p *Policy) Judge(a Artifact, d Dossier, now time.Time) (Decision, error) {
	refuse := func(code Code, next, format string, args ...any) (Decision, error) {
		subject := a.Reference.InRepository().AtDigest(a.Digest).String()
		return Decision{}, &Refusal{Code: code, Policy: p.Name(), Subject: subject, Reason: fmt.Sprintf(format, args...), Next: next}
	}
	if have := registry.DigestOf(d.Manifest); have != a.Digest || a.Digest == "" {
		return refuse(CodeOtherArtifact, "do not trust where it came from", "its dossier has the manifest of another artifact, %s", have)
	}
	image, err := registry.ReadImage(a.Reference, d.Manifest)
	if err != nil {
		return refuse(CodeOtherArtifact, "publish it with `waft push`", "its manifest is not one of a module: %v", err)
	}
	if image.Packed() {
		return refuse(CodeModuleUnknown, "publish it in the layout oci, and create the release with that", "its layout %s packs the module, so its manifest does not say which module it holds", image.Layout)
	}
	if image.Module.Digest != a.Module || a.Module == "" {
		return refuse(CodeOtherArtifact, "do not trust where it came from", "it holds the module %s, and not %s", image.Module.Digest, a.Module)
	}
	return p.Decide(a, p.Verify(signing.Collection{Evidence: d.Evidence}, a.Digest), now)
}

// JudgeRelease is DecideRelease by a dossier that somebody has brought, for the release of that name and hash in that layer.
func (p *Policy) JudgeRelease(name, layer string, hash registry.Digest, d ReleaseDossier, now time.Time) (Decision, error) {
	r := Release{Name: name, Layer: layer, Canonical: d.Canonical}
	if have := registry.DigestOf(d.Canonical); have != hash {
		return Decision{}, &Refusal{Code: CodeOtherArtifact, Policy: p.Name(), Subject: "release " + name + "@" + string(hash),
			Reason: "its dossier is of another release, " + string(have), Next: "do not trust where it came from"}
	}
	digest, err := r.Digest()
	if err != nil {
		return Decision{}, err
	}
	return p.DecideRelease(r, p.Verify(signing.Collection{Evidence: d.Evidence}, digest), now)
}
