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

// Origins says which layer each field of each filter came from: filter name → field path → layer. Paths are module,
// phase, priority, failurePolicy, config, and config with the members of its objects: config.issuer, config.limits.rate.
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

// merge is the filters as they are laid one over the other.
type merge struct {
	filters map[string]*model.FilterSpec
	origins Origins
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
	config, err := layConfig(under.Config, f.Config, origins, layer)
	under.Config = config
	return err
}

// layConfig merges a config over another one, which is nil when there is none yet, and gives canonical JSON; nil when the
// config is taken away.
func layConfig(under, over json.RawMessage, origins map[string]model.Layer, layer model.Layer) (json.RawMessage, error) {
	patch, err := decode(over)
	if err != nil {
		return nil, err
	}
	o := originsOf{origins: origins, layer: layer}
	if patch == nil {
		o.forget("config")
		return nil, nil
	}
	if under == nil {
		o.replace("config", patch)
		return model.Canonical(over)
	}
	target, err := decode(under)
	if err != nil {
		return nil, err
	}
	return model.CanonicalOf(o.apply("config", target, patch))
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

// originsOf keeps the origins of one filter while a layer is laid over it.
type originsOf struct {
	origins map[string]model.Layer
	layer   model.Layer
}

// apply is MergePatch of RFC 7396 section 2. The patch is not nil: its caller takes the member away.
func (o originsOf) apply(path string, target, patch any) any {
	object, ok := patch.(map[string]any)
	if !ok {
		o.replace(path, patch)
		return patch
	}
	merged, ok := target.(map[string]any)
	if !ok {
		o.forget(path)
		merged = map[string]any{}
	}
	o.origins[path] = o.layer
	for _, name := range slices.Sorted(maps.Keys(object)) {
		at := member(path, name)
		if object[name] == nil {
			delete(merged, name)
			o.forget(at)
			continue
		}
		merged[name] = o.apply(at, merged[name], object[name])
	}
	return merged
}

// replace notes that a value comes from the layer, whole.
func (o originsOf) replace(path string, value any) {
	o.forget(path)
	o.origins[path] = o.layer
	if object, ok := value.(map[string]any); ok {
		for name, inner := range object {
			o.replace(member(path, name), inner)
		}
	}
}

// forget drops a path and all below it.
func (o originsOf) forget(path string) {
	delete(o.origins, path)
	for at := range o.origins {
		if strings.HasPrefix(at, path+".") || strings.HasPrefix(at, path+"[") {
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
