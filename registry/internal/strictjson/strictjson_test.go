package strictjson_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/waft-project/waft/registry/internal/strictjson"
)

func TestCheck(t *testing.T) {
	for text, good := range map[string]bool{
		`{}`: true, `{"a":{"a":1},"b":[{"a":1},{"a":2}]}`: true, ` [1, "a", null, {"x": []}] `: true, `"a"`: true, `0`: true,
		``: false, `{`: false, `{"a":1,}`: false, `{} x`: false, `{}{}`: false, `[1`: false,
		`{"a":1,"a":1}`: false, `{"a":1,"A":2}`: false, `{"a":{"b":1,"c":[],"b":2}}`: false, `{"a":"a","b":"a","a":"b"}`: false, `[{"a":[],"a":1}]`: false,
		`{"a":1,"\u0061":2}`: false,
		strings.Repeat("[", strictjson.MaxDepth+1) + strings.Repeat("]", strictjson.MaxDepth+1): false,
	} {
		if err := strictjson.Check([]byte(text)); (err == nil) != good {
			t.Errorf("%.60s: %v", text, err)
		}
	}
}

// What is taken is JSON to encoding/json, too.
func FuzzCheck(f *testing.F) {
	for _, text := range []string{`{"a":[{"b":null}],"c":"d"}`, `[[],{}]`, `{"a":1,"A":1}`, `1 2`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if strictjson.Check(data) == nil && !json.Valid(data) {
			t.Fatalf("%q is taken", data)
		}
	})
}
