package trust_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
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

// testKey is a key that is always the same, by its number.
func testKey(t testing.TB, n byte) (signing.Signer, signing.PublicKey, string) {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	s, err := signing.FromPrivateKey(ed25519.NewKeyFromSeed(seed))
	if err != nil {
		t.Fatal(err)
	}
	public, err := signing.PublicKeyOf(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	text, err := public.PEM()
	if err != nil {
		t.Fatal(err)
	}
	return s, public, string(text)
}

// indented is a PEM text as a block in YAML.
func indented(text string) string {
	return "|\n      " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n      ")
}

const testResult = "https://in-toto.io/attestation/test-result/v0.1"

// policyText is a policy with four keys, for the tests to change.
func policyText(t testing.TB) string {
	pem := func(n byte) string {
		_, _, text := testKey(t, n)
		return indented(text)
	}
	return `apiVersion: waft.dev/v1
kind: TrustPolicy
metadata: {name: production}
spec:
  expires: 2030-01-01T00:00:00Z
  registries: [registry.example, "localhost:7071"]
  keys:
  - name: old
    notAfter: 2026-06-01T00:00:00Z
    publicKey: ` + pem(1) + `
  - name: new
    notBefore: 2026-05-01T00:00:00Z
    publicKey: ` + pem(2) + `
  - name: ci
    publicKey: ` + pem(3) + `
  - name: lost
    publicKey: ` + pem(4) + `
  revoked:
    keys: [REVOKED]
    digests: ["` + string(registry.DigestOf([]byte("bad artifact"))) + `", "` + string(registry.DigestOf([]byte("bad module"))) + `"]
  rules:
  - name: experiments
    repositories: ["localhost:7071/try/**"]
    unsigned: true
  - name: guarded
    repositories: [registry.example/guarded/*]
    signatures: {keys: [old, new, ci], atLeast: 2}
  - name: tested
    repositories: [registry.example/tested/**]
    signatures: {keys: [old, new]}
    attestations:
    - name: scenarios passed on envoy-1.36
      predicateType: ` + testResult + `
      keys: [ci]
      contains: {result: PASSED, configuration: [{name: envoy-1.36}]}
  - name: filters
    repositories: [registry.example/filters/*, registry.example/team-*/filters/**]
    signatures: {keys: [old, new, lost]}
`
}

func mustParse(t testing.TB, text string) *trust.Policy {
	t.Helper()
	_, lost, _ := testKey(t, 4)
	p, err := trust.Parse([]byte(strings.Replace(text, "REVOKED", string(lost.ID()), 1)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func at(t testing.TB, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestDecide(t *testing.T) {
	p := mustParse(t, policyText(t))
	ids := map[string]signing.KeyID{}
	for i, name := range []string{"old", "new", "ci", "lost", "stranger"} {
		_, public, _ := testKey(t, byte(i+1))
		ids[name] = public.ID()
	}
	signedBy := func(names ...string) (proofs []signing.Proof) {
		for _, name := range names {
			proofs = append(proofs, signing.Proof{Key: ids[name], PredicateType: signing.PredicateSignature, Predicate: json.RawMessage("{}")})
		}
		return proofs
	}
	attested := func(key, predicate string) signing.Proof {
		return signing.Proof{Key: ids[key], PredicateType: testResult, Predicate: json.RawMessage(predicate)}
	}
	const passed = `{"result":"PASSED","configuration":[{"name":"envoy-1.40"},{"name":"envoy-1.36","digest":{"sha256":"00"}}],"passedTests":["a"]}`
	const overlap, after, before, ended = "2026-05-15T00:00:00Z", "2026-07-01T00:00:00Z", "2026-04-01T00:00:00Z", "2030-01-01T00:00:00Z"
	for _, tc := range []struct {
		name           string
		repo           string
		digest, module string // what they are of
		proofs         []signing.Proof
		now            string
		want           trust.Code // empty: allowed
		rule           string
		words          []string // of the refusal, or the keys that counted
		expires        string
	}{
		{name: "the old key, while it counts", repo: "registry.example/filters/authz", proofs: signedBy("old"), now: before, rule: "filters", words: []string{"old"}, expires: "2026-06-01T00:00:00Z"},
		{name: "the new key, before it counts", repo: "registry.example/filters/authz", proofs: signedBy("new"), now: before, want: trust.CodeSignature, rule: "filters", words: []string{"counts from 2026-05-01"}},
		{name: "both, in the overlap", repo: "registry.example/filters/authz", proofs: signedBy("old", "new"), now: overlap, rule: "filters", words: []string{"old", "new"}, expires: "2026-06-01T00:00:00Z"},
		{name: "the new key, from its first moment on", repo: "registry.example/filters/authz", proofs: signedBy("new"), now: "2026-05-01T00:00:00Z", rule: "filters", words: []string{"new"}, expires: ended},
		{name: "the old key, from its last moment on", repo: "registry.example/filters/authz", proofs: signedBy("old"), now: "2026-06-01T00:00:00Z", want: trust.CodeSignature, rule: "filters", words: []string{"counted until 2026-06-01", "waft sign"}},
		{name: "the new key", repo: "registry.example/filters/authz", proofs: signedBy("old", "new"), now: after, rule: "filters", words: []string{"new"}, expires: ended},
		{name: "nobody", repo: "registry.example/filters/authz", now: after, want: trust.CodeSignature, rule: "filters", words: []string{"old, new, lost", "0 did"}},
		{name: "a stranger", repo: "registry.example/filters/authz", proofs: signedBy("stranger"), now: after, want: trust.CodeSignature, rule: "filters"},
		{name: "a key of another rule", repo: "registry.example/filters/authz", proofs: signedBy("ci"), now: after, want: trust.CodeSignature, rule: "filters", words: []string{"ci did, which does not count here"}},
		{name: "a revoked key", repo: "registry.example/filters/authz", proofs: signedBy("lost"), now: after, want: trust.CodeSignature, rule: "filters", words: []string{"lost did, which is revoked"}},
		{name: "an attestation is no signature", repo: "registry.example/filters/authz", proofs: []signing.Proof{attested("new", passed)}, now: after, want: trust.CodeSignature, rule: "filters"},
		{name: "a revoked artifact", repo: "registry.example/filters/authz", digest: "bad artifact", proofs: signedBy("new"), now: after, want: trust.CodeRevoked, words: []string{"the artifact is revoked"}},
		{name: "a revoked module", repo: "registry.example/filters/authz", module: "bad module", proofs: signedBy("new"), now: after, want: trust.CodeRevoked, words: []string{"its module sha256:"}},
		{name: "a module that is not known", repo: "registry.example/filters/authz", module: "-", proofs: signedBy("new"), now: after, want: trust.CodeModuleUnknown, words: []string{"pull it"}},
		{name: "unsigned, and the module is not known", repo: "registry.example/filters/authz", module: "-", now: after, want: trust.CodeSignature, rule: "filters"},
		{name: "a policy that has ended", repo: "registry.example/filters/authz", proofs: signedBy("new"), now: ended, want: trust.CodeExpired},
		{name: "another registry", repo: "evil.example/filters/authz", proofs: signedBy("new"), now: after, want: trust.CodeRegistry, words: []string{"evil.example", "registry.example, localhost:7071"}},
		{name: "a registry's other port", repo: "registry.example:5000/filters/authz", proofs: signedBy("new"), now: after, want: trust.CodeRegistry},
		{name: "a repository that no rule is about", repo: "registry.example/other/authz", proofs: signedBy("new"), now: after, want: trust.CodeNoRule, words: []string{"registry.example/other/authz"}},
		{name: "one part more than the pattern", repo: "registry.example/filters/a/b", proofs: signedBy("new"), now: after, want: trust.CodeNoRule},
		{name: "any number of parts", repo: "registry.example/team-a/filters/a/b", proofs: signedBy("new"), now: after, rule: "filters", words: []string{"new"}, expires: ended},
		{name: "unsigned where that is allowed", repo: "localhost:7071/try/x", now: after, rule: "experiments", expires: ended},
		{name: "one of two", repo: "registry.example/guarded/x", proofs: signedBy("new"), now: after, want: trust.CodeSignature, rule: "guarded", words: []string{"2 of the keys", "and 1 did"}},
		{name: "one twice is not two", repo: "registry.example/guarded/x", proofs: signedBy("new", "new"), now: after, want: trust.CodeSignature, rule: "guarded"},
		{name: "one that counts and one that does not", repo: "registry.example/guarded/x", proofs: signedBy("old", "new"), now: after, want: trust.CodeSignature, rule: "guarded"},
		{name: "two of two", repo: "registry.example/guarded/x", proofs: signedBy("ci", "new"), now: after, rule: "guarded", words: []string{"new", "ci"}, expires: ended},
		{name: "not attested", repo: "registry.example/tested/x", proofs: signedBy("new"), now: after, want: trust.CodeAttestation, rule: "tested", words: []string{"scenarios passed on envoy-1.36", "waft attest"}},
		{name: "attested", repo: "registry.example/tested/x", proofs: append(signedBy("new"), attested("ci", passed)), now: after, rule: "tested", words: []string{"new"}, expires: ended},
		{name: "attested by somebody else", repo: "registry.example/tested/x", proofs: append(signedBy("new"), attested("new", passed)), now: after, want: trust.CodeAttestation, rule: "tested", words: []string{"new did, which does not count here"}},
		{name: "failed", repo: "registry.example/tested/x", proofs: append(signedBy("new"), attested("ci", strings.Replace(passed, "PASSED", "FAILED", 1))), now: after, want: trust.CodeAttestation, rule: "tested", words: []string{"1 of that type do not contain"}},
		{name: "passed elsewhere", repo: "registry.example/tested/x", proofs: append(signedBy("new"), attested("ci", `{"result":"PASSED","configuration":[{"name":"envoy-1.40"}]}`)), now: after, want: trust.CodeAttestation, rule: "tested"},
		{name: "attested and not signed", repo: "registry.example/tested/x", proofs: []signing.Proof{attested("ci", passed)}, now: after, want: trust.CodeSignature, rule: "tested"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ref, err := registry.ParseReference(tc.repo + ":1")
			if err != nil {
				t.Fatal(err)
			}
			a := trust.Artifact{Reference: ref, Digest: registry.DigestOf([]byte(tc.digest)), Module: registry.DigestOf([]byte(tc.module))}
			if tc.module == "-" {
				a.Module = ""
			}
			d, err := p.Decide(a, tc.proofs, at(t, tc.now))
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if d.Rule != tc.rule || !slices.Equal(d.SignedBy, append([]string{}, tc.words...)) || d.Expires != at(t, tc.expires) {
					t.Errorf("%+v", d)
				}
				return
			}
			var r *trust.Refusal
			if !errors.As(err, &r) || !errors.Is(err, trust.ErrNotTrusted) {
				t.Fatalf("%+v, %v", d, err)
			}
			if r.Code != tc.want || r.Rule != tc.rule || r.Next == "" || r.Policy != "production" || !strings.Contains(err.Error(), tc.repo) {
				t.Errorf("%+v", r)
			}
			for _, word := range tc.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
		})
	}
}

// The zero value is no policy that lets anything through.
func TestZeroPolicyRefuses(t *testing.T) {
	ref, err := registry.ParseReference("registry.example/x:1")
	if err != nil {
		t.Fatal(err)
	}
	if d, err := new(trust.Policy).Decide(trust.Artifact{Reference: ref}, nil, time.Now()); !errors.Is(err, trust.ErrNotTrusted) {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestParseRefuses(t *testing.T) {
	good := policyText(t)
	_, lost, pem := testKey(t, 4)
	good = strings.Replace(good, "REVOKED", string(lost.ID()), 1)
	if _, err := trust.Parse([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, from, to, word string }{
		{"another version", "waft.dev/v1", "waft.dev/v2", "waft.dev/v2"},
		{"another kind", "TrustPolicy", "Release", "Release"},
		{"no name", "{name: production}", "{}", "metadata.name"},
		{"a control character in a name", "{name: production}", `{name: "a\nb"}`, "metadata.name"},
		{"an unknown field", "  registries:", "  registeries:", "registeries"},
		{"a field twice", "  registries:", "  expires: 2031-01-01T00:00:00Z\n  registries:", "expires"},
		{"a field twice, in another case", "  registries:", "  Expires: 2031-01-01T00:00:00Z\n  registries:", "twice"},
		{"a date without a time", "2030-01-01T00:00:00Z", "2030-01-01", "2030-01-01"},
		{"a host that is none", "[registry.example,", "[registry.example/x,", "spec.registries[0]"},
		{"a key that is broken", pem[27:40], "", "spec.keys[0].publicKey"},
		{"a key's name twice", "name: new", "name: old", "spec.keys[1].name"},
		{"times that cannot be", "notAfter: 2026-06-01T00:00:00Z", "notAfter: 2026-06-01T00:00:00Z\n    notBefore: 2026-06-01T00:00:00Z", "spec.keys[0]"},
		{"a digest that is none", string(registry.DigestOf([]byte("bad module"))), "sha512:00", "spec.revoked.digests[1]"},
		{"a rule without repositories", "[registry.example/guarded/*]", "[]", "spec.rules[1]"},
		{"a host for every registry", "registry.example/guarded/*", `"**"`, "spec.rules[1].repositories[0]"},
		{"stars in the middle", "registry.example/tested/**", `registry.example/**/x`, "spec.rules[2].repositories[0]"},
		{"two rules of one name", "name: guarded", "name: experiments", "spec.rules[1].name"},
		{"nothing of signatures", "unsigned: true", "unsigned: false", "spec.rules[0]"},
		{"unsigned and signed", "unsigned: true", "unsigned: true\n    signatures: {keys: [old]}", "spec.rules[0]"},
		{"a key that is not there", "[old, new, ci]", "[old, new, cy]", `"cy"`},
		{"one key named twice", "[old, new, ci]", "[old, new, old]", "spec.rules[1].signatures.keys[2]"},
		{"no keys", "[old, new, ci]", "[]", "spec.rules[1].signatures.keys"},
		{"more keys than there are", "atLeast: 2", "atLeast: 4", "spec.rules[1].signatures.atLeast"},
		{"fewer than none", "atLeast: 2", "atLeast: -1", "spec.rules[1].signatures.atLeast"},
		{"a predicate type that is none", testResult, "tests", "predicateType"},
		{"contains a list", "{result: PASSED, configuration: [{name: envoy-1.36}]}", "[PASSED]", "contains"},
		{"no rules", "rules:", "rules: []\n  other:", "other"},
		{"a second document", "apiVersion: waft.dev/v1", "a: b\n---\napiVersion: waft.dev/v1", ""},
		{"nothing", good, "", ""},
		{"a scalar", good, "policy", ""},
		{"too long", good, strings.Repeat(" ", trust.MaxPolicyBytes+1), "limit"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			text := strings.Replace(good, tc.from, tc.to, 1)
			if text == good {
				t.Fatalf("%q is not there to be replaced", tc.from)
			}
			_, err := trust.Parse([]byte(text))
			var e *registry.Error
			if !errors.Is(err, trust.ErrInvalidPolicy) || !errors.As(err, &e) || e.Next == "" {
				t.Fatalf("have %v", err)
			}
			if !strings.Contains(err.Error(), tc.word) {
				t.Errorf("%q does not say %q", err, tc.word)
			}
		})
	}
	twice := strings.Replace(good, "- name: lost\n", "- name: again\n    publicKey: "+indented(pem)+"\n  - name: lost\n", 1)
	if _, err := trust.Parse([]byte(twice)); err == nil || !strings.Contains(err.Error(), "same key") {
		t.Errorf("one key under two names: %v", err)
	}
}

// Whatever the file, it is a policy that decides, or an error of ours.
func FuzzPolicy(f *testing.F) {
	text := policyText(f)
	_, lost, _ := testKey(f, 4)
	f.Add([]byte(strings.Replace(text, "REVOKED", string(lost.ID()), 1)))
	f.Add([]byte("apiVersion: waft.dev/v1\nkind: TrustPolicy\nmetadata: {name: a}\nspec: {rules: [{name: a, repositories: ['a.b/**'], unsigned: true}]}"))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte(identityPolicy(f, githubIssuer, workflow, "1")))
	f.Add([]byte(`{"apiVersion":"waft.dev/v1","kind":"TrustPolicy","spec":{"rules":null}}`))
	ref, err := registry.ParseReference("registry.example/filters/authz:1")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := trust.Parse(text)
		if err != nil {
			var e *registry.Error
			if !errors.Is(err, trust.ErrInvalidPolicy) || !errors.As(err, &e) || e.Next == "" {
				t.Fatalf("not an error of ours: %v", err)
			}
			return
		}
		a := trust.Artifact{Reference: ref, Digest: registry.DigestOf(nil), Module: registry.DigestOf(nil)}
		d, err := p.Decide(a, nil, time.Unix(0, 0))
		if err == nil && (!strings.Contains(strings.ToLower(string(text)), "unsigned") || d.Rule == "") {
			t.Fatalf("nothing is signed, and yet it is allowed: %+v", d)
		}
	})
}

// Over a real registry: sign, attest, decide.
func TestCheck(t *testing.T) {
	e := registrytest.Start(t)
	client := e.Client(t)
	release, _, releasePEM := testKey(t, 1)
	ci, _, ciPEM := testKey(t, 2)
	p, err := trust.Parse(fmt.Appendf(nil, `apiVersion: waft.dev/v1
kind: TrustPolicy
metadata: {name: here}
spec:
  keys:
  - name: release
    publicKey: %s
  - name: ci
    publicKey: %s
  rules:
  - name: filters
    repositories: ["%s/filters/*"]
    signatures: {keys: [release]}
    attestations:
    - {name: tests, predicateType: "%s", keys: [ci], contains: {result: PASSED}}
`, indented(releasePEM), indented(ciPEM), e.Host, testResult))
	if err != nil {
		t.Fatal(err)
	}
	a, err := client.Push(t.Context(), e.Reference(t, "filters/x:1"), registry.ModuleBytes(registrytest.Wasm(1000, 1)), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name string
		do   func() error
		want trust.Code
	}{
		{"unsigned", func() error { return nil }, trust.CodeSignature},
		{"signed", func() error { _, err := signing.Sign(t.Context(), client, a, release); return err }, trust.CodeAttestation},
		{"failed", func() error {
			_, err := signing.Attest(t.Context(), client, a, ci, testResult, []byte(`{"result":"FAILED"}`))
			return err
		}, trust.CodeAttestation},
		{"passed", func() error {
			_, err := signing.Attest(t.Context(), client, a, ci, testResult, []byte(`{"result":"PASSED"}`))
			return err
		}, ""},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		d, err := trust.Check(t.Context(), client, p, a, time.Now())
		var r *trust.Refusal
		switch {
		case step.want == "" && (err != nil || !slices.Equal(d.SignedBy, []string{"release"}) || !slices.Equal(d.Attestations, []string{"tests"})):
			t.Errorf("%s: %+v, %v", step.name, d, err)
		case step.want != "" && (!errors.As(err, &r) || r.Code != step.want):
			t.Errorf("%s: %+v, %v", step.name, d, err)
		}
	}
	// A registry that cannot be asked is no yes.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if d, err := trust.Check(ctx, client, p, a, time.Now()); err == nil || d.Rule != "" {
		t.Errorf("%+v, %v", d, err)
	}
}
