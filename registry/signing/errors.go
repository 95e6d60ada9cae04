package signing

import (
	"errors"
	"fmt"

	"github.com/waft-project/waft/registry"
)

// The ways to fail, beside those of package registry. Errors are registry.Error with one of these as their Kind.
var (
	// ErrInvalidKey: the key cannot be read, is of a kind that is not taken, or its password is wrong.
	ErrInvalidKey = errors.New("invalid key")
	// ErrSigner: the signer did not sign.
	ErrSigner = errors.New("signing failed")
	// ErrUnsigned: nothing that was found was signed by one of the keys.
	ErrUnsigned = errors.New("no valid signature")
	// ErrInvalidSignature: the signature is not this key's, or not over these bytes.
	ErrInvalidSignature = errors.New("invalid signature")
	// ErrWrongSubject: the signature is good, and over another artifact.
	ErrWrongSubject = errors.New("signature of another artifact")
	// ErrInvalidPayload: what was signed cannot be understood, or only in more than one way.
	ErrInvalidPayload = errors.New("invalid payload")
	// ErrInvalidBundle: it is not a Sigstore bundle with a DSSE envelope that one key signed.
	ErrInvalidBundle = errors.New("invalid bundle")
)

func invalidKey(subject, next, format string, args ...any) error {
	return &registry.Error{Op: "key", Subject: subject, Kind: ErrInvalidKey, Detail: fmt.Sprintf(format, args...), Next: next}
}

func invalidPayload(format string, args ...any) error {
	return &registry.Error{Op: "verify", Subject: "a signature", Kind: ErrInvalidPayload, Detail: fmt.Sprintf(format, args...), Next: "sign the artifact again"}
}

func invalidBundle(format string, args ...any) error {
	return &registry.Error{Op: "verify", Subject: "a bundle", Kind: ErrInvalidBundle, Detail: fmt.Sprintf(format, args...), Next: "sign the artifact again"}
}

// cut keeps a value from outside short, and quoted.
func cut(s string) string {
	const shown = 120
	if len(s) > shown {
		s = s[:shown] + "…"
	}
	return fmt.Sprintf("%q", s)
}
