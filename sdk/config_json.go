package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

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
