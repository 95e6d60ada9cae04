package trust_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/registry/trust"
)

// releasePolicy has the keys a, b (which ends in 2026-06) and c, of which c is revoked.
func releasePolicy(t *testing.T) *trust.Policy {
	t.Helper()
	pem := func(n byte) string {
		_, _, text := testKey(t, n)
		return indented(text)
	}
	_, revoked, _ := testKey(t, 3)
	p, err := trust.Parse([]byte(`apiVersion: waft.dev/v1
kind: TrustPolicy
metadata: {name: node}
spec:
  keys:
  - {name: a, publicKey: "` + strings.ReplaceAll(strings.TrimPrefix(pem(1), "|\n      "), "\n      ", `\n`) + `"}
  - name: b
    notAfter: 2026-06-01T00:00:00Z
    publicKey: ` + pem(2) + `
  - name: c
    publicKey: ` + pem(3) + `
  revoked: {keys: ["` + string(revoked.ID()) + `"], digests: ["` + string(registry.DigestOf([]byte("{\"bad\":1}"))) + `"]}
  rules:
  - {name: all, repositories: ["r.example/**"], unsigned: true}
  requiredLayers: [global]
  releases:
  - {name: tries, releases: ["try-*"], layers: ["team/*"], unsigned: true}
  - {name: both, releases: [critical], signatures: {keys: [a, b], atLeast: 2}}
  - {name: edge, releases: ["edge-*"], signatures: {keys: [a, b, c]}}
`))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestDecideRelease(t *testing.T) {
	p := releasePolicy(t)
	if !p.GovernsReleases() || !slices.Equal(p.RequiredLayers(), []string{"global"}) || !p.TakesUnsigned() {
		t.Errorf("%v %v", p.GovernsReleases(), p.RequiredLayers())
	}
	by := func(keys ...byte) (proofs []signing.Proof) {
		for _, n := range keys {
			_, public, _ := testKey(t, n)
			proofs = append(proofs, signing.Proof{Key: public.ID(), PredicateType: signing.PredicateSignature})
		}
		return proofs
	}
	const before, after = "2026-05-01T00:00:00Z", "2026-07-01T00:00:00Z"
	for _, tc := range []struct {
		name, release, layer, content, now string
		proofs                             []signing.Proof
		want                               trust.Code
		rule                               string
		signers                            []string
	}{
		{name: "signed", release: "edge-auth", layer: "global", proofs: by(1), now: after, rule: "edge", signers: []string{"a"}},
		{name: "unsigned", release: "edge-auth", layer: "global", now: after, want: trust.CodeSignature, rule: "edge"},
		{name: "the old key, while it counts", release: "edge-auth", layer: "global", proofs: by(2), now: before, rule: "edge", signers: []string{"b"}},
		{name: "the old key, when it has ended", release: "edge-auth", layer: "global", proofs: by(2), now: after, want: trust.CodeSignature, rule: "edge"},
		{name: "a revoked key", release: "edge-auth", layer: "global", proofs: by(3), now: before, want: trust.CodeSignature, rule: "edge"},
		{name: "one of two", release: "critical", layer: "global", proofs: by(1, 1), now: before, want: trust.CodeSignature, rule: "both"},
		{name: "two of two", release: "critical", layer: "global", proofs: by(1, 2), now: before, rule: "both", signers: []string{"a", "b"}},
		{name: "unsigned where that is allowed", release: "try-x", layer: "team/a", now: after, rule: "tries", signers: []string{}},
		{name: "the same name in another layer", release: "try-x", layer: "global", now: after, want: trust.CodeNoRule},
		{name: "no rule", release: "other", layer: "global", proofs: by(1), now: after, want: trust.CodeNoRule},
		{name: "revoked", release: "edge-auth", layer: "global", content: `{"bad":1}`, proofs: by(1), now: after, want: trust.CodeRevoked},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, err := p.DecideRelease(trust.Release{Name: tc.release, Layer: tc.layer, Canonical: []byte(tc.content)}, tc.proofs, at(t, tc.now))
			if tc.want == "" {
				if err != nil || d.Rule != tc.rule || !slices.Equal(d.SignedBy, tc.signers) {
					t.Errorf("%+v, %v", d, err)
				}
				return
			}
			var r *trust.Refusal
			if !errors.As(err, &r) || r.Code != tc.want || r.Rule != tc.rule || r.Next == "" || !strings.Contains(err.Error(), tc.release) {
				t.Errorf("%+v, %v", d, err)
			}
		})
	}
	if d, err := new(trust.Policy).DecideRelease(trust.Release{Name: "x"}, nil, time.Now()); !errors.Is(err, trust.ErrNotTrusted) {
		t.Errorf("the zero policy: %+v, %v", d, err)
	}
}

