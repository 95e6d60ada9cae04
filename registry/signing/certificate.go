package signing

import (
	"context"
	"time"

	"github.com/waft-project/waft/registry"
)

// Certificate says who signed something with a certificate, which a certificate authority gave for a few minutes to whoever showed an identity
// token. Package keyless verifies it; what this one gives has none.
type Certificate struct {
	// Issuer is the URL of whoever vouched for the identity, by OpenID Connect.
	Issuer string `json:"issuer"`
	// Subject is the identity: an e-mail address, or a URI such as that of a workflow.
	Subject string `json:"subject"`
	// Time is when it was signed, as a timestamp authority or a log says.
	Time time.Time `json:"time"`
}

// Bundle is the Sigstore bundle of evidence that was made with a certificate, as it was found; nil for evidence that a key made. Treat it as
// read-only.
func (e Evidence) Bundle() []byte { return e.bundle }

// ProofBy is the proof that evidence is, once somebody else has verified its signature and whose it is. Errors are ErrWrongSubject and
// ErrInvalidPayload.
func (e Evidence) ProofBy(by Certificate, artifact registry.Digest) (Proof, error) {
	p, err := e.proof(PublicKey{}, artifact)
	if err != nil {
		return Proof{}, err
	}
	p.Key, p.Certificate = "", &by
	return p, nil
}

// Statement is what is signed to sign an artifact in the bundle form, and PayloadType its media type.
func Statement(a registry.Artifact) ([]byte, error) {
	return encodeStatement(a, PredicateSignature, []byte("{}"))
}

// PayloadType is the media type of statements.
const PayloadType = payloadType

// AttachSignature keeps a bundle beside an artifact, one whose statement is Statement's.
func AttachSignature(ctx context.Context, client *registry.Client, a registry.Artifact, bundle []byte) error {
	_, err := client.Attach(ctx, a, bundleAttachment(bundle, PredicateSignature))
	return err
}

// bundleAttachment is how a bundle is kept beside an artifact.
func bundleAttachment(bundle []byte, predicateType string) registry.Attachment {
	return registry.Attachment{
		ArtifactType: bundleMediaType, Data: bundle,
		Annotations: map[string]string{annotationBundleContent: bundleContentDSSE, annotationBundlePredicate: predicateType},
	}
}

// ParseEvidence reads one bundle. Nothing of what it gives is to be trusted. Errors are ErrInvalidBundle.
func ParseEvidence(bundle []byte) (Evidence, error) { return parseBundle(bundle) }
