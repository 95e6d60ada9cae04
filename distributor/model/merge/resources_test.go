package merge_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/model/merge"
)

const flagType = model.TypeURLPrefix + "acme.flags.v1.Flag"

func flag(name, fields string) model.ResourceSpec {
	return model.ResourceSpec{Collection: "flags", Name: name, ResourceBody: model.ResourceBody{Type: flagType, Fields: json.RawMessage(fields)}}
}

func opaque(name, message string) model.ResourceSpec {
	return model.ResourceSpec{Collection: "flags", Name: name, ResourceBody: model.ResourceBody{Type: flagType, Opaque: []byte(message)}}
}

// given is a release of a layer: its resources, its overrides, and the lists that it has merged by key.
type given struct {
	resources, overrides []model.ResourceSpec
	lists                []model.ListKey
}

func layersOf(t *testing.T, of map[model.Layer]given) map[model.Layer]model.Release {
	t.Helper()
	layers := map[model.Layer]model.Release{}
	for layer, g := range of {
		r := model.Release{ID: model.ReleaseID{Name: "r"}, Layer: layer, Resources: g.resources, ResourceOverrides: g.overrides}
		if g.lists != nil {
			r.Declared = []model.CollectionSpec{{Name: "flags", Lists: g.lists}}
		}
		layers[layer] = sealed(t, r)
	}
	return layers
}

