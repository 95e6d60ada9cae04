package registry

import (
	"encoding/json"
	"strings"
	"unicode"
)

// registryWords finds what a registry says in the body of an error.
// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes
func registryWords(body []byte) string {
	var doc struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &doc) != nil || len(doc.Errors) == 0 {
		return ""
	}
	words := make([]string, 0, len(doc.Errors))
	for _, e := range doc.Errors {
		words = append(words, strings.Trim(e.Code+": "+e.Message, ": "))
	}
	return strings.Join(words, ", ")
}

// clip makes words from outside fit on a line of an error: printable, and not long.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	const maxWords = 300
	if len(s) > maxWords {
		s = strings.ToValidUTF8(s[:maxWords], "") + "…"
	}
	return s
}
