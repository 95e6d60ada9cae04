package main

import (
	"regexp"
	"strings"

	"github.com/waft-project/waft/sdk"
)

// matcher is one way to match a text.
type matcher struct {
	kind matchKind
	text string
	re   *regexp.Regexp
}

type matchKind uint8

const (
	matchExact matchKind = iota
	matchPrefix
	matchSuffix
	matchRegex
	// matchPresent and matchAbsent are about a header itself, not its value.
	matchPresent
	matchAbsent
)

func (m *matcher) match(s string) bool {
	switch m.kind {
	case matchExact:
		return s == m.text
	case matchPrefix:
		return strings.HasPrefix(s, m.text)
	case matchSuffix:
		return strings.HasSuffix(s, m.text)
	case matchRegex:
		return m.re.MatchString(s)
	}
	return false
}

// condition is when a mutation is made.
type condition struct {
	path    *matcher
	headers []headerCondition
}

type headerCondition struct {
	matcher
	name     string
	response bool
}

// usesRequest reports whether the condition reads the request's headers.
func (c *condition) usesRequest() bool {
	if c.path != nil {
		return true
	}
	for i := range c.headers {
		if !c.headers[i].response {
			return true
		}
	}
	return false
}

func (c *condition) holds(m *message) bool {
	if c.path != nil {
		path, _ := m.request.Get(":path")
		path, _, _ = strings.Cut(path, "?")
		if !c.path.match(path) {
			return false
		}
	}
	for i := range c.headers {
		if !c.headers[i].holds(m) {
			return false
		}
	}
	return true
}

func (c *headerCondition) holds(m *message) bool {
	h := m.request
	if c.response {
		h = m.response
	}
	switch c.kind {
	case matchPresent:
		_, ok := h.Get(c.name)
		return ok
	case matchAbsent:
		_, ok := h.Get(c.name)
		return !ok
	}
	return anyValue(h, c.name, &c.matcher)
}

// anyValue reports whether one of the values of a header matches.
func anyValue(h *sdk.Headers, name string, m *matcher) bool {
	for n, value := range h.All() {
		if strings.EqualFold(n, name) && m.match(value) {
			return true
		}
	}
	return false
}