func TestResourcesAreMerged(t *testing.T) {
	byName := []model.ListKey{{Path: "rules", Key: "name"}, {Path: "rules[].headers", Key: "id"}}
	for name, test := range map[string]struct {
		layers  map[model.Layer]given
		want    string
		origins map[string]model.Layer
		err     string
	}{
		"the later default wins, field by field": {
			layers: map[model.Layer]given{
				"global":   {resources: []model.ResourceSpec{flag("f", `{"enabled":true,"limits":{"max":5,"min":1},"owner":"g"}`)}},
				"team/pay": {resources: []model.ResourceSpec{flag("f", `{"enabled":false,"limits":{"max":9,"min":null}}`)}},
			},
			want: `{"enabled":false,"limits":{"max":9},"owner":"g"}`,
			origins: map[string]model.Layer{
				"name": "global", "spec": "team/pay", "spec.enabled": "team/pay", "spec.limits": "team/pay", "spec.limits.max": "team/pay", "spec.owner": "global",
			},
		},
		"the earlier override wins": {
			layers: map[model.Layer]given{
				"global":       {overrides: []model.ResourceSpec{flag("f", `{"enabled":false}`)}},
				"service/cart": {resources: []model.ResourceSpec{flag("f", `{"enabled":true,"owner":"s"}`)}, overrides: []model.ResourceSpec{flag("f", `{"enabled":true,"max":3}`)}},
			},
			want:    `{"enabled":false,"max":3,"owner":"s"}`,
			origins: map[string]model.Layer{"name": "service/cart", "spec": "global", "spec.enabled": "global", "spec.max": "service/cart", "spec.owner": "service/cart"},
		},
		"lists are replaced whole": {
			layers: map[model.Layer]given{
				"global":   {resources: []model.ResourceSpec{flag("f", `{"rules":[{"name":"a"},{"name":"b"}]}`)}},
				"team/pay": {resources: []model.ResourceSpec{flag("f", `{"rules":[{"name":"c"}]}`)}},
			},
			want:    `{"rules":[{"name":"c"}]}`,
			origins: map[string]model.Layer{"name": "global", "spec": "team/pay", "spec.rules": "team/pay"},
		},
		"lists are merged by key where the release that is laid over says so": {
			layers: map[model.Layer]given{
				"global": {resources: []model.ResourceSpec{flag("f", `{"rules":[{"headers":[{"id":1,"v":"x"}],"name":"a","percent":5},{"name":"b"},{"name":"gone"}]}`)}},
				"team/pay": {lists: byName, resources: []model.ResourceSpec{flag("f",
					`{"rules":[{"name":"new","headers":[{"$patch":"delete","id":7}]},{"headers":[{"id":1,"v":"y"},{"id":2}],"name":"a"},{"$patch":"delete","name":"gone"}]}`)}},
			},
			want: `{"rules":[{"headers":[{"id":1,"v":"y"},{"id":2}],"name":"a","percent":5},{"name":"b"},{"headers":[],"name":"new"}]}`,
			origins: map[string]model.Layer{
				"name": "global", "spec": "team/pay", "spec.rules": "team/pay", `spec.rules[name="a"]`: "team/pay", `spec.rules[name="a"].name`: "team/pay", `spec.rules[name="a"].percent`: "global",
				`spec.rules[name="b"]`: "global", `spec.rules[name="b"].name`: "global",
				`spec.rules[name="a"].headers`: "team/pay", `spec.rules[name="a"].headers[id=1]`: "team/pay", `spec.rules[name="a"].headers[id=1].id`: "team/pay",
				`spec.rules[name="a"].headers[id=1].v`: "team/pay", `spec.rules[name="a"].headers[id=2]`: "team/pay", `spec.rules[name="a"].headers[id=2].id`: "team/pay",
				`spec.rules[name="new"]`: "team/pay", `spec.rules[name="new"].name`: "team/pay", `spec.rules[name="new"].headers`: "team/pay",
			},
		},
		"an item without its key": {
			layers: map[model.Layer]given{"global": {lists: byName, resources: []model.ResourceSpec{flag("f", `{"rules":[{"percent":1}]}`)}}},
			err:    "spec.rules[0].name",
		},
		"an item that is no object": {
			layers: map[model.Layer]given{"global": {lists: byName, resources: []model.ResourceSpec{flag("f", `{"rules":[1]}`)}}},
			err:    "spec.rules[0]: the list is merged by name",
		},
		"a key twice": {
			layers: map[model.Layer]given{"global": {lists: byName, resources: []model.ResourceSpec{flag("f", `{"rules":[{"name":"a"},{"name":"a"}]}`)}}},
			err:    `"a" stands there already`,
		},
		"another patch": {
			layers: map[model.Layer]given{"global": {lists: byName, resources: []model.ResourceSpec{flag("f", `{"rules":[{"name":"a","$patch":"replace"}]}`)}}},
			err:    "replace is not known",
		},
		"what is opaque is given whole": {
			layers: map[model.Layer]given{
				"global":   {resources: []model.ResourceSpec{flag("f", `{"enabled":true}`)}},
				"team/pay": {resources: []model.ResourceSpec{opaque("f", "bytes")}},
			},
			want:    `bytes`,
			origins: map[string]model.Layer{"name": "global", "spec": "team/pay"},
		},
		"nothing is laid over what is opaque": {
			layers: map[model.Layer]given{
				"global":   {resources: []model.ResourceSpec{opaque("f", "bytes")}},
				"team/pay": {resources: []model.ResourceSpec{flag("f", `{"enabled":true}`)}},
			},
			err: "resource/flags:f: spec: it is opaque in layer global, and layer team/pay gives fields",
		},
		"one type in all layers": {
			layers: map[model.Layer]given{
				"global":   {resources: []model.ResourceSpec{flag("f", `{}`)}},
				"team/pay": {resources: []model.ResourceSpec{{Collection: "flags", Name: "f", ResourceBody: model.ResourceBody{Type: "x/y", Opaque: []byte("z")}}}},
			},
			err: "resource/flags:f: spec.@type",
		},
	} {
		t.Run(name, func(t *testing.T) {
			chain, origins, err := merge.Explain(layersOf(t, test.layers))
			if test.err != "" {
				if !errors.Is(err, model.ErrInvalid) || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("got %v, want an error with %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r := chain.Resources[0]
			if got := string(r.Fields) + string(r.Opaque); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			if !reflect.DeepEqual(origins["flags:f"], test.origins) {
				t.Errorf("origins %v\nwant    %v", origins["flags:f"], test.origins)
			}
			told := map[string]bool{"name": true}
			for _, f := range merge.Fields(chain, origins)["flags:f"] {
				told[f.Path] = true
				if from, known := test.origins[f.Path]; known && from != f.Layer || f.Layer == "" && f.Path != "type" || f.Value == "" {
					t.Errorf("the field %+v", f)
				}
			}
			for path := range test.origins {
				// What has members or items is told of by those.
				inside := func(field string) bool {
					return strings.HasPrefix(field, path+".") || strings.HasPrefix(field, path+"[")
				}
				if !told[path] && !slices.ContainsFunc(slices.Collect(maps.Keys(told)), inside) {
					t.Errorf("no field tells of %s", path)
				}
			}
			if hash, err := r.ContentHash(); err != nil || hash != r.Version {
				t.Errorf("its version is %s, %v", r.Version, err)
			}
		})
	}
}

// Layers that may each give what they give make no chain that no sink takes.
func TestLayersGiveSoManyResourcesTogether(t *testing.T) {
	var most []model.ResourceSpec
	for i := range model.MaxResources {
		most = append(most, opaque(fmt.Sprint("f", i), "x"))
	}
	for name, says := range map[string]string{"f0": "", "another": "4097 resources"} {
		_, err := merge.Render(layersOf(t, map[model.Layer]given{"global": {resources: most}, "team/pay": {resources: []model.ResourceSpec{opaque(name, "y")}}}))
		if (err == nil) != (says == "") || err != nil && (!errors.Is(err, model.ErrInvalid) || !strings.Contains(err.Error(), says)) {
			t.Errorf("with %s: %v", name, err)
		}
	}
}

// The lists of a filter's config are merged as the schema of the module that reads them says.
func TestConfigsAreMergedByKey(t *testing.T) {
	module := func(lists ...model.ListKey) *model.Module {
		return &model.Module{Artifact: model.Digest([]byte("a")), Digest: model.Digest([]byte("m")), Size: 1, Lists: lists}
	}
	config := func(text string) json.RawMessage { return json.RawMessage(text) }
	layers := map[model.Layer]model.Release{
		"global": sealed(t, model.Release{ID: model.ReleaseID{Name: "r"}, Layer: "global", Filters: []model.FilterSpec{
			{Name: "authz", Module: module(model.ListKey{Path: "rules", Key: "path"}), Config: config(`{"rules":[{"path":"/a","roles":["x"]},{"path":"/b"}]}`)},
			{Name: "plain", Module: module(), Config: config(`{"rules":[{"path":"/a"}]}`)},
		}}),
		"team/pay": sealed(t, model.Release{ID: model.ReleaseID{Name: "r"}, Layer: "team/pay", Filters: []model.FilterSpec{
			{Name: "authz", Config: config(`{"rules":[{"path":"/a","roles":["y"]},{"path":"/c"}]}`)},
			{Name: "plain", Config: config(`{"rules":[{"path":"/c"}]}`)},
		}}),
	}
	chain, err := merge.Render(layers)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range chain.Filters {
		got[f.Name] = string(f.Config)
	}
	want := map[string]string{"authz": `{"rules":[{"path":"/a","roles":["y"]},{"path":"/b"},{"path":"/c"}]}`, "plain": `{"rules":[{"path":"/c"}]}`}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v", got)
	}

	long := layers["team/pay"]
	long.Filters[0].Config = config(`{"rules":[{"path":"/` + strings.Repeat("x", 1024) + `"}]}`)
	layers["team/pay"] = sealed(t, long)
	if _, err := merge.Render(layers); err == nil || !strings.Contains(err.Error(), "1027 bytes") {
		t.Errorf("a key that is too long: %v", err)
	}
}

// anything is a random value of a few members, so that layers meet.
func anything(random *rand.Rand, depth int) any {
	switch random.IntN(5) {
	case 0:
		return random.IntN(3)
	case 1:
		return random.IntN(2) == 0
	case 2:
		items := []any{}
		for _, i := range random.Perm(3)[:random.IntN(3)] {
			items = append(items, map[string]any{"k": i, "v": random.IntN(3)})
		}
		return items
	}
	object := map[string]any{}
	if depth < 3 {
		for range random.IntN(4) {
			name := string(rune('a' + random.IntN(3)))
			if random.IntN(6) == 0 {
				object[name] = nil
			} else {
				object[name] = anything(random, depth+1)
			}
		}
	}
	return object
}

// Whatever the layers say: the same layers render the same, nothing is changed that is given, a field that an override of the first layer sets is so, hashes differ when
// the resources do, and a chain is without resources only where no layer gives any.
func TestRenderingResourcesHolds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	hashes := map[string]string{}
	for round := range 2000 {
		of := map[model.Layer]given{}
		for _, layer := range []model.Layer{"global", "team/pay", "service/cart"}[:1+random.IntN(3)] {
			var g given
			for _, into := range []*[]model.ResourceSpec{&g.resources, &g.overrides} {
				for _, name := range []string{"a", "b"}[:random.IntN(3)] {
					fields, err := json.Marshal(map[string]any{"x": anything(random, 0), "y": anything(random, 0)})
					if err != nil {
						t.Fatal(err)
					}
					*into = append(*into, flag(name, string(fields)))
				}
			}
			if random.IntN(2) == 0 && len(g.resources)+len(g.overrides) > 0 {
				g.lists = []model.ListKey{{Path: "x", Key: "k"}, {Path: "x.a", Key: "k"}}
			}
			of[layer] = g
		}
		layers := layersOf(t, of)
		before := fmt.Sprint(layers)
		chain, origins, err := merge.Explain(layers)
		if err != nil {
			t.Fatalf("round %d: %v: %v", round, err, before)
		}
		again, err := merge.Render(layers)
		if err != nil || !reflect.DeepEqual(chain, again) || fmt.Sprint(layers) != before {
			t.Fatalf("round %d: the same layers render to\n%+v\n%+v, %v", round, chain, again, err)
		}
		var bodies []string
		for _, r := range chain.Resources {
			bodies = append(bodies, r.Name+string(r.Fields))
			if canonical, err := model.Canonical(r.Fields); err != nil || string(canonical) != string(r.Fields) {
				t.Errorf("round %d: %s is not canonical, %v", round, r.Fields, err)
			}
			for path, layer := range origins[r.Key()] {
				if !slices.Contains(slices.Collect(maps.Keys(of)), layer) {
					t.Errorf("round %d: %s comes from %q", round, path, layer)
				}
			}
		}
		content := strings.Join(bodies, "\n")
		if known, seen := hashes[chain.Hash]; seen && known != content {
			t.Errorf("round %d: one hash for\n%s\nand\n%s", round, known, content)
		}
		hashes[chain.Hash] = content
		for _, o := range of["global"].overrides {
			var want, got map[string]any
			i := slices.IndexFunc(chain.Resources, func(r model.RenderedResource) bool { return r.Name == o.Name })
			if i < 0 {
				t.Fatalf("round %d: %s is gone", round, o.Name)
			}
			if err := errors.Join(json.Unmarshal(o.Fields, &want), json.Unmarshal(chain.Resources[i].Fields, &got)); err != nil {
				t.Fatal(err)
			}
			for name, value := range want {
				switch value.(type) {
				case float64, bool:
					if !reflect.DeepEqual(got[name], value) {
						t.Errorf("round %d: the global override of %s is %v, and it is %v", round, name, value, got[name])
					}
				}
			}
		}
		given := 0
		for _, g := range of {
			given += len(g.resources) + len(g.overrides)
		}
		if (given == 0) != (len(chain.Resources) == 0) {
			t.Errorf("round %d: %d resources are given, and %d rendered", round, given, len(chain.Resources))
		}
	}
	if len(hashes) < 1000 {
		t.Errorf("only %d chains were tried", len(hashes))
	}
}

