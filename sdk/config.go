package sdk

import (
	"bytes"
	"fmt"
	"reflect"
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

// PatternMatcher is what a configuration type with pattern tags implements, by one line:
//
//	func (*Config) MatchPattern(pattern, text string) (bool, error) { return regexp.MatchString(pattern, text) }
//
// The filter brings the regular expressions along, because a module whose configuration has no pattern is smaller by all of
// package regexp.
type PatternMatcher interface {
	// MatchPattern says whether the expression matches anywhere in the text.
	MatchPattern(pattern, text string) (bool, error)
}

// DecodeConfig decodes a JSON plugin configuration into the value that into points to, more strictly than encoding/json:
//
//   - No bytes, or white space only, count as {}.
//   - Field names match exactly. Unknown and repeated fields are errors.
//   - A field is required unless its json tag has omitempty or omitzero. Fields with the tag json:"-" do not exist.
//   - null is an error, but for pointers, any and json.RawMessage.
//   - Anything behind the value is an error.
//
// Further tags of a field say more of its values; the JSON Schema that waft build derives says the same:
//
//   - default:"x" is the value where the field is left out: the text itself for a string, JSON for all else. The field must
//     not be required. An object that is left out gets the defaults of its fields, unless it is a pointer.
//   - enum:"a,b" lists the strings that are taken. The empty string is taken too, where the field is neither required nor has
//     a default.
//   - min:"1" and max:"10" bound a number.
//   - minLength:"1" and maxLength:"10" bound the characters of a string.
//   - pattern:"^a" is a regular expression (RE2) that must match somewhere in a string; see [PatternMatcher].
//   - minItems:"1" and maxItems:"10" bound how many values a list or a map has.
//   - listKey:"name" says of a list of structs that items with the same name are one when the distributor merges layers. The
//     filter is given the merged list, so nothing is checked here.
//
// On a list or a map, all but default, minItems and maxItems are about each of its values.
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
	d := configDecoder{}
	d.patterns, _ = into.(PatternMatcher)
	return d.decode("", bytes.TrimSpace(raw), target.Elem(), &noRules, 0)
}
