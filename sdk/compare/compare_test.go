package compare_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/sdk/compare"
)

func TestSchemas(t *testing.T) {
	object := func(properties, more string) string {
		return `{"type":"object","properties":{` + properties + `},"additionalProperties":false` + more + `}`
	}
	for _, tc := range []struct {
		name, was, is string
		// want is PATH: EFFECT of each change, in order.
		want []string
	}{
		{"the same", object(`"a":{"type":"string"}`, ""), object(`"a":{"type":"string"}`, ""), nil},
		{"other words for people", `{"type":"string","description":"x"}`, `{"description":"y","title":"z","type":"string"}`, nil},
		{"a new field", object(`"a":{"type":"string"}`, ""), object(`"a":{"type":"string"},"b":{"type":"integer"}`, ""), []string{"b: allows"}},
		{"a new field that is required", object(``, ""), object(`"b":{"type":"integer"}`, `,"required":["b"]`), []string{"b: breaks"}},
		{"a field is gone", object(`"a":{}`, ""), object(``, ""), []string{"a: breaks"}},
		{"a field is gone, and other types are", `{"properties":{"a":{}}}`, `{"type":"object"}`, []string{": breaks", "a: changes"}},
		{"a field is gone, and others are accepted", `{"type":"object","properties":{"a":{}}}`, `{"type":"object"}`, []string{"a: changes"}},
		{"a field is required now", object(`"a":{}`, ""), object(`"a":{}`, `,"required":["a"]`), []string{"a: breaks"}},
		{"a field is not required any more", object(`"a":{}`, `,"required":["a"]`), object(`"a":{}`, ""), []string{"a: allows"}},
		{"a type", object(`"a":{"type":"string"}`, ""), object(`"a":{"type":"integer"}`, ""), []string{"a: breaks"}},
		{"an integer becomes a number", `{"type":"integer"}`, `{"type":"number"}`, []string{": allows"}},
		{"a number becomes an integer", `{"type":"number"}`, `{"type":"integer"}`, []string{": breaks"}},
		{"anything becomes a string", `{}`, `{"type":"string"}`, []string{": breaks"}},
		{"a string becomes anything", `{"type":"string"}`, `true`, []string{": allows"}},
		{"nothing is accepted", `{"type":"string"}`, `false`, []string{": breaks"}},
		{"a default", `{"type":"integer","default":1}`, `{"type":"integer","default":2}`, []string{": changes"}},
		{"bounds", `{"type":"integer","minimum":1,"maximum":9223372036854775807}`, `{"type":"integer","minimum":2,"maximum":9223372036854775806}`, []string{": breaks", ": breaks"}},
		{"wider bounds", `{"type":"integer","minimum":1,"maximum":5}`, `{"type":"integer","minimum":0,"maximum":6}`, []string{": allows", ": allows"}},
		{"the same bound in other words", `{"type":"number","minimum":1}`, `{"type":"number","minimum":1.0}`, nil},
		{"bounds that overflow", `{"type":"number","minimum":1e999999999}`, `{"type":"number","minimum":2e999999999}`, []string{": may break"}},
		{"an enum loses a value and gets another", `{"type":"string","enum":["a","b"]}`, `{"type":"string","enum":["b","c"]}`, []string{": breaks", ": allows"}},
		{"a pattern", `{"type":"string","pattern":"a"}`, `{"type":"string","pattern":"b"}`, []string{": may break"}},
		{"a pattern is new", `{"type":"string"}`, `{"type":"string","pattern":"b"}`, []string{": breaks"}},
		{"a pointer", `{"anyOf":[{"type":"string"},{"type":"null"}]}`, `{"type":"string"}`, []string{": breaks"}},
		{"a pointer, the other way", `{"type":"string"}`, `{"anyOf":[{"type":"string"},{"type":"null"}]}`, []string{": allows"}},
		{"in a list in a definition", `{"$defs":{"R":` + object(`"p":{"type":"string"}`, "") + `},"type":"array","items":{"$ref":"#/$defs/R"}}`,
			`{"$defs":{"S":` + object(`"p":{"type":"boolean"}`, "") + `},"type":"array","items":{"$ref":"#/$defs/S"}}`, []string{"[].p: breaks"}},
		{"in a map", `{"type":"object","additionalProperties":{"type":"string"}}`, `{"type":"object","additionalProperties":{"type":"boolean"}}`, []string{"{}: breaks"}},
		{"a schema that holds itself", object(`"next":{"$ref":"#"},"v":{"type":"string"}`, ""), object(`"next":{"$ref":"#"},"v":{"type":"boolean"}`, ""), []string{"v: breaks"}},
		{"a reference in a circle", `{"$ref":"#"}`, `{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/a"}}}`, []string{": may break"}},
		{"words that are not understood", `{"type":"string","not":{"const":"a"}}`, `{"type":"string","not":{"const":"b"}}`, []string{": may break"}},
		{"a schema is new", ``, `{}`, []string{": may break"}},
		{"a schema is gone", `{}`, ``, []string{": may break"}},
		{"none", ``, ``, nil},
		{"not JSON", `{`, `{}`, []string{": may break"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			raw := func(s string) json.RawMessage {
				if s == "" {
					return nil
				}
				return json.RawMessage(s)
			}
			var got []string
			for _, c := range compare.Schemas(raw(tc.was), raw(tc.is)) {
				got = append(got, fmt.Sprintf("%s: %s", c.Path, c.Effect))
				if c.What == "" {
					t.Errorf("%+v says nothing", c)
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q: %+v", got, tc.want, compare.Schemas(raw(tc.was), raw(tc.is)))
			}
			if tc.was != "{" && len(compare.Schemas(raw(tc.was), raw(tc.was))) > 0 {
				t.Error("a schema differs from itself")
			}
		})
	}
}

func TestCompare(t *testing.T) {
	a := compare.Version{
		Artifact: "sha256:1", Module: "sha256:a", Size: 10, Version: "1.0.0", ABI: "0.2.1", MemoryMax: 64 << 20,
		Imports: []string{"env.a", "env.b"}, Exports: []string{"x"}, Envoys: []string{"envoy-1.36", "envoy-1.37"},
		Modules: map[string]string{"std": "1.26.0", "example.com/old": "v1.0.0", "example.com/own": ""},
		Layouts: []string{"oci"}, Signers: []string{"sha256:k"}, ConfigSchema: json.RawMessage(`{"type":"string"}`),
	}
	if d := compare.Versions(a, a); !d.Same() || d.Breaks {
		t.Errorf("the same differs: %+v", d)
	}
	b := a
	b.Module, b.Size, b.Artifact = "sha256:b", 11, "" // a file has no artifact
	b.Imports, b.Exports, b.Envoys = []string{"env.b", "env.c"}, []string{"x", "y"}, []string{"envoy-1.37"}
	b.Modules = map[string]string{"std": "1.26.1", "example.com/new": "v0.1.0", "example.com/own": ""}
	b.Layouts, b.Signers = nil, []string{}
	b.ConfigSchema = json.RawMessage(`{"type":"boolean"}`)
	d := compare.Versions(a, b)
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"values":[{"what":"module","was":"sha256:a","is":"sha256:b"},{"what":"size","was":"10","is":"11"}],` +
		`"imports":{"added":["env.c"],"removed":["env.a"]},"exports":{"added":["y"],"removed":[]},"envoys":{"added":[],"removed":["envoy-1.36"]},` +
		`"config":[{"path":"","what":"the type was string, now it is boolean","effect":"breaks"}],"configUnknown":false,"breaks":true,` +
		`"modules":[{"what":"example.com/new","was":"","is":"v0.1.0"},{"what":"example.com/old","was":"v1.0.0","is":""},{"what":"std","was":"1.26.0","is":"1.26.1"}],"modulesUnknown":false,` +
		`"layouts":{"added":[],"removed":[]},"signers":{"added":[],"removed":["sha256:k"]}}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	b.Modules = nil
	if d := compare.Versions(a, b); !d.ModulesUnknown || len(d.Modules) > 0 {
		t.Errorf("modules that are not known: %+v", d.Modules)
	}
}

func FuzzSchemas(f *testing.F) {
	f.Add(`{"type":"object","properties":{"a":{"$ref":"#"}}}`, `{"$ref":"#/$defs/a","$defs":{"a":{"items":{"$ref":"#/$defs/a"}}}}`)
	f.Add(`{"items":true}`, `{"items":{"$ref":"#"}}`)
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.Count(a, "[") > 500 || strings.Count(b, "{") > 500 {
			t.Skip()
		}
		for _, c := range compare.Schemas(json.RawMessage(a), json.RawMessage(b)) {
			if c.What == "" || c.Effect == "" {
				t.Errorf("%+v", c)
			}
		}
	})
}
