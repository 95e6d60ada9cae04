package sdk

import (
	"reflect"
	"strconv"
)

// What every filter runs does without fmt: it and what it drags in would be an eighth of a small filter's module,
// and Envoy keeps each byte of a module some ten times over.

// wrapped is an error with a cause.
type wrapped struct {
	text  string
	cause error
}

func (w *wrapped) Error() string { return w.text + ": " + w.cause.Error() }
func (w *wrapped) Unwrap() error { return w.cause }

// wrap is an error that says something about its cause, as fmt.Errorf("TEXT: %w", cause) is.
func wrap(text string, cause error) error { return &wrapped{text, cause} }

// describe says what a panic was about: an error, a text, a number, whatever has a method String; of others the type alone.
func describe(reason any) (text string) {
	defer func() {
		if again := recover(); again != nil {
			text = "a " + typeName(reason) + " that panics when it is asked what it is"
		}
	}()
	switch r := reason.(type) {
	case nil:
		return "nil"
	case error:
		return r.Error()
	case interface{ String() string }:
		return r.String()
	case string:
		return r
	case []byte:
		return string(r)
	}
	switch v := reflect.ValueOf(reason); {
	case v.Kind() == reflect.String:
		return v.String()
	case v.Kind() == reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case v.CanInt():
		return strconv.FormatInt(v.Int(), 10)
	case v.CanUint():
		return strconv.FormatUint(v.Uint(), 10)
	}
	return "a " + typeName(reason)
}

func typeName(value any) string { return reflect.TypeOf(value).String() }
