package sdk

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// configField is a field of a config struct.
type configField struct {
	name     string
	index    []int
	required bool
	tag      reflect.StructTag
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
		own = append(own, configField{name: name, index: f.Index, required: !optional, tag: f.Tag})
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
