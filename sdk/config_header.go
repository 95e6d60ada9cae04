package sdk

import (
	"errors"
	"fmt"
	"strings"
)

// MaxHeaderName is the most bytes of a [HeaderName].
const MaxHeaderName = 256

// HeaderName is a field of a configuration that names a header. Decoded, it is in lower case, as Envoy has names, and a token
// of HTTP (RFC 9110, section 5.6.2); a pseudo-header such as :path is none. The zero value names no header.
type HeaderName string

// UnmarshalText takes a header's name in any case.
func (n *HeaderName) UnmarshalText(text []byte) error {
	switch {
	case len(text) == 0:
		return errors.New("the header's name is empty")
	case len(text) > MaxHeaderName:
		return fmt.Errorf("the header's name has %d bytes, the most is %d", len(text), MaxHeaderName)
	}
	for _, c := range text {
		if !isTokenByte(c) {
			return fmt.Errorf("%q is no header name: it holds %q", text, c)
		}
	}
	*n = HeaderName(strings.ToLower(string(text)))
	return nil
}
