package sdk

import (
	"strconv"
	"strings"
)

// Match says which requests a rule is about. All that is set must hold; with nothing set it matches every request. It is a
// part of a filter's configuration; [Match.Compile] makes a [Matcher] of it.
type Match struct {
	// Route is the name of Envoy's route.
	Route string `json:"route,omitempty"`
	// Hosts are hosts without a port, of which one must be the request's: shop.example, or *.shop.example for all below it.
	Hosts []string `json:"hosts,omitempty" minItems:"1" minLength:"1"`
	// Methods are methods in upper case, of which one must be the request's.
	Methods []string `json:"methods,omitempty" minItems:"1" minLength:"1"`
	// Path must match the request's path.
	Path PathMatch `json:"path,omitzero"`
	// Headers must all match.
	Headers []HeaderMatch `json:"headers,omitempty" minItems:"1"`
}

// PathMatch has at most one of its fields set. Paths are compared as most servers read them: without the query, decoded,
// without empty and dot segments, parameters behind ";" and a trailing slash. So /admin is //admin/, /x/../admin and
// /%61dmin;v=1 as well.
type PathMatch struct {
	// Exact is this one path.
	Exact string `json:"exact,omitempty"`
	// Prefix is this path and everything below it, by whole segments: /admin is /admin/users, and not /administrator.
	Prefix string `json:"prefix,omitempty"`
}

// HeaderMatch is about one request header. With only a name, the header must be there. One that has several values matches
// when one of them does.
type HeaderMatch struct {
	// Name of the header.
	Name HeaderName `json:"name"`
	// Exact is the whole value.
	Exact *string `json:"exact,omitempty"`
	// Prefix is how the value begins.
	Prefix string `json:"prefix,omitempty"`
	// Absent asks that the header is not there.
	Absent bool `json:"absent,omitempty"`
}

// Matcher is a compiled [Match]. The zero Matcher matches every request.
type Matcher struct {
	route   string
	hosts   []hostMatcher
	methods []string
	path    string
	prefix  bool
	headers []headerMatcher
	// reads is what of a request it looks at: the rest costs nothing.
	reads matchReads
}

// Matches says whether a request matches. It is called in OnRequestHeaders.
func (m *Matcher) Matches(r *Request) bool {
	facts := m.reads.of(r)
	return m.matches(&facts)
}

// hostMatcher is a host in lower case, or what all those below it end with, dot and all.
type hostMatcher struct {
	name  string
	below bool
}

type headerMatcher struct {
	name, text string
	kind       headerMatchKind
}

type headerMatchKind uint8

const (
	headerPresent headerMatchKind = iota
	headerAbsent
	headerExact
	headerPrefix
)

// Compile checks a match. at is its path in the configuration; the errors are [*ConfigError]s.
func (m *Match) Compile(at string) (Matcher, error) {
	out := Matcher{route: m.Route, methods: m.Methods}
	for i, host := range m.Hosts {
		h, ok := compileHost(host)
		if !ok {
			return out, ConfigErrorf(index(at+".hosts", i), "%q is no host: give a name without scheme and port, or *.NAME", host)
		}
		out.hosts = append(out.hosts, h)
	}
	for i, method := range m.Methods {
		if strings.ToUpper(method) != method {
			return out, ConfigErrorf(index(at+".methods", i), "%q: methods are in upper case", method)
		}
	}
	if err := out.compilePath(at+".path", &m.Path); err != nil {
		return out, err
	}
	for i := range m.Headers {
		h, err := compileHeader(index(at+".headers", i), &m.Headers[i])
		if err != nil {
			return out, err
		}
		out.headers = append(out.headers, h)
	}
	out.reads = matchReads{out.route != "", len(out.hosts) > 0, len(out.methods) > 0, out.path != "", len(out.headers) > 0}
	return out, nil
}

func compileHost(host string) (hostMatcher, bool) {
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	parent, below := strings.CutPrefix(name, "*.")
	if parent == "" || strings.ContainsAny(parent, "*/@ ") || normalHost(parent) != parent {
		return hostMatcher{}, false
	}
	if below {
		return hostMatcher{"." + parent, true}, true
	}
	return hostMatcher{name, false}, true
}

