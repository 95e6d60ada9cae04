package main

import (
	"strings"

	"github.com/waft-project/waft/sdk"
)

// headerName is a header's name in lower case, as Envoy has it.
func headerName(at, name string) (string, error) {
	if !isToken(name) {
		return "", sdk.ConfigErrorf(at, "%q is no header name: letters, digits and hyphens are", name)
	}
	return strings.ToLower(name), nil
}

// isToken says whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		alphanumeric := '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !alphanumeric && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}
