package merge

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/waft-project/waft/distributor/model"
)

// ownSecrets refuses a configuration that names a kept secret of another layer than the one that gives it, or one of no certain version.
func ownSecrets(layer model.Layer, config []byte) error {
	uses, err := model.Secrets(config)
	if err != nil {
		return err
	}
	for _, use := range uses {
		if ref := use.Ref; ref.Kept() && (ref.Layer != layer || ref.Version == 0) {
			return model.Invalidf("", "config"+use.Path, "set a secret of the layer itself (waft secret set --layer), and name that",
				"it names the secret %s, and only layer %s may, by its version", ref, ref.Layer)
		}
	}
	return nil
}

// keepsSecrets refuses a filter that holds a kept secret of one layer and would do with it what another layer says, which that one does not already give way to: whoever
// gives the module gets the value, and any part of a configuration may say where a value goes, or that it may go there.
func (m *merge) keepsSecrets(f model.FilterSpec) error {
	if !model.NamesSecret(f.Config) {
		return nil
	}
	uses, err := model.Secrets(f.Config)
	if err != nil {
		return err
	}
	for _, use := range uses {
		if !use.Ref.Kept() {
			continue
		}
		owner := use.Ref.Layer
		refuse := func(field string, by model.Layer) error {
			return model.Invalidf("filter/"+f.Name, "config"+use.Path, fmt.Sprintf("take %s out of layer %s, give the filter a secret of that layer, or use another filter", field, by),
				"it holds the secret %s, and %s is from layer %s, which could get hold of it by that", use.Ref, field, by)
		}
		if by := m.origins[f.Name]["module"]; !by.MayHold(owner) {
			return refuse("module", by)
		}
		for _, by := range m.configs[f.Name] {
			if !by.MayHold(owner) {
				return refuse(m.givenBy(f.Name, by), by)
			}
		}
	}
	return nil
}

// givenBy is the deepest field of a filter's configuration that a layer gives, the first of several; config where what it gave stands no more.
func (m *merge) givenBy(filter string, layer model.Layer) string {
	field := "config"
	for _, path := range slices.Sorted(maps.Keys(m.origins[filter])) {
		if m.origins[filter][path] == layer && strings.HasPrefix(path, field) && (path == "config" || strings.HasPrefix(path, "config.") || strings.HasPrefix(path, "config[")) {
			field = path
		}
	}
	return field
}
