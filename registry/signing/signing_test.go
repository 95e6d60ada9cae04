package signing_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/registrytest"
	"github.com/waft-project/waft/registry/signing"
)

// newKeys are one key of each kind that is taken.
func newKeys(t testing.TB) map[string]crypto.PrivateKey {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.PrivateKey{"ECDSA": ec, "Ed25519": ed, "RSA": rs}
}

func newSigner(t testing.TB) signing.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signerOf(t, key)
}

func signerOf(t testing.TB, key crypto.PrivateKey) signing.Signer {
	t.Helper()
	s, err := signing.FromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func publicOf(t testing.TB, s signing.Signer) signing.PublicKey {
	t.Helper()
	k, err := signing.PublicKeyOf(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// push publishes a small module and gives its artifact; seed makes it different from others.
func push(t testing.TB, e registrytest.Endpoint, path string, seed byte) registry.Artifact {
	t.Helper()
	a, err := e.Client(t).Push(t.Context(), e.Reference(t, path), registry.ModuleBytes(registrytest.Wasm(1000, seed)), nil)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func mustSign(t testing.TB, e registrytest.Endpoint, a registry.Artifact, s signing.Signer) signing.PublicKey {
	t.Helper()
	key, err := signing.Sign(t.Context(), e.Client(t), a, s)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func collect(t testing.TB, e registrytest.Endpoint, a registry.Artifact) signing.Collection {
	t.Helper()
	c, err := signing.Collect(t.Context(), e.Client(t), a)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func wantKind(t testing.TB, err, kind error) {
	t.Helper()
	var e *registry.Error
	if !errors.Is(err, kind) || !errors.As(err, &e) {
		t.Fatalf("want %v, have %v", kind, err)
	}
	if e.Op == "" || e.Subject == "" || e.Next == "" {
		t.Errorf("an error must say what was done, to what, and what to do next: %+v", e)
	}
}

func TestSignAndVerify(t *testing.T) {
	for name, start := range map[string]func(testing.TB) registrytest.Endpoint{
		"tag schema": func(t testing.TB) registrytest.Endpoint { return registrytest.Start(t) },
		"referrers API": func(t testing.TB) registrytest.Endpoint {
			return registrytest.Serve(t, registrytest.NewReferrersAPI(registrytest.Start(t).Handler))
		},
	} {
		e := start(t)
		for kind, private := range newKeys(t) {
			t.Run(name+", "+kind, func(t *testing.T) {
				s := signerOf(t, private)
				a := push(t, e, "signed/"+fmt.Sprintf("%x", kind)+":1", 1)
				c := collect(t, e, a)
				proofs, reasons := c.VerifyAll([]signing.PublicKey{publicOf(t, s)}, a.Digest)
				if len(proofs)+len(reasons) != 0 {
					t.Fatalf("before it was signed: %+v %v", proofs, reasons)
				}
				wantKind(t, signing.RequireSignature(a, proofs, reasons), signing.ErrUnsigned)
				key := mustSign(t, e, a, s)
				if key.ID() != publicOf(t, s).ID() {
					t.Errorf("signed with %s", key.ID())
				}
				// Among other keys, by the artifact alone, in both forms.
				keys := []signing.PublicKey{publicOf(t, newSigner(t)), key}
				proofs, reasons = collect(t, e, a).VerifyAll(keys, a.Digest)
				if len(reasons) != 0 || len(proofs) != 2 {
					t.Fatalf("%+v %v", proofs, reasons)
				}
				for i, form := range []signing.Form{signing.FormBundle, signing.FormTag} {
					if p := proofs[i]; p.Form != form || p.Key != key.ID() || p.PredicateType != signing.PredicateSignature || string(p.Predicate) != "{}" {
						t.Errorf("%+v", p)
					}
				}
				for _, p := range proofs {
					if want := a.Reference.InRepository().String(); p.Identity != want {
						t.Errorf("%s: the signer named %q, want %q", p.Form, p.Identity, want)
					}
				}
				if err := signing.RequireSignature(a, proofs, reasons); err != nil {
					t.Error(err)
				}
				proofs, reasons = collect(t, e, a).VerifyAll(keys[:1], a.Digest)
				if len(proofs) != 0 || len(reasons) != 2 {
					t.Errorf("with another key: %+v %v", proofs, reasons)
				}
				for _, err := range reasons {
					wantKind(t, err, signing.ErrInvalidSignature)
				}
				wantKind(t, signing.RequireSignature(a, proofs, reasons), signing.ErrUnsigned)
			})
		}
	}
}

// Signers who know nothing of one another sign one artifact at the same time, and every signature is there.
func TestSignAtOnce(t *testing.T) {
	const signers = 3
	e := registrytest.Start(t)
	a := push(t, e, "signed/x:1", 1)
	index := "sha256-" + a.Digest.Hex()
	e = registrytest.Serve(t, registrytest.NewRounds(registrytest.NewRounds(e.Handler, index, signers), index+".sig", signers))
	a.Reference.Registry = e.Host
	keys := make([]signing.PublicKey, signers)
	var wg sync.WaitGroup
	for i := range signers {
		s := newSigner(t)
		keys[i] = publicOf(t, s)
		c := e.Client(t)
		wg.Go(func() {
			if _, err := signing.Sign(t.Context(), c, a, s); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	proofs, reasons := collect(t, e, a).VerifyAll(keys, a.Digest)
	if len(proofs) != 2*signers || len(reasons) != 0 {
		t.Errorf("%d of %d signatures, %v", len(proofs), 2*signers, reasons)
	}
}

// Signatures of one artifact that are put beside another prove nothing about it.
func TestSwappedSignatures(t *testing.T) {
	e := registrytest.Start(t)
	good, bad := push(t, e, "signed/x:good", 1), push(t, e, "signed/x:bad", 2)
	s := newSigner(t)
	key := mustSign(t, e, good, s)
	c := e.Client(t)
	layers, err := c.Sidecar(t.Context(), good, "sig", 10)
	if err != nil || len(layers) != 1 {
		t.Fatalf("%+v, %v", layers, err)
	}
	if err := c.AppendSidecar(t.Context(), bad, "sig", layers[0]); err != nil {
		t.Fatal(err)
	}
	referrers, err := c.Referrers(t.Context(), good, "")
	if err != nil || len(referrers) != 1 {
		t.Fatalf("%+v, %v", referrers, err)
	}
	att, err := c.ReadReferrer(t.Context(), good, referrers[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Attach(t.Context(), bad, att); err != nil {
		t.Fatal(err)
	}
	proofs, reasons := collect(t, e, bad).VerifyAll([]signing.PublicKey{key}, bad.Digest)
	if len(proofs) != 0 || len(reasons) != 2 {
		t.Fatalf("%+v %v", proofs, reasons)
	}
	for _, err := range reasons {
		wantKind(t, err, signing.ErrWrongSubject)
	}
	wantKind(t, signing.RequireSignature(bad, proofs, reasons), signing.ErrUnsigned)
}

func TestAttest(t *testing.T) {
	e := registrytest.Start(t)
	a := push(t, e, "signed/x:1", 1)
	s := newSigner(t)
	const testResult = "https://in-toto.io/attestation/test-result/v0.1"
	key, err := signing.Attest(t.Context(), e.Client(t), a, s, testResult, []byte(`{"result": "PASSED"}`))
	if err != nil {
		t.Fatal(err)
	}
	proofs, reasons := collect(t, e, a).VerifyAll([]signing.PublicKey{key}, a.Digest)
	if len(proofs) != 1 || proofs[0].PredicateType != testResult || string(proofs[0].Predicate) != `{"result":"PASSED"}` {
		t.Fatalf("%+v %v", proofs, reasons)
	}
	// An attestation is no signature.
	wantKind(t, signing.RequireSignature(a, proofs, reasons), signing.ErrUnsigned)
	for name, bad := range map[string][2]string{
		"no type": {"", "{}"}, "a signature's": {signing.PredicateSignature, "{}"}, "no URI": {"test", "{}"}, "not JSON": {testResult, "{"}, "an array": {testResult, "[]"}, "null": {testResult, "null"},
		"a member twice": {testResult, `{"result":"FAILED","result":"PASSED"}`}, "something behind it": {testResult, `{} {}`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := signing.Attest(t.Context(), e.Client(t), a, s, bad[0], []byte(bad[1]))
			wantKind(t, err, signing.ErrInvalidPayload)
		})
	}
}

// What strangers put beside an artifact neither counts nor keeps what is good from being found.
func TestJunkBesideAnArtifact(t *testing.T) {
	const bundle = "application/vnd.dev.sigstore.bundle.v0.3+json"
	e := registrytest.Start(t)
	a := push(t, e, "signed/x:1", 1)
	c := e.Client(t)
	junk := []string{
		"", "{}", "[]", "not JSON", `{"mediaType":"` + bundle + `"}`,
		`{"mediaType":"text/plain","dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AAAA"}]}}`,
		`{"mediaType":"` + bundle + `","dsseEnvelope":{"payload":"e30=","payloadType":"text/plain","signatures":[{"sig":"AAAA"}]}}`,
		`{"mediaType":"` + bundle + `","dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[]}}`,
		`{"mediaType":"` + bundle + `","dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AAAA"},{"sig":"AAAA"}]}}`,
		`{"mediaType":"` + bundle + `","messageSignature":{"signature":"AAAA"}}`,
		`{"mediaType":"` + bundle + `","dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"` + base64.StdEncoding.EncodeToString(make([]byte, signing.MaxSignatureBytes+1)) + `"}]}}`,
	}
	for _, text := range junk {
		if _, err := c.Attach(t.Context(), a, registry.Attachment{ArtifactType: bundle, Data: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range []registry.SidecarLayer{
		{MediaType: "text/plain", Data: []byte("x")},
		{MediaType: "application/vnd.dev.cosign.simplesigning.v1+json", Data: []byte("{}")},
		{MediaType: "application/vnd.dev.cosign.simplesigning.v1+json", Data: []byte("{}"), Annotations: map[string]string{"dev.cosignproject.cosign/signature": "*"}},
		{MediaType: "application/vnd.dev.cosign.simplesigning.v1+json", Data: bytes.Repeat([]byte(" "), signing.MaxPayloadBytes+1), Annotations: map[string]string{"dev.cosignproject.cosign/signature": "AAAA"}},
	} {
		if err := c.AppendSidecar(t.Context(), a, "sig", l); err != nil {
			t.Fatal(err)
		}
	}
	key := mustSign(t, e, a, newSigner(t))
	found := collect(t, e, a)
	for _, err := range found.Skipped {
		if !errors.Is(err, signing.ErrInvalidBundle) && !errors.Is(err, signing.ErrInvalidPayload) {
			t.Errorf("skipped: %v", err)
		}
	}
	proofs, reasons := found.VerifyAll([]signing.PublicKey{key}, a.Digest)
	if len(proofs) != 2 || len(reasons) != len(junk)+4 {
		t.Errorf("%d proofs, %d reasons: %v", len(proofs), len(reasons), reasons)
	}
}

// However many there are, so many are read, and no more.
func TestTooManyBundles(t *testing.T) {
	e := registrytest.Serve(t, registrytest.NewReferrersAPI(registrytest.Start(t).Handler))
	a := push(t, e, "signed/x:1", 1)
	c := e.Client(t)
	for i := range signing.MaxEvidence + 5 {
		_, err := c.Attach(t.Context(), a, registry.Attachment{ArtifactType: "application/vnd.dev.sigstore.bundle.v0.3+json", Data: fmt.Append(nil, i)})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := len(collect(t, e, a).Skipped); n != signing.MaxEvidence+1 {
		t.Errorf("%d were looked at", n)
	}
}

// brokenSigner has one key and signs with another, or not at all.
type brokenSigner struct {
	signing.Signer
	sign func(ctx context.Context, message []byte) ([]byte, error)
}

func (b brokenSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	return b.sign(ctx, message)
}

// What a broken signer makes is not published.
func TestBrokenSigner(t *testing.T) {
	e := registrytest.Start(t)
	a := push(t, e, "signed/x:1", 1)
	away := errors.New("the KMS is away")
	for name, s := range map[string]brokenSigner{
		"another key": {newSigner(t), newSigner(t).Sign},
		"nothing":     {newSigner(t), func(context.Context, []byte) ([]byte, error) { return nil, nil }},
		"away":        {newSigner(t), func(context.Context, []byte) ([]byte, error) { return nil, away }},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := signing.Sign(t.Context(), e.Client(t), a, s)
			wantKind(t, err, signing.ErrSigner)
			if name == "away" && !errors.Is(err, away) {
				t.Errorf("the cause is lost: %v", err)
			}
			if c := collect(t, e, a); len(c.Evidence)+len(c.Skipped) != 0 {
				t.Errorf("something was published: %+v", c)
			}
		})
	}
}

// Evidence proves the same after it was carried to somebody who cannot reach the registry, and nothing when it was changed on its way.
func TestPortableEvidence(t *testing.T) {
	e := registrytest.Start(t)
	a := push(t, e, "signed/x:1", 1)
	keys := []signing.PublicKey{mustSign(t, e, a, newSigner(t))}
	here, _ := collect(t, e, a).VerifyAll(keys, a.Digest)
	text, err := json.Marshal(collect(t, e, a).Evidence)
	if err != nil {
		t.Fatal(err)
	}
	var there signing.Collection
	if err := json.Unmarshal(text, &there.Evidence); err != nil {
		t.Fatal(err)
	}
	got, reasons := there.VerifyAll(keys, a.Digest)
	if !reflect.DeepEqual(here, got) || len(got) != 2 || len(reasons) != 0 {
		t.Errorf("here %+v, there %+v %v", here, got, reasons)
	}
	swapped := strings.NewReplacer(`"tag"`, `"bundle"`, `"bundle"`, `"tag"`).Replace(string(text))
	if err := json.Unmarshal([]byte(swapped), &there.Evidence); err != nil {
		t.Fatal(err)
	}
	if got, _ := there.VerifyAll(keys, a.Digest); len(got) != 0 {
		t.Errorf("another form is taken: %+v", got)
	}
	for _, bad := range []string{`{}`, `[]`, `{"form":"mail","payload":"e30=","signature":"AAAA"}`, `{"form":"tag","payload":"e30="}`,
		`{"form":"tag","payload":"` + base64.StdEncoding.EncodeToString(make([]byte, signing.MaxPayloadBytes+1)) + `","signature":"AAAA"}`,
		`{"form":"tag","payload":"e30=","signature":"` + base64.StdEncoding.EncodeToString(make([]byte, signing.MaxSignatureBytes+1)) + `"}`} {
		var ev signing.Evidence
		wantKind(t, ev.UnmarshalJSON([]byte(bad)), signing.ErrInvalidPayload)
	}
}
