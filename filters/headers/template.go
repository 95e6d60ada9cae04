package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/waft-project/waft/sdk"
)

// maxTemplateBytes is the most bytes of a template.
const maxTemplateBytes = 4096

// message is what templates and conditions look at. response is nil while the request is on its way.
type message struct {
	request    *sdk.Headers
	response   *sdk.Headers
	properties sdk.Properties
}

// template is a parsed value: text and commands in turn.
type template struct {
	parts []part
	// fixed is the whole value when there are no commands.
	fixed string
	// usesRequest is set when a command reads a request header.
	usesRequest bool
}

type partKind uint8

const (
	partText partKind = iota
	partRequest
	partResponse
	partProperty
)

// part is a text or a command of a template.
type part struct {
	kind partKind
	// text is the text, the header's name or the property's path.
	text string
	// otherwise is the header that stands in when the first is absent.
	otherwise string
	// limit is the most bytes of the value, 0 for no limit.
	limit int
}

// parseTemplate parses text in which %COMMAND(argument):limit% stands for a value and %% for a percent sign. Errors name the
// position in bytes, from 0.
func parseTemplate(text string, response bool) (template, error) {
	var t template
	if len(text) > maxTemplateBytes {
		return t, fmt.Errorf("the template has %d bytes, the most is %d", len(text), maxTemplateBytes)
	}
	literal := ""
	for at := 0; at < len(text); {
		i := strings.IndexByte(text[at:], '%')
		if i < 0 {
			literal += text[at:]
			break
		}
		literal += text[at : at+i]
		at += i
		if strings.HasPrefix(text[at:], "%%") {
			literal += "%"
			at += 2
			continue
		}
		p, length, err := parseCommand(text[at:], response)
		if err != nil {
			return t, fmt.Errorf("bad template at byte %d: %w", at, err)
		}
		if literal != "" {
			t.parts = append(t.parts, part{text: literal})
			literal = ""
		}
		t.parts = append(t.parts, p)
		t.usesRequest = t.usesRequest || p.kind == partRequest
		at += length
	}
	if len(t.parts) == 0 {
		t.fixed = literal
	} else if literal != "" {
		t.parts = append(t.parts, part{text: literal})
	}
	return t, nil
}

// parseCommand parses the command that text begins with, and gives its length.
func parseCommand(text string, response bool) (part, int, error) {
	var p part
	open := strings.IndexAny(text[1:], "(%") + 1
	if open == 0 || text[open] == '%' {
		return p, 0, fmt.Errorf("want %%REQ(name)%%, %%RESP(name)%% or %%PROP(path)%%, or %%%% for a percent sign")
	}
	shut := strings.IndexByte(text[open:], ')')
	if shut < 0 {
		return p, 0, fmt.Errorf("%s has no closing parenthesis", text[:open+1])
	}
	shut += open
	command, argument := text[1:open], text[open+1:shut]
	end := strings.IndexByte(text[shut:], '%')
	if end < 0 {
		return p, 0, fmt.Errorf("%s has no closing %%", text[:shut+1])
	}
	end += shut
	if suffix := text[shut+1 : end]; suffix != "" {
		limit, err := strconv.Atoi(strings.TrimPrefix(suffix, ":"))
		if suffix[0] != ':' || err != nil || limit <= 0 {
			return p, 0, fmt.Errorf("%q after the parenthesis: want a colon and the most bytes to take, as in %%REQ(name):10%%", suffix)
		}
		p.limit = limit
	}
	switch command {
	case "REQ", "RESP":
		p.kind = partRequest
		if command == "RESP" {
			if !response {
				return p, 0, fmt.Errorf("%%RESP(…)%% can be used in response mutations only: the request is on its way before the response exists")
			}
			p.kind = partResponse
		}
		name, otherwise, both := strings.Cut(argument, "?")
		names := []string{name}
		if both {
			names = append(names, otherwise)
		}
		for _, n := range names {
			if err := checkName(n, true); err != nil {
				return p, 0, fmt.Errorf("%s: %w", command, err)
			}
		}
		p.text, p.otherwise = strings.ToLower(name), strings.ToLower(otherwise)
	case "PROP":
		if err := checkProperty(argument); err != nil {
			return p, 0, err
		}
		p.kind, p.text = partProperty, sdk.PropertyPath(strings.Split(argument, ".")...)
	default:
		return p, 0, fmt.Errorf("unknown command %q; known are REQ, RESP and PROP", command)
	}
	return p, end + 1, nil
}

func checkProperty(path string) error {
	for element := range strings.SplitSeq(path, ".") {
		if element == "" {
			return fmt.Errorf("PROP(%s): want elements separated by dots, as in PROP(xds.route_name)", path)
		}
	}
	if strings.IndexByte(path, 0) >= 0 {
		return fmt.Errorf("PROP(%q): a path has no NUL", path)
	}
	return nil
}

// render is the value for a message. What is absent is empty.
func (t *template) render(m *message) string {
	if len(t.parts) == 0 {
		return t.fixed
	}
	if len(t.parts) == 1 {
		return t.parts[0].render(m)
	}
	var out strings.Builder
	for i := range t.parts {
		out.WriteString(t.parts[i].render(m))
	}
	return out.String()
}

func (p *part) render(m *message) string {
	value := ""
	switch p.kind {
	case partText:
		return p.text
	case partRequest:
		value = header(m.request, p.text, p.otherwise)
	case partResponse:
		value = header(m.response, p.text, p.otherwise)
	case partProperty:
		// A property that is not there is empty, like a header that is not there.
		value, _ = m.properties.Text(p.text)
	}
	if p.limit > 0 && len(value) > p.limit {
		return value[:p.limit]
	}
	return value
}

// header is the first value of a header or, when it is absent, of another one.
func header(h *sdk.Headers, name, otherwise string) string {
	value, ok := h.Get(name)
	if !ok && otherwise != "" {
		value, _ = h.Get(otherwise)
	}
	return value
}
