package build_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/waft-project/waft/sdk/build"
)

// What a filter is made of: the modules that are compiled in, and those alone; and who says so.
func TestOrigin(t *testing.T) {
	r := mustBuild(t, "testdata/raw", build.Options{OutDir: t.TempDir(), Version: "1.2.3", BuilderID: "https://ci.example/builder"})
	var bom cdx.BOM
	if err := json.Unmarshal(readFile(t, r.SBOM), &bom); err != nil {
		t.Fatal(err)
	}
	var purls []string
	for _, c := range *bom.Components {
		purls = append(purls, c.PackageURL)
	}
	if bom.SpecVersion != cdx.SpecVersion1_6 || bom.Metadata.Component.Name != "raw" || bom.Metadata.Component.Version != "1.2.3" || bom.SerialNumber != "" || bom.Metadata.Timestamp != "" {
		t.Errorf("%+v", bom.Metadata.Component)
	}
	want := []string{"pkg:golang/github.com/proxy-wasm/proxy-wasm-go-sdk@v0.0.0-20260105142703-44c7d5847745", "pkg:golang/github.com/waft-project/waft"}
	if len(purls) != 3 || !slices.Equal(purls[:2], want) || !strings.HasPrefix(purls[2], "pkg:golang/std@1.") {
		t.Errorf("made of %q", purls)
	}
	refs := map[string]bool{"filter": true}
	for _, c := range *bom.Components {
		refs[c.BOMRef] = true
	}
	for _, d := range *bom.Dependencies {
		if !refs[d.Ref] {
			t.Errorf("a dependency of %s, which is not there", d.Ref)
		}
		for _, on := range deref(d.Dependencies) {
			if !refs[on] {
				t.Errorf("%s depends on %s, which is not there", d.Ref, on)
			}
		}
	}
	o, err := build.ReadOrigin(r.Module, r.Manifest.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	var predicate struct {
		BuildDefinition struct {
			ExternalParameters   struct{ Package, Version string }
			ResolvedDependencies []struct {
				URI    string
				Digest map[string]string
			}
		}
		RunDetails struct{ Builder struct{ ID string } }
	}
	if err := json.Unmarshal(o.Predicate, &predicate); err != nil {
		t.Fatal(err)
	}
	def := predicate.BuildDefinition
	if def.ExternalParameters.Version != "1.2.3" || !strings.HasSuffix(def.ExternalParameters.Package, "/testdata/raw") || predicate.RunDetails.Builder.ID != "https://ci.example/builder" {
		t.Errorf("%s", o.Predicate)
	}
	if len(def.ResolvedDependencies) != 3 || !strings.HasPrefix(def.ResolvedDependencies[1].Digest["dirHash"], "h1:") {
		t.Errorf("%s", o.Predicate)
	}
	if dir, err := os.Getwd(); err != nil || strings.Contains(string(o.Provenance)+string(o.SBOM), filepath.Dir(dir)) {
		t.Errorf("it tells where it was built: %s", o.Provenance)
	}
}

func TestReadOrigin(t *testing.T) {
	const digest = "0000000000000000000000000000000000000000000000000000000000000000"
	bom := `{"metadata":{"component":{"hashes":[{"alg":"SHA-256","content":"` + digest + `"}]}}}`
	provenance := `{"subject":[{"digest":{"sha256":"` + digest + `"}}],"predicateType":"` + build.ProvenanceType + `","predicate":{"a":1}}`
	for name, tc := range map[string]struct {
		bom, provenance string
		bad             bool
	}{
		"nothing":             {},
		"both":                {bom: bom, provenance: provenance},
		"one":                 {bom: bom},
		"not JSON":            {bom: "x", bad: true},
		"another's SBOM":      {bom: strings.Replace(bom, "00", "11", 1), bad: true},
		"an SBOM of nothing":  {bom: "{}", bad: true},
		"another's":           {provenance: strings.Replace(provenance, "00", "11", 1), bad: true},
		"of two things":       {provenance: strings.Replace(provenance, "[{", `[{},{`, 1), bad: true},
		"another predicate":   {provenance: strings.Replace(provenance, "/v1", "/v2", 1), bad: true},
		"more than is read":   {provenance: strings.Repeat(" ", build.MaxOriginBytes+1), bad: true},
		"a provenance of one": {provenance: provenance},
	} {
		t.Run(name, func(t *testing.T) {
			wasm := filepath.Join(t.TempDir(), "x.wasm")
			for suffix, text := range map[string]string{build.SBOMSuffix: tc.bom, build.ProvenanceSuffix: tc.provenance} {
				if text == "" {
					continue
				}
				if err := os.WriteFile(strings.TrimSuffix(wasm, ".wasm")+suffix, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			o, err := build.ReadOrigin(wasm, digest)
			if tc.bad {
				if !errors.Is(err, build.ErrManifest) {
					t.Fatalf("%+v, %v", o, err)
				}
				return
			}
			if err != nil || string(o.SBOM) != tc.bom || string(o.Provenance) != tc.provenance || (tc.provenance != "") != (string(o.Predicate) == `{"a":1}`) {
				t.Errorf("%+v, %v", o, err)
			}
		})
	}
}

func deref(list *[]string) []string {
	if list == nil {
		return nil
	}
	return *list
}
