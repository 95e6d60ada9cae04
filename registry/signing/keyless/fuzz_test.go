package keyless_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/registry/signing/keyless"
)

// Whatever is made of a bundle, what is still verified says the same of the same artifact by the same person.
func FuzzVerify(f *testing.F) {
	v := verifierFor(f, "trusted_root.json")
	good := fixture(f, "bundle.json")
	subject := subjectOf(f, good)
	want, err := v.Verify(evidence(f, good), subject)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	for _, tc := range tamperings {
		var b map[string]any
		if err := json.Unmarshal(good, &b); err != nil {
			f.Fatal(err)
		}
		tc.change(b)
		text, err := json.Marshal(b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := signing.ParseEvidence(text)
		if err != nil {
			return
		}
		p, err := v.Verify(e, subject)
		if err != nil {
			var ours *registry.Error
			if !errors.As(err, &ours) || ours.Next == "" {
				t.Fatalf("not an Error with a next step: %v", err)
			}
			return
		}
		if *p.Certificate != *want.Certificate || string(p.Predicate) != string(want.Predicate) || p.PredicateType != want.PredicateType {
			t.Fatalf("%+v by %+v", p, p.Certificate)
		}
		if _, err := v.Verify(e, registry.DigestOf([]byte("another"))); err == nil {
			t.Fatal("it is about another artifact, too")
		}
	})
}

// Whatever the file, it is a trusted root or services, or an error of ours.
func FuzzFiles(f *testing.F) {
	for _, name := range []string{"trusted_root.json", "other_root.json", "signing_config.json"} {
		f.Add(fixture(f, name))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := keyless.NewVerifier(text); err != nil && !errors.Is(err, keyless.ErrInvalidTrustedRoot) {
			t.Fatal(err)
		}
		if _, err := keyless.ParseServices(text); err != nil && !errors.Is(err, keyless.ErrInvalidServices) {
			t.Fatal(err)
		}
	})
}

// subjectOf is the artifact that a bundle is about.
func subjectOf(t testing.TB, bundle []byte) registry.Digest {
	t.Helper()
	var b struct {
		DSSEEnvelope struct {
			Payload []byte `json:"payload"`
		} `json:"dsseEnvelope"`
	}
	var s struct {
		Subject []struct {
			Digest struct {
				SHA256 string `json:"sha256"`
			} `json:"digest"`
		} `json:"subject"`
	}
	if err := json.Unmarshal(bundle, &b); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b.DSSEEnvelope.Payload, &s); err != nil || len(s.Subject) != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	return registry.Digest("sha256:" + s.Subject[0].Digest.SHA256)
}
