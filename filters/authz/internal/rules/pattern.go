package rules

import (
	"errors"
	"regexp"
	"strings"
)

// MaxPatternBytes is the longest regular expression that is taken.
const MaxPatternBytes = 1 << 10

// PathPattern matches normalized paths. Make one with Exact, Prefix or Regex; the zero value matches nothing.
type PathPattern struct {
	kind kind
	text string
	re   *regexp.Regexp
}

type kind uint8

const (
	kindNone kind = iota
	kindExact
	kindPrefix
	kindRegex
)

// Exact matches this one path, with or without a trailing slash.
func Exact(path string) (PathPattern, error) { return plainPattern(kindExact, path) }

// Prefix matches a path and all that lies below it, by whole segments: /admin matches /admin and /admin/users, not
// /administrator. / matches every path.
func Prefix(path string) (PathPattern, error) { return plainPattern(kindPrefix, path) }

func plainPattern(k kind, path string) (PathPattern, error) {
	if problem := checkPattern(path); problem != "" {
		return PathPattern{}, errors.New(problem)
	}
	return PathPattern{kind: k, text: trimSlash(path)}, nil
}

// Regex matches paths that the expression (RE2 syntax) matches from the first to the last byte. Paths have no trailing
// slash when they are matched, other than the root.
func Regex(expression string) (PathPattern, error) {
	re, err := CompileRegex(expression)
	if err != nil {
		return PathPattern{}, err
	}
	return PathPattern{kind: kindRegex, text: expression, re: re}, nil
}

// CompileRegex compiles an expression so that it must match the whole text.
func CompileRegex(expression string) (*regexp.Regexp, error) {
	if expression == "" {
		return nil, errors.New("empty expression")
	}
	if len(expression) > MaxPatternBytes {
		return nil, errors.New("the expression is too long")
	}
	// Alone first: "a)|(b" is no expression, but would be one in the parentheses that anchor it.
	if _, err := regexp.Compile(expression); err != nil {
		return nil, err
	}
	return regexp.Compile(`^(?:` + expression + `)$`)
}

// folded is the pattern for paths in lower case.
func (p PathPattern) folded() (PathPattern, error) {
	if p.kind == kindRegex {
		re, err := regexp.Compile(`(?i)` + p.re.String())
		p.re = re
		return p, err
	}
	p.text = strings.ToLower(p.text)
	return p, nil
}

func (p *PathPattern) matches(path string) bool {
	switch p.kind {
	case kindExact:
		return path == p.text
	case kindPrefix:
		return below(p.text, path)
	case kindRegex:
		return p.re.MatchString(path)
	}
	return false
}

// below says whether path is prefix or lies under it.
func below(prefix, path string) bool {
	if prefix == "/" {
		return true
	}
	return strings.HasPrefix(path, prefix) && (len(path) == len(prefix) || path[len(prefix)] == '/')
}

// covers says whether every path that q matches is matched by p too. False may mean that it is not known.
func (p PathPattern) covers(q PathPattern) bool {
	switch {
	case p.kind == kindPrefix && p.text == "/":
		return true
	case p.kind == kindPrefix && (q.kind == kindPrefix || q.kind == kindExact):
		return below(p.text, q.text)
	}
	return p.kind == q.kind && p.text == q.text
}

// HeaderPattern matches one header of a request. Name is in lower case. Where none of Exact, Prefix and Regex is set the
// header must be there; Absent asks that it is not.
type HeaderPattern struct {
	Name   string
	Absent bool
	Exact  *string
	Prefix string
	Regex  *regexp.Regexp
}

func (p HeaderPattern) matches(f Field) bool {
	switch {
	case f.Count == 0 || p.Absent:
		return (f.Count == 0) == p.Absent
	case p.Exact != nil:
		return f.Value == *p.Exact
	case p.Regex != nil:
		return p.Regex.MatchString(f.Value)
	}
	return strings.HasPrefix(f.Value, p.Prefix)
}
