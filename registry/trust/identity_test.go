package trust_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/registry/trust"
)

const (
	githubIssuer = "https://token.actions.githubusercontent.com"
	workflow     = "https://github.com/acme/filters/.github/workflows/release.yml@refs/tags/v1.2.0"
)

// keylessFile is one of those that real services made; see package keyless's tests.
func keylessFile(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "signing", "keyless", "testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// identityPolicy names a key and some identities, of which two must sign.
func identityPolicy(t testing.TB, issuer, subject, atLeast string) string {
	_, _, text := testKey(t, 1)
	return fmt.Sprintf(`apiVersion: waft.dev/v1
kind: TrustPolicy
metadata: {name: production}
spec:
  keys:
  - name: release
    publicKey: %s
  identities:
  - {name: workflow, issuer: %q, subject: %q, notBefore: 2026-01-01T00:00:00Z, notAfter: 2027-01-01T00:00:00Z}
  - {name: people, issuer: "https://accounts.example", subject: "*@acme.example"}
  trustedRoot: %s
  rules:
  - name: all
    repositories: ["registry.example/filters/*", "127.0.0.1:*/filters/*"]
    signatures: {keys: [release, workflow], atLeast: %s}
`, indented(text), issuer, subject, indented(keylessFile(t, "trusted_root.json")), atLeast)
}

func TestIdentities(t *testing.T) {
	digest := registry.DigestOf([]byte("artifact"))
	ref, err := registry.ParseReference("registry.example/filters/x:1")
	if err != nil {
		t.Fatal(err)
	}
	_, key, _ := testKey(t, 1)
	signed := func(issuer, subject, time string) signing.Proof {
		return signing.Proof{PredicateType: signing.PredicateSignature, Certificate: &signing.Certificate{Issuer: issuer, Subject: subject, Time: at(t, time)}}
	}
	const tags = "https://github.com/acme/filters/.github/workflows/*@refs/tags/*"
	byKey := signing.Proof{PredicateType: signing.PredicateSignature, Key: key.ID()}
	for _, tc := range []struct {
		name, subject, atLeast string
		proofs                 []signing.Proof
		by                     []string
		says                   string
	}{
		{"it", tags, "1", []signing.Proof{signed(githubIssuer, workflow, "2026-05-01T00:00:00Z")}, []string{"workflow"}, ""},
		{"the very one", workflow, "1", []signing.Proof{signed(githubIssuer, workflow, "2026-05-01T00:00:00Z")}, []string{"workflow"}, ""},
		{"a key as well", tags, "2", []signing.Proof{signed(githubIssuer, workflow, "2026-05-01T00:00:00Z"), byKey}, []string{"release", "workflow"}, ""},
		{"twice is once", tags, "2", []signing.Proof{signed(githubIssuer, workflow, "2026-05-01T00:00:00Z"), signed(githubIssuer, workflow, "2026-05-02T00:00:00Z")}, nil, "1 did"},
		{"another issuer", tags, "1", []signing.Proof{signed("https://issuer.example", workflow, "2026-05-01T00:00:00Z")}, nil, "0 did"},
		{"another organisation", tags, "1", []signing.Proof{signed(githubIssuer, strings.Replace(workflow, "acme", "evil", 1), "2026-05-01T00:00:00Z")}, nil, "0 did"},
		{"a branch", tags, "1", []signing.Proof{signed(githubIssuer, strings.Replace(workflow, "tags", "heads", 1), "2026-05-01T00:00:00Z")}, nil, "0 did"},
		{"a star is no slash", "https://github.com/acme/*@refs/tags/*", "1", []signing.Proof{signed(githubIssuer, workflow, "2026-05-01T00:00:00Z")}, nil, "0 did"},
		{"too early", tags, "1", []signing.Proof{signed(githubIssuer, workflow, "2025-12-31T23:59:59Z")}, nil, "counts from"},
		{"too late", tags, "1", []signing.Proof{signed(githubIssuer, workflow, "2027-01-01T00:00:00Z")}, nil, "counted until"},
		{"late and in time", tags, "1", []signing.Proof{signed(githubIssuer, workflow, "2027-01-01T00:00:00Z"), signed(githubIssuer, workflow, "2026-05-01T00:00:00Z")}, []string{"workflow"}, ""},
		{"who does not count here", tags, "1", []signing.Proof{signed("https://accounts.example", "eve@acme.example", "2026-05-01T00:00:00Z")}, nil, "people did, who does not count here"},
		{"a statement is no signature", tags, "1", []signing.Proof{{PredicateType: testResult, Certificate: signed(githubIssuer, workflow, "2026-05-01T00:00:00Z").Certificate}}, nil, "0 did"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := mustParse(t, identityPolicy(t, githubIssuer, tc.subject, tc.atLeast))
			// The decision comes years after the signature, which counts all the same.
			d, err := p.Decide(trust.Artifact{Reference: ref, Digest: digest, Module: digest}, tc.proofs, at(t, "2029-01-01T00:00:00Z"))
			if tc.by != nil {
				if err != nil || !slices.Equal(d.SignedBy, tc.by) {
					t.Errorf("%+v, %v", d, err)
				}
				return
			}
			var refusal *trust.Refusal
			if !errors.As(err, &refusal) || refusal.Code != trust.CodeSignature || !strings.Contains(refusal.Reason, tc.says) {
				t.Errorf("%+v, %v", d, err)
			}
		})
	}
}

