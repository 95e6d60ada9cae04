// Package headername knows which request headers an upstream may take for one another. A filter that says who a client is in a header
// must take away all that the client may have sent in its place.
package headername

import "github.com/waft-project/waft/sdk"

// Same reports whether an upstream may take two names in lower case for one: CGI and its descendants turn "-" into "_".
func Same(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && !(hyphenLike(a[i]) && hyphenLike(b[i])) {
			return false
		}
	}
	return true
}

func hyphenLike(c byte) bool { return c == '-' || c == '_' }

// Strip takes a header away, and those that are the [Same].
func Strip(headers *sdk.Headers, name string) error {
	var names []string
	for n := range headers.All() {
		if Same(n, name) {
			names = append(names, n)
		}
	}
	for _, n := range names {
		if err := headers.Remove(n); err != nil {
			return err
		}
	}
	return nil
}
