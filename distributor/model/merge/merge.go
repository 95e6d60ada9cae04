package merge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/waft-project/waft/distributor/model"
)

// Origins says which layer each field of each filter and resource came from: name of the filter, or key of the resource (model.ResourceSpec.Key) → field path →
// layer. Paths of a filter are module, phase, priority, failurePolicy, config, and config with the members of its objects: config.issuer, config.limits.rate. Those
// of a resource are spec, and spec with the members of its objects; an item of a list that is merged by key has the key in its path: spec.rules[name="a"].percent.
// A field that no layer gives is not there.
type Origins map[string]map[string]model.Layer

// layers are those that say anything about a filter, for an error.
func (o Origins) layers(filter string) string {
	names := map[model.Layer]bool{}
	for _, layer := range o[filter] {
		names[layer] = true
	}
	sorted := slices.SortedFunc(maps.Keys(names), model.CompareLayers)
	words := make([]string, 0, len(sorted))
	for _, layer := range sorted {
		words = append(words, "layer "+string(layer))
	}
	return strings.Join(words, " and ")
}

// existence is the origin under which a filter's first layer is kept, so that one that says nothing has an origin too.
const existence = "name"

// merge is the filters and resources as they are laid one over the other.
type merge struct {
	filters   map[string]*model.FilterSpec
	resources map[string]*model.ResourceSpec
	origins   Origins
	// configs are the layers that give a filter any configuration, if only to take something away.
	configs map[string][]model.Layer
}

// lay puts the filters of one layer over what is there.
func (m *merge) lay(layer model.Layer, filters []model.FilterSpec) error {
	for _, f := range filters {
		if err := m.layFilter(layer, f); err != nil {
			return fmt.Errorf("filter/%s: config of layer %s: %w", f.Name, layer, err)
		}
	}
	return nil
}

func (m *merge) layFilter(layer model.Layer, f model.FilterSpec) error {
	f = f.Clone()
	under, known := m.filters[f.Name]
	if !known {
		under = &model.FilterSpec{Name: f.Name}
		m.filters[f.Name] = under
		m.origins[f.Name] = map[string]model.Layer{existence: layer}
	}
	origins := m.origins[f.Name]
	if f.Module != nil {
		under.Module, origins["module"] = f.Module, layer
	}
	if f.Phase != model.PhaseNone {
		under.Phase, origins["phase"] = f.Phase, layer
	}
	if f.Priority != nil {
		under.Priority, origins["priority"] = f.Priority, layer
	}
	if f.FailurePolicy != "" {
		under.FailurePolicy, origins["failurePolicy"] = f.FailurePolicy, layer
	}
	if f.Config == nil {
		return nil
	}
	if err := ownSecrets(layer, f.Config); err != nil {
		return err
	}
	m.configs[f.Name] = append(m.configs[f.Name], layer)
	var lists []model.ListKey
	if under.Module != nil {
		lists = under.Module.Lists // of the module that is to read the config
	}
	config, err := layJSON("config", under.Config, f.Config, lists, origins, layer)
	under.Config = config
	return err
}

// layJSON merges a value over another one, which is nil when there is none yet, and gives canonical JSON; nil when the value is taken away. at is what its paths
// begin with.
func layJSON(at string, under, over json.RawMessage, lists []model.ListKey, origins map[string]model.Layer, layer model.Layer) (json.RawMessage, error) {
	patch, err := decode(over)
	if err != nil {
		return nil, err
	}
	o := laying{origins: origins, layer: layer, lists: lists}
	if patch == nil {
		o.forget(at)
		return nil, nil
	}
	if under == nil {
		first, err := o.first(place{at: at}, patch)
		if err != nil {
			return nil, err
		}
		o.replace(at, first)
		if len(lists) == 0 {
			return model.Canonical(over)
		}
		return model.CanonicalOf(first)
	}
	target, err := decode(under)
	if err != nil {
		return nil, err
	}
	merged, err := o.apply(place{at: at}, target, patch)
	if err != nil {
		return nil, err
	}
	return model.CanonicalOf(merged)
}

// decode keeps numbers as they are written, so that the merge changes none.
func decode(text json.RawMessage) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, &model.Error{Kind: model.ErrInvalid, Message: "it is not JSON: " + err.Error(), Next: "create the release anew", Cause: err}
	}
	return value, nil
}

// laying keeps the origins of one filter or resource while a layer is laid over it.
type laying struct {
	origins map[string]model.Layer
	layer   model.Layer
	// lists are those that are merged by key.
	lists []model.ListKey
}

// place is where in a value the merge is.
type place struct {
	// at is the path that origins are kept under.
	at string
	// in is the path that lists are declared by: without what stands in at before the value, and without keys.
	in string
}

func (p place) member(name string) place {
	in := name
	if p.in != "" {
		in = p.in + "." + name
	}
	return place{at: member(p.at, name), in: in}
}

// apply is MergePatch of RFC 7396 section 2, but for lists that are merged by key. The patch is not nil: its caller takes the member away.
func (o laying) apply(p place, target, patch any) (any, error) {
	if items, ok := patch.([]any); ok {
		if key := o.keyOf(p); key != "" {
			under, _ := target.([]any)
			return o.applyItems(p, key, under, items)
		}
	}
	object, ok := members(patch)
	if !ok {
		if holds(target) {
			o.forget(p.at)
		}
		o.note(p.at, patch)
		return patch, nil
	}
	merged, ok := members(target)
	if !ok {
		if holds(target) {
			o.forget(p.at)
		}
		merged = map[string]any{}
	}
	o.origins[p.at] = o.layer
	for _, name := range slices.Sorted(maps.Keys(object)) {
		inside := p.member(name)
		if object[name] == nil {
			if holds(merged[name]) {
				o.forget(inside.at)
			}
			delete(o.origins, inside.at)
			delete(merged, name)
			continue
		}
		value, err := o.apply(inside, merged[name], object[name])
		if err != nil {
			return nil, err
		}
		merged[name] = value
	}
	return merged, nil
}

// members are those of an object; false for what is none. What names a secret stands for a string, and is never merged with anything.
func members(value any) (map[string]any, bool) {
	object, ok := value.(map[string]any)
	return object, ok && !model.IsSecret(value)
}

// holds says whether there may be origins below a value's own.
func holds(value any) bool {
	switch value.(type) {
	case map[string]any, []any:
		return true
	}
	return false
}

// replace notes that a value comes from the layer, whole.
func (o laying) replace(path string, value any) {
	o.forget(path)
	o.note(path, value)
}

// note does so where no origin is below the path. Replacing each member by itself would look through all origins for each.
func (o laying) note(path string, value any) {
	o.origins[path] = o.layer
	if object, ok := members(value); ok {
		for name, inner := range object {
			o.note(member(path, name), inner)
		}
	}
}

// forget drops a path and all below it, which takes a look at every origin.
func (o laying) forget(path string) {
	delete(o.origins, path)
	members, items := path+".", path+"["
	for at := range o.origins {
		if strings.HasPrefix(at, members) || strings.HasPrefix(at, items) {
			delete(o.origins, at)
		}
	}
}

// member is the path of an object's member: .name, or ["a.b"] for a name that would be read as a path.
func member(path, name string) string {
	if name == "" || strings.ContainsAny(name, `.[]"`) {
		return fmt.Sprintf("%s[%q]", path, name)
	}
	return path + "." + name
}
