package delivery

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/model/merge"
)

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
	first, err := merge.Render(layers)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 { // maps are walked in another order each time
		again, err := merge.Render(layers)
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

// A large configuration that goes to thousands of nodes is in memory once, and making collections changes nothing.
func TestCollectionsCopyNothing(t *testing.T) {
	chain, err := merge.Render(twoLayers(t))
	if err != nil {
		t.Fatal(err)
	}
	before := chain.Clone()
	for _, id := range []string{"edge-1", "edge-2"} {
		for _, c := range Collections(model.Node{ID: id}, chain, []model.Module{module("a")}) {
			for _, r := range c.Resources {
				if r.Filter == nil {
					continue
				}
				i := slices.IndexFunc(chain.Filters, func(f model.RenderedFilter) bool { return f.ResourceName() == r.Name })
				if r.Filter.Module != chain.Filters[i].Module || unsafe.SliceData(r.Filter.Config) != unsafe.SliceData(chain.Filters[i].Config) {
					t.Errorf("filter %s was copied for node %s", r.Name, id)
				}
			}
		}
	}
	if !reflect.DeepEqual(before, chain) {
		t.Error("the chain was changed")
	}
}

func TestNamesTakeNoPartInIdentity(t *testing.T) {
	layers := twoLayers(t)
	chain, err := merge.Render(layers)
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
	same, err := merge.Render(renamed)
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
		if _, err := merge.Render(layers); !errors.Is(err, model.ErrInvalid) {
			t.Errorf("%s: %v is not of kind ErrInvalid", name, err)
		}
	}
	broken := map[model.Layer]model.Release{
		"global": {Filters: []model.FilterSpec{{Name: "a", Config: json.RawMessage(`{}`)}}},
		"team/a": {Filters: []model.FilterSpec{{Name: "a", Config: json.RawMessage(`{`)}}},
	}
	if _, err := merge.Render(broken); !errors.Is(err, model.ErrInvalid) || !strings.Contains(err.Error(), "team/a") {
		t.Errorf("a config that is not JSON: %v", err)
	}
}
