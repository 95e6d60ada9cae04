package build

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/types"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/waft-project/waft/sdk/internal/configtag"
)

// The dialect that the schemas are written in.
const schemaDialect = "https://json-schema.org/draft/2020-12/schema"

// maxSchemaDepth is how deep types may nest without a name between them.
const maxSchemaDepth = 64

// schemaWriter writes the JSON Schema of what sdk.DecodeConfig accepts for a Go type; the rules here are that function's.
// Members come in the order of the source, so that the same source gives the same bytes.
type schemaWriter struct {
	comments *comments
	names    map[*types.TypeName]string // of definitions
	taken    map[string]bool
	defs     object
	rootType *types.TypeName
	// defaults are checked against the schema of their field when all of it is written.
	defaults []fieldDefault
	// patterned is a field with a pattern, if there is one.
	patterned string
}

// object is a JSON object whose members keep their order.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON writes the members in their order.
func (o object) MarshalJSON() ([]byte, error) {
	var buf bytes.Buffer
	buf.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			buf.WriteByte(',')
		}
		for j, v := range []any{m.name, m.value} {
			if j == 1 {
				buf.WriteByte(':')
			}
			enc := json.NewEncoder(&buf)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(v); err != nil {
				return nil, err
			}
			buf.Truncate(buf.Len() - 1) // the encoder's newline
		}
	}
	buf.WriteByte('}')
	return buf.Bytes(), nil
}

func newSchemaWriter(c *comments) *schemaWriter {
	return &schemaWriter{comments: c, names: map[*types.TypeName]string{}, taken: map[string]bool{}}
}

// root is the whole schema of a configuration of that type.
func (w *schemaWriter) root(t types.Type) (json.RawMessage, error) {
	t = types.Unalias(t)
	out := object{{"$schema", schemaDialect}}
	var body object
	var err error
	if named, ok := t.(*types.Named); ok && isStruct(named) && !w.decodesItself(named) {
		w.rootType = named.Obj()
		out = append(out, describe(w.comments.of(named.Obj()))...)
		body, err = w.structure(named.Obj().Name(), named.Underlying().(*types.Struct), 0)
	} else {
		body, err = w.value("the configuration", t, configtag.None(), 0)
	}
	if err != nil {
		return nil, err
	}
	if err := w.checkDefaults(); err != nil {
		return nil, err
	}
	if w.patterned != "" && !hasMatchPattern(t) {
		return nil, fmt.Errorf("%s has a pattern, so %s needs the method MatchPattern; see sdk.PatternMatcher", w.patterned, t)
	}
	out = append(out, body...)
	if len(w.defs) > 0 {
		slices.SortFunc(w.defs, func(a, b member) int { return strings.Compare(a.name, b.name) })
		out = append(out, member{"$defs", w.defs})
	}
	return out.MarshalJSON()
}

// value is the schema of a type. at is the Go path to it, for errors; tags are those of the field.
func (w *schemaWriter) value(at string, t types.Type, tags configtag.Tags, depth int) (object, error) {
	if depth > maxSchemaDepth {
		return nil, fmt.Errorf("%s: types nest deeper than %d", at, maxSchemaDepth)
	}
	t = types.Unalias(t)
	if isNamed(t, "encoding/json", "RawMessage") {
		return object{}, refuseTags(at, t, tags)
	}
	if p, ok := t.(*types.Pointer); ok {
		inner, err := w.value(at, p.Elem(), tags, depth+1)
		if err != nil || len(inner) == 0 {
			return inner, err
		}
		return object{{"anyOf", []object{inner, {{"type", "null"}}}}}, nil
	}
	switch {
	case isNamed(t, "time", "Time"):
		return object{{"type", "string"}, {"format", "date-time"}}, refuseTags(at, t, tags)
	case hasMethod(t, "UnmarshalJSON"):
		return object{}, refuseTags(at, t, tags) // only its code knows
	case isNamed(t, sdkPath, "HeaderName"):
		return headerName(), refuseTags(at, t, tags)
	case hasMethod(t, "UnmarshalText"):
		return w.text(at, t, tags)
	}
	if named, ok := t.(*types.Named); ok && isStruct(named) {
		if err := refuseTags(at, t, tags); err != nil {
			return nil, err
		}
		return w.reference(at, named, depth)
	}
	switch u := t.Underlying().(type) {
	case *types.Struct:
		if err := refuseTags(at, t, tags); err != nil {
			return nil, err
		}
		return w.structure(at, u, depth+1)
	case *types.Map:
		return w.mapping(at, u, tags, depth)
	case *types.Slice:
		if b, ok := types.Unalias(u.Elem()).Underlying().(*types.Basic); ok && b.Kind() == types.Byte {
			return object{{"type", "string"}, {"contentEncoding", "base64"}}, refuseTags(at, t, tags)
		}
		items, err := w.value(at+"[]", u.Elem(), tags.Element(), depth+1)
		return append(object{{"type", "array"}, {"items", items}}, count("minItems", "maxItems", tags)...), err
	case *types.Array:
		items, err := w.value(at+"[]", u.Elem(), tags.Element(), depth+1)
		if tags.MinItems != configtag.Unbounded || tags.MaxItems != configtag.Unbounded {
			return nil, fmt.Errorf("%s: the tags minItems and maxItems say nothing about an array, whose length is fixed", at)
		}
		return object{{"type", "array"}, {"items", items}, {"minItems", u.Len()}, {"maxItems", u.Len()}}, err
	case *types.Basic:
		return w.basic(at, t, u, tags)
	case *types.Interface:
		if u.Empty() {
			return object{}, refuseTags(at, t, tags)
		}
	}
	return nil, fmt.Errorf("%s: a configuration cannot hold a %s", at, t)
}

