package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MaxRules is the most rules of one set. Each request looks at them in order.
const MaxRules = 512

// Rule says which requests it is about and who may send them.
type Rule struct {
	// Paths: at least one must match.
	Paths []PathPattern
	// Methods: one of them, in upper case; empty is every method.
	Methods []string
	// Headers: all must match.
	Headers []HeaderPattern
	// Public: no token is asked for. All and Any must then be empty.
	Public bool
	// All must hold, and of Any one, if there are any. With both empty every verified token will do.
	All, Any []Condition
}

// Set is an ordered list of rules. It is immutable and may be used concurrently. The zero value matches nothing.
type Set struct {
	rules      []Rule
	headers    []string
	ignoreCase bool
	// asks is, for each rule, the places of its Headers in headers.
	asks [][]int
}

// RuleError is a rule that cannot be used.
type RuleError struct {
	// Index is the rule's place, from 0.
	Index   int
	Problem string
}

// Error names the rule as the configuration does.
func (e *RuleError) Error() string { return fmt.Sprintf("rules[%d]: %s", e.Index, e.Problem) }

// NewSet makes a set. With ignoreCase, paths are compared in lower case. A rule that can never match, because an earlier
// one takes all its requests, is a *RuleError: it is written to protect something, and would not.
func NewSet(list []Rule, ignoreCase bool) (*Set, error) {
	if len(list) > MaxRules {
		return nil, fmt.Errorf("rules: %d rules, at most %d are taken", len(list), MaxRules)
	}
	s := &Set{ignoreCase: ignoreCase}
	for i, r := range list {
		r, err := s.prepare(r)
		if err != nil {
			return nil, &RuleError{i, err.Error()}
		}
		for j, earlier := range s.rules {
			if earlier.covers(r) {
				return nil, &RuleError{i, fmt.Sprintf("never reached, because rules[%d] takes every request that it matches; rules are tried in order, so put the narrower one first", j)}
			}
		}
		var places []int
		for _, h := range r.Headers {
			place := slices.Index(s.headers, h.Name)
			if place < 0 {
				place = len(s.headers)
				s.headers = append(s.headers, h.Name)
			}
			places = append(places, place)
		}
		s.rules = append(s.rules, r)
		s.asks = append(s.asks, places)
	}
	return s, nil
}

func (s *Set) prepare(r Rule) (Rule, error) {
	switch {
	case len(r.Paths) == 0:
		return r, errors.New("no path; / stands for every path")
	case r.Public && len(r.All)+len(r.Any) > 0:
		return r, errors.New("public and conditions on claims exclude each other: a public request has no claims")
	}
	if !s.ignoreCase {
		return r, nil
	}
	r.Paths = slices.Clone(r.Paths)
	for i := range r.Paths {
		var err error
		if r.Paths[i], err = r.Paths[i].folded(); err != nil {
			return r, err
		}
	}
	return r, nil
}

// covers says whether every request that later matches is matched by r too.
func (r Rule) covers(later Rule) bool {
	if len(r.Headers) > 0 {
		return false
	}
	if len(r.Methods) > 0 {
		if len(later.Methods) == 0 {
			return false
		}
		for _, m := range later.Methods {
			if !slices.Contains(r.Methods, m) {
				return false
			}
		}
	}
	for _, q := range later.Paths {
		if !slices.ContainsFunc(r.Paths, func(p PathPattern) bool { return p.covers(q) }) {
			return false
		}
	}
	return true
}

// Len is the number of rules.
func (s *Set) Len() int { return len(s.rules) }

// HeaderNames are the headers that rules ask about. The caller must not change the slice.
func (s *Set) HeaderNames() []string { return s.headers }

// Field is what a request holds of one header: how many values, and the first of them.
type Field struct {
	Value string
	Count int
}

// What Find gives when no rule decides.
const (
	// NoRule: no rule matches the request.
	NoRule = -1
	// Ambiguous: a header that decides between rules occurs more than once.
	Ambiguous = -2
)

// Find is the index of the first rule that matches, or NoRule or Ambiguous. path is what NormalizePath gave; headers are
// in the order of HeaderNames.
func (s *Set) Find(method, path string, headers []Field) int {
	if s.ignoreCase {
		path = strings.ToLower(path)
	}
	for i := range s.rules {
		r := &s.rules[i]
		if !r.matchesMethod(method) || !r.matchesPath(path) {
			continue
		}
		matched := true
		for j := range r.Headers {
			field := headers[s.asks[i][j]]
			if field.Count > 1 {
				return Ambiguous
			}
			matched = matched && r.Headers[j].matches(field)
		}
		if matched {
			return i
		}
	}
	return NoRule
}

func (r *Rule) matchesMethod(method string) bool {
	if len(r.Methods) == 0 {
		return true
	}
	for _, m := range r.Methods {
		if m == method {
			return true
		}
	}
	return false
}

func (r *Rule) matchesPath(path string) bool {
	for i := range r.Paths {
		if r.Paths[i].matches(path) {
			return true
		}
	}
	return false
}

// Public says whether a rule asks for no token.
func (s *Set) Public(rule int) bool { return s.rules[rule].Public }

// Grants are the rules that a token's claims satisfy: one bit a rule.
type Grants []uint64

// Has says whether a rule is satisfied. NoRule and Ambiguous never are.
func (g Grants) Has(rule int) bool {
	return rule >= 0 && rule/64 < len(g) && g[rule/64]&(1<<(rule%64)) != 0
}

// Grants says which rules the claims satisfy.
func (s *Set) Grants(claims map[string]any) Grants {
	g := make(Grants, (len(s.rules)+63)/64)
	for i := range s.rules {
		if s.rules[i].grants(claims) {
			g[i/64] |= 1 << (i % 64)
		}
	}
	return g
}

func (r *Rule) grants(claims map[string]any) bool {
	for _, c := range r.All {
		if !c.Holds(claims) {
			return false
		}
	}
	if len(r.Any) == 0 {
		return true
	}
	return slices.ContainsFunc(r.Any, func(c Condition) bool { return c.Holds(claims) })
}

// ValidMethod says whether a method may be compared with those of rules: upper case letters, digits, "-" and "_". A
// method in lower case is another method by RFC 9110, section 9.1, but not to every server.
func ValidMethod(method string) bool {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "DELETE": // nearly all
		return true
	}
	for i := 0; i < len(method); i++ {
		c := method[i]
		if !('A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return method != ""
}
