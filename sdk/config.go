package sdk

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// MaxConfigDepth is how deep objects and arrays may nest in a configuration.
const MaxConfigDepth = 64

// ConfigError says what is wrong with a configuration, and where.
type ConfigError struct {
	// Path names the field, for example "rules[0].path". It is empty for the configuration as a whole.
	Path string
	// Reason says what is wrong and what is wanted.
	Reason string
}

// ConfigErrorf makes a [*ConfigError], for Validate and configure functions that find fault with a field.
func ConfigErrorf(path, format string, args ...any) *ConfigError {
	return &ConfigError{Path: path, Reason: fmt.Sprintf(format, args...)}
}

// Error is the path, a colon and the reason.
func (e *ConfigError) Error() string {
	if e.Path == "" {
		return "configuration: " + e.Reason
	}
	return e.Path + ": " + e.Reason
}

// DecodeConfig decodes a JSON plugin configuration into the value that into points to, more strictly than encoding/json:
//
//   - No bytes, or white space only, count as {}.
//   - Field names match exactly. Unknown and repeated fields are errors.
//   - A field is required unless its json tag has omitempty or omitzero. Fields with the tag json:"-" do not exist.
//   - null is an error, but for pointers, any and json.RawMessage.
//   - A string field with the tag enum:"a,b" takes those values only; the empty string, where it is not required.
//   - Anything behind the value is an error.
//
// Structs, embedded ones too, slices, arrays, maps with string keys, pointers, strings, booleans, numbers, any,
// json.RawMessage and types with UnmarshalJSON or UnmarshalText are decoded. Every error is a [*ConfigError].
func DecodeConfig(raw []byte, into any) error {
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return ConfigErrorf("", "decode into a %T: it must be a pointer", into)
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		raw = []byte("{}")
	}
	if err := syntaxFault(raw); err != nil {
		return err
	}
	return decode("", bytes.TrimSpace(raw), target.Elem(), "", 0)
}

// syntaxFault says why raw is not one JSON value, nil if it is one.
func syntaxFault(raw []byte) error {
	var value json.RawMessage
	err := json.Unmarshal(raw, &value)
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &syntax):
		return ConfigErrorf("", "it is not JSON: %v", err)
	case syntax.Offset >= int64(len(raw)) && strings.Contains(err.Error(), "unexpected end"):
		return ConfigErrorf("", "it is not JSON: it ends too early")
	case strings.Contains(err.Error(), "after top-level value"):
		return ConfigErrorf("", "unexpected data behind the value, at byte %d", syntax.Offset-1)
	}
	return ConfigErrorf("", "it is not JSON: %v, at byte %d", err, syntax.Offset-1)
}

var rawMessageType = reflect.TypeFor[json.RawMessage]()

// decode decodes one well-formed value. enum holds the values that a string may have, if it is not empty.
func decode(path string, raw json.RawMessage, v reflect.Value, enum string, depth int) error {
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
		return decode(path, raw, v.Elem(), enum, depth)
	case reflect.Struct:
		return decodeStruct(path, raw, kind, v, depth)
	case reflect.Map:
		return decodeMap(path, raw, kind, v, depth)
	case reflect.Slice, reflect.Array:
		return decodeList(path, raw, kind, v, depth)
	}
	return decodeScalar(path, raw, kind, v, enum)
}

func decodeScalar(path string, raw json.RawMessage, kind string, v reflect.Value, enum string) error {
	if want := wanted(v.Type()); want != kind && want != "any value" && !(kind == "a number" && isInteger(v.Kind())) {
		return ConfigErrorf(path, "want %s, got %s", want, kind)
	}
	if err := json.Unmarshal(raw, v.Addr().Interface()); err != nil {
		// The kind fits, so the value does not: a fraction, or too large a number.
		return ConfigErrorf(path, "want %s, got %s", wanted(v.Type()), raw)
	}
	if enum != "" && v.Kind() == reflect.String {
		if allowed := strings.Split(enum, ","); !slices.Contains(allowed, v.String()) {
			return ConfigErrorf(path, "want one of %s, got %q", strings.Join(allowed, ", "), v.String())
		}
	}
	return nil
}

func decodeStruct(path string, raw json.RawMessage, kind string, v reflect.Value, depth int) error {
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
		field, err := fieldByIndex(v, f.index)
		if err != nil {
			return ConfigErrorf(join(path, m.name), "%v", err)
		}
		enum := f.enum
		if !f.required && bytes.Equal(m.value, []byte(`""`)) {
			enum = ""
		}
		if err := decode(join(path, m.name), m.value, field, enum, depth+1); err != nil {
			return err
		}
	}
	for _, f := range fields {
		if f.required && !slices.ContainsFunc(members, func(m member) bool { return m.name == f.name }) {
			return ConfigErrorf(join(path, f.name), "required field is missing")
		}
	}
	return nil
}

func decodeMap(path string, raw json.RawMessage, kind string, v reflect.Value, depth int) error {
	if v.Type().Key().Kind() != reflect.String {
		return ConfigErrorf(path, "the filter's config type %s cannot be decoded: map keys must be strings", v.Type())
	}
	members, err := object(path, raw, kind)
	if err != nil {
		return err
	}
	out := reflect.MakeMapWithSize(v.Type(), len(members))
	for _, m := range members {
		value := reflect.New(v.Type().Elem()).Elem()
		if err := decode(join(path, m.name), m.value, value, "", depth+1); err != nil {
			return err
		}
		out.SetMapIndex(reflect.ValueOf(m.name).Convert(v.Type().Key()), value)
	}
	v.Set(out)
	return nil
}

