package main

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/waft-project/waft/sdk"
)

// policy is a compiled Policy.
type policy struct {
	request, response bool
	fields            []fieldPath
	patterns          patterns
	text              string
	// quoted is text as JSON.
	quoted  []byte
	maxBody int
	logPath bool
	query   []string
	// replaced are the counters of what the patterns find, fieldsReplaced that of fields.
	replaced       []sdk.Counter
	fieldsReplaced sdk.Counter
}

func compilePolicy(at string, from *Policy) (*policy, error) {
	p := &policy{
		request: slices.Contains(from.Messages, "request"), response: slices.Contains(from.Messages, "response"),
		text: from.Replacement, maxBody: from.MaxBodyBytes, logPath: from.LogPath, query: from.Query,
	}
	if from.Fields == nil && from.Patterns == nil && from.Expressions == nil && !from.LogPath {
		return nil, sdk.ConfigErrorf(at, "neither fields nor patterns nor expressions: nothing would ever be taken out")
	}
	for _, one := range builtin {
		if slices.Contains(from.Patterns, string(one.kind)) {
			p.patterns = append(p.patterns, one)
		}
	}
	own, err := compileExpressions(at+".expressions", from.Expressions)
	if err != nil {
		return nil, err
	}
	p.patterns = append(p.patterns, own...)
	if from.Query != nil && !from.LogPath {
		return nil, sdk.ConfigErrorf(at+".query", "counts for logPath only")
	}
	if p.quoted, err = json.Marshal(from.Replacement); err != nil {
		return nil, sdk.ConfigErrorf(at+".replacement", "%v", err)
	}
	var found counts
	if p.patterns.replace(p.text, "", &found); found.sum() > 0 {
		return nil, sdk.ConfigErrorf(at+".replacement", "it is what the patterns find")
	}
	for i, text := range from.Fields {
		path, ok := parsePath(text)
		if !ok {
			return nil, sdk.ConfigErrorf(at+".fields["+strconv.Itoa(i)+"]", "%q: want names between dots, such as user.email or **.password", text)
		}
		p.fields = append(p.fields, path)
	}
	return p, nil
}

// looks says whether a body of this content type is looked at, and whether it is JSON.
func (p *policy) looks(contentType string) (looks, isJSON bool) {
	kind, _, _ := strings.Cut(contentType, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	switch {
	case kind == "application/json", strings.HasSuffix(kind, "+json"):
		return p.fields != nil || p.patterns != nil, true
	case strings.HasPrefix(kind, "text/"), kind == "application/x-www-form-urlencoded", kind == "application/x-ndjson", kind == "application/xml", strings.HasSuffix(kind, "+xml"), kind == "":
		return p.patterns != nil, false
	}
	return false, false
}

// count counts what was replaced. A counter that does not grow is left alone: each costs a host call.
func (p *policy) count(found *counts) {
	if n := found[maxPatterns]; n > 0 {
		p.fieldsReplaced.Add(n)
	}
	for i, counter := range p.replaced {
		if n := found[i]; n > 0 {
			counter.Add(n)
		}
	}
}