func (m *Matcher) compilePath(at string, from *PathMatch) error {
	m.path, m.prefix = from.Exact, from.Prefix != ""
	switch {
	case from.Exact != "" && from.Prefix != "":
		return ConfigErrorf(at, "want exact or prefix, got both")
	case m.prefix:
		m.path = from.Prefix
	}
	if m.path == "" {
		return nil
	}
	if m.path[0] != '/' {
		return ConfigErrorf(at, "%q does not begin with a slash", m.path)
	}
	if normal := normalPath(m.path); strings.TrimSuffix(m.path, "/") != strings.TrimSuffix(normal, "/") {
		return ConfigErrorf(at, "no path is ever compared as %q; write %q", m.path, normal)
	}
	m.path = normalPath(m.path)
	return nil
}

func compileHeader(at string, from *HeaderMatch) (headerMatcher, error) {
	m := headerMatcher{name: string(from.Name)}
	set := 0
	if from.Exact != nil {
		m.kind, m.text = headerExact, *from.Exact
		set++
	}
	if from.Prefix != "" {
		m.kind, m.text = headerPrefix, from.Prefix
		set++
	}
	if from.Absent {
		m.kind = headerAbsent
		set++
	}
	if set > 1 {
		return m, ConfigErrorf(at, "want at most one of exact, prefix and absent")
	}
	return m, nil
}

func index(at string, i int) string { return at + "[" + strconv.Itoa(i) + "]" }

// matchReads says what of a request matchers look at.
type matchReads struct{ route, host, method, path, headers bool }

func (r matchReads) and(o matchReads) matchReads {
	return matchReads{r.route || o.route, r.host || o.host, r.method || o.method, r.path || o.path, r.headers || o.headers}
}

// requestFacts are what matchers look at.
type requestFacts struct {
	route, host, method, path string
	headers                   *Headers
}

// of reads what is looked at.
func (r matchReads) of(request *Request) requestFacts {
	facts := requestFacts{headers: request.Headers()}
	if r.route {
		facts.route, _ = request.Properties().String("xds.route_name")
	}
	if r.host {
		facts.host = normalHost(request.Authority())
	}
	if r.method {
		facts.method = request.Method()
	}
	if r.path {
		facts.path = normalPath(request.Path())
	}
	return facts
}

func (m *Matcher) matches(f *requestFacts) bool {
	return (m.route == "" || m.route == f.route) && m.matchesHost(f.host) && m.matchesMethod(f.method) && m.matchesPath(f.path) && m.matchesHeaders(f.headers)
}

func (m *Matcher) matchesHost(host string) bool {
	for i := range m.hosts {
		h := &m.hosts[i]
		if !h.below && host == h.name || h.below && len(host) > len(h.name) && strings.HasSuffix(host, h.name) {
			return true
		}
	}
	return len(m.hosts) == 0
}

func (m *Matcher) matchesMethod(method string) bool {
	for _, known := range m.methods {
		if known == method {
			return true
		}
	}
	return len(m.methods) == 0
}

func (m *Matcher) matchesPath(path string) bool {
	switch {
	case m.path == "" || m.prefix && m.path == "/":
		return true
	case !m.prefix || len(path) <= len(m.path):
		return path == m.path
	}
	return path[len(m.path)] == '/' && path[:len(m.path)] == m.path
}

func (m *Matcher) matchesHeaders(headers *Headers) bool {
	for i := range m.headers {
		if !m.headers[i].matches(headers) {
			return false
		}
	}
	return true
}

func (m *headerMatcher) matches(headers *Headers) bool {
	if m.kind == headerPresent || m.kind == headerAbsent {
		_, ok := headers.Get(m.name)
		return ok == (m.kind == headerPresent)
	}
	for name, value := range headers.All() {
		if equalName(name, m.name) && (m.kind == headerExact && value == m.text || m.kind == headerPrefix && strings.HasPrefix(value, m.text)) {
			return true
		}
	}
	return false
}
