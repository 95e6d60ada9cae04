package main

import (
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
)

// Limits of the headers that are taken apart.
const (
	// maxDictionaryBytes is the length of the longest Signature-Input, Signature or Content-Digest.
	maxDictionaryBytes = 8 << 10
	// maxMembers is the most members of one of them.
	maxMembers = 16
	// maxComponents is the most components that a signature covers.
	maxComponents = 64
	// maxParameters is the most parameters of a member or a component.
	maxParameters = 16
)

// dictionary is a Structured Field dictionary (RFC 8941, section 3.2), as far as signatures and digests need it.
type dictionary []entry

// entry is a member of a dictionary.
type entry struct {
	name string
	// text is the value with its parameters, as it was written.
	text string
	// list holds the strings of an inner list, if the value is one.
	list []component
	// isList tells an empty inner list from no list.
	isList bool
	// bytes are those of a byte sequence, nil for anything else.
	bytes []byte
	// parameters of the value.
	parameters []parameter
}

// component is a string in an inner list, with its parameters.
type component struct {
	name       string
	parameters []parameter
}

// parameter has a string or an integer as its value; anything else has neither.
type parameter struct {
	name     string
	text     string
	isText   bool
	number   int64
	isNumber bool
}

func (d dictionary) find(name string) *entry {
	for i := range d {
		if d[i].name == name {
			return &d[i]
		}
	}
	return nil
}

func (e *entry) parameter(name string) *parameter {
	for i := range e.parameters {
		if e.parameters[i].name == name {
			return &e.parameters[i]
		}
	}
	return nil
}

var (
	errMalformed = errors.New("it is no dictionary of structured fields")
	errTooLong   = errors.New("it is too long")
)

// parseDictionary takes a header's value apart. A name that comes twice is an error here: RFC 8941 takes the last one, and
// who signs and who verifies must not differ on which one that is.
func parseDictionary(s string) (dictionary, error) {
	if len(s) > maxDictionaryBytes {
		return nil, errTooLong
	}
	p := parser{rest: s}
	var d dictionary
	p.spaces()
	for p.rest != "" {
		e, ok := p.member()
		if !ok || d.find(e.name) != nil {
			return nil, errMalformed
		}
		if d = append(d, e); len(d) > maxMembers {
			return nil, errTooLong
		}
		p.spaces()
		if p.rest == "" {
			break
		}
		if !p.take(',') {
			return nil, errMalformed
		}
		if p.spaces(); p.rest == "" {
			return nil, errMalformed
		}
	}
	return d, nil
}

// parser reads structured fields off the front of rest.
type parser struct{ rest string }

func (p *parser) member() (entry, bool) {
	var e entry
	var ok bool
	if e.name, ok = p.key(); !ok {
		return e, false
	}
	if !p.take('=') {
		// A boolean that is true: no signature is one.
		e.parameters, ok = p.parameters()
		return e, ok
	}
	start := p.rest
	switch {
	case p.rest == "":
		return e, false
	case p.rest[0] == '(':
		e.isList = true
		e.list, ok = p.innerList()
	case p.rest[0] == ':':
		e.bytes, ok = p.byteSequence()
	default:
		_, ok = p.bareItem()
	}
	if !ok {
		return e, false
	}
	e.parameters, ok = p.parameters()
	e.text = start[:len(start)-len(p.rest)]
	return e, ok
}

// innerList reads strings between parentheses. Other items are no components of a signature.
func (p *parser) innerList() ([]component, bool) {
	p.take('(')
	var list []component
	for {
		for p.take(' ') {
			continue
		}
		if p.take(')') {
			return list, true
		}
		name, ok := p.quoted()
		if !ok || len(list) == maxComponents {
			return nil, false
		}
		parameters, ok := p.parameters()
		if !ok || p.rest == "" || p.rest[0] != ' ' && p.rest[0] != ')' {
			return nil, false
		}
		list = append(list, component{name, parameters})
	}
}

