package jwt

import "strings"

// Reason says why a token was refused, in a form that is fit for a metric's tag. The zero value is no reason.
type Reason string

// The reasons why Verify refuses a token. Each is also the end of a sentence for people: see Reason.Description.
const (
	// ReasonOversized is a token longer than the configured limit.
	ReasonOversized Reason = "oversized"
	// ReasonMalformed is a token that is not three strict base64url parts with strict JSON in the first two.
	ReasonMalformed Reason = "malformed"
	// ReasonCritical is a header with crit or b64: extensions that this package does not know (RFC 7515, section 4.1.11).
	ReasonCritical Reason = "critical"
	// ReasonType is a typ that the configuration does not accept.
	ReasonType Reason = "type"
	// ReasonAlgorithm is an alg that no key has, or not the key that kid names. "none" is always here.
	ReasonAlgorithm Reason = "algorithm"
	// ReasonKey is a kid that no key has.
	ReasonKey Reason = "key"
	// ReasonSignature is a signature that no key of the token's algorithm verifies.
	ReasonSignature Reason = "signature"
	// ReasonClaims is a claims set with a registered claim of the wrong JSON type, or without exp.
	ReasonClaims Reason = "claims"
	// ReasonIssuer is an iss that is absent or not the configured one.
	ReasonIssuer Reason = "issuer"
	// ReasonAudience is an aud that does not hold a configured audience.
	ReasonAudience Reason = "audience"
	// ReasonExpired is an exp that has passed, skew included.
	ReasonExpired Reason = "expired"
	// ReasonNotYet is an nbf that has not come, skew included.
	ReasonNotYet Reason = "not_yet_valid"
)

// Reasons are all reasons, in a fixed order.
func Reasons() []Reason {
	return []Reason{
		ReasonOversized, ReasonMalformed, ReasonCritical, ReasonType, ReasonAlgorithm, ReasonKey, ReasonSignature,
		ReasonClaims, ReasonIssuer, ReasonAudience, ReasonExpired, ReasonNotYet,
	}
}

// Description is a short English sentence for the error_description of RFC 6750, section 3: printable ASCII without
// quotes and backslashes. It tells a client what to do, and nothing of the configuration.
func (r Reason) Description() string {
	switch r {
	case ReasonOversized:
		return "the token is too long"
	case ReasonMalformed:
		return "the token is malformed"
	case ReasonCritical:
		return "the token needs an extension that is not supported"
	case ReasonType:
		return "the token is of another type"
	case ReasonAlgorithm:
		return "the algorithm of the token is not accepted"
	case ReasonKey:
		return "the key of the token is not known"
	case ReasonSignature:
		return "the signature of the token is not valid"
	case ReasonClaims:
		return "a claim of the token is missing or of the wrong type"
	case ReasonIssuer:
		return "the issuer of the token is not accepted"
	case ReasonAudience:
		return "the token is for another audience"
	case ReasonExpired:
		return "the token has expired"
	case ReasonNotYet:
		return "the token is not valid yet"
	}
	return "the token is not accepted"
}

// TokenError is the error of Verify. Detail may name parts of the token's structure and never holds the token, a
// signature or a key.
type TokenError struct {
	Reason Reason
	Detail string
}

// Error says that the token was refused and why.
func (e *TokenError) Error() string {
	if e.Detail == "" {
		return "token refused: " + string(e.Reason)
	}
	return "token refused: " + string(e.Reason) + ": " + e.Detail
}

func refuse(reason Reason, detail string) error {
	return &TokenError{Reason: reason, Detail: detail}
}

// FieldError names the field of a JWKS that cannot be used, such as "keys[1].n", and why. Field is "" for the whole set.
type FieldError struct {
	Field   string
	Problem string
}

// Error is the field, a colon and the problem.
func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.Problem
	}
	return e.Field + ": " + e.Problem
}

// under puts a parent's name before the field of a FieldError.
func under(parent string, err *FieldError) *FieldError {
	switch {
	case err == nil:
		return nil
	case err.Field == "":
		return &FieldError{Field: parent, Problem: err.Problem}
	case strings.HasPrefix(err.Field, "["):
		return &FieldError{Field: parent + err.Field, Problem: err.Problem}
	}
	return &FieldError{Field: parent + "." + err.Field, Problem: err.Problem}
}