// reference is a reference to the definition of a named struct, which it writes when it meets it first.
func (w *schemaWriter) reference(at string, named *types.Named, depth int) (object, error) {
	obj := named.Obj()
	if obj == w.rootType && named.TypeArgs().Len() == 0 {
		return object{{"$ref", "#"}}, nil
	}
	// Each instance of a generic type has fields of its own: no name tells them apart, so it is written in place.
	if named.TypeArgs().Len() > 0 {
		return w.structure(at, named.Underlying().(*types.Struct), depth+1)
	}
	name, ok := w.names[obj]
	if !ok {
		name = w.freeName(obj)
		w.names[obj] = name
		body, err := w.structure(obj.Name(), named.Underlying().(*types.Struct), 0)
		if err != nil {
			return nil, err
		}
		w.defs = append(w.defs, member{name, append(describe(w.comments.of(obj)), body...)})
	}
	return object{{"$ref", "#/$defs/" + name}}, nil
}

// freeName is the type's name, with its package's before it, and then a number, where another type took it.
func (w *schemaWriter) freeName(obj *types.TypeName) string {
	name := obj.Name()
	if w.taken[name] && obj.Pkg() != nil {
		name = obj.Pkg().Name() + "." + obj.Name()
	}
	for base, n := name, 2; w.taken[name]; n++ {
		name = fmt.Sprintf("%s%d", base, n)
	}
	w.taken[name] = true
	return name
}

func (w *schemaWriter) structure(at string, s *types.Struct, depth int) (object, error) {
	properties, required := object{}, []string{}
	for _, f := range configFields(s, 0) {
		property, err := w.property(at+"."+f.v.Name(), f, depth+1)
		if err != nil {
			return nil, err
		}
		properties = append(properties, member{f.name, property})
		if f.required {
			required = append(required, f.name)
		}
	}
	out := object{{"type", "object"}, {"properties", properties}}
	if len(required) > 0 {
		out = append(out, member{"required", required})
	}
	return append(out, member{"additionalProperties", false}), nil
}

// property is the schema of a field.
func (w *schemaWriter) property(at string, f field, depth int) (object, error) {
	tags, err := configtag.Parse(f.tag)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	if tags.Enum != nil && !f.required && !tags.HasDefault && isText(f.v.Type()) {
		tags.Enum = append(tags.Enum, "") // not set
	}
	inner, err := w.value(at, f.v.Type(), tags, depth)
	if err != nil {
		return nil, err
	}
	if key := f.tag.Get("listKey"); key != "" {
		if err := checkListKey(at, f.v.Type(), key); err != nil {
			return nil, err
		}
		inner = append(inner, member{"x-kubernetes-list-type", "map"}, member{"x-kubernetes-list-map-keys", []string{key}})
	}
	out := describe(w.comments.of(f.v))
	if tags.HasDefault {
		value, err := defaultValue(at, f, tags.Default)
		if err != nil {
			return nil, err
		}
		w.defaults = append(w.defaults, fieldDefault{at: at, value: value, schema: inner})
		out = append(out, member{"default", value})
	}
	return append(out, inner...), nil
}

func (w *schemaWriter) mapping(at string, m *types.Map, tags configtag.Tags, depth int) (object, error) {
	if !isString(m.Key()) {
		return nil, fmt.Errorf("%s: the keys of a map must be strings, not %s", at, m.Key())
	}
	values, err := w.value(at+"[]", m.Elem(), tags.Element(), depth+1)
	return append(object{{"type", "object"}, {"additionalProperties", values}}, count("minProperties", "maxProperties", tags)...), err
}

