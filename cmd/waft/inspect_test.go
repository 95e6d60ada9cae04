package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/sdk/compare"
	"github.com/waft-project/waft/sdk/testresult"
)

func TestInspect(t *testing.T) {
	w := newWorkshop(t)
	t.Setenv(passwordVariable, "secret")
	key, pub := writeKey(t, w.dir, "release", "secret")
	_, otherPub := writeKey(t, w.dir, "other", "secret")
	wasm := w.build(t, "1.0.0", "e2e/filters/stamp")
	mustWaft(t, "test", "--module", wasm, "--report", filepath.Dir(wasm), "../../e2e/filters/stamp")
	ref := w.ref("stamp:1.0.0")
	w.must(t, "push", wasm, ref, "--layout", "oci,compat,cncf", "--sign-key", key)
	sum, err := fileSHA256(wasm)
	if err != nil {
		t.Fatal(err)
	}
	public, err := signing.LoadPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}

	for suffix, readers := range map[string][]registry.Reader{
		"":        {registry.ReaderIstio, registry.ReaderEnvoyGateway, registry.ReaderWasme},
		"-compat": {registry.ReaderIstio, registry.ReaderEnvoyGateway},
		"-cncf":   {registry.ReaderCNCF},
	} {
		var got struct {
			inspected
			Manifest struct{ SHA256 string } `json:"manifest"`
		}
		w.json(t, &got, "inspect", ref+suffix, "--key", pub)
		if !slices.Equal(got.Readers, readers) || got.Module.Digest.Hex() != sum || got.Manifest.SHA256 != sum {
			t.Errorf("%q is read by %v, and holds %s", suffix, got.Readers, got.Module.Digest)
		}
		var tags []string
		for _, l := range got.Layouts {
			tags = append(tags, l.Tag)
			if l.Module.Hex() != sum || len(l.Readers) == 0 {
				t.Errorf("%q: %+v", suffix, l)
			}
		}
		if !slices.Equal(tags, []string{"1.0.0", "1.0.0-compat", "1.0.0-cncf"}) {
			t.Errorf("%q: tags %q", suffix, tags)
		}
		said := map[string]bool{}
		for _, c := range got.Signatures {
			said[string(c.Form)+" "+c.PredicateType] = true
			if c.Form == signing.FormBundle && c.Key != public.ID() || c.Certificate {
				t.Errorf("%q: %+v", suffix, c)
			}
		}
		for _, want := range []string{
			"tag " + signing.PredicateSignature, "bundle " + signing.PredicateSignature, "bundle " + sbomPredicate, "bundle " + testresult.PredicateType,
			"bundle https://slsa.dev/provenance/v1",
		} {
			if !said[want] {
				t.Errorf("%q: no signature %q among %v", suffix, want, said)
			}
		}
		if len(got.Proofs) != len(got.Signatures) {
			t.Errorf("%q: %d of %d signatures are verified", suffix, len(got.Proofs), len(got.Signatures))
		}
		if got.SBOM == nil || len(got.SBOM.Modules) < 2 || len(got.Provenance) != 1 || !strings.HasSuffix(got.Provenance[0].Package, "e2e/filters/stamp") {
			t.Errorf("%q: made of %+v by %+v", suffix, got.SBOM, got.Provenance)
		}
		vouching := []signing.KeyID{public.ID()}
		if !slices.Equal(got.SBOM.SignedBy, vouching) || !slices.Equal(got.Provenance[0].SignedBy, vouching) || !slices.Equal(got.Reports[0].SignedBy, vouching) {
			t.Errorf("%q: signed by %v, %v, %v", suffix, got.SBOM.SignedBy, got.Provenance[0].SignedBy, got.Reports[0].SignedBy)
		}
		if len(got.Reports) != 1 || got.Reports[0].Result != testresult.Passed || !slices.Contains(got.Reports[0].Hosts, "envoy-1.36") {
			t.Errorf("%q: reports %+v", suffix, got.Reports)
		}
	}
	table := w.must(t, "inspect", ref, "--key", otherPub)
	for _, want := range []string{
		"loaded by", "waft, istio, envoy-gateway, wasme", "also at", "1.0.0-compat", "nothing by these keys", string(public.ID()), "Go modules", "PASSED", "envoy-1.36",
		"failEvery", "integer", "(claimed)",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("the table does not say %q:\n%s", want, table)
		}
	}

	// What another one has put there says nothing of this module, and hides nothing.
	artifact, err := w.e.Client(t).Resolve(t.Context(), mustReference(t, ref))
	if err != nil {
		t.Fatal(err)
	}
	other, err := testresult.Tests{Name: "x", SHA256: strings.Repeat("0", 64)}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	// One about this module that nobody has signed: it is shown, as a claim.
	boast, err := testresult.Tests{Name: "x", SHA256: sum, Runs: []testresult.Run{{Profile: "envoy-9.99", Host: testresult.HostEnvoy, Version: "9.99.0"}}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{other, boast, []byte("{}"), []byte("nonsense")} {
		if _, err := w.e.Client(t).Attach(t.Context(), artifact, registry.Attachment{ArtifactType: testresult.MediaType, Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	var got inspected
	w.json(t, &got, "inspect", ref, "--key", pub)
	if len(got.Reports) != 2 || len(got.Provenance) != 1 {
		t.Errorf("with those of others: %+v, %+v", got.Reports, got.Provenance)
	}
	for _, r := range got.Reports {
		if boasts := slices.Contains(r.Hosts, "envoy-9.99 (Envoy 9.99.0)"); boasts == (len(r.SignedBy) > 0) {
			t.Errorf("signed by %v: %+v", r.SignedBy, r.Report)
		}
	}
	w.json(t, &got, "inspect", artifact.Reference.InRepository().AtDigest(artifact.Digest).String())
	if len(got.Layouts) != 1 {
		t.Errorf("by digest: %+v", got.Layouts)
	}
}

func mustReference(t *testing.T, s string) registry.Reference {
	t.Helper()
	ref, err := registry.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestDiff(t *testing.T) {
	w := newWorkshop(t)
	t.Setenv(passwordVariable, "secret")
	key, pub := writeKey(t, w.dir, "release", "secret")
	one := w.build(t, "1.0.0", "e2e/filters/stamp")
	ref := w.ref("stamp:1.0.0")
	w.must(t, "push", one, ref, "--layout", "oci,compat", "--sign-key", key)

	var same compared
	w.json(t, &same, "diff", ref, one)
	if !same.Same() && (len(same.Values) > 0 || same.Breaks || same.ModulesUnknown) {
		t.Errorf("the file and what was published of it: %+v", same.Difference)
	}
	if out := w.must(t, "diff", one, one); !strings.Contains(out, "same") {
		t.Errorf("one and the same: %s", out)
	}

	// The next version: another memory maximum, and a schema that takes less.
	mustWaft(t, "build", "--memory", "32", "--version", "2.0.0", "--out", filepath.Join(w.dir, "2.0.0"), "../../e2e/filters/stamp")
	two := filepath.Join(w.dir, "2.0.0", "stamp.wasm")
	beside := strings.TrimSuffix(two, ".wasm") + ".json"
	text, err := os.ReadFile(beside)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	schema := m["configSchema"].(map[string]any)
	schema["required"] = []string{"failEvery"}
	properties := schema["properties"].(map[string]any)
	delete(properties, "value")
	if text, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(beside, text, 0o600); err != nil {
		t.Fatal(err)
	}
	next := w.ref("stamp:2.0.0")
	w.must(t, "push", two, next, "--scenarios", "../../e2e/filters/stamp")
	var d compared
	w.json(t, &d, "diff", ref, next, "--key", pub)
	changed := map[string]string{}
	for _, c := range d.Values {
		changed[c.What] = c.Is
	}
	if changed["memory max"] != "33554432" || changed["version"] != "2.0.0" || changed["module"] == "" || changed["artifact"] == "" || changed["abi"] != "" {
		t.Errorf("values: %+v", d.Values)
	}
	effects := map[string]compare.Effect{}
	for _, c := range d.Config {
		effects[c.Path] = c.Effect
	}
	if !d.Breaks || effects["value"] != compare.Breaks || effects["failEvery"] != compare.Breaks {
		t.Errorf("config: %+v", d.Config)
	}
	if !slices.Equal(d.Layouts.Removed, []string{"compat"}) || len(d.Signers.Removed) != 1 || len(d.Signers.Added) != 0 || d.ModulesUnknown {
		t.Errorf("layouts %+v, signers %+v", d.Layouts, d.Signers)
	}
	if out := w.must(t, "diff", ref, next); !strings.Contains(out, "can be one that") || !strings.Contains(out, "breaks") {
		t.Errorf("the table: %s", out)
	}
	if _, err := w.try(t, "diff", ref, w.ref("stamp:3")); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("what is not there: %v", err)
	}
	if _, err := w.try(t, "diff", ref, "nothing.wasm"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such file: %v", err)
	}
}
