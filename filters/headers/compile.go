package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/waft-project/waft/sdk"
)

// operations, named as in the configuration.
const (
	opAdd    = "add"
	opSet    = "set"
	opAppend = "append"
	opRemove = "remove"
	opRename = "rename"
)

// settable are the pseudo-headers that request mutations may set.
var settable = [...]string{":path", ":authority", ":method", ":scheme"}

// mutation is a checked [Mutation] whose template and conditions are parsed.
type mutation struct {
	op        string
	name, to  string
	value     template
	keepEmpty bool
	when      condition
}

// usesRequest reports whether the mutation reads the request's headers.
func (m *mutation) usesRequest() bool { return m.value.usesRequest || m.when.usesRequest() }

// compile checks a list of mutations. Errors are [*sdk.ConfigError] that name the field.
func compile(field string, list []Mutation, response bool) ([]mutation, error) {
	compiled := make([]mutation, len(list))
	for i := range list {
		path := fmt.Sprintf("%s[%d]", field, i)
		if err := compiled[i].compile(path, &list[i], response); err != nil {
			return nil, err
		}
	}
	return compiled, nil
}

func (m *mutation) compile(path string, from *Mutation, response bool) error {
	m.op, m.name, m.to, m.keepEmpty = from.Op, strings.ToLower(from.Name), strings.ToLower(from.To), from.KeepEmpty
	pseudo := !response && from.Op == opSet
	if err := checkTarget(from.Name, pseudo); err != nil {
		return sdk.ConfigErrorf(path+".name", "%v", err)
	}
	if err := checkFields(path, from); err != nil {
		return err
	}
	if from.Op == opRename {
		if err := checkTarget(from.To, false); err != nil {
			return sdk.ConfigErrorf(path+".to", "%v", err)
		}
		if m.to == m.name {
			return sdk.ConfigErrorf(path+".to", "it is the same as name")
		}
	}
	value, err := parseTemplate(from.Value, response)
	if err != nil {
		return sdk.ConfigErrorf(path+".value", "%v", err)
	}
	if strings.ContainsAny(from.Value, "\r\n\x00") {
		return sdk.ConfigErrorf(path+".value", "a header's value cannot hold CR, LF or NUL")
	}
	m.value = value
	m.when, err = compileWhen(path+".when", &from.When, response)
	return err
}

// checkFields checks that the fields fit the operation.
func checkFields(path string, m *Mutation) error {
	takesValue := m.Op == opAdd || m.Op == opSet || m.Op == opAppend
	switch {
	case takesValue && m.Value == "" && !m.KeepEmpty:
		return sdk.ConfigErrorf(path+".value", "%s needs a value, or keepEmpty for an empty one", m.Op)
	case !takesValue && m.Value != "":
		return sdk.ConfigErrorf(path+".value", "%s takes no value", m.Op)
	case !takesValue && m.KeepEmpty:
		return sdk.ConfigErrorf(path+".keepEmpty", "%s takes no value", m.Op)
	case m.KeepEmpty && strings.HasPrefix(m.Name, ":"):
		return sdk.ConfigErrorf(path+".keepEmpty", "a pseudo-header is never empty")
	case m.Op == opRename && m.To == "":
		return sdk.ConfigErrorf(path+".to", "rename needs the new name")
	case m.Op != opRename && m.To != "":
		return sdk.ConfigErrorf(path+".to", "only rename takes it")
	}
	return nil
}

// checkTarget checks the name of a header that is to be changed.
func checkTarget(name string, pseudo bool) error {
	lower := strings.ToLower(name)
	if strings.HasPrefix(lower, ":") {
		if !pseudo || !slices.Contains(settable[:], lower) {
			return fmt.Errorf("%q cannot be changed; request mutations with op set may change %s", name, strings.Join(settable[:], ", "))
		}
		return nil
	}
	if lower == "host" {
		return errors.New("host is :authority in Envoy: set that")
	}
	return checkName(name, false)
}

// checkName checks that a name is an HTTP token, behind a colon if pseudo allows it.
func checkName(name string, pseudo bool) error {
	token := name
	if pseudo {
		token = strings.TrimPrefix(token, ":")
	}
	if token == "" {
		return errors.New("the header's name is empty")
	}
	for i := range len(token) {
		if c := token[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return fmt.Errorf("%q is no header name: it holds %q", name, c)
		}
	}
	return nil
}

func compileWhen(path string, w *When, response bool) (condition, error) {
	var c condition
	if w.Path != (PathMatch{}) {
		m, err := compileMatch(path+".path",
			oneOf{matchExact, "exact", w.Path.Exact}, oneOf{matchPrefix, "prefix", w.Path.Prefix},
			oneOf{matchSuffix, "suffix", w.Path.Suffix}, oneOf{matchRegex, "regex", w.Path.Regex})
		if err != nil {
			return c, err
		}
		c.path = &m
	}
	for i, h := range w.Headers {
		field := fmt.Sprintf("%s.headers[%d]", path, i)
		if err := checkName(h.Name, true); err != nil {
			return c, sdk.ConfigErrorf(field+".name", "%v", err)
		}
		if h.From == "response" && !response {
			return c, sdk.ConfigErrorf(field+".from", "the response does not exist yet in request mutations")
		}
		m, err := compileMatch(field,
			oneOf{matchPresent, "present", flag(h.Present)}, oneOf{matchAbsent, "absent", flag(h.Absent)},
			oneOf{matchExact, "exact", h.Exact}, oneOf{matchPrefix, "prefix", h.Prefix}, oneOf{matchRegex, "regex", h.Regex})
		if err != nil {
			return c, err
		}
		c.headers = append(c.headers, headerCondition{matcher: m, name: strings.ToLower(h.Name), response: response && h.From != "request"})
	}
	return c, nil
}

// oneOf is a way to match that a configuration may have set.
type oneOf struct {
	kind  matchKind
	field string
	text  string
}

func flag(set bool) string {
	if set {
		return "true"
	}
	return ""
}

// compileMatch makes the matcher of the one way that is set.
func compileMatch(path string, ways ...oneOf) (matcher, error) {
	var fields, set []string
	var m matcher
	for _, w := range ways {
		fields = append(fields, w.field)
		if w.text == "" {
			continue
		}
		set = append(set, w.field)
		m = matcher{kind: w.kind, text: w.text}
	}
	if len(set) != 1 {
		return m, sdk.ConfigErrorf(path, "want exactly one of %s, got %d", strings.Join(fields, ", "), len(set))
	}
	if m.kind == matchRegex {
		re, err := regexp.Compile(`^(?:` + m.text + `)$`)
		if err != nil {
			return m, sdk.ConfigErrorf(path+".regex", "it is no regular expression of RE2: %v", err)
		}
		m.re = re
	}
	return m, nil
}
