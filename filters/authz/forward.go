package main

import (
	"encoding/json"

	"github.com/waft-project/waft/filters/authz/internal/rules"
)

// forwardedValues are the header values of the claims to forward; nil for an absent or null claim. It is false when a
// claim cannot stand in a header.
func forwardedValues(list []forwarded, claims map[string]any) ([]*string, bool) {
	if len(list) == 0 {
		return nil, true
	}
	values := make([]*string, len(list))
	for i, f := range list {
		claim, ok := rules.Lookup(claims, f.claim)
		if !ok || claim == nil {
			continue
		}
		text, ok := headerValue(claim)
		if !ok {
			return nil, false
		}
		values[i] = &text
	}
	return values, true
}

// headerValue is a claim as text. A line break in a header would be a header of the token's own making; bytes beyond
// ASCII are read in different ways by upstreams, and white space at the ends is lost.
func headerValue(claim any) (string, bool) {
	var text string
	switch claim := claim.(type) {
	case string:
		text = claim
	case json.Number:
		text = claim.String()
	default:
		encoded, err := json.Marshal(claim)
		if err != nil {
			return "", false
		}
		text = string(encoded)
	}
	for i := 0; i < len(text); i++ {
		if text[i] < ' ' || text[i] > '~' {
			return "", false
		}
	}
	if text != "" && (text[0] == ' ' || text[len(text)-1] == ' ') {
		return "", false
	}
	return text, true
}
