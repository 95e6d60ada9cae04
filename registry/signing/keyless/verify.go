package keyless

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
)

// ErrInvalidTrustedRoot: a trusted root cannot be read, or proves nothing.
var ErrInvalidTrustedRoot = errors.New("invalid trusted root")

// Verifier verifies what was signed with certificates. It is immutable, and may be used concurrently. The zero value is not useful.
type Verifier struct{ sigstore *verify.Verifier }

// NewVerifier reads a trusted root (trusted_root.json): whose certificates, timestamps and logs are believed. It must have a certificate authority, and
// a timestamp authority or a log, since a certificate that has ended proves nothing without a time. Errors are ErrInvalidTrustedRoot.
func NewVerifier(trustedRoot []byte) (*Verifier, error) {
	const next = "give a trusted_root.json, as `cosign trusted-root create` writes it"
	if len(trustedRoot) > MaxFileBytes {
		return nil, invalid(ErrInvalidTrustedRoot, "the trusted root", next, "%d bytes, over the limit of %d", len(trustedRoot), MaxFileBytes)
	}
	trusted, err := root.NewTrustedRootFromJSON(trustedRoot)
	if err != nil {
		return nil, invalid(ErrInvalidTrustedRoot, "the trusted root", next, "%v", err)
	}
	if len(trusted.FulcioCertificateAuthorities()) == 0 {
		return nil, invalid(ErrInvalidTrustedRoot, "the trusted root", next, "it has no certificate authority")
	}
	if len(trusted.TimestampingAuthorities()) == 0 && len(trusted.RekorLogs()) == 0 {
		return nil, invalid(ErrInvalidTrustedRoot, "the trusted root", next, "it has neither a timestamp authority nor a log, and so nothing tells when something was signed")
	}
	options := []verify.VerifierOption{verify.WithObserverTimestamps(1)}
	if len(trusted.RekorLogs()) > 0 {
		options = append(options, verify.WithTransparencyLog(1))
	}
	if len(trusted.CTLogs()) > 0 {
		options = append(options, verify.WithSignedCertificateTimestamps(1))
	}
	v, err := verify.NewVerifier(trusted, options...)
	if err != nil {
		return nil, invalid(ErrInvalidTrustedRoot, "the trusted root", next, "%v", err)
	}
	return &Verifier{v}, nil
}

// VerifyAll verifies what was found with a certificate. It gives every proof, and for all else that has one the reason why it is none; what keys signed is
// not looked at.
func (v *Verifier) VerifyAll(found signing.Collection, artifact registry.Digest) ([]signing.Proof, []error) {
	proofs, reasons := []signing.Proof{}, []error{}
	for _, e := range found.Evidence {
		if e.Bundle() == nil {
			continue
		}
		p, err := v.Verify(e, artifact)
		if err != nil {
			reasons = append(reasons, err)
			continue
		}
		proofs = append(proofs, p)
	}
	return proofs, reasons
}

// Verify says who signed the evidence, and that it is about the artifact with that digest. Whether that is somebody who may is for a trust policy to say.
// Errors are signing.ErrInvalidSignature, ErrWrongSubject and ErrInvalidPayload.
func (v *Verifier) Verify(e signing.Evidence, artifact registry.Digest) (signing.Proof, error) {
	refuse := func(err error) (signing.Proof, error) {
		return signing.Proof{}, &registry.Error{Op: "verify", Subject: "a signature (certificate) of " + string(artifact), Kind: signing.ErrInvalidSignature,
			Detail: err.Error(), Next: "check that the trusted root is that of the services by which it was signed", Err: err}
	}
	if e.Bundle() == nil {
		return refuse(errors.New("it was made with a key"))
	}
	var b bundle.Bundle
	if err := b.UnmarshalJSON(e.Bundle()); err != nil {
		return refuse(err)
	}
	digest, err := hex.DecodeString(artifact.Hex())
	if err != nil {
		return refuse(err)
	}
	// Who signed is for the caller to judge, from what is verified here.
	result, err := v.sigstore.Verify(&b, verify.NewPolicy(verify.WithArtifactDigest("sha256", digest), verify.WithoutIdentitiesUnsafe()))
	if err != nil {
		return refuse(err)
	}
	if result.Signature == nil || result.Signature.Certificate == nil || len(result.VerifiedTimestamps) == 0 {
		return refuse(errors.New("it has no certificate, or no time"))
	}
	by := signing.Certificate{Issuer: result.Signature.Certificate.Issuer, Subject: result.Signature.Certificate.SubjectAlternativeName, Time: result.VerifiedTimestamps[0].Timestamp}
	for _, t := range result.VerifiedTimestamps { // the latest: all of them are true, and it is the least that can be gained from a choice
		if t.Timestamp.After(by.Time) {
			by.Time = t.Timestamp
		}
	}
	if by.Issuer == "" || by.Subject == "" {
		return refuse(fmt.Errorf("its certificate names the issuer %q and the subject %q", by.Issuer, by.Subject))
	}
	return e.ProofBy(by, artifact)
}

func invalid(kind error, subject, next, format string, args ...any) error {
	return &registry.Error{Op: "read", Subject: subject, Kind: kind, Detail: fmt.Sprintf(format, args...), Next: next}
}
