package keyless_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/registry/signing/keyless"
)

// The files in testdata are what real services made for `make interop` (its flag -update writes them): a bundle by Fulcio, Rekor and a timestamp authority
// about the artifact that holds registrytest.Wasm(1000, 1), whom to believe, and whom who made nothing.

const who = "ci@example.com"

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func verifierFor(t testing.TB, name string) *keyless.Verifier {
	t.Helper()
	v, err := keyless.NewVerifier(fixture(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// signedArtifact pushes the artifact that the bundle is about.
func signedArtifact(t *testing.T, e registrytest.Endpoint) registry.Artifact {
	t.Helper()
	a, err := e.Client(t).Push(t.Context(), e.Reference(t, "signed/x:1"), registry.ModuleBytes(registrytest.Wasm(1000, 1)), nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func evidence(t testing.TB, text []byte) signing.Evidence {
	t.Helper()
	e, err := signing.ParseEvidence(text)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// By way of a registry, and as JSON to whoever cannot reach it.
func TestVerify(t *testing.T) {
	e := registrytest.Start(t)
	a := signedArtifact(t, e)
	if err := signing.AttachSignature(t.Context(), e.Client(t), a, fixture(t, "bundle.json")); err != nil {
		t.Fatal(err)
	}
	found, err := signing.Collect(t.Context(), e.Client(t), a)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(found.Evidence)
	if err != nil {
		t.Fatal(err)
	}
	var carried signing.Collection
	if err := json.Unmarshal(text, &carried.Evidence); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]signing.Collection{"from the registry": found, "carried": carried} {
		proofs, reasons := verifierFor(t, "trusted_root.json").VerifyAll(c, a.Digest)
		if len(proofs) != 1 || len(reasons) != 0 {
			t.Fatalf("%s: %+v, %v", name, proofs, reasons)
		}
		p := proofs[0]
		if p.Certificate.Subject != who || !strings.HasPrefix(p.Certificate.Issuer, "http://127.0.0.1:") || p.Certificate.Time.IsZero() || p.Key != "" || p.PredicateType != signing.PredicateSignature {
			t.Errorf("%s: %+v by %+v", name, p, p.Certificate)
		}
		if err := signing.RequireSignature(a, proofs, reasons); err != nil {
			t.Error(err)
		}
		if proofs, reasons := verifierFor(t, "other_root.json").VerifyAll(c, a.Digest); len(proofs) != 0 || len(reasons) != 1 || !errors.Is(reasons[0], signing.ErrInvalidSignature) {
			t.Errorf("%s, by others: %+v, %v", name, proofs, reasons)
		}
		if proofs, reasons := c.VerifyAll(nil, a.Digest); len(proofs) != 0 || len(reasons) != 1 {
			t.Errorf("%s, without keys: %+v, %v", name, proofs, reasons)
		}
	}
	// Carried evidence that says something else than its bundle.
	for _, change := range []struct{ from, to string }{{`"form":"bundle"`, `"form":"tag"`}, {`"payload":"`, `"payload":"AAAA`}, {`"certificate":true`, `"certificate":false`}} {
		changed := bytes.Replace(text, []byte(change.from), []byte(change.to), 1)
		if bytes.Equal(changed, text) {
			t.Fatalf("%s has no %s", text, change.from)
		}
		if err := json.Unmarshal(changed, &carried.Evidence); !errors.Is(err, signing.ErrInvalidBundle) {
			t.Errorf("with %s: %v", change.to, err)
		}
	}
}

func TestRefused(t *testing.T) {
	v := verifierFor(t, "trusted_root.json")
	digest := signedArtifact(t, registrytest.Start(t)).Digest
	refused := func(name string, text []byte, digest registry.Digest) {
		t.Helper()
		e, err := signing.ParseEvidence(text)
		if err != nil {
			return // refused even before
		}
		if p, err := v.Verify(e, digest); err == nil {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if _, err := v.Verify(evidence(t, fixture(t, "bundle.json")), digest); err != nil {
		t.Fatal(err)
	}
	refused("another artifact", fixture(t, "bundle.json"), registry.DigestOf([]byte("x")))
	for _, tc := range tamperings {
		var b map[string]any
		if err := json.Unmarshal(fixture(t, "bundle.json"), &b); err != nil {
			t.Fatal(err)
		}
		tc.change(b)
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		refused(tc.name, text, digest)
	}
	// What a key made is for keys to verify.
	key := []byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":""}},"dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AAAA"}]}}`)
	if evidence(t, key).Bundle() != nil {
		t.Error("a bundle of a key is kept")
	}
	refused("a key", key, digest)
}

func TestTrustedRoots(t *testing.T) {
	without := func(fields ...string) []byte {
		var root map[string]any
		if err := json.Unmarshal(fixture(t, "trusted_root.json"), &root); err != nil {
			t.Fatal(err)
		}
		for _, field := range fields {
			delete(root, field)
		}
		text, err := json.Marshal(root)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for name, text := range map[string][]byte{
		"nothing": nil, "no JSON": []byte("root"), "no authority": without("certificateAuthorities"), "nothing tells the time": without("tlogs", "timestampAuthorities"),
		"too large": append(without(), make([]byte, keyless.MaxFileBytes)...),
	} {
		if _, err := keyless.NewVerifier(text); !errors.Is(err, keyless.ErrInvalidTrustedRoot) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Without a log, none is asked for; with one alone that tells no time, there is none.
	digest := signedArtifact(t, registrytest.Start(t)).Digest
	for name, tc := range map[string]struct {
		root []byte
		good bool
	}{"no log": {without("tlogs"), true}, "no timestamp authority": {without("timestampAuthorities"), false}} {
		v, err := keyless.NewVerifier(tc.root)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(evidence(t, fixture(t, "bundle.json")), digest); (err == nil) != tc.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestServicesNotThere(t *testing.T) {
	for name, text := range map[string][]byte{"nothing": nil, "no JSON": []byte("x"), "empty": []byte(`{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json"}`)} {
		if _, err := keyless.ParseServices(text); !errors.Is(err, keyless.ErrInvalidServices) {
			t.Errorf("%s: %v", name, err)
		}
	}
	services, err := keyless.ParseServices(bytes.ReplaceAll(fixture(t, "signing_config.json"), []byte("http://127.0.0.1:"), []byte("http://127.0.0.1:1/")))
	if err != nil {
		t.Fatal(err)
	}
	e := registrytest.Start(t)
	a := signedArtifact(t, e)
	for name, token := range map[string]string{"no token": " ", "not a token": "x", "nobody answers": "e30.eyJlbWFpbCI6ImEiLCJlbWFpbF92ZXJpZmllZCI6dHJ1ZX0.e30"} {
		if _, err := keyless.Sign(t.Context(), e.Client(t), a, services, token, verifierFor(t, "trusted_root.json")); !errors.Is(err, signing.ErrSigner) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if found, err := signing.Collect(t.Context(), e.Client(t), a); err != nil || len(found.Evidence) != 0 {
		t.Errorf("published all the same: %+v, %v", found, err)
	}
}
