package delivery

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
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
		got, err := layConfig(json.RawMessage(test.target), json.RawMessage(test.patch), map[string]model.Layer{}, "global")
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
		merged, err := layConfig(base, json.RawMessage(over), origins, model.Layer(layer))
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

func twoLayers(t *testing.T) map[model.Layer]model.Release {
	t.Helper()
	_, layers, _ := readInput(t, "testdata/in/three-layers.yaml")
	return layers
}

func TestRenderIsPure(t *testing.T) {
	layers := twoLayers(t)
	before, err := json.Marshal(layers)
	if err != nil {
		t.Fatal(err)
	}
	first, err := Render(layers)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 { // maps are walked in another order each time
		again, err := Render(layers)
		if err != nil || !reflect.DeepEqual(first, again) {
			t.Fatalf("the same layers give %+v and %+v, %v", first, again, err)
		}
	}
	// What comes out shares nothing with what went in.
	for i := range first.Filters {
		first.Filters[i].Module.Digest = "changed"
		*first.Filters[i].Priority = -1
		copy(first.Filters[i].Config, strings.Repeat("x", len(first.Filters[i].Config)))
	}
	first.Releases["global"] = model.ReleaseID{}
	after, err := json.Marshal(layers)
	if err != nil || string(after) != string(before) {
		t.Errorf("the layers were changed, %v:\n%s\n%s", err, before, after)
	}
}

func TestCollectionsShareNothing(t *testing.T) {
	chain, err := Render(twoLayers(t))
	if err != nil {
		t.Fatal(err)
	}
	before := chain.Clone()
	for _, c := range Collections(model.Node{ID: "edge-1"}, chain, []model.Module{module("a")}) {
		for _, r := range c.Resources {
			if r.Filter != nil {
				r.Filter.Module.Digest = "changed"
			}
			if r.Chain != nil {
				r.Chain.Filters[0].Module.Digest = "changed"
				r.Chain.Releases["global"] = model.ReleaseID{}
			}
		}
	}
	if !reflect.DeepEqual(before, chain) {
		t.Error("the chain was changed")
	}
}

func TestNamesTakeNoPartInIdentity(t *testing.T) {
	layers := twoLayers(t)
	chain, err := Render(layers)
	if err != nil {
		t.Fatal(err)
	}
	renamed := map[model.Layer]model.Release{}
	for layer, r := range layers {
		r = r.Clone()
		r.ID.Name += "-2"
		for _, f := range r.Filters {
			if f.Module != nil {
				f.Module.Reference = "elsewhere.example/other:latest"
			}
		}
		renamed[layer] = r
	}
	same, err := Render(renamed)
	if err != nil || same.Hash != chain.Hash {
		t.Errorf("other names give another hash, %v", err)
	}
	node := model.Node{ID: "edge-1", Generation: 4}
	a, b := Collections(node, chain, nil), Collections(node, same, nil)
	if a[0].Version != b[0].Version {
		t.Error("other names give waft/v1/filters another version")
	}
	if a[1].Version == b[1].Version {
		t.Error("waft/v1/chains names the releases, and has the same version with others")
	}
	node.Generation++
	if c := Collections(node, chain, nil); c[1].Version == a[1].Version || c[0].Version != a[0].Version {
		t.Error("the generation must be in the version of waft/v1/chains, and in no other")
	}
}

func TestVersionsTellContentApart(t *testing.T) {
	seen := map[string]string{}
	for name, modules := range map[string][]model.Module{"none": nil, "a": {module("a")}, "b": {module("b")}, "both": {module("a"), module("b")}} {
		version := Collections(model.Node{}, model.Chain{}, modules)[2].Version
		if other, clash := seen[version]; clash {
			t.Errorf("%s and %s have one version", name, other)
		}
		seen[version] = name
	}
	if version([]string{"a", "b"}) == version([]string{"a\"\n\"b"}) {
		t.Error("words that run together")
	}
}

func TestRenderRefuses(t *testing.T) {
	for _, name := range []string{"no-module", "fail-open-by-merge"} {
		_, layers, _ := readInput(t, "testdata/in/"+name+".yaml")
		if _, err := Render(layers); !errors.Is(err, model.ErrInvalid) {
			t.Errorf("%s: %v is not of kind ErrInvalid", name, err)
		}
	}
	broken := map[model.Layer]model.Release{
		"global": {Filters: []model.FilterSpec{{Name: "a", Config: json.RawMessage(`{}`)}}},
		"team/a": {Filters: []model.FilterSpec{{Name: "a", Config: json.RawMessage(`{`)}}},
	}
	if _, err := Render(broken); !errors.Is(err, model.ErrInvalid) || !strings.Contains(err.Error(), "team/a") {
		t.Errorf("a config that is not JSON: %v", err)
	}
}
