package jwt

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// Verifier holds what a token is checked against. It is not changed by use and may be used concurrently. The zero value
// refuses every token.
type Verifier struct {
	// Keys are the keys that a token may be signed with.
	Keys *KeySet
	// Issuer is what iss must be, byte for byte.
	Issuer string
	// Audiences holds the values of aud that are for this service; a token must carry at least one of them. When it is
	// empty, a token that carries aud is refused: RFC 7519, section 4.1.3.
	Audiences []string
	// AnyAudience accepts a token whatever its aud says.
	AnyAudience bool
	// Types holds the values of typ that are accepted, compared without case and without "application/" (RFC 7515,
	// section 4.1.9). When it is empty, typ is not looked at.
	Types []string
	// ClockSkew is the tolerance for exp and nbf.
	ClockSkew time.Duration
	// MaxTokenBytes is the longest token that is taken.
	MaxTokenBytes int
}

// Verified is a token that passed every check.
type Verified struct {
	// Claims is the claims set: string, json.Number, bool, nil, []any and Object as values.
	Claims Object
	// From and Until bound the time in which the token may be used, skew included: From <= now < Until. From is the
	// zero time when the token has no nbf.
	From, Until time.Time
}

// Verify checks one token in the compact serialization (RFC 7515, section 7.1). The error is always a *TokenError.
// Signature checks are the expensive part: between 0.01 and 1 ms each, at most MaxKeyTrials of them.
func (v *Verifier) Verify(token string, now time.Time) (*Verified, error) {
	if len(token) > v.MaxTokenBytes {
		return nil, refuse(ReasonOversized, "")
	}
	parts, err := split(token)
	if err != nil {
		return nil, err
	}
	head, err := v.readHeader(parts.header)
	if err != nil {
		return nil, err
	}
	candidates, err := v.Keys.candidates(head)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(candidates, func(k key) bool { return k.check(parts.input, parts.signature) }) {
		return nil, refuse(ReasonSignature, "")
	}
	claims, err := parseObject(parts.payload)
	if err != nil {
		return nil, refuse(ReasonMalformed, "claims: "+err.Error())
	}
	return v.checkClaims(claims, now)
}

// serialized is a token's three parts, decoded, and the bytes that the signature is over.
type serialized struct {
	header, payload, signature []byte
	input                      []byte
}

func split(token string) (serialized, error) {
	header, rest, ok := strings.Cut(token, ".")
	if !ok {
		return serialized{}, refuse(ReasonMalformed, "not three parts")
	}
	payload, signature, ok := strings.Cut(rest, ".")
	if !ok || strings.IndexByte(signature, '.') >= 0 {
		return serialized{}, refuse(ReasonMalformed, "not three parts")
	}
	var s serialized
	for _, part := range []struct {
		name string
		text string
		to   *[]byte
	}{{"header", header, &s.header}, {"claims", payload, &s.payload}, {"signature", signature, &s.signature}} {
		decoded, err := decodeBase64url(part.text)
		if err != nil {
			return serialized{}, refuse(ReasonMalformed, part.name+": "+err.Error())
		}
		*part.to = decoded
	}
	s.input = []byte(token[:len(header)+1+len(payload)])
	return s, nil
}

// header is what is used of a token's header. kid is nil when the token has none.
type header struct {
	algorithm string
	kid       *string
}

func (v *Verifier) readHeader(encoded []byte) (header, error) {
	members, err := parseObject(encoded)
	if err != nil {
		return header{}, refuse(ReasonMalformed, "header: "+err.Error())
	}
	for _, name := range []string{"crit", "b64"} {
		if _, present := members[name]; present {
			return header{}, refuse(ReasonCritical, "header has "+name)
		}
	}
	algorithm, ok := members["alg"].(string)
	if !ok {
		return header{}, refuse(ReasonMalformed, "header: alg is no string")
	}
	h := header{algorithm: algorithm}
	if value, present := members["kid"]; present {
		kid, ok := value.(string)
		if !ok || kid == "" || len(kid) > MaxKeyIDBytes {
			return header{}, refuse(ReasonMalformed, "header: kid is no string that a key could have")
		}
		h.kid = &kid
	}
	return h, v.checkType(members["typ"])
}

func (v *Verifier) checkType(typ any) error {
	if len(v.Types) == 0 {
		return nil
	}
	got, ok := typ.(string)
	if !ok {
		return refuse(ReasonType, "header has no typ")
	}
	short := trimApplication(got)
	if !slices.ContainsFunc(v.Types, func(want string) bool { return strings.EqualFold(trimApplication(want), short) }) {
		return refuse(ReasonType, "")
	}
	return nil
}

func trimApplication(typ string) string {
	const prefix = "application/"
	if len(typ) > len(prefix) && strings.EqualFold(typ[:len(prefix)], prefix) {
		return typ[len(prefix):]
	}
	return typ
}

// candidates are the keys that the token may be checked with: those of its kid, or, where no key says its kid, those
// that have none; without a kid in the token, all. Of these only the ones whose own algorithm the token names.
func (s *KeySet) candidates(h header) ([]key, error) {
	if s == nil {
		return nil, refuse(ReasonKey, "")
	}
	named := s.keys
	if h.kid != nil {
		named = s.withID(*h.kid)
		if len(named) == 0 {
			named = s.withID("")
		}
		if len(named) == 0 {
			return nil, refuse(ReasonKey, "")
		}
	}
	var fitting []key
	for _, k := range named {
		if k.algorithm == h.algorithm && len(fitting) < MaxKeyTrials {
			fitting = append(fitting, k)
		}
	}
	if len(fitting) == 0 {
		return nil, refuse(ReasonAlgorithm, "")
	}
	return fitting, nil
}

func (s *KeySet) withID(id string) []key {
	var found []key
	for _, k := range s.keys {
		if k.id == id {
			found = append(found, k)
		}
	}
	return found
}

// AsTokenError is err as a *TokenError; an error of another kind becomes ReasonMalformed, so that a caller can count on
// a reason.
func AsTokenError(err error) *TokenError {
	var refused *TokenError
	if errors.As(err, &refused) {
		return refused
	}
	return &TokenError{Reason: ReasonMalformed, Detail: err.Error()}
}
