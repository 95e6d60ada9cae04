package main

import (
	"strconv"
	"strings"

	"github.com/waft-project/waft/sdk"
)

// cookieValue is the first value of a cookie (RFC 6265, section 5.4).
func cookieValue(headers *sdk.Headers, name string) (string, bool) {
	for n, line := range headers.All() {
		if n != "cookie" {
			continue
		}
		for pair := range strings.SplitSeq(line, ";") {
			if key, value, ok := strings.Cut(strings.TrimLeft(pair, " \t"), "="); ok && key == name {
				return strings.Trim(value, `" `+"\t"), true
			}
		}
	}
	return "", false
}

// set is a Set-Cookie that has the client remember a variant. Pages have no business with it, so scripts cannot read it.
func (c *Cookie) set(variant, scheme string) string {
	line := c.Name + "=" + variant + "; Path=" + c.Path + "; Max-Age=" + strconv.FormatInt(c.MaxAgeSeconds, 10) + "; HttpOnly; SameSite=Lax"
	if scheme == "https" {
		line += "; Secure"
	}
	return line
}

// isCookieName says whether s is empty, or a token (RFC 6265, section 4.1.1).
func isCookieName(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r) })
}
