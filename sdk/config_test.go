package sdk

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

type level string

// UnmarshalText takes two levels.
func (l *level) UnmarshalText(text []byte) error {
	if s := string(text); s != "low" && s != "high" {
		return fmt.Errorf("unknown level %q", s)
	}
	*l = level(text)
	return nil
}

type window struct{ from, to int }

// UnmarshalJSON takes "1-2".
func (w *window) UnmarshalJSON(data []byte) error {
	_, err := fmt.Sscanf(string(data), `"%d-%d"`, &w.from, &w.to)
	return err
}

type base struct {
	ID string `json:"id,omitempty"`
}

type rule struct {
	Path  string `json:"path"`
	Limit uint8  `json:"limit,omitempty"`
}

type everything struct {
	base
	Name   string            `json:"name,omitempty"`
	On     bool              `json:"on,omitempty"`
	Count  int               `json:"count,omitempty"`
	Small  int8              `json:"small,omitempty"`
	Share  float64           `json:"share,omitempty"`
	Mode   string            `json:"mode,omitempty" enum:"a,b"`
	Rules  []rule            `json:"rules,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	Nested map[string]rule   `json:"nested,omitempty"`
	Pair   [2]int            `json:"pair,omitzero"`
	Maybe  *int              `json:"maybe,omitempty"`
	Any    any               `json:"any,omitempty"`
	Raw    json.RawMessage   `json:"raw,omitempty"`
	Level  level             `json:"level,omitempty"`
	Window window            `json:"window,omitzero"`
	Bytes  []byte            `json:"bytes,omitempty"`
	Gone   string            `json:"-"`
	hidden string
}

// hide uses the field that must not be decoded.
func (e everything) hide() string { return e.hidden }

func TestDecodeConfig(t *testing.T) {
	t.Parallel()
	seven := 7
	tests := []struct {
		name, config string
		want         everything
	}{
		{"empty", "", everything{}},
		{"white space", " \n", everything{}},
		{"empty object", "{}", everything{}},
		{"scalars", `{"name":"n","on":true,"count":-3,"small":127,"share":0.5,"mode":"b"}`, everything{Name: "n", On: true, Count: -3, Small: 127, Share: 0.5, Mode: "b"}},
		{"an optional enum may be empty", `{"mode":""}`, everything{}},
		{"a number without a fraction is a float too", `{"share":2}`, everything{Share: 2}},
		{"lists and maps", `{"rules":[{"path":"/a","limit":255}],"labels":{"k":"v"},"nested":{"n":{"path":"/"}},"pair":[1,2]}`,
			everything{Rules: []rule{{"/a", 255}}, Labels: map[string]string{"k": "v"}, Nested: map[string]rule{"n": {Path: "/"}}, Pair: [2]int{1, 2}}},
		{"pointers and null", `{"maybe":7,"any":null}`, everything{Maybe: &seven}},
		{"white space and punctuation in strings", "{ \"labels\" :\n{\"a,}\\\"{\" : \"]:\\\\\" , \"b\":\"\"}\t,\"count\":1 , \"on\" : true }", everything{Labels: map[string]string{`a,}"{`: `]:\`, "b": ""}, Count: 1, On: true}},
		{"null for a pointer", `{"maybe":null}`, everything{}},
		{"any and raw", `{"any":[1],"raw":{"a":[ 1 ]}}`, everything{Any: []any{1.0}, Raw: json.RawMessage(`{"a":[ 1 ]}`)}},
		{"own types", `{"level":"high","window":"1-2","bytes":"aGk="}`, everything{Level: "high", Window: window{1, 2}, Bytes: []byte("hi")}},
		{"embedded", `{"id":"x"}`, everything{base: base{"x"}}},
		{"unicode", `{"name":"\u00e9\ud83d\ude00"}`, everything{Name: "é😀"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var got everything
			if err := DecodeConfig([]byte(test.config), &got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, test.want) || got.hide() != "" {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestDecodeConfigErrors(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, config, want string }{
		{"no JSON", `{`, "configuration: it is not JSON: it ends too early"},
		{"text", `hello`, "configuration: it is not JSON"},
		{"trailing object", `{} {}`, "configuration: unexpected data behind the value, at byte 3"},
		{"trailing comma", `{},`, "configuration: unexpected data"},
		{"not an object", `[]`, "configuration: want an object, got an array"},
		{"null", `null`, "configuration: want an object, got null"},
		{"unknown", `{"nam":1}`, "nam: unknown field; known are name, on, "},
		{"another case", `{"Name":"n"}`, "Name: unknown field"},
		{"a hidden field", `{"hidden":"n"}`, "hidden: unknown field"},
		{"a field without a name", `{"Gone":"n"}`, "Gone: unknown field"},
		{"twice", `{"name":"a","name":"b"}`, "name: the field is there twice"},
		{"wrong type", `{"name":7}`, "name: want a string, got a number"},
		{"wrong type for a boolean", `{"on":"true"}`, "on: want a boolean, got a string"},
		{"a fraction", `{"count":1.5}`, "count: want a whole number of 64 bits, got 1.5"},
		{"too large", `{"small":128}`, "small: want a whole number of 8 bits, got 128"},
		{"a string for a number", `{"share":"1"}`, "share: want a number, got a string"},
		{"enum", `{"mode":"c"}`, `mode: want one of a, b, got "c"`},
		{"null for a string", `{"name":null}`, "name: want a string, got null"},
		{"null for a list", `{"rules":null}`, "rules: want an array, got null"},
		{"unknown in a list", `{"rules":[{"path":"/"},{"path":"/","x":1}]}`, "rules[1].x: unknown field; known are path, limit"},
		{"missing in a list", `{"rules":[{"limit":1}]}`, "rules[0].path: required field is missing"},
		{"negative", `{"rules":[{"path":"/","limit":-1}]}`, "rules[0].limit: want a whole number from 0 to 255, got -1"},
		{"object for a list", `{"rules":{}}`, "rules: want an array, got an object"},
		{"in a map", `{"nested":{"a":{"path":1}}}`, "nested.a.path: want a string, got a number"},
		{"twice in a map", `{"labels":{"a":"1","a":"2"}}`, "labels.a: the field is there twice"},
		{"array length", `{"pair":[1]}`, "pair: want an array of 2 values, got 1"},
		{"text type", `{"level":"middle"}`, `level: unknown level "middle"`},
		{"number for a text type", `{"level":1}`, "level: want a string, got a number"},
		{"json type", `{"window":"x"}`, "window: "},
		{"bytes that are no base64", `{"bytes":"?"}`, "bytes: want a string"},
		{"too deep", `{"any":` + strings.Repeat("[", 20000) + `}`, "configuration: it is not JSON"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := DecodeConfig([]byte(test.config), &everything{})
			var fault *ConfigError
			if !errors.As(err, &fault) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want a ConfigError with %q", err, test.want)
			}
		})
	}
}

