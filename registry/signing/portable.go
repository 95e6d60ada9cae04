package signing

import (
	"bytes"
	"encoding/json"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/internal/strictjson"
)

// evidenceJSON is evidence on its way to somebody who cannot reach the registry, such as a node that fetches from a
// distributor. Whoever gets it verifies it as if it had been read from the registry: it need not be trusted on its way.
type evidenceJSON struct {
	Form        Form   `json:"form"`
	Payload     []byte `json:"payload"`
	Signature   []byte `json:"signature"`
	Certificate bool   `json:"certificate,omitempty"`
	// Bundle is the whole bundle, where there is a certificate in it. What else is said must be said in it, too.
	Bundle []byte `json:"bundle,omitempty"`
}

// MarshalJSON writes what UnmarshalJSON reads.
func (e Evidence) MarshalJSON() ([]byte, error) {
	return json.Marshal(evidenceJSON{e.Form, e.payload, e.signature, e.certificate, e.bundle})
}

// UnmarshalJSON reads evidence, with the limits that hold for what a registry gives.
func (e *Evidence) UnmarshalJSON(data []byte) error {
	if err := strictjson.Check(data); err != nil {
		return invalidPayload("not evidence: %v", err)
	}
	var j evidenceJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return invalidPayload("not evidence: %v", err)
	}
	if j.Bundle != nil {
		return e.fromBundle(j)
	}
	limit := MaxPayloadBytes
	message := j.Payload
	switch j.Form {
	case FormTag:
	case FormBundle:
		limit, message = registry.MaxAttachmentBytes, pae(j.Payload)
	default:
		return invalidPayload("its form is %s, want %s or %s", cut(string(j.Form)), FormTag, FormBundle)
	}
	if len(j.Payload) > limit || len(j.Signature) == 0 || len(j.Signature) > MaxSignatureBytes {
		return invalidPayload("its payload has %d bytes and its signature %d; want at most %d, and 1 to %d", len(j.Payload), len(j.Signature), limit, MaxSignatureBytes)
	}
	*e = Evidence{Form: j.Form, payload: j.Payload, message: message, signature: j.Signature, certificate: j.Certificate}
	return nil
}

// fromBundle reads evidence that came with its bundle, which alone says what it is.
func (e *Evidence) fromBundle(j evidenceJSON) error {
	if len(j.Bundle) > registry.MaxAttachmentBytes {
		return invalidBundle("%d bytes, over the limit of %d", len(j.Bundle), registry.MaxAttachmentBytes)
	}
	read, err := parseBundle(j.Bundle)
	if err != nil {
		return err
	}
	if j.Form != read.Form || !bytes.Equal(j.Payload, read.payload) || !bytes.Equal(j.Signature, read.signature) || j.Certificate != read.certificate {
		return invalidBundle("it says something else than what came with it")
	}
	*e = read
	return nil
}
