package main

import (
	"strings"

	"github.com/waft-project/waft/sdk"
)

// derived are the components that are no headers (RFC 9421, section 2.2), as far as this filter knows them.
var derived = [...]string{"@method", "@authority", "@scheme", "@target-uri", "@request-target", "@path", "@query"}

// covers says whether a component that is signed vouches for another one.
func covers(signed, wanted string) bool {
	switch {
	case signed == wanted:
		return true
	case signed == "@target-uri":
		return wanted == "@authority" || wanted == "@path" || wanted == "@query" || wanted == "@scheme" || wanted == "@request-target"
	case signed == "@request-target":
		return wanted == "@path" || wanted == "@query"
	}
	return false
}

// signatureBase is what was signed (RFC 9421, section 2.5). input is the member of Signature-Input.
func signatureBase(headers *sdk.Headers, input *entry) (string, reason) {
	var b strings.Builder
	for i, c := range input.list {
		if len(c.parameters) > 0 {
			return "", reasonUnsupported
		}
		for _, before := range input.list[:i] {
			if before.name == c.name {
				return "", reasonMalformed
			}
		}
		value, why := componentValue(headers, c.name)
		if why != "" {
			return "", why
		}
		b.WriteString(`"` + c.name + `": ` + value + "\n")
	}
	b.WriteString(`"@signature-params": ` + input.text)
	return b.String(), ""
}

func componentValue(headers *sdk.Headers, name string) (string, reason) {
	if name == "" || name[0] != '@' {
		return fieldValue(headers, name)
	}
	get := func(name string) string {
		value, _ := headers.Get(name)
		return value
	}
	target := get(":path")
	path, query, _ := strings.Cut(target, "?")
	if path == "" {
		path = "/"
	}
	switch name {
	case "@method":
		return get(":method"), ""
	case "@authority":
		return authority(get(":authority"), get(":scheme")), ""
	case "@scheme":
		return strings.ToLower(get(":scheme")), ""
	case "@target-uri":
		return strings.ToLower(get(":scheme")) + "://" + get(":authority") + target, ""
	case "@request-target":
		return target, ""
	case "@path":
		return path, ""
	case "@query":
		return "?" + query, ""
	}
	return "", reasonUnsupported
}

// authority is in lower case, without the port that the scheme implies (RFC 9421, section 2.2.3).
func authority(value, scheme string) string {
	value = strings.ToLower(value)
	if strings.EqualFold(scheme, "https") {
		return strings.TrimSuffix(value, ":443")
	}
	return strings.TrimSuffix(value, ":80")
}

// fieldValue joins the values of a header (RFC 9421, section 2.1). A header that is signed and not there is an error, so that
// "absent" and "empty" are never the same.
func fieldValue(headers *sdk.Headers, name string) (string, reason) {
	if name == "" || name != strings.ToLower(name) || strings.ContainsAny(name, ":\" ") {
		return "", reasonMalformed
	}
	values := headers.Values(name)
	if values == nil {
		return "", reasonAbsent
	}
	for i, v := range values {
		values[i] = strings.Trim(v, " \t")
	}
	return strings.Join(values, ", "), ""
}
