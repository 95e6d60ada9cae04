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
			if _, err := client.Attach(ctx, a, attachment); err != nil {
				return err
			}
			if signer == nil {
				continue
			}
			if _, err := signing.Attest(ctx, client, a, signer, part.predicateType, part.predicate); err != nil {
				return err
			}
		}
		if signer == nil {
			return nil
		}
		_, err := signing.Sign(ctx, client, a, signer)
		return err
	}
}
