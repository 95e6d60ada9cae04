package signing

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/registry/internal/strictjson"
)

// statementJSON is an in-toto statement.
// https://github.com/in-toto/attestation/blob/v1.1.0/spec/v1/statement.md
type statementJSON struct {
	Type          string          `json:"_type"`
	Subject       []subjectJSON   `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

type subjectJSON struct {
	Name   string            `json:"name,omitempty"`
	Digest map[string]string `json:"digest"`
}

const (
	statementType   = "https://in-toto.io/Statement/v1"
	statementTypeV0 = "https://in-toto.io/Statement/v0.1" // cosign wrote it until 3.0
	payloadType     = "application/vnd.in-toto+json"
	// PredicateSignature is the predicate type of a plain signature: "this artifact is signed", and nothing more.
	PredicateSignature = "https://sigstore.dev/cosign/sign/v1"
)

// encodeStatement is what is signed for an artifact in the bundle form; its subject has the name of the repository, as the tag
// form has it. The predicate must be one JSON object.
func encodeStatement(a registry.Artifact, predicateType string, predicate []byte) ([]byte, error) {
	if err := validPredicate(predicateType, predicate); err != nil {
		return nil, err
	}
	return json.Marshal(statementJSON{
		Type: statementType, PredicateType: predicateType, Predicate: predicate,
		Subject: []subjectJSON{{Name: a.Reference.InRepository().String(), Digest: map[string]string{"sha256": a.Digest.Hex()}}},
	})
}

func validPredicate(predicateType string, predicate []byte) error {
	if !strings.Contains(predicateType, ":") || len(predicateType) > maxPredicateType {
		return invalidPayload("predicate type %s is not a URI", cut(predicateType))
	}
	if err := strictjson.Check(predicate); err != nil {
		return invalidPayload("its predicate is not JSON: %v", err)
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(predicate, &object) != nil || object == nil {
		return invalidPayload("its predicate is not a JSON object")
	}
	return nil
}

// parseStatement reads a statement whose signature was verified, and gives the subject that is the artifact; nil when none is.
func parseStatement(data []byte, artifact registry.Digest) (s statementJSON, about *subjectJSON, err error) {
	if err := strictjson.Check(data); err != nil {
		return s, nil, invalidPayload("not a JSON statement: %v", err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, nil, invalidPayload("not an in-toto statement: %v", err)
	}
	if s.Type != statementType && s.Type != statementTypeV0 {
		return s, nil, invalidPayload("its _type is %s, want %s", cut(s.Type), statementType)
	}
	if len(s.Predicate) == 0 || string(s.Predicate) == "null" {
		s.Predicate = json.RawMessage("{}")
	}
	if err := validPredicate(s.PredicateType, s.Predicate); err != nil {
		return s, nil, err
	}
	at := slices.IndexFunc(s.Subject, func(d subjectJSON) bool { return d.Digest["sha256"] == artifact.Hex() })
	if at < 0 {
		return s, nil, nil
	}
	return s, &s.Subject[at], nil
}