// field is a field of a configuration's struct, by the name that it has in JSON.
type field struct {
	v        *types.Var
	name     string
	required bool
	tag      reflect.StructTag
}

// configFields lists the fields that sdk.DecodeConfig knows: the struct's own, and then those of embedded structs that have
// no name of their own.
func configFields(s *types.Struct, depth int) []field {
	var own, embedded []field
	for i := range s.NumFields() {
		v, tag := s.Field(i), reflect.StructTag(s.Tag(i))
		jsonTag := tag.Get("json")
		if jsonTag == "-" {
			continue
		}
		name, options, _ := strings.Cut(jsonTag, ",")
		if inner, ok := embeddedStruct(v); ok && name == "" && depth < maxSchemaDepth {
			embedded = append(embedded, configFields(inner, depth+1)...)
			continue
		}
		if !v.Exported() {
			continue
		}
		if name == "" {
			name = v.Name()
		}
		list := strings.Split(options, ",")
		optional := slices.Contains(list, "omitempty") || slices.Contains(list, "omitzero")
		own = append(own, field{v: v, name: name, required: !optional, tag: tag})
	}
	for _, e := range embedded {
		if !slices.ContainsFunc(own, func(f field) bool { return f.name == e.name }) {
			own = append(own, e)
		}
	}
	return own
}

func embeddedStruct(v *types.Var) (*types.Struct, bool) {
	if !v.Embedded() {
		return nil, false
	}
	t := types.Unalias(v.Type())
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	s, ok := t.Underlying().(*types.Struct)
	return s, ok
}

// basic is the schema of a scalar. In Wasm as Go compiles it, int and uint have 64 bits.
func (w *schemaWriter) basic(at string, t types.Type, b *types.Basic, tags configtag.Tags) (object, error) {
	integer := func(low int64, high uint64) (object, error) {
		return number(at, t, "integer", strconv.FormatInt(low, 10), strconv.FormatUint(high, 10), tags)
	}
	switch b.Kind() {
	case types.Bool:
		return object{{"type", "boolean"}}, refuseTags(at, t, tags)
	case types.String:
		return w.text(at, t, tags)
	case types.Float32, types.Float64:
		return number(at, t, "number", "", "", tags)
	case types.Int8:
		return integer(math.MinInt8, math.MaxInt8)
	case types.Int16:
		return integer(math.MinInt16, math.MaxInt16)
	case types.Int32:
		return integer(math.MinInt32, math.MaxInt32)
	case types.Int, types.Int64:
		return integer(math.MinInt64, math.MaxInt64)
	case types.Uint8:
		return integer(0, math.MaxUint8)
	case types.Uint16:
		return integer(0, math.MaxUint16)
	case types.Uint32:
		return integer(0, math.MaxUint32)
	case types.Uint, types.Uint64, types.Uintptr:
		return integer(0, math.MaxUint64)
	}
	return nil, fmt.Errorf("%s: a configuration cannot hold a %s", at, b)
}

// decodesItself says that a type has a decoder of its own, whose rules nobody knows.
func (w *schemaWriter) decodesItself(t types.Type) bool {
	return hasMethod(t, "UnmarshalJSON") || hasMethod(t, "UnmarshalText")
}

// hasMethod says whether a type, or a pointer to it, has one of the decoding methods: func([]byte) error.
func hasMethod(t types.Type, name string) bool {
	obj, _, _ := types.LookupFieldOrMethod(t, true, nil, name)
	fn, ok := obj.(*types.Func)
	if !ok {
		return false
	}
	sig := fn.Signature()
	if sig.Params().Len() != 1 || sig.Results().Len() != 1 || sig.Variadic() {
		return false
	}
	return types.Identical(sig.Params().At(0).Type(), types.NewSlice(types.Typ[types.Byte])) &&
		types.Identical(sig.Results().At(0).Type(), types.Universe.Lookup("error").Type())
}

func isNamed(t types.Type, pkg, name string) bool {
	n, ok := t.(*types.Named)
	return ok && n.Obj().Pkg() != nil && n.Obj().Pkg().Path() == pkg && n.Obj().Name() == name
}

func isStruct(t types.Type) bool {
	_, ok := t.Underlying().(*types.Struct)
	return ok
}

func isString(t types.Type) bool {
	b, ok := types.Unalias(t).Underlying().(*types.Basic)
	return ok && b.Kind() == types.String
}

func describe(text string) object {
	if text == "" {
		return nil
	}
	return object{{"description", text}}
}
