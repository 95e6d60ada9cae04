package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/waft-project/waft/sdk"
)

const (
	// valueOther stands for a value that is not told apart.
	valueOther = "other"
	// valueNone stands for a value that is not there.
	valueNone = "none"
)

// methods are those that HTTP defines (RFC 9110, RFC 5789).
var methods = [...]string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}

// routeProperty is the property that has held the route's name since Envoy 1.36 at the latest; route_name is not there.
const routeProperty = "xds\x00route_name"

// tag is a checked [Tag].
type tag struct {
	name, from, key string
	otherwise       string
	values          []string
}

// value is the tag's value for a stream that is complete.
func (t *tag) value(s *sdk.Stream) string {
	value := t.read(s)
	if value == "" {
		return t.otherwise
	}
	if len(t.values) > 0 && !slices.Contains(t.values, value) {
		return valueOther
	}
	return value
}

// read is the value as it is, empty when there is none.
func (t *tag) read(s *sdk.Stream) string {
	switch t.from {
	case fromRequestHeader:
		value, _ := s.Request().Headers().Get(t.key)
		return value
	case fromResponseHeader:
		value, _ := s.Response().Headers().Get(t.key)
		return value
	case fromProperty, fromRoute:
		// A property that is not there counts as empty, like a header that is not there.
		value, _ := s.Properties().Text(t.key)
		return value
	case fromCode:
		if code := s.Response().Status(); code != 0 {
			return strconv.Itoa(code)
		}
	case fromCodeClass:
		return codeClass(s.Response().Status())
	case fromMethod:
		method := s.Request().Method()
		if method != "" && !slices.Contains(methods[:], method) {
			return valueOther
		}
		return method
	}
	return ""
}

// codeClass is 2xx for 200 to 299 and so on, and empty for what is no status.
func codeClass(code int) string {
	switch code / 100 {
	case 1:
		return "1xx"
	case 2:
		return "2xx"
	case 3:
		return "3xx"
	case 4:
		return "4xx"
	case 5:
		return "5xx"
	}
	return ""
}

// Where tags come from, as in the configuration.
const (
	fromRequestHeader  = "requestHeader"
	fromResponseHeader = "responseHeader"
	fromProperty       = "property"
	fromRoute          = "route"
	fromCode           = "code"
	fromCodeClass      = "codeClass"
	fromMethod         = "method"
)

// takesKey reports whether a tag from there needs a key.
func takesKey(from string) bool {
	return from == fromRequestHeader || from == fromResponseHeader || from == fromProperty
}

// property is the path of a property as the sdk takes it, ready.
func property(path string) string { return sdk.PropertyPath(strings.Split(path, ".")...) }
