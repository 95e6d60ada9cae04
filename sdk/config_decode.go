package sdk

import (
	"bytes"
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
)

// configDecoder decodes one configuration.
type configDecoder struct {
	// patterns matches pattern tags, nil if the configuration's type cannot.
	patterns PatternMatcher
}

var (
	rawMessageType      = reflect.TypeFor[json.RawMessage]()
	textUnmarshalerType = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonUnmarshalerType = reflect.TypeFor[json.Unmarshaler]()
)

// decode decodes one well-formed value.
func (d *configDecoder) decode(path string, raw json.RawMessage, v reflect.Value, rules *valueRules, depth int) error {
	if depth > MaxConfigDepth {
		return ConfigErrorf(path, "objects and arrays nest deeper than %d", MaxConfigDepth)
	}
	if v.Type() == rawMessageType {
		v.SetBytes(slices.Clone(raw))
		return nil
	}
	kind := jsonKind(raw)
	if kind == "null" {
		switch v.Kind() {
		case reflect.Pointer, reflect.Interface:
			v.SetZero()
			return nil
		}
		return ConfigErrorf(path, "want %s, got null; leave the field out to not set it", wanted(v.Type()))
	}
	if u, ok := v.Addr().Interface().(json.Unmarshaler); ok {
		if err := u.UnmarshalJSON(raw); err != nil {
			return ConfigErrorf(path, "%v", err)
		}
		return nil
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		var text string
		if kind != "a string" || json.Unmarshal(raw, &text) != nil {
			return ConfigErrorf(path, "want a string, got %s", kind)
		}
		if err := d.checkString(path, text, rules); err != nil {
			return err
		}
		if err := u.UnmarshalText([]byte(text)); err != nil {
			return ConfigErrorf(path, "%v", err)
		}
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		return d.decode(path, raw, v.Elem(), rules, depth)
	case reflect.Struct:
		return d.decodeStruct(path, raw, kind, v, depth)
	case reflect.Map:
		return d.decodeMap(path, raw, kind, v, rules, depth)
	case reflect.Slice, reflect.Array:
		return d.decodeList(path, raw, kind, v, rules, depth)
	}
	return d.decodeScalar(path, raw, kind, v, rules)
}

func (d *configDecoder) decodeScalar(path string, raw json.RawMessage, kind string, v reflect.Value, rules *valueRules) error {
	if want := wanted(v.Type()); want != kind && want != "any value" && !(kind == "a number" && isInteger(v.Kind())) {
		return ConfigErrorf(path, "want %s, got %s", want, kind)
	}
	if err := json.Unmarshal(raw, v.Addr().Interface()); err != nil {
		// The kind fits, so the value does not: a fraction, or too large a number.
		return ConfigErrorf(path, "want %s, got %s", wanted(v.Type()), raw)
	}
	switch {
	case v.Kind() == reflect.String:
		return d.checkString(path, v.String(), rules)
	case kind == "a number":
		return checkNumber(path, string(raw), rules)
	}
	return nil
}

func (d *configDecoder) decodeStruct(path string, raw json.RawMessage, kind string, v reflect.Value, depth int) error {
	members, err := object(path, raw, kind)
	if err != nil {
		return err
	}
	fields := configFields(v.Type())
	for _, m := range members {
		f, ok := fields.named(m.name)
		if !ok {
			return ConfigErrorf(join(path, m.name), "unknown field; known are %s", fields.names())
		}
		if err := d.decodeField(join(path, m.name), m.value, v, &f, depth); err != nil {
			return err
		}
	}
	for i := range fields {
		f := &fields[i]
		if slices.ContainsFunc(members, func(m member) bool { return m.name == f.name }) {
			continue
		}
		if f.required {
			return ConfigErrorf(join(path, f.name), "required field is missing")
		}
		if err := d.leaveOut(join(path, f.name), v, f, depth); err != nil {
			return err
		}
	}
	return nil
}

