package signing

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/waft-project/waft/registry"
)

// What is signed is the same each time, and as cosign writes it.
func TestGoldenPayloads(t *testing.T) {
	ref, err := registry.ParseReference("registry.example/filters/authz:1.2.0")
	if err != nil {
		t.Fatal(err)
	}
	d := registry.DigestOf([]byte("artifact"))
	payload, err := encodePayload(registry.Artifact{Reference: ref.AtDigest(d), Digest: d})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"critical":{"identity":{"docker-reference":"registry.example/filters/authz"},"image":{"docker-manifest-digest":"` + string(d) + `"},"type":"cosign container image signature"},"optional":null}`
	if string(payload) != want {
		t.Errorf("have %s\nwant %s", payload, want)
	}
	statement, err := encodeStatement(registry.Artifact{Reference: ref.AtDigest(d), Digest: d}, PredicateSignature, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	want = `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"registry.example/filters/authz","digest":{"sha256":"` + d.Hex() + `"}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}`
	if string(statement) != want {
		t.Errorf("have %s\nwant %s", statement, want)
	}
}

// wantOurs fails unless the error is one of ours, with a next step.
func wantOurs(t *testing.T, err error) {
	t.Helper()
	var e *registry.Error
	if !errors.As(err, &e) || e.Next == "" {
		t.Fatalf("not an Error with a next step: %v", err)
	}
}

// Whatever a key has signed, it is about one artifact, by its digest, or an error.
func FuzzPayload(f *testing.F) {
	d := registry.DigestOf([]byte("artifact"))
	good, err := encodePayload(registry.Artifact{Digest: d})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(strings.Replace(string(good), `"type"`, `"Type":"x","type"`, 1)))
	f.Add([]byte(`{"critical":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parsePayload(data)
		if err != nil {
			wantOurs(t, err)
			return
		}
		if !p.Critical.Image.DockerManifestDigest.Valid() || p.Critical.Type != simpleSigningType {
			t.Fatalf("%+v", p)
		}
	})
}

// Whatever a key has signed as a statement, its predicate is an object that has one reading, or it is an error.
func FuzzStatement(f *testing.F) {
	d := registry.DigestOf([]byte("artifact"))
	good, err := encodeStatement(registry.Artifact{Digest: d}, PredicateSignature, []byte(`{"a":[1,2]}`))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"a:b","subject":[{"digest":null}]}`))
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"a:b","predicate":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, about, err := parseStatement(data, d)
		if err != nil {
			wantOurs(t, err)
			return
		}
		var object map[string]any
		if json.Unmarshal(s.Predicate, &object) != nil || object == nil || s.PredicateType == "" {
			t.Fatalf("%+v", s)
		}
		if about != nil && !strings.Contains(string(data), d.Hex()) && !strings.Contains(string(data), `\u`) {
			t.Fatalf("about an artifact that it does not name: %s", data)
		}
	})
}

// Whatever a bundle holds, it is evidence within the limits, or an error.
func FuzzBundle(f *testing.F) {
	statement, err := encodeStatement(registry.Artifact{Digest: registry.DigestOf([]byte("artifact"))}, PredicateSignature, []byte("{}"))
	if err != nil {
		f.Fatal(err)
	}
	good, err := encodeBundle(statement, []byte("signature"), PublicKey{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"mediaType":"` + bundleMediaType + `","verificationMaterial":{"certificate":{"rawBytes":"AAAA"},"tlogEntries":[]},"dsseEnvelope":{"payloadType":"application/vnd.in-toto+json","payload":"` +
		base64.StdEncoding.EncodeToString(statement) + `","signatures":[{"sig":"AAAA"}]}}`))
	f.Add([]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle+json;version=0.1","messageSignature":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := parseBundle(data)
		if err != nil {
			wantOurs(t, err)
			return
		}
		if e.Form != FormBundle || len(e.signature) == 0 || len(e.signature) > MaxSignatureBytes || len(e.message) < len(e.payload) {
			t.Fatalf("%+v", e)
		}
		if _, err := e.Verify(nil, registry.DigestOf(nil)); !errors.Is(err, ErrInvalidSignature) {
			t.Fatalf("without a key: %v", err)
		}
	})
}

// A key signs many things; only what says that it is a signature of an artifact is one.
func TestPayloadsOfOtherKinds(t *testing.T) {
	d := registry.DigestOf([]byte("artifact"))
	payload, err := encodePayload(registry.Artifact{Digest: d})
	if err != nil {
		t.Fatal(err)
	}
	statement, err := encodeStatement(registry.Artifact{Digest: d}, PredicateSignature, []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"another type": {simpleSigningType, "atomic container signature"}, "no type": {`"type"`, `"kind"`}, "no digest": {string(d), "latest"},
		"a digest twice": {`"image":{`, `"image":{"docker-manifest-digest":"` + string(registry.DigestOf(nil)) + `",`}, "an image twice": {`"image"`, `"Image":{},"image"`}, "more behind it": {"null}", "null}{}"},
	} {
		text := strings.Replace(string(payload), change[0], change[1], 1)
		if p, err := parsePayload([]byte(text)); !errors.Is(err, ErrInvalidPayload) || text == string(payload) {
			t.Errorf("payload, %s: %+v, %v", name, p, err)
		}
	}
	for name, change := range map[string][2]string{
		"another type": {statementType, "https://in-toto.io/Link/v1"}, "no predicate type": {PredicateSignature, ""}, "a predicate that is none": {`"predicate":{}`, `"predicate":[]`},
		"a subject twice": {`"subject"`, `"Subject":[],"subject"`}, "more behind it": {`{}}`, `{}} {}`},
	} {
		text := strings.Replace(string(statement), change[0], change[1], 1)
		if s, _, err := parseStatement([]byte(text), d); !errors.Is(err, ErrInvalidPayload) || text == string(statement) {
			t.Errorf("statement, %s: %+v, %v", name, s, err)
		}
	}
	// Several subjects, of which one is it; none; and one of another algorithm.
	for subjects, want := range map[string]bool{
		`[{"digest":{"sha256":"00"}},{"digest":{"sha256":"` + d.Hex() + `"}}]`: true, `[]`: false, `null`: false, `[{"digest":{"sha512":"` + d.Hex() + `"}}]`: false, `[{"name":"` + string(d) + `"}]`: false,
	} {
		_, about, err := parseStatement([]byte(`{"_type":"`+statementType+`","predicateType":"a:b","predicate":{},"subject":`+subjects+`}`), d)
		if err != nil || (about != nil) != want {
			t.Errorf("%s: %v, %v", subjects, about, err)
		}
	}
}