// What real services made, by way of a registry.
func TestCheckIdentity(t *testing.T) {
	e := registrytest.Start(t)
	c := e.Client(t)
	a, err := c.Push(t.Context(), e.Reference(t, "filters/x:1"), registry.ModuleBytes(registrytest.Wasm(1000, 1)), nil)
	if err != nil {
		t.Fatal(err)
	}
	bundle := keylessFile(t, "bundle.json")
	evidence, err := signing.ParseEvidence([]byte(bundle))
	if err != nil {
		t.Fatal(err)
	}
	// Which port the issuer had is not known here.
	proofs := mustParse(t, identityPolicy(t, githubIssuer, workflow, "1")).Verify(signing.Collection{Evidence: []signing.Evidence{evidence}}, a.Digest)
	if len(proofs) != 1 {
		t.Fatalf("%+v", proofs)
	}
	issuer := proofs[0].Certificate.Issuer
	check := func(subject string) error {
		_, err := trust.Check(t.Context(), c, mustParse(t, identityPolicy(t, issuer, subject, "1")), a, time.Now())
		return err
	}
	var refusal *trust.Refusal
	if err := check("ci@example.com"); !errors.As(err, &refusal) {
		t.Fatalf("allowed before it was signed: %v", err)
	}
	if err := signing.AttachSignature(t.Context(), c, a, []byte(bundle)); err != nil {
		t.Fatal(err)
	}
	if err := check("*@example.com"); err != nil {
		t.Error(err)
	}
	if err := check("eve@example.com"); !errors.As(err, &refusal) {
		t.Errorf("somebody else's: %v", err)
	}
}

func TestIdentitiesRefused(t *testing.T) {
	good := identityPolicy(t, githubIssuer, workflow, "1")
	mustParse(t, good)
	for name, change := range map[string][2]string{
		"everybody":              {workflow, "*"},
		"everybody with a slash": {workflow, "*/*"},
		"two stars":              {workflow, "https://github.com/acme/**"},
		"no subject":             {workflow, ""},
		"a line break":           {workflow, `a\nb`},
		"no issuer":              {githubIssuer, ""},
		"not a URL":              {githubIssuer, "accounts.example"},
		"a name of a key":        {"{name: people", "{name: release"},
		"a name twice":           {"{name: people", "{name: workflow"},
		"no name":                {"{name: people", `{name: ""`},
		"nobody by that name":    {"[release, workflow]", "[release, nobody]"},
		"times that cross":       {"notBefore: 2026-01-01", "notBefore: 2028-01-01"},
		"a root that is none":    {`{"mediaType"`, `{"mediatype"`},
		"no root":                {"  trustedRoot: |\n      {", "  trustedRoot: \"\"\n  #"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, change[0], change[1], 1)
			if text == good {
				t.Fatalf("there is no %q", change[0])
			}
			if _, err := trust.Parse([]byte(text)); !errors.Is(err, trust.ErrInvalidPolicy) {
				t.Errorf("have %v", err)
			}
		})
	}
}
