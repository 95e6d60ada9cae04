package merge

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/waft-project/waft/distributor/model"
)

// specPath is what the paths of a resource's fields begin with.
const specPath = "spec"

// layResources puts the resources of one layer's release over what is there.
func (m *merge) layResources(release model.Release, layer model.Layer, resources []model.ResourceSpec) error {
	for _, r := range resources {
		if err := m.layResource(layer, r, listsOf(release, r.Collection)); err != nil {
			return fmt.Errorf("resource/%s: %w", r.Key(), err)
		}
	}
	return nil
}

// listsOf are the lists of a collection's resources that the release, which is laid over, has merged by key.
func listsOf(release model.Release, collection string) []model.ListKey {
	for _, c := range release.Declared {
		if c.Name == collection {
			return c.Lists
		}
	}
	return nil
}

func (m *merge) layResource(layer model.Layer, r model.ResourceSpec, lists []model.ListKey) error {
	key := r.Key()
	under, known := m.resources[key]
	if !known {
		m.origins[key] = map[string]model.Layer{existence: layer}
	}
	if r.IsOpaque() || !known {
		// What is opaque takes the place of what is there: whoever gives it gives it whole.
		r = r.Clone()
		if known && under.Type != r.Type {
			return m.mismatch(key, "spec."+model.TypeMember, layer, under.Type, r.Type)
		}
		o := laying{origins: m.origins[key], layer: layer}
		o.forget(specPath)
		m.resources[key] = &r
		if r.IsOpaque() {
			o.origins[specPath] = layer
			return nil
		}
		fields, err := layJSON(specPath, nil, r.Fields, lists, m.origins[key], layer)
		r.Fields = fields
		return err
	}
	switch {
	case under.Type != r.Type:
		return m.mismatch(key, "spec."+model.TypeMember, layer, under.Type, r.Type)
	case under.IsOpaque():
		return model.Invalidf("", specPath, "give it whole in "+string(layer)+", as an opaque message too, or by its fields in all layers",
			"it is opaque in %s, and layer %s gives fields to lay over it", m.origins.layers(key), layer)
	}
	fields, err := layJSON(specPath, under.Fields, r.Fields, lists, m.origins[key], layer)
	if err != nil {
		return err
	}
	under.Fields, under.Descriptors = fields, r.Descriptors
	return nil
}

func (m *merge) mismatch(key, field string, layer model.Layer, there, given string) error {
	return model.Invalidf("", field, "use one type for it in all layers", "it is %s in %s, and %s in layer %s", there, m.origins.layers(key), given, layer)
}

// rendered are the merged resources with their versions, by collection and name.
func (m *merge) rendered() ([]model.RenderedResource, error) {
	if len(m.resources) == 0 {
		return nil, nil
	}
	collections, size := map[string]bool{}, 0
	out := make([]model.RenderedResource, 0, len(m.resources))
	for _, key := range slices.Sorted(maps.Keys(m.resources)) {
		r := *m.resources[key]
		version, err := r.ContentHash()
		if err != nil {
			return nil, fmt.Errorf("resource/%s: %w", key, err)
		}
		out = append(out, model.RenderedResource{ResourceSpec: r, Version: version})
		collections[r.Collection] = true
		size += len(r.Fields) + len(r.Opaque)
		if one := len(r.Fields) + len(r.Opaque); one > model.MaxResource {
			return nil, model.Invalidf("resource/"+key, specPath, "make it smaller", "what the layers make has %d bytes, more than %d", one, model.MaxResource)
		}
	}
	const next = "give fewer resources in some layer"
	return out, errors.Join(
		within(len(out), model.MaxResources, next, "resources"),
		within(len(collections), model.MaxReleaseCollections, next, "collections"),
		within(size, model.MaxReleaseResources, next, "bytes of resources"),
	)
}

// within refuses a chain that no sink takes.
func within(n, limit int, next, what string) error {
	if n <= limit {
		return nil
	}
	return model.Invalidf("chain", "", next, "the layers make %d %s together, more than %d", n, what, limit)
}
