package rules

import (
	"unicode/utf8"
)

// MaxPathBytes is the longest path, without its query, that is taken.
const MaxPathBytes = 8 << 10

// Problem says why a path is refused. The zero value is no problem.
type Problem string

// The problems of paths.
const (
	// ProblemForm is a path that does not begin with a slash: empty, "*", or with scheme and host.
	ProblemForm Problem = "does not begin with a slash"
	// ProblemLong is a path longer than MaxPathBytes.
	ProblemLong Problem = "is too long"
	// ProblemCharacter is a control character, a space, a byte beyond ASCII, a backslash, "#" or ";", as itself.
	ProblemCharacter Problem = "holds a character that servers read in different ways"
	// ProblemEncoding is a percent sign without two hexadecimal digits, or bytes that decode to no UTF-8.
	ProblemEncoding Problem = "cannot be decoded"
	// ProblemEncoded is a slash, backslash, "?", "#", ";" or control character that was percent-encoded, or a path that
	// decodes to a percent-encoded one.
	ProblemEncoded Problem = "hides a delimiter in percent-encoding"
	// ProblemEmptySegment is "//".
	ProblemEmptySegment Problem = "has an empty segment"
	// ProblemDotSegment is a segment "." or "..", encoded or not.
	ProblemDotSegment Problem = "has a dot segment"
)

// NormalizePath takes the :path of a request apart and gives the form that rules match: without query, percent-decoded
// once, without a trailing slash. raw is as it came, path and query.
//
// The request itself is not changed: the upstream gets the path as it was sent. So a path is accepted only when every
// server that follows RFC 3986 finds the same resource under it (its section 6.2.2.2: an encoded ordinary character is
// the same as the character). Dot segments, empty segments, path parameters after ";" and encoded delimiters are read in
// different ways by different servers, and are refused.
func NormalizePath(raw string) (string, Problem) {
	if raw == "" || raw[0] != '/' {
		return "", ProblemForm
	}
	path, encoded, problem := raw, false, Problem("")
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		if c == '?' {
			path = raw[:i]
			break
		}
		if delimits(c) || c == ' ' || c >= 0x80 {
			problem = ProblemCharacter
		}
		encoded = encoded || c == '%'
	}
	switch {
	case len(path) > MaxPathBytes:
		return "", ProblemLong
	case problem != "":
		return "", problem
	}
	if encoded {
		if path, problem = decodePath(path); problem != "" {
			return "", problem
		}
	}
	if problem := checkSegments(path); problem != "" {
		return "", problem
	}
	return trimSlash(path), ""
}

// delimits says whether a server may take c for something else than a part of a segment, "/" and "%" apart.
func delimits(c byte) bool {
	return c < ' ' || c == 0x7f || c == '\\' || c == '?' || c == '#' || c == ';'
}

// decodePath decodes percent-encoding, once.
func decodePath(path string) (string, Problem) {
	out := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' {
			if !encodedAt(path, i) {
				return "", ProblemEncoding
			}
			c = unhex(path[i+1])<<4 | unhex(path[i+2])
			if delimits(c) || c == '/' {
				return "", ProblemEncoded
			}
			i += 2
		}
		out = append(out, c)
	}
	if !utf8.Valid(out) {
		return "", ProblemEncoding
	}
	decoded := string(out)
	if hasEncoding(decoded) {
		return "", ProblemEncoded
	}
	return decoded, ""
}

// hasEncoding says whether s holds a percent sign and two hexadecimal digits.
func hasEncoding(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && encodedAt(s, i) {
			return true
		}
	}
	return false
}

func encodedAt(s string, i int) bool {
	return i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2])
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// checkSegments looks for empty and dot segments in a path that begins with a slash. The last segment may be empty.
func checkSegments(path string) Problem {
	start := 1
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		switch segment := path[start:i]; {
		case segment == "" && i < len(path):
			return ProblemEmptySegment
		case segment == "." || segment == "..":
			return ProblemDotSegment
		}
		start = i + 1
	}
	return ""
}

// trimSlash takes one trailing slash away, other than that of the root.
func trimSlash(path string) string {
	if len(path) > 1 && path[len(path)-1] == '/' {
		return path[:len(path)-1]
	}
	return path
}

// checkPattern says what is wrong with a path written in a rule, or "". Rules name paths as NormalizePath gives them.
func checkPattern(path string) string {
	switch {
	case path == "":
		return "empty; / stands for every path"
	case path[0] != '/':
		return "does not begin with a slash"
	case len(path) > MaxPathBytes:
		return "is too long"
	case !utf8.ValidString(path):
		return "is not UTF-8"
	case hasEncoding(path):
		return "holds percent-encoding; write the character itself, paths are decoded before they are compared"
	}
	for i := 0; i < len(path); i++ {
		if delimits(path[i]) {
			return "holds " + quoteByte(path[i]) + ", which no accepted path holds, so the rule would never match"
		}
	}
	if problem := checkSegments(path); problem != "" {
		return string(problem) + ", and such requests are refused, so the rule would never match"
	}
	return ""
}

func quoteByte(c byte) string {
	if c <= ' ' || c >= 0x7f {
		return "a control character"
	}
	return "\"" + string(rune(c)) + "\""
}
