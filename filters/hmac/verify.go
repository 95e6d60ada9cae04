package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"strings"
	"time"

	"github.com/waft-project/waft/sdk"
)

// The headers of signatures and digests. A host header is :authority in Envoy, so no signature covers it by that name.
const (
	headerSignatureInput = "signature-input"
	headerSignature      = "signature"
	headerContentDigest  = "content-digest"
)

// algorithm is the parameter alg of the one algorithm that there is (RFC 9421, section 6.2.2).
const algorithm = "hmac-sha256"

// mac is the bytes of a signature.
type mac [sha256.Size]byte

// verifier says whether a request is signed. It is not changed once it is made.
type verifier struct {
	keys    map[string]key
	label   string
	require []string
	// maxAge is how long after its creation a signature is taken; 0 leaves it to the parameter expires.
	maxAge, skew time.Duration
}

// signed is a request whose signature is good.
type signed struct {
	client string
	// mac tells the signature from all others.
	mac mac
	// until is when it is too old.
	until time.Time
	// coversBody is set where the signature covers content-digest.
	coversBody bool
}

// verify says who signed a request, or why nobody did. hasBody says that more than headers will come.
func (v *verifier) verify(headers *sdk.Headers, hasBody bool, now time.Time) (signed, reason) {
	input, given, why := v.find(headers)
	if why != "" {
		return signed{}, why
	}
	keyID, alg := input.parameter("keyid"), input.parameter("alg")
	switch {
	case keyID == nil || !keyID.isText:
		return signed{}, reasonMalformed
	case alg != nil && (!alg.isText || alg.text != algorithm):
		return signed{}, reasonUnsupported
	}
	key, ok := v.keys[keyID.text]
	if !ok {
		return signed{}, reasonUnknownKey
	}
	until, why := v.lifetime(input, now)
	if why != "" {
		return signed{}, why
	}
	base, why := signatureBase(headers, input)
	if why != "" {
		return signed{}, why
	}
	hash := hmac.New(sha256.New, key.secret)
	hash.Write([]byte(base))
	s := signed{client: key.client, until: until, coversBody: inputCovers(input, headerContentDigest)}
	hash.Sum(s.mac[:0])
	if !hmac.Equal(s.mac[:], given) {
		return signed{}, reasonBadSignature
	}
	for _, name := range v.require {
		if !inputCovers(input, name) {
			return signed{}, reasonUncovered
		}
	}
	if hasBody && !s.coversBody {
		return signed{}, reasonUncovered
	}
	return s, ""
}

// find finds the one signature that is looked at, in the headers that tell what is signed, and how.
func (v *verifier) find(headers *sdk.Headers) (*entry, []byte, reason) {
	inputs, signatures := headers.Values(headerSignatureInput), headers.Values(headerSignature)
	if inputs == nil || signatures == nil {
		return nil, nil, reasonNoSignature
	}
	input, err := parseDictionary(strings.Join(inputs, ", "))
	if err != nil {
		return nil, nil, reasonMalformed
	}
	signature, err := parseDictionary(strings.Join(signatures, ", "))
	if err != nil {
		return nil, nil, reasonMalformed
	}
	label := v.label
	switch {
	case label == "" && len(input) > 1:
		return nil, nil, reasonManySignatures
	case label == "" && len(input) == 1:
		label = input[0].name
	}
	in, sig := input.find(label), signature.find(label)
	switch {
	case in == nil || sig == nil:
		return nil, nil, reasonNoSignature
	case !in.isList || sig.bytes == nil:
		return nil, nil, reasonMalformed
	}
	return in, sig.bytes, ""
}

// lifetime is when a signature ends to be good, if it is good now.
func (v *verifier) lifetime(input *entry, now time.Time) (time.Time, reason) {
	created, expires := input.parameter("created"), input.parameter("expires")
	if created == nil || !created.isNumber || expires != nil && !expires.isNumber || expires == nil && v.maxAge == 0 {
		return time.Time{}, reasonUntimed
	}
	from := time.Unix(created.number, 0)
	until := from.Add(v.maxAge)
	if expires != nil {
		if end := time.Unix(expires.number, 0); v.maxAge == 0 || end.Before(until) {
			until = end
		}
	}
	until = until.Add(v.skew)
	switch {
	case now.Before(from.Add(-v.skew)):
		return until, reasonEarly
	case !now.Before(until):
		return until, reasonLate
	}
	return until, ""
}

func inputCovers(input *entry, wanted string) bool {
	for _, c := range input.list {
		if covers(c.name, wanted) {
			return true
		}
	}
	return false
}

// bodyDigest is the SHA-256 digest in a request's Content-Digest (RFC 9530, section 2).
func bodyDigest(headers *sdk.Headers) (mac, reason) {
	digests, err := parseDictionary(strings.Join(headers.Values(headerContentDigest), ", "))
	if err != nil {
		return mac{}, reasonMalformed
	}
	digest := digests.find("sha-256")
	if digest == nil || len(digest.bytes) != sha256.Size {
		return mac{}, reasonDigest
	}
	return mac(digest.bytes), ""
}