func decodeList(path string, raw json.RawMessage, kind string, v reflect.Value, depth int) error {
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
		return decodeScalar(path, raw, kind, v, "")
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
	for i, item := range items {
		if err := decode(path+"["+strconv.Itoa(i)+"]", item, v.Index(i), "", depth+1); err != nil {
			return err
		}
	}
	return nil
}

// member is a name and a value of a JSON object.
type member struct {
	name  string
	value json.RawMessage
}

// object lists the members of a JSON object in order. A name that comes twice is an error. raw is well-formed, without white
// space around it. A json.Decoder would do the splitting, but it reads from an io.Reader, on account of which the linker keeps
// the Read of files: one import more that a module asks of its host.
func object(path string, raw json.RawMessage, kind string) ([]member, error) {
	if kind != "an object" {
		return nil, ConfigErrorf(path, "want an object, got %s", kind)
	}
	var members []member
	for rest := skip(raw[1:], ""); rest[0] != '}'; rest = skip(rest, ",") {
		m := member{}
		end := valueEnd(rest)
		if err := json.Unmarshal(rest[:end], &m.name); err != nil {
			return nil, ConfigErrorf(path, "%v", err)
		}
		if slices.ContainsFunc(members, func(o member) bool { return o.name == m.name }) {
			return nil, ConfigErrorf(join(path, m.name), "the field is there twice")
		}
		rest = skip(rest[end:], ":")
		end = valueEnd(rest)
		m.value, rest = json.RawMessage(rest[:end]), rest[end:]
		members = append(members, m)
	}
	return members, nil
}

// skip takes white space and the bytes of punctuation off the front.
func skip(raw []byte, punctuation string) []byte { return bytes.TrimLeft(raw, " \t\r\n"+punctuation) }

// valueEnd is the length of the well-formed value that raw begins with.
func valueEnd(raw []byte) int {
	depth := 0
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			i += stringEnd(raw[i:]) - 1
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			} else if depth < 0 {
				return i // the end of what a number or a word stands in
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
	return len(raw)
}

// stringEnd is the length of the string that raw begins with, quotes included.
func stringEnd(raw []byte) int {
	for i := 1; i < len(raw); i++ {
		switch raw[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(raw)
}

// configField is a field of a config struct.
type configField struct {
	name     string
	index    []int
	required bool
	enum     string
}

type configFieldList []configField

func (l configFieldList) named(name string) (configField, bool) {
	for _, f := range l {
		if f.name == name {
			return f, true
		}
	}
	return configField{}, false
}

func (l configFieldList) names() string {
	if len(l) == 0 {
		return "none"
	}
	names := make([]string, len(l))
	for i, f := range l {
		names[i] = f.name
	}
	return strings.Join(names, ", ")
}

// configFields lists the fields of a struct type. The fields of an embedded struct without a name of its own count as the
// outer one's, which come first where names are the same.
func configFields(t reflect.Type) configFieldList {
	var own, embedded configFieldList
	for f := range t.Fields() {
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		if tag == "-" {
			continue
		}
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if f.Anonymous && name == "" && inner.Kind() == reflect.Struct {
			for _, e := range configFields(inner) {
				e.index = append(slices.Clone(f.Index), e.index...)
				embedded = append(embedded, e)
			}
			continue
		}
		if !f.IsExported() {
			continue
		}
		if name == "" {
			name = f.Name
		}
		list := strings.Split(options, ",")
		optional := slices.Contains(list, "omitempty") || slices.Contains(list, "omitzero")
		own = append(own, configField{name: name, index: f.Index, required: !optional, enum: f.Tag.Get("enum")})
	}
	for _, e := range embedded {
		if _, ok := own.named(e.name); !ok {
			own = append(own, e)
		}
	}
	return own
}

// fieldByIndex finds a field, making the embedded pointers on the way.
func fieldByIndex(v reflect.Value, index []int) (reflect.Value, error) {
	for i, at := range index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				if !v.CanSet() {
					return v, fmt.Errorf("the filter's config type embeds a pointer to an unexported struct, which cannot be decoded")
				}
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(at)
	}
	return v, nil
}

// join is the path of a field below path.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// jsonKind names the kind of a well-formed value.
func jsonKind(raw json.RawMessage) string {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// wanted names what a type takes.
func wanted(t reflect.Type) string {
	switch k := t.Kind(); {
	case k == reflect.Pointer:
		return wanted(t.Elem())
	case k == reflect.Struct, k == reflect.Map:
		return "an object"
	case k == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return "a string"
	case k == reflect.Slice, k == reflect.Array:
		return "an array"
	case k == reflect.String:
		return "a string"
	case k == reflect.Bool:
		return "a boolean"
	case k == reflect.Float32, k == reflect.Float64:
		return "a number"
	case isInteger(k):
		if reflect.Uint <= k && k <= reflect.Uintptr {
			return "a whole number from 0 to " + strconv.FormatUint(1<<t.Bits()-1, 10)
		}
		return "a whole number of " + strconv.Itoa(t.Bits()) + " bits"
	case k == reflect.Interface:
		return "any value"
	}
	return "a value of type " + t.String()
}

func isInteger(k reflect.Kind) bool { return reflect.Int <= k && k <= reflect.Uintptr }
