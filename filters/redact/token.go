package main

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// jwtBegin is how {" looks in base64url: the beginning of every header that is written without spaces.
const jwtBegin = "eyJ"

// nextJWT finds a JSON Web Token: a signed one of three parts (RFC 7515) or an encrypted one of five (RFC 7516), whose first part is a
// header with the member alg.
func nextJWT(s string, from int) (start, end int, ok bool) {
	for at := from; ; {
		i := strings.Index(s[at:], jwtBegin)
		if i < 0 {
			return 0, 0, false
		}
		at += i
		if at == 0 || !isBase64URL(s[at-1]) {
			if end, ok := jwtAt(s, at); ok {
				return at, end, true
			}
		}
		for at < len(s) && isBase64URL(s[at]) {
			at++
		}
	}
}

// jwtAt is the end of the token that begins at i.
func jwtAt(s string, i int) (int, bool) {
	end := partEnd(s, i)
	parts := jwtParts(s[i:end])
	if parts == 0 {
		return 0, false
	}
	for range parts - 1 {
		if end >= len(s) || s[end] != '.' {
			return 0, false
		}
		end = partEnd(s, end+1)
	}
	return end, true
}

// jwtParts is how many parts a token with such a header has; 0 for what is no header.
func jwtParts(header string) int {
	raw, err := base64.RawURLEncoding.DecodeString(header)
	if err != nil {
		return 0
	}
	var members struct {
		Alg string `json:"alg"`
		Enc string `json:"enc"`
	}
	switch err := json.Unmarshal(raw, &members); {
	case err != nil || members.Alg == "":
		return 0
	case members.Enc != "":
		return 5
	}
	return 3
}

// partEnd is the end of the part of a token that begins at i.
func partEnd(s string, i int) int {
	for i < len(s) && isBase64URL(s[i]) {
		i++
	}
	return i
}

func isBase64URL(c byte) bool { return isLetter(c) || isDigit(c) || c == '-' || c == '_' }

// minBearer is the length of the shortest bearer token that is found. Shorter ones are words.
const minBearer = 16

// scheme is the authentication scheme before a bearer token, in lower case.
const scheme = "bearer"

// nextBearer finds the token behind the word Bearer (RFC 6750, section 2.1): long enough, and with a digit in it.
func nextBearer(s string, from int) (start, end int, ok bool) {
	for i := from; i+len(scheme)+1+minBearer <= len(s); i++ {
		if s[i]|0x20 != 'b' || !strings.EqualFold(s[i:i+len(scheme)], scheme) || !freeBefore(s, i) {
			continue
		}
		start := i + len(scheme)
		for start < len(s) && s[start] == ' ' {
			start++
		}
		end := start
		for end < len(s) && isToken68(s[end]) {
			end++
		}
		for end < len(s) && s[end] == '=' {
			end++
		}
		token := strings.TrimRight(s[start:end], ".")
		if start > i+len(scheme) && len(token) >= minBearer && strings.ContainsAny(token, "0123456789") {
			return start, start + len(token), true
		}
	}
	return 0, 0, false
}

func isToken68(c byte) bool { return isBase64URL(c) || strings.IndexByte(".~+/", c) >= 0 }
