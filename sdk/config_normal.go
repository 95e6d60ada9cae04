package sdk

import "strings"

// normalHost is an authority as rules compare it: without a port and a dot at the end, in lower case.
func normalHost(authority string) string {
	host := authority
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host[i:], ']') < 0 {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// normalPath is a :path as rules compare it: what most servers make of it. A path that is in its normal form already, as
// nearly all are, costs no allocation.
func normalPath(raw string) string {
	path := raw
	if i := strings.IndexAny(path, "?#"); i >= 0 {
		path = path[:i]
	}
	if path == "" || path[0] != '/' {
		return path // such as *, in OPTIONS *
	}
	if !isNormal(path) {
		path = rebuild(decodePercent(path))
	}
	if len(path) > 1 && path[len(path)-1] == '/' {
		path = path[:len(path)-1]
	}
	return path
}

// isNormal says whether no server would read anything else than the bytes. It takes a slash before a dot for trouble, which
// /.well-known is not; that only costs time.
func isNormal(path string) bool {
	for i := range len(path) {
		switch c := path[i]; c {
		case '%', ';', '\\':
			return false
		case '/':
			if i+1 < len(path) && (path[i+1] == '/' || path[i+1] == '.') {
				return false
			}
		}
	}
	return true
}

// decodePercent decodes percent-encoding, once. What is not encoded well stays as it is.
func decodePercent(path string) string {
	out := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' && i+2 < len(path) {
			high, low := unhex(path[i+1]), unhex(path[i+2])
			if high < 16 && low < 16 {
				c = high<<4 | low
				i += 2
			}
		}
		out = append(out, c)
	}
	return string(out)
}

// unhex is the value of a hexadecimal digit, 255 for any other byte.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// rebuild puts a decoded path together from its segments: without parameters, empty and dot segments. A path does not go
// above the root (RFC 3986, section 5.2.4).
func rebuild(path string) string {
	var segments []string
	for segment := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
		segment, _, _ = strings.Cut(segment, ";")
		switch segment {
		case "", ".":
		case "..":
			segments = segments[:max(0, len(segments)-1)]
		default:
			segments = append(segments, segment)
		}
	}
	return "/" + strings.Join(segments, "/")
}
