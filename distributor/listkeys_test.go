package distributor

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

func TestListKeys(t *testing.T) {
	const list = `{"type":"array","x-kubernetes-list-map-keys":["name"],"items":`
	for _, tc := range []struct {
		name, schema string
		want         []model.ListKey
		err          string
	}{
		{name: "none", schema: `{"properties":{"a":{"type":"array","items":{}}}}`},
		{name: "no schema"},
		{name: "one", schema: `{"properties":{"rules":` + list + `{}}}}`, want: []model.ListKey{{Path: "rules", Key: "name"}}},
		{name: "one in another, and one beside", schema: `{"properties":{"rules":` + list + `{"properties":{"headers":` + list + `{}}}}},"a":{"properties":{"b":` + list + `{}}}}}}`,
			want: []model.ListKey{{Path: "a.b", Key: "name"}, {Path: "rules", Key: "name"}, {Path: "rules[].headers", Key: "name"}}},
		{name: "by reference", schema: `{"properties":{"a":{"$ref":"#/$defs/x~1y"}},"$defs":{"x/y":{"properties":{"b":` + list + `{}}}}}}`, want: []model.ListKey{{Path: "a.b", Key: "name"}}},
		{name: "by reference to itself", schema: `{"properties":{"rules":` + list + `{"$ref":"#"}}}}`,
			want: []model.ListKey{{Path: "rules", Key: "name"}, {Path: "rules[].rules", Key: "name"}}},
		{name: "or null", schema: `{"properties":{"a":{"anyOf":[` + list + `{}},{"type":"null"}]}}}`, want: []model.ListKey{{Path: "a", Key: "name"}}},
		{name: "in a list that is replaced", schema: `{"properties":{"a":{"type":"array","items":{"properties":{"b":` + list + `{}}}}}}}`},
		{name: "elsewhere", schema: `{"properties":{"a":{"$ref":"https://x.example/y#/z"},"b":` + list + `{}}}}`, want: []model.ListKey{{Path: "b", Key: "name"}}},
		{name: "several keys", schema: `{"properties":{"a":{"x-kubernetes-list-map-keys":["x","y"]}}}`, err: "one member"},
		{name: "the whole configuration", schema: list + `{}}`, err: "one member"},
		{name: "no list of keys", schema: `{"properties":{"a":{"x-kubernetes-list-map-keys":"x"}}}`, err: "one member"},
		{name: "a name that is longer than any", schema: `{"properties":{"` + strings.Repeat("a", maxSchemaPath+1) + `":` + list + `{}}}}`, err: "4097 bytes"},
		{name: "two keys for one list", schema: `{"properties":{"a":{"anyOf":[{"x-kubernetes-list-map-keys":["z"]},{"x-kubernetes-list-map-keys":["y"]},{"x-kubernetes-list-map-keys":["z"]}]}}}`,
			want: []model.ListKey{{Path: "a", Key: "y"}, {Path: "a", Key: "z"}}},
		{name: "no JSON", schema: `{x-kubernetes-list-map-keys`, err: "invalid"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := listKeys(json.RawMessage(tc.schema))
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("got %v, %v; want %v", got, err, tc.want)
			}
		})
	}
	// References that name each other, many times over, end.
	many := strings.Repeat(`{"$ref":"#/$defs/b"},`, 200)
	if _, err := listKeys(json.RawMessage(`{"$ref":"#/$defs/a","$defs":{"a":{"anyOf":[` + many + `{}]},"b":{"anyOf":[` + strings.Repeat(`{"$ref":"#/$defs/c"},`, 200) + `{}]},"c":` + list + `{}}}}`)); err == nil {
		t.Error("a list that is no member was taken")
	}
}

// FuzzListKeys searches whatever a stranger's manifest may have as a schema. It ends, finds the same each time, each once and somewhere, and takes no more room than its limits.
func FuzzListKeys(f *testing.F) {
	f.Add([]byte(`{"properties":{"rules":{"type":"array","x-kubernetes-list-map-keys":["name"],"items":{"$ref":"#/$defs/rule"}}},"$defs":{"rule":{"properties":{"headers":{"x-kubernetes-list-map-keys":["name"]}}}}}`))
	f.Add([]byte(`{"$ref":"#","properties":{"a":{"$ref":"#/properties/a","anyOf":[{"$ref":"#"},{"x-kubernetes-list-map-keys":["k"]}]}}}`))
	f.Add([]byte(`{"properties":{"` + strings.Repeat("a.", 40) + `":{"x-kubernetes-list-map-keys":["k"],"items":{"properties":{"":{"x-kubernetes-list-map-keys":["k"]}}}}}}`))
	f.Fuzz(func(t *testing.T, schema []byte) {
		found, err := listKeys(schema)
		again, errAgain := listKeys(schema)
		if (err == nil) != (errAgain == nil) || !slices.Equal(found, again) {
			t.Errorf("%q has %v (%v), and then %v (%v)", schema, found, err, again, errAgain)
		}
		if err != nil {
			return
		}
		if len(found) > maxSchemaSteps {
			t.Errorf("%d lists", len(found))
		}
		for i, l := range found {
			if l.Path == "" || l.Key == "" || len(l.Path) > maxSchemaPath || i > 0 && found[i-1] == l {
				t.Errorf("%q has %v", schema, found)
			}
		}
	})
}
