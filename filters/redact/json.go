package main

import (
	"encoding/json"
	"slices"
	"strings"
)

// maxDepth is how deep objects and lists may nest.
const maxDepth = 128

// rewriter copies a JSON text, and leaves out what a policy takes out. All else stays as it was written.
type rewriter struct {
	policy *policy
	in     []byte
	at     int
	out    []byte
	// names are those from the root to the value at hand.
	names []string
	depth int
	found counts
}

// rewriteJSON gives a JSON body without what the policy takes out. It is false for what is no JSON.
func (p *policy) rewriteJSON(body []byte, c *counts) ([]byte, bool) {
	if !json.Valid(body) {
		return nil, false
	}
	r := rewriter{policy: p, in: body, out: make([]byte, 0, len(body))}
	if !r.value() {
		return nil, false
	}
	r.spaces()
	for i, n := range r.found {
		c[i] += n
	}
	return r.out, true
}

// value copies a value. It is false where it nests too deep; that it is well-formed is known.
func (r *rewriter) value() bool {
	r.spaces()
	switch r.in[r.at] {
	case '{', '[':
		return r.container(r.in[r.at] == '{')
	case '"':
		r.text()
	default:
		r.scalar()
	}
	return true
}

func (r *rewriter) container(isObject bool) bool {
	if r.depth++; r.depth > maxDepth {
		return false
	}
	r.copy(1)
	for r.spaces(); r.in[r.at] != '}' && r.in[r.at] != ']'; r.spaces() {
		if r.in[r.at] == ',' {
			r.copy(1)
			r.spaces()
		}
		if !isObject {
			if !r.value() {
				return false
			}
			continue
		}
		name := r.text()
		r.spaces()
		r.copy(1) // the colon
		r.names = append(r.names, name)
		if !r.member() {
			return false
		}
		r.names = r.names[:len(r.names)-1]
	}
	r.copy(1)
	r.depth--
	return true
}

// member copies the value of a field, or puts the replacement in its place.
func (r *rewriter) member() bool {
	if !slices.ContainsFunc(r.policy.fields, func(p fieldPath) bool { return p.matches(r.names) }) {
		return r.value()
	}
	r.spaces()
	before, found := len(r.out), r.found
	if !r.value() {
		return false
	}
	r.out = append(r.out[:before], r.policy.quoted...)
	r.found = found
	r.found.addField()
	return true
}

// text copies a string, and gives what it was. Escaped characters are looked at as what they stand for.
func (r *rewriter) text() string {
	end := r.at + 1
	for r.in[end] != '"' {
		if r.in[end] == '\\' {
			end++
		}
		end++
	}
	raw := r.in[r.at : end+1]
	s := string(raw[1 : len(raw)-1])
	if strings.IndexByte(s, '\\') >= 0 {
		_ = json.Unmarshal(raw, &s) // it is well-formed
	}
	if clean := r.policy.patterns.replace(s, r.policy.text, &r.found); clean != s {
		quoted, _ := json.Marshal(clean) // of a string there is no error
		r.out = append(r.out, quoted...)
		r.at = end + 1
	} else {
		r.copy(len(raw))
	}
	return s
}

// scalar copies a number or a word. A number may be that of a card; true, false and null are nobody's.
func (r *rewriter) scalar() {
	end := r.at
	for end < len(r.in) && strings.IndexByte(" \t\r\n,]}", r.in[end]) < 0 {
		end++
	}
	s := string(r.in[r.at:end])
	if (isDigit(s[0]) || s[0] == '-') && r.policy.patterns.replace(s, r.policy.text, &r.found) != s {
		r.out = append(r.out, r.policy.quoted...)
		r.at = end
		return
	}
	r.copy(end - r.at)
}

func (r *rewriter) copy(n int) {
	r.out = append(r.out, r.in[r.at:r.at+n]...)
	r.at += n
}

func (r *rewriter) spaces() {
	for r.at < len(r.in) && (r.in[r.at] == ' ' || r.in[r.at] == '\t' || r.in[r.at] == '\r' || r.in[r.at] == '\n') {
		r.copy(1)
	}
}
