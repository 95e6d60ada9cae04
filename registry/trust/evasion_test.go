package trust_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/trust"
)

// policyOf is a policy with one key, k, and these members of its spec.
func policyOf(t *testing.T, spec string) string {
	t.Helper()
	_, _, pem := testKey(t, 1)
	return "apiVersion: waft.dev/v1\nkind: TrustPolicy\nmetadata: {name: p}\nspec:\n  keys:\n  - name: k\n    publicKey: " + indented(pem) + "\n" + spec
}

// TestHostSpelling: the rule for a registry holds however its host is spelt.
func TestHostSpelling(t *testing.T) {
	p, err := trust.Parse([]byte(policyOf(t, `  rules:
  - {name: strict, repositories: ["r.example/prod/**"], signatures: {keys: [k]}}
  - {name: rest, repositories: ["*/**"], unsigned: true}
`)))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"r.example/prod/a:1", "R.example/prod/a:1", "r.example:443/prod/a:1"} {
		ref, err := registry.ParseReference(name)
		if err != nil {
			continue // not a reference at all
		}
		a := trust.Artifact{Reference: ref, Digest: registry.DigestOf(nil), Module: registry.DigestOf(nil)}
		d, err := p.Decide(a, nil, time.Now())
		if refusal := new(trust.Refusal); !errors.As(err, &refusal) || refusal.Rule != "strict" {
			t.Errorf("%s: got %+v, %v, want a refusal by the rule strict", name, d, err)
		}
	}
	if _, err := trust.Parse([]byte(policyOf(t, "  rules:\n  - {name: r, repositories: [\"R.example:443/**\"], unsigned: true}\n"))); err == nil {
		t.Error("a pattern is taken whose host is spelt in a way that never matches")
	}
}

// TestNothingIsOverlooked: what would be passed over in silence is an error.
func TestNothingIsOverlooked(t *testing.T) {
	const rule = "  rules:\n  - {name: r, repositories: [\"r.example/**\"], unsigned: true}\n"
	revoked := string(registry.DigestOf([]byte("x")))
	for name, spec := range map[string]string{
		"a second document":      rule + "---\nspec: {revoked: {digests: [\"" + revoked + "\"]}}\n",
		"behind the end":         rule + "...\ngarbage: [\n",
		"a blank end":            "  expires:\n" + rule,
		"a blank list":           "  revoked: {digests: }\n" + rule,
		"null for a rule's part": "  rules:\n  - {name: r, repositories: [\"r.example/**\"], unsigned: true, attestations: null}\n",
		"another case":           "  rules:\n  - {name: r, repositories: [\"r.example/**\"], UNSIGNED: true}\n",
		"another case above":     "  Rules:\n  - {name: r, repositories: [\"r.example/**\"], unsigned: true}\n",
		"a member in two forms":  "  revoked: {digests: [\"" + revoked + "\"], dige\u017fts: []}\n" + rule,
	} {
		if _, err := trust.Parse([]byte(policyOf(t, spec))); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	blankKey := strings.Replace(policyOf(t, rule), "  - name: k\n", "  - name: k\n    notAfter:\n", 1)
	if _, err := trust.Parse([]byte(blankKey)); err == nil || !strings.Contains(err.Error(), "spec.keys[0].notAfter: it is blank") {
		t.Errorf("a key with a blank end: %v", err)
	}
	if _, err := trust.Parse([]byte(policyOf(t, rule))); err != nil {
		t.Errorf("the policy itself: %v", err)
	}
}
