package signing

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"

	"github.com/waft-project/waft/registry"
)

// Claim is what evidence says of itself. Anybody can have written it: it helps to find the key to verify with, and proves nothing.
type Claim struct {
	Form Form `json:"form"`
	// Key is the one that it names; empty where it names none, as the tag form never does.
	Key KeyID `json:"key,omitempty"`
	// Certificate: it names a certificate in the place of a key.
	Certificate bool `json:"certificate,omitempty"`
	// PredicateType is what it would say; PredicateSignature is a plain signature.
	PredicateType string `json:"predicateType"`
}

// Claim reads what the evidence says of itself.
func (e Evidence) Claim() Claim {
	c := Claim{Form: e.Form, Key: keyOfHint(e.hint), Certificate: e.certificate, PredicateType: PredicateSignature}
	if e.Form == FormTag {
		return c
	}
	var st statementJSON
	if err := json.Unmarshal(e.payload, &st); err != nil {
		st.PredicateType = "unknown"
	}
	c.PredicateType = st.PredicateType[:min(len(st.PredicateType), maxPredicateType)]
	return c
}

// keyOfHint reads how a bundle names a key: by its KeyID, as this package writes it, or as cosign does, by the base64 of the same
// digest. Empty for anything else.
func keyOfHint(hint string) KeyID {
	if id, err := registry.ParseDigest(hint); err == nil {
		return id
	}
	raw, err := base64.StdEncoding.DecodeString(hint)
	if err != nil || len(raw) != sha256.Size {
		return ""
	}
	return KeyID("sha256:" + hex.EncodeToString(raw))
}
