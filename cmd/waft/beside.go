package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/signing"
	"github.com/waft-project/waft/sdk/build"
	"github.com/waft-project/waft/sdk/testresult"
)

// maxReadBeside is how many attachments of one artifact are read to be shown.
const maxReadBeside = 64

// beside is what stands beside an artifact and could be read. Anyone who may push there can have put it there.
type beside struct {
	attached []registry.Referrer
	// sbom, provenance and reports are about the artifact's module.
	sbom       *sbomBeside
	provenance []provenanceBeside
	reports    []reportBeside
	claims     []signing.Claim
	// proofs are the signatures and attestations that the given keys have made.
	proofs []signing.Proof
}

// sbomBeside, provenanceBeside and reportBeside are documents with the keys, of those that were given, that have signed what they say. Empty:
// it is a claim.
type (
	sbomBeside struct {
		build.SBOM
		SignedBy []signing.KeyID `json:"signedBy"`
	}
	provenanceBeside struct {
		build.Provenance
		SignedBy []signing.KeyID `json:"signedBy"`
	}
	reportBeside struct {
		testresult.Report
		SignedBy []signing.KeyID `json:"signedBy"`
	}
)

// signedBy are the keys that have signed a statement of that type that says the same.
func signedBy(proofs []signing.Proof, predicateType string, predicate json.RawMessage) []signing.KeyID {
	keys := []signing.KeyID{}
	for _, p := range proofs {
		if p.PredicateType == predicateType && sameJSON(p.Predicate, predicate) && !slices.Contains(keys, p.Key) {
			keys = append(keys, p.Key)
		}
	}
	return keys
}

// sameJSON compares two JSON values, whatever the white space and the order of members.
func sameJSON(a, b []byte) bool {
	var values [2]any
	for i, text := range [][]byte{a, b} {
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber()
		if dec.Decode(&values[i]) != nil {
			return false
		}
	}
	return reflect.DeepEqual(values[0], values[1])
}

// readBeside reads what stands beside an artifact whose module's digest is known. What is about another module, or cannot be read, is left
// out: it says nothing about this one.
func readBeside(ctx context.Context, client *registry.Client, a registry.Artifact, keys []signing.PublicKey) (beside, error) {
	var b beside
	var err error
	if b.attached, err = client.Referrers(ctx, a, ""); err != nil {
		return b, err
	}
	found, err := signing.Collect(ctx, client, a)
	if err != nil {
		return b, err
	}
	for _, e := range found.Evidence {
		b.claims = append(b.claims, e.Claim())
	}
	b.proofs, _ = found.VerifyAll(keys, a.Digest)
	module := a.Module.Digest.Hex()
	read := 0
	for _, r := range b.attached {
		if r.ArtifactType != build.SBOMMediaType && r.ArtifactType != testresult.MediaType {
			continue
		}
		if read++; read > maxReadBeside {
			break
		}
		att, err := client.ReadReferrer(ctx, a, r)
		if errors.Is(err, registry.ErrUnavailable) || errors.Is(err, registry.ErrUnauthorized) || errors.Is(err, registry.ErrUntrusted) || ctx.Err() != nil {
			return b, err
		}
		if err != nil {
			continue
		}
		if s, err := build.DecodeSBOM(att.Data); err == nil && s.SHA256 == module {
			signers := signedBy(b.proofs, sbomPredicate, att.Data)
			// One that a key vouches for goes before one that anybody could have put there.
			if b.sbom == nil || len(b.sbom.SignedBy) == 0 && len(signers) > 0 {
				b.sbom = &sbomBeside{s, signers}
			}
		}
		if p, err := build.DecodeProvenance(att.Data); err == nil && p.SHA256 == module {
			b.provenance = append(b.provenance, provenanceBeside{p, signedBy(b.proofs, build.ProvenanceType, p.Predicate)})
		}
		if t, err := testresult.Decode(att.Data); err == nil && t.SHA256 == module {
			b.reports = append(b.reports, reportBeside{t, signedBy(b.proofs, testresult.PredicateType, t.Predicate)})
		}
	}
	return b, nil
}

// signers are the keys that signed the artifact, as far as is known: those whose signatures were verified, where keys were given, otherwise
// those that signatures name.
func (b beside) signers(verified bool) []string {
	signers := []string{}
	add := func(key registry.Digest, predicateType string) {
		name := string(key)
		if name == "" {
			name = "a key that it does not name"
		}
		if predicateType == signing.PredicateSignature && !slices.Contains(signers, name) {
			signers = append(signers, name)
		}
	}
	if verified {
		for _, p := range b.proofs {
			add(p.Key, p.PredicateType)
		}
		return signers
	}
	for _, c := range b.claims {
		// The form at the tag names no key, and stands beside the other one.
		if c.Form == signing.FormBundle {
			add(c.Key, c.PredicateType)
		}
	}
	if len(signers) == 0 {
		for _, c := range b.claims {
			add(c.Key, c.PredicateType)
		}
	}
	return signers
}