// tree nests as deep as its configuration says.
type tree struct {
	Kids []tree `json:"kids,omitempty"`
}

func TestDecodeConfigDepth(t *testing.T) {
	t.Parallel()
	nest := func(n int) []byte { return []byte(strings.Repeat(`{"kids":[`, n) + strings.Repeat(`]}`, n)) }
	if err := DecodeConfig(nest(MaxConfigDepth/2), &tree{}); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if err := DecodeConfig(nest(MaxConfigDepth), &tree{}); err == nil || !strings.Contains(err.Error(), "nest deeper than 64") {
		t.Errorf("over the limit: %v", err)
	}
}

func TestDecodeConfigNeedsAPointer(t *testing.T) {
	t.Parallel()
	for _, into := range []any{nil, everything{}, (*everything)(nil)} {
		if err := DecodeConfig(nil, into); err == nil {
			t.Errorf("decoded into %T", into)
		}
	}
}

// FuzzDecodeConfig wants no panic, and wants what is taken to be JSON that encoding/json takes as well, to the same value.
func FuzzDecodeConfig(f *testing.F) {
	for _, s := range []string{"", "{}", `{"rules":[{"path":"/","limit":3}],"labels":{"a":"b"},"any":{"x":[null]}}`, `{"name":"\ud800"}`, `{"share":1e400}`, `{"a":1}{}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, config string) {
		var got, want everything
		if err := DecodeConfig([]byte(config), &got); err != nil {
			var fault *ConfigError
			if !errors.As(err, &fault) {
				t.Errorf("%q: %T is no ConfigError", config, err)
			}
			return
		}
		if strings.TrimSpace(config) == "" {
			return
		}
		if err := json.Unmarshal([]byte(config), &want); err != nil {
			t.Fatalf("%q: encoding/json refuses it: %v", config, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, want %+v", config, got, want)
		}
	})
}
