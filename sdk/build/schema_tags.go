package build

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/types"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/waft-project/waft/sdk/internal/configtag"
)

// headerNamePattern is what sdk.HeaderName takes: a token (RFC 9110, section 5.6.2).
const headerNamePattern = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"

// maxHeaderNameBytes is sdk.MaxHeaderName.
const maxHeaderNameBytes = 256

func headerName() object {
	return object{{"type", "string"}, {"pattern", headerNamePattern}, {"maxLength", maxHeaderNameBytes}}
}

// text is the schema of a string, whatever Go type decodes it.
func (w *schemaWriter) text(at string, t types.Type, tags configtag.Tags) (object, error) {
	out := object{{"type", "string"}}
	if tags.Enum != nil {
		out = append(out, member{"enum", tags.Enum})
	}
	out = append(out, length(tags)...)
	if tags.Pattern != "" {
		if _, err := regexp.Compile(tags.Pattern); err != nil {
			return nil, fmt.Errorf("%s: the tag pattern: %w", at, err)
		}
		w.patterned = at
		out = append(out, member{"pattern", tags.Pattern})
	}
	return out, refuseTags(at, t, tags, "enum", "minLength", "maxLength", "pattern")
}

func length(tags configtag.Tags) object {
	return bounds("minLength", "maxLength", tags.MinLength, tags.MaxLength)
}

func count(least, most string, tags configtag.Tags) object {
	return bounds(least, most, tags.MinItems, tags.MaxItems)
}

func bounds(least, most string, low, high int) object {
	var out object
	if low != configtag.Unbounded {
		out = append(out, member{least, low})
	}
	if high != configtag.Unbounded {
		out = append(out, member{most, high})
	}
	return out
}

// number is the schema of a number. least and most are the bounds of its Go type, empty for none; tags may narrow them.
func number(at string, t types.Type, kind, least, most string, tags configtag.Tags) (object, error) {
	for _, bound := range []string{tags.Min, tags.Max} {
		if bound != "" && (least != "" && configtag.Compare(bound, least) < 0 || most != "" && configtag.Compare(bound, most) > 0) {
			return nil, fmt.Errorf("%s: the bound %s does not fit into %s", at, bound, t)
		}
	}
	if tags.Min != "" {
		least = tags.Min
	}
	if tags.Max != "" {
		most = tags.Max
	}
	out := object{{"type", kind}}
	if least != "" {
		out = append(out, member{"minimum", json.RawMessage(least)})
	}
	if most != "" {
		out = append(out, member{"maximum", json.RawMessage(most)})
	}
	return out, refuseTags(at, t, tags, "min", "max")
}

// refuseTags is an error for a tag that says nothing about values of a type. What would silently not hold is worse than an
// error.
func refuseTags(at string, t types.Type, tags configtag.Tags, known ...string) error {
	for _, tag := range tags.Set() {
		if !slices.Contains(known, tag) {
			return fmt.Errorf("%s: the tag %s says nothing about a %s", at, tag, t)
		}
	}
	return nil
}

// fieldDefault is the default of a field, as JSON, with the schema that it must fit.
type fieldDefault struct {
	at     string
	value  json.RawMessage
	schema object
}

// defaultValue is a default tag as JSON: a string for the types that are strings there.
func defaultValue(at string, f field, text string) (json.RawMessage, error) {
	if f.required {
		return nil, fmt.Errorf("%s: a field with a default must not be required: add omitempty or omitzero to its json tag", at)
	}
	if isText(f.v.Type()) {
		return json.Marshal(text)
	}
	if !json.Valid([]byte(text)) {
		return nil, fmt.Errorf("%s: the tag default is not JSON: %q", at, text)
	}
	return json.RawMessage(text), nil
}

// isText says whether values of a type are strings in JSON.
func isText(t types.Type) bool {
	t = types.Unalias(t)
	if p, ok := t.(*types.Pointer); ok {
		return isText(p.Elem())
	}
	switch {
	case hasMethod(t, "UnmarshalText"):
		return true
	case isNamed(t, "encoding/json", "RawMessage"), hasMethod(t, "UnmarshalJSON"):
		return false
	case isString(t):
		return true
	}
	slice, ok := t.Underlying().(*types.Slice)
	if !ok {
		return false
	}
	b, ok := types.Unalias(slice.Elem()).Underlying().(*types.Basic)
	return ok && b.Kind() == types.Byte
}

// checkDefaults finds a default that its own field would refuse: the filter would refuse every configuration without it.
func (w *schemaWriter) checkDefaults() error {
	for _, d := range w.defaults {
		schema := append(object{{"$schema", schemaDialect}}, d.schema...)
		if len(w.defs) > 0 {
			schema = append(schema, member{"$defs", w.defs})
		}
		if err := validates(schema, d.value); err != nil {
			// The first line of the library's error is about the schema's address.
			_, reason, _ := strings.Cut(err.Error(), "\n")
			return fmt.Errorf("%s: the default %s does not fit: %s", d.at, d.value, strings.TrimLeft(reason, "- "))
		}
	}
	return nil
}

// validates checks a value against a schema.
func validates(schema object, value json.RawMessage) error {
	const address = "default.json"
	text, err := schema.MarshalJSON()
	if err != nil {
		return err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(value))
	if err != nil {
		return err
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(address, doc); err != nil {
		return err
	}
	compiled, err := compiler.Compile(address)
	if err != nil {
		return err
	}
	return compiled.Validate(instance)
}

// hasMatchPattern says whether a type, or a pointer to it, is an sdk.PatternMatcher.
func hasMatchPattern(t types.Type) bool {
	obj, _, _ := types.LookupFieldOrMethod(t, true, nil, "MatchPattern")
	_, ok := obj.(*types.Func)
	return ok
}

// checkListKey refuses the tag listKey on anything but a list of structs, each with a scalar of that name: the distributor tells items apart by it when layers are merged.
func checkListKey(at string, t types.Type, key string) error {
	list, ok := types.Unalias(t).Underlying().(*types.Slice)
	if !ok {
		return fmt.Errorf("%s: the tag listKey says nothing about a %s; it is for lists of structs", at, t)
	}
	item, ok := types.Unalias(list.Elem()).Underlying().(*types.Struct)
	if !ok {
		return fmt.Errorf("%s: the tag listKey says nothing about a %s; it is for lists of structs", at, t)
	}
	for _, f := range configFields(item, 0) {
		if f.name != key {
			continue
		}
		_, scalar := types.Unalias(f.v.Type()).Underlying().(*types.Basic)
		if !f.required || !scalar && !isText(f.v.Type()) {
			return fmt.Errorf("%s: the member %s, which the tag listKey names, must be a string, a number or a boolean that is always there: leave omitempty and omitzero out of its json tag", at, key)
		}
		return nil
	}
	return fmt.Errorf("%s: the tag listKey names %s, and %s has no such member", at, key, list.Elem())
}
