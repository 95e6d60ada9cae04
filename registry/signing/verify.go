package signing

import (
	"errors"
	"fmt"

	"github.com/waft-project/waft/registry"
)

// VerifyAll verifies what was found with some keys. It gives every proof, and for everything else the reason why it is none.
func (c Collection) VerifyAll(keys []PublicKey, artifact registry.Digest) ([]Proof, []error) {
	proofs, reasons := []Proof{}, append([]error{}, c.Skipped...)
	for _, e := range c.Evidence {
		p, err := e.Verify(keys, artifact)
		if err != nil {
			reasons = append(reasons, err)
			continue
		}
		proofs = append(proofs, p)
	}
	return proofs, reasons
}

// RequireSignature is an error unless one of the proofs is a plain signature. It is ErrUnsigned, and says what was found instead.
func RequireSignature(a registry.Artifact, proofs []Proof, reasons []error) error {
	for _, p := range proofs {
		if p.PredicateType == PredicateSignature {
			return nil
		}
	}
	e := &registry.Error{Op: "verify", Subject: a.Reference.String(), Kind: ErrUnsigned, Detail: "nothing beside it is a signature", Next: "sign it with `waft sign`"}
	if len(reasons) > 0 {
		e.Detail = fmt.Sprintf("%d found and none taken; the last one: %s", len(reasons), words(reasons[len(reasons)-1]))
		e.Next = "check that it is the right artifact and the right key"
		e.Err = reasons[len(reasons)-1]
	}
	return e
}

// words are what an error says of its kind, without whose it is and what to do, which another error is about to say.
func words(err error) string {
	var e *registry.Error
	if errors.As(err, &e) {
		return e.Kind.Error() + ": " + e.Detail
	}
	return err.Error()
}
