package merge_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/model/merge"
)

// byKey are the items of a list by what JSON has as their key, in their order; ok is false for what is no such list.
func byKey(value any, key string) (keys []string, items []map[string]any, ok bool) {
	list, ok := value.([]any)
	for _, item := range list {
		object, is := item.(map[string]any)
		text, err := json.Marshal(object[key])
		if !is || err != nil || object[key] == nil {
			return nil, nil, false
		}
		keys, items = append(keys, string(text)), append(items, object)
	}
	return keys, items, ok
}

// FuzzListsByKey lays one resource over another, both of which are whatever a layer may say of lists that are merged by key. Each item is there once and nothing of what
// takes items away is left; those that were there stay in their order, and new ones come behind.
func FuzzListsByKey(f *testing.F) {
	f.Add([]byte(`{"rules":[{"name":"a","headers":[{"id":1},{"id":2}]},{"name":"b"}]}`), []byte(`{"rules":[{"name":"c"},{"name":"a","headers":[{"$patch":"delete","id":1},{"id":3}]},{"$patch":"delete","name":"b"}]}`))
	f.Add([]byte(`{"rules":[{"name":"a","$patch":"delete"},{"name":true}]}`), []byte(`{"rules":[{"name":"a"},{"name":"a"}]}`))
	f.Add([]byte(`{"rules":{"name":"a"}}`), []byte(`{"rules":[{"name":1,"headers":[{"id":1,"$patch":"delete"}]}]}`))
	f.Add([]byte(`{"rules":[{"name":"a"}]}`), []byte(`{"rules":null}`))
	f.Add([]byte(`{"rules":[{"name":"a","$patch":"merge"}]}`), []byte(`{"rules":[1,{"name":{}},{"name":null}]}`))
	f.Add([]byte(`{"rules":[{"name":"a","headers":{"$secret":"env/A"}}]}`), []byte(`{"rules":[{"name":"a","headers":[]}]}`))
	lists := []model.ListKey{{Path: "rules", Key: "name"}, {Path: "rules[].headers", Key: "id"}}
	f.Fuzz(func(t *testing.T, under, over []byte) {
		layers := map[model.Layer]model.Release{}
		for layer, text := range map[model.Layer][]byte{"global": under, "team/pay": over} {
			text, err := model.Canonical(text)
			if err != nil {
				return
			}
			r, err := model.Seal(model.Release{ID: model.ReleaseID{Name: "r"}, Layer: layer, Resources: []model.ResourceSpec{flag("f", string(text))}, Declared: []model.CollectionSpec{{Name: "flags", Lists: lists}}})
			if err != nil {
				return // no release has it
			}
			layers[layer] = r
		}
		before := map[model.Layer]string{}
		for layer, r := range layers {
			before[layer] = string(r.Resources[0].Fields)
		}
		chain, err := merge.Render(layers)
		again, errAgain := merge.Render(layers)
		if (err == nil) != (errAgain == nil) || !reflect.DeepEqual(chain, again) {
			t.Errorf("%s over %s renders to %+v (%v), and then to %+v (%v)", over, under, chain, err, again, errAgain)
		}
		for layer, r := range layers {
			if string(r.Resources[0].Fields) != before[layer] {
				t.Errorf("of %s is made %s", before[layer], r.Resources[0].Fields)
			}
		}
		if err != nil {
			if told, ok := errors.AsType[*model.Error](err); !ok || !errors.Is(err, model.ErrInvalid) || told.Field == "" || told.Next == "" {
				t.Errorf("%s over %s: %v", over, under, err)
			}
			return
		}
		got := chain.Resources[0].Fields
		if canonical, err := model.Canonical(got); err != nil || !bytes.Equal(canonical, got) {
			t.Errorf("%s over %s is %s, which is not canonical (%v)", over, under, got, err)
		}
		var texts [3]map[string]any
		for i, text := range [][]byte{layers["global"].Resources[0].Fields, layers["team/pay"].Resources[0].Fields, got} {
			if err := json.Unmarshal(text, &texts[i]); err != nil {
				t.Fatal(err)
			}
		}
		once := func(value any, key string) []map[string]any {
			list, is := value.([]any)
			keys, items, ok := byKey(value, key)
			slices.Sort(keys)
			if is && !ok || len(slices.Compact(keys)) != len(list) {
				t.Errorf("%s over %s is %s, which has items without a key, or twice", over, under, got)
			}
			for _, item := range items {
				if item["$patch"] != nil {
					t.Errorf("%s over %s is %s, where an item is to be taken away", over, under, got)
				}
			}
			return items
		}
		for _, rule := range once(texts[2]["rules"], "name") {
			once(rule["headers"], "id")
		}
		// What is expected of the order of the rules, said anew.
		overKeys, overItems, isOver := byKey(texts[1]["rules"], "name")
		if !isOver {
			return
		}
		var want []string
		underKeys, underItems, _ := byKey(texts[0]["rules"], "name")
		for i, key := range underKeys {
			at := slices.Index(overKeys, key)
			if underItems[i]["$patch"] == nil && (at < 0 || overItems[at]["$patch"] == nil) {
				want = append(want, key)
			}
		}
		for i, key := range overKeys {
			if overItems[i]["$patch"] == nil && !slices.Contains(want, key) {
				want = append(want, key)
			}
		}
		if keys, _, _ := byKey(texts[2]["rules"], "name"); !slices.Equal(keys, want) {
			t.Errorf("%s over %s has the rules %v, want %v", over, under, keys, want)
		}
	})
}