func TestParseRefusesOfReleases(t *testing.T) {
	const rules = "  rules:\n  - {name: r, repositories: [\"r.example/**\"], unsigned: true}\n"
	for name, spec := range map[string]string{
		"no names":                "  releases: [{name: a, unsigned: true}]\n",
		"nothing of signatures":   "  releases: [{name: a, releases: [x]}]\n",
		"both":                    "  releases: [{name: a, releases: [x], unsigned: true, signatures: {keys: [k]}}]\n",
		"a strange name":          "  releases: [{name: a, releases: [\"X y\"], unsigned: true}]\n",
		"a key that is not there": "  releases: [{name: a, releases: [x], signatures: {keys: [z]}}]\n",
		"named":                   "  releases: [{name: a, releases: [x], signatures: {keys: [k], named: true}}]\n",
		"one name twice":          "  releases: [{name: a, releases: [x], unsigned: true}, {name: a, releases: [y], unsigned: true}]\n",
		"layers alone":            "  requiredLayers: [global]\n",
		"a pattern of layers":     "  requiredLayers: [\"team/*\"]\n  releases: [{name: a, releases: [x], unsigned: true}]\n",
	} {
		if _, err := trust.Parse([]byte(policyOf(t, rules+spec))); !errors.Is(err, trust.ErrInvalidPolicy) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := trust.Parse([]byte(policyOf(t, rules+"  releases: [{name: a, releases: [x], signatures: {keys: [k]}}]\n"))); err != nil {
		t.Error(err)
	}
}

// A policy from before there were emergencies says nothing of them: none of its rules lets a key take a guard out, whatever name the release has.
func TestARuleForAllLayersIsNotAboutEmergencies(t *testing.T) {
	const modules = "  rules:\n  - {name: r, repositories: [\"r.example/**\"], unsigned: true}\n  requiredLayers: [global]\n  releases:\n"
	proofs := func(signers ...byte) (proofs []signing.Proof) {
		for _, n := range signers {
			_, public, _ := testKey(t, n)
			proofs = append(proofs, signing.Proof{Key: public.ID(), PredicateType: signing.PredicateSignature})
		}
		return proofs
	}
	for _, tc := range []struct {
		name, rules, layer, rule string
	}{
		{name: "the catch-all of an old policy", layer: "emergency/authz",
			rules: "  - {name: guards, releases: [\"security-*\"], layers: [global], signatures: {keys: [k]}}\n  - {name: rest, releases: [\"*\"], signatures: {keys: [k]}}\n"},
		{name: "a star for all layers", layer: "emergency/authz", rules: "  - {name: rest, releases: [\"*\"], layers: [\"*\"], signatures: {keys: [k]}}\n"},
		{name: "a star that an emergency fits", layer: "emergency/authz", rules: "  - {name: rest, releases: [\"*\"], layers: [\"e*\", \"*/*\"], unsigned: true}\n"},
		{name: "emergencies of another filter", layer: "emergency/authz", rules: "  - {name: tag, releases: [\"*\"], layers: [emergency/tag, \"*\"], signatures: {keys: [k]}}\n"},
		{name: "all emergencies", layer: "emergency/authz", rule: "on-call",
			rules: "  - {name: rest, releases: [\"*\"], signatures: {keys: [k], atLeast: 1}}\n  - {name: on-call, releases: [\"disable-*\"], layers: [team/a, \"emergency/*\"], signatures: {keys: [k]}}\n"},
		{name: "this one", layer: "emergency/authz", rule: "one", rules: "  - {name: one, releases: [\"*\"], layers: [emergency/authz], signatures: {keys: [k]}}\n"},
		{name: "the catch-all, of what gives filters", layer: "team/emergency", rule: "rest", rules: "  - {name: rest, releases: [\"*\"], signatures: {keys: [k]}}\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := trust.Parse([]byte(policyOf(t, modules+tc.rules)))
			if err != nil {
				t.Fatal(err)
			}
			d, err := p.DecideRelease(trust.Release{Name: "disable-authz", Layer: tc.layer, Canonical: []byte("{}")}, proofs(1), time.Now())
			if tc.rule != "" {
				if err != nil || d.Rule != tc.rule {
					t.Errorf("%+v, %v", d, err)
				}
				return
			}
			var r *trust.Refusal
			if !errors.As(err, &r) || r.Code != trust.CodeNoRule || !strings.Contains(r.Next, "emergency/*") {
				t.Errorf("%+v, %v", d, err)
			}
		})
	}
}

