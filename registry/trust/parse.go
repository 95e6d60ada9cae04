package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/internal/strictjson"
	"github.com/waft-project/waft/registry/signing"
)

// ErrInvalidPolicy is the kind of every error of Parse, which is a registry.Error.
var ErrInvalidPolicy = errors.New("invalid trust policy")

// invalid is an error about one field.
func invalid(field, next, format string, args ...any) error {
	detail := fmt.Sprintf(format, args...)
	if field != "" {
		detail = field + ": " + detail
	}
	return &registry.Error{Op: "read", Subject: "the trust policy", Kind: ErrInvalidPolicy, Detail: detail, Next: next}
}

// Parse reads a policy: YAML (or JSON), one document, strictly.
func Parse(text []byte) (*Policy, error) {
	const seeDocs = "see docs/security.md for the form"
	if len(text) > MaxPolicyBytes {
		return nil, invalid("", "split it", "%d bytes, over the limit of %d", len(text), MaxPolicyBytes)
	}
	documents := yamlv3.NewDecoder(bytes.NewReader(text))
	var node yamlv3.Node
	if err := documents.Decode(&node); err != nil {
		return nil, invalid("", seeDocs, "not YAML: %v", err)
	}
	if err := documents.Decode(&node); !errors.Is(err, io.EOF) {
		return nil, invalid("", "keep one", "there is something behind the first document")
	}
	data, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, invalid("", seeDocs, "not YAML: %v", err)
	}
	if err := strictjson.Check(data); err != nil {
		return nil, invalid("", seeDocs, "%v", err)
	}
	if err := checkShape(data); err != nil {
		return nil, err
	}
	var doc document
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		return nil, invalid("", seeDocs, "%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if doc.APIVersion != APIVersion || doc.Kind != Kind {
		return nil, invalid("", seeDocs, "it is apiVersion %q, kind %q; want %s, %s", doc.APIVersion, doc.Kind, APIVersion, Kind)
	}
	p := &Policy{doc: doc, keys: map[string]signing.PublicKey{}}
	if err := p.validate(); err != nil {
		return nil, err
	}
	return p, nil
}

// validate reads the keys, and refuses what cannot be meant.
func (p *Policy) validate() error {
	if err := validName("metadata.name", p.doc.Metadata.Name); err != nil {
		return err
	}
	s := p.doc.Spec
	for i, host := range s.Registries {
		if _, err := registry.ParseReference(host + "/x"); err != nil || strings.Contains(host, "/") {
			return invalid(fmt.Sprintf("spec.registries[%d]", i), "write HOST or HOST:PORT", "%.100q is not a registry's host", host)
		}
	}
	if err := p.readKeys(s.Keys); err != nil {
		return err
	}
	if err := p.readIdentities(s); err != nil {
		return err
	}
	if len(s.Revoked.Keys) > MaxRevoked || len(s.Revoked.Digests) > MaxRevoked {
		return invalid("spec.revoked", "shorten it", "more than %d entries", MaxRevoked)
	}
	for _, list := range []struct {
		field   string
		digests []registry.Digest
	}{{"spec.revoked.keys", s.Revoked.Keys}, {"spec.revoked.digests", s.Revoked.Digests}} {
		for i, d := range list.digests {
			if !d.Valid() {
				return invalid(fmt.Sprintf("%s[%d]", list.field, i), "write sha256: and 64 hex digits", "%.100q is not a digest", string(d))
			}
		}
	}
	if len(s.Rules) == 0 || len(s.Rules) > MaxRules {
		return invalid("spec.rules", "write 1 or more", "%d rules; want 1 to %d", len(s.Rules), MaxRules)
	}
	names := map[string]bool{}
	for i, r := range s.Rules {
		field := fmt.Sprintf("spec.rules[%d]", i)
		if err := validName(field+".name", r.Name); err != nil {
			return err
		}
		if names[r.Name] {
			return invalid(field+".name", "give each rule a name of its own", "%s stands there twice", r.Name)
		}
		names[r.Name] = true
		if err := p.validateRule(field, r); err != nil {
			return err
		}
	}
	return p.validateReleases(s)
}

func (p *Policy) readKeys(keys []key) error {
	if len(keys) > MaxKeys {
		return invalid("spec.keys", "remove some", "%d keys, over the limit of %d", len(keys), MaxKeys)
	}
	byID := map[signing.KeyID]string{}
	for i, k := range keys {
		field := fmt.Sprintf("spec.keys[%d]", i)
		if err := validName(field+".name", k.Name); err != nil {
			return err
		}
		if _, twice := p.keys[k.Name]; twice {
			return invalid(field+".name", "give each key a name of its own", "%s stands there twice", k.Name)
		}
		public, err := signing.ParsePublicKey([]byte(k.PublicKey))
		if err != nil {
			var e *registry.Error
			if errors.As(err, &e) {
				return invalid(field+".publicKey", e.Next, "%s", e.Detail)
			}
			return invalid(field+".publicKey", "give a PEM public key", "%v", err)
		}
		if other, twice := byID[public.ID()]; twice {
			return invalid(field+".publicKey", "remove one of them", "it is the same key as %s", other)
		}
		if !k.NotAfter.IsZero() && !k.NotBefore.Before(k.NotAfter) {
			return invalid(field, "mend the times", "notBefore is not before notAfter")
		}
		byID[public.ID()], p.keys[k.Name] = k.Name, public
	}
	return nil
}

