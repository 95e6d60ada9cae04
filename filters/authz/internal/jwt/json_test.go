package jwt

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestParseObject(t *testing.T) {
	got, err := parseObject([]byte(" { \"a\" : 1.50 , \"b\":[ ] ,\"c\":[1 , \"x\\\"\\u00e9\\\\\",null,true,{}],\"\":false,\"d\":{\"a\":-0e1}} \n"))
	if err != nil {
		t.Fatal(err)
	}
	want := Object{
		"a": json.Number("1.50"), "b": []any{}, "c": []any{json.Number("1"), "x\"é\\", nil, true, Object{}}, "": false,
		"d": Object{"a": json.Number("-0e1")},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, want %#v", got, want)
	}
	for name, text := range map[string]string{
		"nothing": "", "a list": "[]", "cut short": `{"a":1`, "a comma too many": `{"a":1,}`, "data behind": "{}{}",
		"a duplicate": `{"a":1,"a":1}`, "a duplicate below": `{"b":{"a":1,"a":1}}`, "not UTF-8": "{\"a\":\"\xc0\xaf\"}",
		"single quotes": "{'a':1}", "a comment": "{/**/}", "NaN": `{"a":NaN}`,
		"too deep in lists":   `{"a":` + strings.Repeat("[", maxJSONDepth) + strings.Repeat("]", maxJSONDepth) + `}`,
		"too deep in objects": strings.Repeat(`{"a":`, maxJSONDepth+1) + "1" + strings.Repeat("}", maxJSONDepth+1),
	} {
		if got, err := parseObject([]byte(text)); err == nil {
			t.Errorf("%s: got %v, want an error", name, got)
		}
	}
}

// FuzzParseObject compares with encoding/json, which takes duplicates and any depth.
func FuzzParseObject(f *testing.F) {
	f.Add([]byte(`{"a":[1,2.5e3,"x",null,true,false,{"b":"\ud83d\ude00"}]}`))
	f.Add([]byte(`{"a":1,"\u0061":2}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := parseObject(text)
		if err != nil {
			return
		}
		d := json.NewDecoder(strings.NewReader(string(text)))
		d.UseNumber()
		var want Object
		if err := d.Decode(&want); err != nil {
			t.Fatalf("%q is accepted, encoding/json says %v", text, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %#v, want %#v", text, got, want)
		}
	})
}
