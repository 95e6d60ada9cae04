package keyless

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
)

// ErrInvalidServices: a signing configuration cannot be read, or names too little to sign with.
var ErrInvalidServices = errors.New("invalid signing configuration")

// Limits on what is read.
const (
	// MaxFileBytes is the size of a trusted root or a signing configuration.
	MaxFileBytes = 1 << 20
	// MaxTokenBytes is the size of an identity token.
	MaxTokenBytes = 64 << 10
)

// serviceTime bounds one request to a service, and serviceTries says how often it is made again.
const (
	serviceTime  = 30 * time.Second
	serviceTries = 2
)

// Services are who is asked to sign. It is immutable; ParseServices makes one, and the zero value is not useful.
type Services struct{ config *root.SigningConfig }

// ParseServices reads a signing configuration (signing_config.json, version 0.2): the URLs of a certificate authority, of timestamp authorities and of
// logs, and how many of them are to be asked. Errors are ErrInvalidServices.
func ParseServices(text []byte) (*Services, error) {
	const next = "give a signing_config.json, as `cosign signing-config create` writes it"
	if len(text) > MaxFileBytes {
		return nil, invalid(ErrInvalidServices, "the signing configuration", next, "%d bytes, over the limit of %d", len(text), MaxFileBytes)
	}
	config, err := root.NewSigningConfigFromJSON(text)
	if err != nil {
		return nil, invalid(ErrInvalidServices, "the signing configuration", next, "%v", err)
	}
	if len(config.FulcioCertificateAuthorityURLs()) == 0 {
		return nil, invalid(ErrInvalidServices, "the signing configuration", next, "it names no certificate authority")
	}
	return &Services{config}, nil
}

// Sign signs an artifact, as Resolve or Push gave it, as whoever the identity token is about, and keeps the bundle beside it. The bundle is verified
// before that, so that nothing is published that verifier would not take. Errors of services are signing.ErrSigner.
func Sign(ctx context.Context, client *registry.Client, a registry.Artifact, services *Services, token string, verifier *Verifier) (signing.Certificate, error) {
	statement, err := signing.Statement(a)
	if err != nil {
		return signing.Certificate{}, err
	}
	text, err := services.sign(ctx, statement, token)
	if err != nil {
		return signing.Certificate{}, &registry.Error{Op: "sign", Subject: a.Reference.String(), Kind: signing.ErrSigner, Detail: err.Error(),
			Next: "check the identity token, which lives some minutes, and the services in the signing configuration", Err: err}
	}
	evidence, err := signing.ParseEvidence(text)
	if err != nil {
		return signing.Certificate{}, err
	}
	proof, err := verifier.Verify(evidence, a.Digest)
	if err != nil {
		return signing.Certificate{}, err
	}
	return *proof.Certificate, signing.AttachSignature(ctx, client, a, text)
}

// sign has the services make a bundle of a statement.
func (s *Services) sign(ctx context.Context, statement []byte, token string) ([]byte, error) {
	token = strings.TrimSpace(token)
	if token == "" || len(token) > MaxTokenBytes {
		return nil, errors.New("the identity token is empty, or longer than any is")
	}
	options := sign.BundleOptions{Context: ctx, CertificateProviderOptions: &sign.CertificateProviderOptions{IDToken: token}}
	now := time.Now()
	authority, err := root.SelectService(s.config.FulcioCertificateAuthorityURLs(), sign.FulcioAPIVersions, now)
	if err != nil {
		return nil, err
	}
	options.CertificateProvider = sign.NewFulcio(&sign.FulcioOptions{BaseURL: authority.URL, Timeout: serviceTime, Retries: serviceTries})
	if urls := s.config.TimestampAuthorityURLs(); len(urls) > 0 {
		chosen, err := root.SelectServices(urls, s.config.TimestampAuthorityURLsConfig(), sign.TimestampAuthorityAPIVersions, now)
		if err != nil {
			return nil, err
		}
		for _, service := range chosen {
			options.TimestampAuthorities = append(options.TimestampAuthorities,
				sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{URL: service.URL, Timeout: serviceTime, Retries: serviceTries}))
		}
	}
	if urls := s.config.RekorLogURLs(); len(urls) > 0 {
		chosen, err := root.SelectServices(urls, s.config.RekorLogURLsConfig(), sign.RekorAPIVersions, now)
		if err != nil {
			return nil, err
		}
		for _, service := range chosen {
			options.TransparencyLogs = append(options.TransparencyLogs,
				sign.NewRekor(&sign.RekorOptions{BaseURL: service.URL, Timeout: serviceTime, Retries: serviceTries, Version: service.MajorAPIVersion}))
		}
	}
	// The key lives in this call alone.
	pair, err := sign.NewEphemeralKeypair(nil)
	if err != nil {
		return nil, err
	}
	bundle, err := sign.Bundle(&sign.DSSEData{Data: statement, PayloadType: signing.PayloadType}, pair, options)
	if err != nil {
		return nil, err
	}
	return protojson.Marshal(bundle)
}