func (p *Policy) validateRule(field string, r rule) error {
	if len(r.Repositories) == 0 || len(r.Repositories) > MaxPatterns || len(r.Attestations) > MaxPatterns {
		return invalid(field, "write 1 or more repositories", "%d repositories and %d attestations; want at least 1 of the first, and at most %d of each", len(r.Repositories), len(r.Attestations), MaxPatterns)
	}
	for i, pattern := range r.Repositories {
		if err := validPattern(pattern); err != nil {
			return invalid(fmt.Sprintf("%s.repositories[%d]", field, i), "write HOST[:PORT]/REPOSITORY, with * for a part or ** at the end", "%v", err)
		}
	}
	if err := p.validSignatures(field, r.Unsigned, r.Signatures); err != nil {
		return err
	}
	for i, a := range r.Attestations {
		at := fmt.Sprintf("%s.attestations[%d]", field, i)
		if err := validName(at+".name", a.Name); err != nil {
			return err
		}
		if !strings.Contains(a.PredicateType, ":") {
			return invalid(at+".predicateType", "give the predicate's type, such as https://in-toto.io/attestation/test-result/v0.1", "%.100q is not a URI", a.PredicateType)
		}
		if err := p.validKeys(at+".keys", a.Keys); err != nil {
			return err
		}
		if !isObjectOrAbsent(a.Contains) {
			return invalid(at+".contains", "write what the predicate must contain", "it is not an object")
		}
	}
	return nil
}

// validSignatures checks what a rule says of signatures, which is one of two things.
func (p *Policy) validSignatures(field string, unsigned bool, s *signatures) error {
	switch {
	case unsigned && s != nil:
		return invalid(field, "remove one of the two", "it takes what is not signed and asks for signatures")
	case unsigned:
		return nil
	case s == nil:
		return invalid(field, "write signatures: {keys: […]}, or unsigned: true if that is meant", "it says nothing of signatures")
	}
	if err := p.validKeys(field+".signatures.keys", s.Keys); err != nil {
		return err
	}
	if n := s.AtLeast; n < 0 || n > len(s.Keys) {
		return invalid(field+".signatures.atLeast", "lower it, or name more keys", "%d of %d keys", n, len(s.Keys))
	}
	return nil
}

// validateReleases checks the rules about releases.
func (p *Policy) validateReleases(s spec) error {
	if len(s.Releases) > MaxRules || len(s.RequiredLayers) > MaxPatterns {
		return invalid("spec.releases", "shorten it", "%d rules and %d layers; at most %d and %d", len(s.Releases), len(s.RequiredLayers), MaxRules, MaxPatterns)
	}
	if len(s.RequiredLayers) > 0 && len(s.Releases) == 0 {
		return invalid("spec.requiredLayers", "add spec.releases", "which layers a chain has is only known where releases are checked")
	}
	for i, layer := range s.RequiredLayers {
		if err := validReleasePattern(layer); err != nil || strings.Contains(layer, "*") {
			return invalid(fmt.Sprintf("spec.requiredLayers[%d]", i), "write global, team/NAME or service/NAME", "%.100q is not a layer", layer)
		}
	}
	names := map[string]bool{}
	for i, r := range s.Releases {
		field := fmt.Sprintf("spec.releases[%d]", i)
		if err := validName(field+".name", r.Name); err != nil {
			return err
		}
		if names[r.Name] {
			return invalid(field+".name", "give each rule a name of its own", "%s stands there twice", r.Name)
		}
		names[r.Name] = true
		if len(r.Releases) == 0 || len(r.Releases) > MaxPatterns || len(r.Layers) > MaxPatterns {
			return invalid(field+".releases", "write 1 or more", "%d patterns of releases and %d of layers; want at least 1 of the first, and at most %d of each", len(r.Releases), len(r.Layers), MaxPatterns)
		}
		for _, list := range []struct {
			field    string
			patterns []string
		}{{field + ".releases", r.Releases}, {field + ".layers", r.Layers}} {
			for j, pattern := range list.patterns {
				if err := validReleasePattern(pattern); err != nil {
					return invalid(fmt.Sprintf("%s[%d]", list.field, j), "write a name, with * for any text", "%v", err)
				}
			}
		}
		if err := p.validSignatures(field, r.Unsigned, r.Signatures); err != nil {
			return err
		}
		if r.Signatures != nil && r.Signatures.Named {
			return invalid(field+".signatures.named", "leave it out", "a release's signature is over its name anyway")
		}
	}
	return nil
}

func (p *Policy) validKeys(field string, names []string) error {
	if len(names) == 0 {
		return invalid(field, "name one or more of spec.keys", "it is empty")
	}
	for i, name := range names {
		_, key := p.keys[name]
		if _, ok := p.identities[name]; !ok && !key {
			return invalid(fmt.Sprintf("%s[%d]", field, i), "name one of spec.keys or spec.identities", "there is no key %.100q", name)
		}
		if slices.Contains(names[:i], name) {
			return invalid(fmt.Sprintf("%s[%d]", field, i), "name it once", "%s stands there twice", name)
		}
	}
	return nil
}

// validName takes what can stand in a message without quotes or harm.
func validName(field, s string) error {
	if s == "" || len(s) > MaxNameBytes || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return invalid(field, fmt.Sprintf("give a name of 1 to %d printable ASCII characters", MaxNameBytes), "%.100q is not a name", s)
	}
	return nil
}