func (p *parser) parameters() ([]parameter, bool) {
	var list []parameter
	for p.take(';') {
		for p.take(' ') {
			continue
		}
		name, ok := p.key()
		if !ok || len(list) == maxParameters {
			return nil, false
		}
		for _, other := range list {
			if other.name == name {
				return nil, false
			}
		}
		value := parameter{}
		if p.take('=') {
			if value, ok = p.bareItem(); !ok {
				return nil, false
			}
		}
		value.name = name
		list = append(list, value)
	}
	return list, true
}

// bareItem reads a string, an integer, a token, a byte sequence or a boolean.
func (p *parser) bareItem() (parameter, bool) {
	if p.rest == "" {
		return parameter{}, false
	}
	switch c := p.rest[0]; {
	case c == '"':
		text, ok := p.quoted()
		return parameter{text: text, isText: true}, ok
	case c == ':':
		_, ok := p.byteSequence()
		return parameter{}, ok
	case c == '?':
		ok := len(p.rest) > 1 && (p.rest[1] == '0' || p.rest[1] == '1')
		if ok {
			p.rest = p.rest[2:]
		}
		return parameter{}, ok
	case c == '-' || isDigit(c):
		return p.number()
	case c == '*' || isLetter(c):
		p.span(func(c byte) bool {
			return isLetter(c) || isDigit(c) || c == ':' || c == '/' || c >= '!' && c <= '~' && !isDelimiter(c)
		})
		return parameter{}, true
	}
	return parameter{}, false
}

// number reads an integer of up to 15 digits (RFC 8941, section 3.3.1). A decimal is read too, and is no number here.
func (p *parser) number() (parameter, bool) {
	text := p.span(func(c byte) bool { return isDigit(c) || c == '-' || c == '.' })
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && len(text) <= 16 {
		return parameter{number: n, isNumber: true}, true
	}
	_, err := strconv.ParseFloat(text, 64)
	return parameter{}, err == nil && strings.Contains(text, ".") && len(text) <= 17
}

// quoted reads a string: printable ASCII, with \" and \\.
func (p *parser) quoted() (string, bool) {
	if !p.take('"') {
		return "", false
	}
	var out []byte
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return string(out), true
		case c == '\\':
			if i++; i == len(p.rest) || p.rest[i] != '"' && p.rest[i] != '\\' {
				return "", false
			}
			out = append(out, p.rest[i])
		case c < ' ' || c > '~':
			return "", false
		default:
			out = append(out, c)
		}
	}
	return "", false
}

// byteSequence reads base64 between colons.
func (p *parser) byteSequence() ([]byte, bool) {
	p.take(':')
	text := p.span(func(c byte) bool { return c != ':' })
	if !p.take(':') {
		return nil, false
	}
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	if data == nil {
		data = []byte{}
	}
	return data, err == nil
}

// key reads a name: lower case, digits and a few signs.
func (p *parser) key() (string, bool) {
	if p.rest == "" || !('a' <= p.rest[0] && p.rest[0] <= 'z' || p.rest[0] == '*') {
		return "", false
	}
	return p.span(func(c byte) bool {
		return 'a' <= c && c <= 'z' || isDigit(c) || c == '_' || c == '-' || c == '.' || c == '*'
	}), true
}

// span reads the bytes up to the first one that does not fit.
func (p *parser) span(fits func(byte) bool) string {
	n := 0
	for n < len(p.rest) && fits(p.rest[n]) {
		n++
	}
	text := p.rest[:n]
	p.rest = p.rest[n:]
	return text
}

func (p *parser) take(c byte) bool {
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *parser) spaces() {
	p.span(func(c byte) bool { return c == ' ' || c == '\t' })
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

// isDelimiter says whether c ends a token.
func isDelimiter(c byte) bool {
	switch c {
	case '"', '(', ')', ',', ';', '<', '=', '>', '?', '@', '[', '\\', ']', '{', '}':
		return true
	}
	return false
}
