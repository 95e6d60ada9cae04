package main

import (
	"context"
	"fmt"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/sdk/build"
	"github.com/waft-project/waft/sdk/testresult"
)

// sbomPredicate is the type of a signed statement that is a CycloneDX document, as cosign has it.
const sbomPredicate = "https://cyclonedx.org/bom"

// annotationPredicate says in the list of referrers what an in-toto statement is about; without it, all of them look alike.
const annotationPredicate = "in-toto.io/predicate-type"

// beforeTag attaches what a module was made of, and how, and the report of its scenarios, to its artifact, and signs all of it where there is a signer. What is
// signed is a statement about the artifact; what is attached without a signature is a claim of whoever pushed it. sha256 is that of the
// module which all of it is about: a build may have put another one in its place meanwhile.
func beforeTag(client *registry.Client, sha256 string, origin build.Origin, report scenarioReport, signer signing.Signer) func(context.Context, registry.Artifact) error {
	return func(ctx context.Context, a registry.Artifact) error {
		if got := a.Module.Digest.Hex(); got != sha256 {
			return fmt.Errorf("push %s: the module's file was changed meanwhile (it is %s, and what is known of it is about %s): push again", a.Reference, got, sha256)
		}
		var attachments []registry.Attachment
		for _, part := range []struct {
			mediaType, predicateType string
			data, predicate          []byte
		}{
			{build.SBOMMediaType, sbomPredicate, origin.SBOM, origin.SBOM},
			{build.ProvenanceMediaType, build.ProvenanceType, origin.Provenance, origin.Predicate},
			{testresult.MediaType, testresult.PredicateType, report.statement, report.predicate},
		} {
			if part.data == nil {
				continue
			}
			attachment := registry.Attachment{ArtifactType: part.mediaType, Data: part.data}
			if part.mediaType == build.ProvenanceMediaType {
				attachment.Annotations = map[string]string{annotationPredicate: part.predicateType}
			}
			attachments = append(attachments, attachment)
			if signer == nil {
				continue
			}
			_, statement, err := signing.Attestation(ctx, a, signer, part.predicateType, part.predicate)
			if err != nil {
				return err
			}
			attachments = append(attachments, statement)
		}
		if signer == nil {
			_, err := client.AttachAll(ctx, a, attachments)
			return err
		}
		_, err := signing.SignWith(ctx, client, a, signer, attachments)
		return err
	}
}
