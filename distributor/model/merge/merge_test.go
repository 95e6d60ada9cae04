package merge

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

// TestMergePatch holds the cases of RFC 7396 appendix A.
func TestMergePatch(t *testing.T) {
	for _, test := range []struct{ target, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, ``},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		got, err := layJSON("config", json.RawMessage(test.target), json.RawMessage(test.patch), nil, map[string]model.Layer{}, "global")
		if err != nil || string(got) != test.want {
			t.Errorf("%s over %s: got %s, %v; want %s", test.patch, test.target, got, err, test.want)
		}
	}
}

func TestOriginsFollowTheMerge(t *testing.T) {
	origins := map[string]model.Layer{}
	lay := func(under, over, layer string) json.RawMessage {
		var base json.RawMessage
		if under != "" {
			base = json.RawMessage(under)
		}
		merged, err := layJSON("config", base, json.RawMessage(over), nil, origins, model.Layer(layer))
		if err != nil {
			t.Fatal(err)
		}
		return merged
	}
	config := lay("", `{"a":{"b":1,"c":2},"d.e":3,"f":1}`, "global")
	lay(string(config), `{"a":{"c":9},"f":null}`, "team/a")
	want := map[string]model.Layer{"config": "team/a", "config.a": "team/a", "config.a.b": "global", "config.a.c": "team/a", `config["d.e"]`: "global"}
	if !reflect.DeepEqual(origins, want) {
		t.Errorf("got %v", origins)
	}
	lay(string(config), `5`, "service/a")
	if !reflect.DeepEqual(origins, map[string]model.Layer{"config": "service/a"}) {
		t.Errorf("after it was replaced: %v", origins)
	}
}
