// Package configtag reads the tags with which a field of a configuration's struct says what values it takes. The guest, which
// checks configurations, and the build, which writes their JSON Schema, read them with the same code.
//
// It imports the standard library only, and neither fmt nor regexp: it is linked into every module.
package configtag

import (
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
)

// Unbounded is the value of a bound of lengths or items that is not set.
const Unbounded = -1

// Tags are what the tags of one field say, besides its json tag.
type Tags struct {
	// Enum lists the strings that are taken; nil for any.
	Enum []string
	// Min and Max bound a number, both included. They are numbers as in JSON, empty where there is no bound.
	Min, Max string
	// MinLength and MaxLength bound the characters (code points) of a string, both included, or are Unbounded.
	MinLength, MaxLength int
	// Pattern is a regular expression that must match somewhere in a string. Empty: none.
	Pattern string
	// MinItems and MaxItems bound how many values a list or a map has, both included, or are Unbounded.
	MinItems, MaxItems int
	// Default is the value of a field that is left out, if HasDefault: the text itself for a string, JSON for all else.
	Default    string
	HasDefault bool
}

// None are the tags of a field that has none.
func None() Tags {
	return Tags{MinLength: Unbounded, MaxLength: Unbounded, MinItems: Unbounded, MaxItems: Unbounded}
}

// Parse reads the tags of a field. The error names the tag.
func Parse(tag reflect.StructTag) (Tags, error) {
	t := None()
	if tag == "" {
		return t, nil
	}
	if enum := tag.Get("enum"); enum != "" {
		t.Enum = strings.Split(enum, ",")
	}
	t.Min, t.Max, t.Pattern = tag.Get("min"), tag.Get("max"), tag.Get("pattern")
	t.Default, t.HasDefault = tag.Lookup("default")
	for _, bound := range [...]string{t.Min, t.Max} {
		if bound != "" && !isNumber(bound) {
			return t, errors.New("the tags min and max want a decimal number, got " + strconv.Quote(bound))
		}
	}
	if t.Min != "" && t.Max != "" && Compare(t.Min, t.Max) > 0 {
		return t, errors.New("the tag min is above max")
	}
	if err := bounds(tag, "minLength", "maxLength", &t.MinLength, &t.MaxLength); err != nil {
		return t, err
	}
	return t, bounds(tag, "minItems", "maxItems", &t.MinItems, &t.MaxItems)
}

// bounds reads a pair of tags that are whole numbers from 0.
func bounds(tag reflect.StructTag, least, most string, low, high *int) error {
	for _, b := range [...]struct {
		name string
		into *int
	}{{least, low}, {most, high}} {
		text := tag.Get(b.name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return errors.New("the tag " + b.name + " wants a whole number from 0, got " + strconv.Quote(text))
		}
		*b.into = n
	}
	if *high != Unbounded && *low > *high {
		return errors.New("the tag " + least + " is above " + most)
	}
	return nil
}

// Set names the tags that are set, the default left out.
func (t *Tags) Set() []string {
	var names []string
	for _, tag := range [...]struct {
		name string
		set  bool
	}{
		{"enum", t.Enum != nil},
		{"min", t.Min != ""},
		{"max", t.Max != ""},
		{"minLength", t.MinLength != Unbounded},
		{"maxLength", t.MaxLength != Unbounded},
		{"pattern", t.Pattern != ""},
		{"minItems", t.MinItems != Unbounded},
		{"maxItems", t.MaxItems != Unbounded},
	} {
		if tag.set {
			names = append(names, tag.name)
		}
	}
	return names
}

// Element is what the tags of a list or a map say of each value in it: everything but how many there are and the default.
func (t Tags) Element() Tags {
	t.MinItems, t.MaxItems, t.Default, t.HasDefault = Unbounded, Unbounded, "", false
	return t
}

// Compare orders two numbers as they stand in JSON: -1, 0 or 1. Whole numbers of 64 bits are compared exactly, all others as
// float64.
func Compare(a, b string) int {
	if x, err := strconv.ParseInt(a, 10, 64); err == nil {
		if y, err := strconv.ParseInt(b, 10, 64); err == nil {
			return order(x, y)
		}
	}
	if x, err := strconv.ParseUint(a, 10, 64); err == nil {
		if y, err := strconv.ParseUint(b, 10, 64); err == nil {
			return order(x, y)
		}
	}
	x, _ := strconv.ParseFloat(a, 64)
	y, _ := strconv.ParseFloat(b, 64)
	return order(x, y)
}

func order[T int64 | uint64 | float64](x, y T) int {
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// isNumber says whether s is a number as in JSON that a float64 can hold.
func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil && json.Valid([]byte(s))
}
