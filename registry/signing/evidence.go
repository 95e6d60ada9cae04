package signing

import (
	"encoding/base64"
	"encoding/json"

	"github.com/waft-project/waft/registry"
)

// Form is how a signature is kept.
type Form string

// The forms.
const (
	// FormTag is a layer of cosign's signature image, at the tag sha256-HEX.sig.
	FormTag Form = "tag"
	// FormBundle is a Sigstore bundle, attached as an OCI referrer.
	FormBundle Form = "bundle"
)

// Evidence is a signature as it was found. Nothing of it is to be trusted before Verify.
type Evidence struct {
	Form        Form
	payload     []byte
	message     []byte // what was signed: the payload, or its DSSE encoding
	signature   []byte
	certificate bool   // it names no key
	hint        string // at the key, as the bundle has it
	bundle      []byte
}

// Proof is what a key's owner said of an artifact, verified: who said it and that it is about this artifact.
type Proof struct {
	// Key that signed it.
	Key KeyID `json:"key"`
	// Form it was found in.
	Form Form `json:"form"`
	// PredicateType says what was said; PredicateSignature where nothing but "signed" was.
	PredicateType string `json:"predicateType"`
	// Predicate is the statement's own content: one JSON object without a member twice. "{}" for a plain signature.
	Predicate json.RawMessage `json:"predicate"`
	// Identity is the repository that the signer named, HOST[:PORT]/REPOSITORY; empty where none was, as in bundles of cosign's.
	Identity string `json:"identity,omitempty"`
	// Certificate says who signed it, where no key did: then Key is empty.
	Certificate *Certificate `json:"certificate,omitempty"`
}

// Verify says which of the keys signed the evidence, and that it is about the artifact with that digest. Errors are
// ErrInvalidSignature, ErrWrongSubject and ErrInvalidPayload.
func (e Evidence) Verify(keys []PublicKey, artifact registry.Digest) (Proof, error) {
	for _, key := range keys {
		if key.verify(e.message, e.signature) {
			return e.proof(key, artifact)
		}
	}
	detail := "none of the keys made it"
	if e.certificate {
		detail = "it was made with a certificate, and by a key it cannot be verified"
	}
	return Proof{}, &registry.Error{Op: "verify", Subject: "a signature (" + string(e.Form) + ") of " + string(artifact), Kind: ErrInvalidSignature, Detail: detail, Next: "name the key that it was made with, or sign the artifact again"}
}

// proof reads what a key has signed.
func (e Evidence) proof(key PublicKey, artifact registry.Digest) (Proof, error) {
	p := Proof{Key: key.id, Form: e.Form, PredicateType: PredicateSignature, Predicate: json.RawMessage("{}")}
	if e.Form == FormTag {
		payload, err := parsePayload(e.payload)
		if err != nil {
			return Proof{}, err
		}
		p.Identity = payload.Critical.Identity.DockerReference
		if payload.Critical.Image.DockerManifestDigest != artifact {
			return Proof{}, wrongSubject(key, artifact, string(payload.Critical.Image.DockerManifestDigest))
		}
		return p, nil
	}
	statement, about, err := parseStatement(e.payload, artifact)
	if err != nil {
		return Proof{}, err
	}
	if about == nil {
		other := "nothing"
		if len(statement.Subject) > 0 {
			other = "sha256:" + statement.Subject[0].Digest["sha256"]
		}
		return Proof{}, wrongSubject(key, artifact, other)
	}
	p.Identity = about.Name
	p.PredicateType, p.Predicate = statement.PredicateType, statement.Predicate
	return p, nil
}

func wrongSubject(key PublicKey, artifact registry.Digest, other string) error {
	return &registry.Error{Op: "verify", Subject: "a signature of " + string(artifact), Kind: ErrWrongSubject,
		Detail: "the key " + key.id.Short() + " made it for " + cut(other), Next: "do not use the artifact: somebody put a signature beside it that was made for another"}
}

// parseLayer takes a layer of a signature image apart. Its media type is not asked: it is not part of what was signed, and cosign does not
// ask either.
func parseLayer(l registry.SidecarLayer) (Evidence, error) {
	if len(l.Data) > MaxPayloadBytes {
		return Evidence{}, invalidPayload("%d bytes, over the limit of %d", len(l.Data), MaxPayloadBytes)
	}
	text := l.Annotations[annotationSignature]
	if len(text) > base64.StdEncoding.EncodedLen(MaxSignatureBytes) {
		return Evidence{}, invalidPayload("its signature is longer than %d bytes", MaxSignatureBytes)
	}
	sig, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(sig) == 0 {
		return Evidence{}, invalidPayload("its annotation %s is not a signature in base64", annotationSignature)
	}
	_, withCertificate := l.Annotations["dev.sigstore.cosign/certificate"]
	return Evidence{Form: FormTag, payload: l.Data, message: l.Data, signature: sig, certificate: withCertificate}, nil
}
