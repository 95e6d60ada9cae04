package main

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/waft-project/waft/sdk"
)

// source is a checked Source.
type source struct{ header, scheme, query string }

func compileSources(list []Source) ([]source, error) {
	var out []source
	for i, s := range list {
		at := "from[" + strconv.Itoa(i) + "]"
		switch {
		case (s.Header == "") == (s.Query == ""):
			return nil, sdk.ConfigErrorf(at, "want exactly one of header and query")
		case s.Scheme != "" && s.Query != "":
			return nil, sdk.ConfigErrorf(at+".scheme", "counts for a header only")
		case strings.ContainsAny(s.Scheme, " \t,"):
			return nil, sdk.ConfigErrorf(at+".scheme", "%q is no scheme: it holds a space or a comma", s.Scheme)
		case strings.ContainsAny(s.Query, "&=%+#? "):
			return nil, sdk.ConfigErrorf(at+".query", "%q is no plain name of a parameter", s.Query)
		}
		c := source{string(s.Header), s.Scheme, s.Query}
		for _, before := range out {
			if before.header == c.header && before.query == c.query && strings.EqualFold(before.scheme, c.scheme) {
				return nil, sdk.ConfigErrorf(at, "it is there already")
			}
		}
		out = append(out, c)
	}
	return out, nil
}

// found is what a request carries.
type found struct {
	// keys is how many keys there are, key the last of them, source its place.
	keys   int
	key    string
	source *source
}

// find looks for keys in all places.
func find(headers *sdk.Headers, sources []source) found {
	var f found
	for i := range sources {
		s := &sources[i]
		if s.query != "" {
			path, _ := headers.Get(":path")
			for _, value := range queryValues(path, s.query) {
				f.take(s, value)
			}
			continue
		}
		for _, value := range headers.Values(s.header) {
			if key, ok := cutScheme(value, s.scheme); ok {
				f.take(s, key)
			}
		}
	}
	return f
}

func (f *found) take(s *source, key string) {
	f.keys++
	f.key, f.source = key, s
}

// remove takes the key away from the request.
func (s *source) remove(headers *sdk.Headers) error {
	if s.query == "" {
		return headers.Remove(s.header)
	}
	path, _ := headers.Get(":path")
	return headers.Set(":path", withoutQuery(path, s.query))
}

// cutScheme takes the scheme and the spaces behind it away. Schemes are compared without case (RFC 9110, section 11.1).
func cutScheme(value, scheme string) (string, bool) {
	if scheme == "" {
		return value, true
	}
	if len(value) <= len(scheme) || !strings.EqualFold(value[:len(scheme)], scheme) || value[len(scheme)] != ' ' {
		return "", false
	}
	return strings.TrimLeft(value[len(scheme):], " "), true
}

// queryValues are the decoded values of a parameter in the query of a path. One that cannot be decoded is empty, which is no
// key. A name that is written percent-encoded is another name: then there is no key.
func queryValues(path, name string) []string {
	var values []string
	_, query, _ := strings.Cut(path, "?")
	for parameter := range strings.SplitSeq(query, "&") {
		if n, raw, _ := strings.Cut(parameter, "="); n == name {
			value, err := url.QueryUnescape(raw)
			if err != nil {
				value = ""
			}
			values = append(values, value)
		}
	}
	return values
}

// withoutQuery is a path without a parameter of its query. The other ones stay as they are.
func withoutQuery(path, name string) string {
	base, query, ok := strings.Cut(path, "?")
	if !ok {
		return path
	}
	var kept []string
	for parameter := range strings.SplitSeq(query, "&") {
		if n, _, _ := strings.Cut(parameter, "="); n != name {
			kept = append(kept, parameter)
		}
	}
	if len(kept) == 0 {
		return base
	}
	return base + "?" + strings.Join(kept, "&")
}
