package trust

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// checkShape refuses what encoding/json would pass over when it reads a policy: a member whose name is spelt in another case, which it
// takes for the one that is meant, and a member that is blank, which it takes for one that is left out. "notAfter:" without a
// time would be a key that never ends, to whom the file is read by.
func checkShape(data []byte) error {
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		return invalid("", "mend it", "not JSON: %v", err)
	}
	return checkValue("", value, reflect.TypeFor[document]())
}

// checkValue checks a value against the type that it will be read into; at is its path.
func checkValue(at string, value any, t reflect.Type) error {
	if value == nil {
		return invalid(at, "give it a value, or leave it out", "it is blank")
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == reflect.TypeFor[json.RawMessage]() || reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return nil // of its own form, or text
	}
	switch v := value.(type) {
	case map[string]any:
		if t.Kind() != reflect.Struct {
			return nil // the decoder says what is wrong with it
		}
		for _, name := range sortedNames(v) {
			field, known := fieldOf(t, name)
			if !known {
				return invalid(strings.TrimPrefix(at+"."+name, "."), "see docs/security.md for the form", "there is no such field; names are taken as they are written, in this case")
			}
			if err := checkValue(strings.TrimPrefix(at+"."+name, "."), v[name], field.Type); err != nil {
				return err
			}
		}
	case []any:
		if t.Kind() != reflect.Slice {
			return nil
		}
		for i, element := range v {
			if err := checkValue(fmt.Sprintf("%s[%d]", at, i), element, t.Elem()); err != nil {
				return err
			}
		}
	}
	return nil
}

// fieldOf is the field of a struct that has that name in JSON.
func fieldOf(t reflect.Type, name string) (reflect.StructField, bool) {
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("json") == name {
			return t.Field(i), true
		}
	}
	return reflect.StructField{}, false
}

func sortedNames(object map[string]any) []string {
	names := make([]string, 0, len(object))
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
