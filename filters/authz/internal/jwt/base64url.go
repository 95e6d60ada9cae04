package jwt

import (
	"encoding/base64"
	"errors"
)

var errNotBase64url = errors.New("not base64url without padding")

// rawURL refuses padding and stray bits in the last character, so that one value has one encoding.
var rawURL = base64.RawURLEncoding.Strict()

// decodeBase64url decodes RFC 7515's base64url. Go's decoder skips CR and LF even when strict, so they are looked for
// first: a token with a line break would otherwise be a second spelling of the same token.
func decodeBase64url(s string) ([]byte, error) {
	for i := 0; i < len(s); i++ {
		if s[i] == '\r' || s[i] == '\n' {
			return nil, errNotBase64url
		}
	}
	out, err := rawURL.DecodeString(s)
	if err != nil {
		return nil, errNotBase64url
	}
	return out, nil
}