func (d *configDecoder) decodeField(path string, raw json.RawMessage, v reflect.Value, f *configField, depth int) error {
	field, err := fieldByIndex(v, f.index)
	if err != nil {
		return ConfigErrorf(path, "%v", err)
	}
	rules, err := rulesOf(path, f)
	if err != nil {
		return err
	}
	return d.decode(path, raw, field, rules, depth+1)
}

// leaveOut gives a field that is not there its default: its own, or those of the fields below it.
func (d *configDecoder) leaveOut(path string, v reflect.Value, f *configField, depth int) error {
	t := v.Type().FieldByIndex(f.index).Type
	if text, ok := f.tag.Lookup("default"); ok {
		return d.decodeField(path, defaultValue(t, text), v, f, depth)
	}
	if !hasDefaults(t) {
		return nil
	}
	field, err := fieldByIndex(v, f.index)
	if err != nil {
		return ConfigErrorf(path, "%v", err)
	}
	fields := configFields(t)
	for i := range fields {
		if err := d.leaveOut(join(path, fields[i].name), field, &fields[i], depth+1); err != nil {
			return err
		}
	}
	return nil
}

// hasDefaults says whether a type is a struct that has a default somewhere below it.
func hasDefaults(t reflect.Type) bool {
	if t.Kind() != reflect.Struct || reflect.PointerTo(t).Implements(jsonUnmarshalerType) || reflect.PointerTo(t).Implements(textUnmarshalerType) {
		return false
	}
	return slices.ContainsFunc(configFields(t), func(f configField) bool {
		_, ok := f.tag.Lookup("default")
		return ok || hasDefaults(t.FieldByIndex(f.index).Type)
	})
}

// defaultValue is a default tag as JSON: a string for the types that are strings there.
func defaultValue(t reflect.Type, text string) json.RawMessage {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	pointer := reflect.PointerTo(t)
	if pointer.Implements(textUnmarshalerType) || !pointer.Implements(jsonUnmarshalerType) && wanted(t) == "a string" {
		quoted, _ := json.Marshal(text) // of a string there is no error
		return quoted
	}
	return json.RawMessage(text)
}

func (d *configDecoder) decodeMap(path string, raw json.RawMessage, kind string, v reflect.Value, rules *valueRules, depth int) error {
	if v.Type().Key().Kind() != reflect.String {
		return ConfigErrorf(path, "the filter's config type %s cannot be decoded: map keys must be strings", v.Type())
	}
	members, err := object(path, raw, kind)
	if err != nil {
		return err
	}
	if err := checkItems(path, len(members), rules); err != nil {
		return err
	}
	element := rules.element()
	out := reflect.MakeMapWithSize(v.Type(), len(members))
	for _, m := range members {
		value := reflect.New(v.Type().Elem()).Elem()
		if err := d.decode(join(path, m.name), m.value, value, element, depth+1); err != nil {
			return err
		}
		out.SetMapIndex(reflect.ValueOf(m.name).Convert(v.Type().Key()), value)
	}
	v.Set(out)
	return nil
}

func (d *configDecoder) decodeList(path string, raw json.RawMessage, kind string, v reflect.Value, rules *valueRules, depth int) error {
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
		return d.decodeScalar(path, raw, kind, v, &noRules)
	}
	if kind != "an array" {
		return ConfigErrorf(path, "want an array, got %s", kind)
	}
	var items []json.RawMessage
	if err := json.Unmarshal(raw, &items); err != nil {
		return ConfigErrorf(path, "%v", err)
	}
	if v.Kind() == reflect.Slice {
		v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	} else if v.Len() != len(items) {
		return ConfigErrorf(path, "want an array of %d values, got %d", v.Len(), len(items))
	}
	if err := checkItems(path, len(items), rules); err != nil {
		return err
	}
	element := rules.element()
	for i, item := range items {
		if err := d.decode(path+"["+strconv.Itoa(i)+"]", bytes.TrimSpace(item), v.Index(i), element, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// join is the path of a field below path.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