// Over a real registry: a release's artifact is pushed and signed, and what stands beside it travels to whoever judges.
func TestReleaseInARegistry(t *testing.T) {
	e := registrytest.Start(t)
	client := e.Client(t)
	p := releasePolicy(t)
	r := trust.Release{Name: "edge-auth", Layer: "global", Canonical: []byte(`{"layer":"global"}`)}
	refusedBy(t, trust.CodeSignature)(trust.CheckRelease(t.Context(), client, p, e.Host, r, time.Now()))

	ref, err := trust.ReleaseReference(e.Host, r.Name, registry.DigestOf(r.Canonical))
	if err != nil {
		t.Fatal(err)
	}
	a, err := client.PushDocument(t.Context(), ref, trust.ReleaseDocument(r.Name, r.Canonical), nil)
	if err != nil {
		t.Fatal(err)
	}
	refusedBy(t, trust.CodeSignature)(trust.CheckRelease(t.Context(), client, p, e.Host, r, time.Now()))
	signer, _, _ := testKey(t, 1)
	if _, err := signing.Sign(t.Context(), client, a, signer); err != nil {
		t.Fatal(err)
	}
	if d, err := trust.CheckRelease(t.Context(), client, p, e.Host, r, time.Now()); err != nil || !slices.Equal(d.SignedBy, []string{"a"}) {
		t.Errorf("%+v, %v", d, err)
	}

	evidence, err := trust.GatherRelease(t.Context(), client, e.Host, r.Name, r.Canonical)
	if err != nil {
		t.Fatal(err)
	}
	dossier := trust.ReleaseDossier{Canonical: r.Canonical, Evidence: evidence}
	hash := registry.DigestOf(r.Canonical)
	if _, err := p.JudgeRelease(r.Name, r.Layer, hash, dossier, time.Now()); err != nil {
		t.Error(err)
	}
	// The signature is over the name, and over this content.
	refusedBy(t, trust.CodeSignature)(p.JudgeRelease("edge-other", r.Layer, hash, dossier, time.Now()))
	refusedBy(t, trust.CodeOtherArtifact)(p.JudgeRelease(r.Name, r.Layer, registry.DigestOf(nil), dossier, time.Now()))
	dossier.Canonical = []byte(`{"layer":"global" }`)
	refusedBy(t, trust.CodeSignature)(p.JudgeRelease(r.Name, r.Layer, registry.DigestOf(dossier.Canonical), dossier, time.Now()))
}

// refusedBy wants a refusal with that code.
func refusedBy(t *testing.T, code trust.Code) func(trust.Decision, error) {
	t.Helper()
	return func(d trust.Decision, err error) {
		t.Helper()
		var r *trust.Refusal
		if !errors.As(err, &r) || r.Code != code {
			t.Errorf("want a refusal by %s, have %+v, %v", code, d, err)
		}
	}
}
