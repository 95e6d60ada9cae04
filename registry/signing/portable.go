package signing

import (
	"encoding/json"

	"github.com/waft-project/waft/registry"
)

// evidenceJSON is evidence on its way to somebody who cannot reach the registry, such as a node that fetches from a
// distributor. Whoever gets it verifies it as if it had been read from the registry: it need not be trusted on its way.
type evidenceJSON struct {
	Form        Form   `json:"form"`
	Payload     []byte `json:"payload"`
	Signature   []byte `json:"signature"`
	Certificate bool   `json:"certificate,omitempty"`
}

// MarshalJSON writes what UnmarshalJSON reads.
func (e Evidence) MarshalJSON() ([]byte, error) {
	return json.Marshal(evidenceJSON{e.Form, e.payload, e.signature, e.certificate})
}

// UnmarshalJSON reads evidence, with the limits that hold for what a registry gives.
func (e *Evidence) UnmarshalJSON(data []byte) error {
	var j evidenceJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return invalidPayload("not evidence: %v", err)
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
