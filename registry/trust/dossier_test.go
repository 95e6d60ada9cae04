package trust_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/registry/trust"
)

// A dossier travels as JSON, and whoever carries it can add nothing to it.
func TestJudge(t *testing.T) {
	e := registrytest.Start(t)
	client := e.Client(t)
	signer, _, pem := testKey(t, 1)
	policy := func(rest string) *trust.Policy {
		p, err := trust.Parse(fmt.Appendf(nil, "apiVersion: waft.dev/v1\nkind: TrustPolicy\nmetadata: {name: node}\nspec:\n  keys:\n  - name: k\n    publicKey: %s\n%s", indented(pem), rest))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	plain := policy(fmt.Sprintf("  rules:\n  - {name: r, repositories: [\"%s/**\"], signatures: {keys: [k]}}\n", e.Host))
	named := policy(fmt.Sprintf("  rules:\n  - {name: r, repositories: [\"%s/**\"], signatures: {keys: [k], named: true}}\n", e.Host))

	push := func(repository string, layout registry.Layout) registry.Artifact {
		m := registry.ModuleBytes(registrytest.Wasm(1000, byte(len(repository))))
		m.Layout = layout
		a, err := client.Push(t.Context(), e.Reference(t, repository+":1"), m, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := signing.Sign(t.Context(), client, a, signer); err != nil {
			t.Fatal(err)
		}
		return a
	}
	carried := func(a registry.Artifact) trust.Dossier {
		d, err := trust.Gather(t.Context(), client, a)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if d, err = trust.ParseDossier(text); err != nil {
			t.Fatal(err)
		}
		return d
	}
	a, other := push("filters/authz", registry.LayoutOCI), push("filters/headers", registry.LayoutCNCF)
	about := func(a registry.Artifact) trust.Artifact {
		return trust.Artifact{Reference: a.Reference, Digest: a.Digest, Module: a.Module.Digest}
	}
	d := carried(a)
	for _, p := range []*trust.Policy{plain, named} {
		if _, err := p.Judge(about(a), d, time.Now()); err != nil {
			t.Error(err)
		}
		if _, err := p.Judge(about(other), carried(other), time.Now()); err != nil {
			t.Error(err)
		}
	}
	// Another module under a signed artifact, and a dossier under another artifact.
	mixed := about(a)
	mixed.Module = other.Module.Digest
	refusedBy(t, trust.CodeOtherArtifact)(plain.Judge(mixed, d, time.Now()))
	mixed.Module = ""
	refusedBy(t, trust.CodeOtherArtifact)(plain.Judge(mixed, d, time.Now()))
	refusedBy(t, trust.CodeOtherArtifact)(plain.Judge(about(a), carried(other), time.Now()))
	refusedBy(t, trust.CodeOtherArtifact)(plain.Judge(about(a), trust.Dossier{Evidence: d.Evidence}, time.Now()))
	// The signatures of one artifact with the manifest, and the module, of another.
	mixed.Module = other.Module.Digest
	refusedBy(t, trust.CodeOtherArtifact)(plain.Judge(mixed, trust.Dossier{Manifest: carried(other).Manifest, Evidence: d.Evidence}, time.Now()))
	refusedBy(t, trust.CodeSignature)(plain.Judge(about(a), trust.Dossier{Manifest: d.Manifest}, time.Now()))
	// One artifact in the place of another: the key is the same, the name is not.
	swapped := about(a)
	swapped.Reference = other.Reference
	if _, err := plain.Judge(swapped, d, time.Now()); err != nil {
		t.Error(err)
	}
	refusedBy(t, trust.CodeSignature)(named.Judge(swapped, d, time.Now()))
	// What module an archive holds, its manifest does not say.
	packed := push("filters/packed", registry.LayoutCompat)
	refusedBy(t, trust.CodeModuleUnknown)(plain.Judge(about(packed), carried(packed), time.Now()))
	// Evidence that was seen once stays, and stands there once.
	if all := trust.With(nil, trust.With(d.Evidence, d.Evidence)); len(all) != len(d.Evidence) || len(all) != 2 {
		t.Errorf("%d of %d", len(all), len(d.Evidence))
	}
}

func TestParseDossierRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "a list": "[]", "a member twice": `{"manifest":"","Manifest":""}`, "no base64": `{"manifest":"!"}`,
		"evidence of no form": `{"evidence":[{"form":"x","payload":"","signature":"AA=="}]}`,
		"too much evidence":   `{"evidence":[` + strings.TrimSuffix(strings.Repeat(`{"form":"tag","payload":"","signature":"AA=="},`, trust.MaxDossierEvidence+1), ",") + `]}`,
		"too long":            strings.Repeat(" ", trust.MaxDossierBytes+1),
	} {
		if d, err := trust.ParseDossier([]byte(text)); err == nil {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// Whatever is brought, it is a dossier within the limits that allows nothing which nobody signed, or an error.
// pieces are evidence that nobody has made, of about that size each.
func pieces(t *testing.T, kind string, count, size int) []signing.Evidence {
	t.Helper()
	var out []signing.Evidence
	for i := range count {
		payload := []byte(fmt.Sprintf("%q", fmt.Sprintf("%s %d %s", kind, i, strings.Repeat("x", size))))
		text, err := json.Marshal(map[string]any{"form": "tag", "payload": payload, "signature": []byte{1}})
		if err != nil {
			t.Fatal(err)
		}
		var e signing.Evidence
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// Whoever may attach things to an artifact cannot push out what is known of it, nor keep out what comes after.
func TestJunkCrowdsNothingOut(t *testing.T) {
	has := func(all []signing.Evidence, want signing.Evidence) bool {
		text, _ := json.Marshal(want)
		return slices.ContainsFunc(all, func(e signing.Evidence) bool { got, _ := json.Marshal(e); return bytes.Equal(got, text) })
	}
	real, junk := pieces(t, "real", 1, 2000), pieces(t, "junk", 2*trust.MaxDossierEvidence, 1)
	t.Run("junk comes later", func(t *testing.T) {
		kept := trust.With(real, nil)
		for range 3 {
			kept = trust.With(append(slices.Clone(junk), real...), kept)
		}
		if len(kept) != trust.MaxDossierEvidence || !has(kept, real[0]) {
			t.Errorf("%d pieces are kept, the real one among them: %v", len(kept), has(kept, real[0]))
		}
		// Also when it has been taken out of the registry.
		if kept = trust.With(junk, kept); !has(kept, real[0]) {
			t.Error("what was there once is lost")
		}
	})
	t.Run("junk was there first", func(t *testing.T) {
		first := junk[:trust.MaxDossierEvidence]
		kept := trust.With(first, trust.With(first, nil))
		kept = trust.With(append(slices.Clone(first), real...), kept)
		if !has(kept, real[0]) || len(kept) != trust.MaxDossierEvidence {
			t.Errorf("%d pieces are kept, and the real one is not among them", len(kept))
		}
	})
	t.Run("each once", func(t *testing.T) {
		if kept := trust.With(append(real, real...), real); len(kept) != 1 {
			t.Errorf("%d pieces", len(kept))
		}
	})
}

func FuzzDossier(f *testing.F) {
	text := policyText(f)
	_, lost, _ := testKey(f, 4)
	p, err := trust.Parse([]byte(strings.Replace(text, "REVOKED", string(lost.ID()), 1)))
	if err != nil {
		f.Fatal(err)
	}
	ref, err := registry.ParseReference("registry.example/filters/authz:1")
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"manifest":"e30=","evidence":[{"form":"tag","payload":"e30=","signature":"AA=="},{"form":"bundle","payload":"e30=","signature":"AA=="}]}`))
	f.Add([]byte(`{"canonical":"e30=","evidence":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		now := time.Unix(1780000000, 0)
		if d, err := trust.ParseDossier(data); err == nil {
			a := trust.Artifact{Reference: ref, Digest: registry.DigestOf(d.Manifest), Module: registry.DigestOf(nil)}
			if got, err := p.Judge(a, d, now); err == nil {
				t.Fatalf("nothing is signed, and yet it is allowed: %+v", got)
			}
		}
		if d, err := trust.ParseReleaseDossier(data); err == nil && len(d.Evidence) > trust.MaxDossierEvidence {
			t.Fatal("over the limit")
		}
	})
}