func TestChangesOfResources(t *testing.T) {
	before, err := merge.Render(layersOf(t, map[model.Layer]given{"global": {resources: []model.ResourceSpec{flag("a", `{"enabled":true}`), flag("gone", `{}`), opaque("o", "1")}}}))
	if err != nil {
		t.Fatal(err)
	}
	after, origins, err := merge.Explain(layersOf(t, map[model.Layer]given{
		"global":   {resources: []model.ResourceSpec{flag("a", `{"enabled":true}`), flag("came", `{}`), opaque("o", "2")}},
		"team/pay": {resources: []model.ResourceSpec{flag("a", `{"enabled":false}`)}},
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := []merge.FilterChange{
		{Filter: "flags:a", Fields: []merge.FieldChange{{Path: "spec.enabled", From: "true", To: "false", Layer: "team/pay"}}},
		{Filter: "flags:came", Added: true}, {Filter: "flags:gone", Removed: true},
		{Filter: "flags:o", Fields: []merge.FieldChange{{Path: "spec", From: fmt.Sprintf("%q", model.Digest([]byte("1"))), To: fmt.Sprintf("%q", model.Digest([]byte("2"))), Layer: "global"}}},
	}
	got := merge.Changes(before, after, origins)
	for i := range got {
		if got[i].Added || got[i].Removed {
			got[i].Fields = nil
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// A split chain has the resources of the rest: no request chooses among them.
func TestASplitHasTheResourcesOfTheRest(t *testing.T) {
	chain := func(fields string) model.Chain {
		c, err := merge.Render(layersOf(t, map[model.Layer]given{"global": {resources: []model.ResourceSpec{flag("a", fields)}}}))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	rest, test := chain(`{"enabled":false}`), chain(`{"enabled":true}`)
	split, err := merge.Split(rest, test, model.NodeSplit{Layer: "global", Cohort: model.Cohort{Percent: 5}})
	if err != nil || !reflect.DeepEqual(split.Resources, rest.Resources) || split.Hash == rest.Hash {
		t.Errorf("got %+v, %v", split, err)
	}
}
