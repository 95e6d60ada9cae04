package merge

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/waft-project/waft/distributor/model"
)

// Render merges the releases of a node's layers into the chain that the node runs. An empty map gives the zero chain: the
// node was never given anything; so does one with emergency layers alone, which only take away. Releases without any filter give a chain with a hash and no filters.
//
// Resources come without their Bytes, which follow from their fields by descriptors that this package knows nothing of.
//
// It fails with kind model.ErrInvalid when a resource is opaque in one layer and is to be merged with what another gives, or has another type there; when a filter ends without a module, a config cannot be merged, or the merge gives
// FAIL_OPEN to a filter of phase AUTHN or AUTHZ, or takes out such a filter without the word for it, or a secret of a layer would come into the hands of another; the error
// names the layers.
func Render(layers map[model.Layer]model.Release) (model.Chain, error) {
	chain, _, err := Explain(layers)
	return chain, err
}

// Explain is Render with the origin of each field.
func Explain(layers map[model.Layer]model.Release) (model.Chain, Origins, error) {
	order := slices.SortedFunc(maps.Keys(layers), model.CompareLayers)
	// Those that take filters out come last, see model.CompareLayers.
	first := slices.IndexFunc(order, func(l model.Layer) bool { return l.Disables() != "" })
	if first < 0 {
		first = len(order)
	}
	emergencies := order[first:]
	if order = order[:first]; len(order) == 0 {
		return model.Chain{}, nil, nil
	}
	merged := merge{filters: map[string]*model.FilterSpec{}, resources: map[string]*model.ResourceSpec{}, origins: Origins{}, configs: map[string][]model.Layer{}}
	for _, layer := range order {
		release := layers[layer]
		if err := errors.Join(merged.lay(layer, release.Filters), merged.layResources(release, layer, release.Resources)); err != nil {
			return model.Chain{}, nil, err
		}
	}
	for _, layer := range slices.Backward(order) {
		release := layers[layer]
		if err := errors.Join(merged.lay(layer, release.Overrides), merged.layResources(release, layer, release.ResourceOverrides)); err != nil {
			return model.Chain{}, nil, err
		}
	}
	for _, layer := range emergencies {
		if err := merged.takeOut(layers[layer]); err != nil {
			return model.Chain{}, nil, err
		}
	}
	chain, err := merged.chain()
	if err != nil {
		return model.Chain{}, nil, err
	}
	chain.Releases = make(map[model.Layer]model.ReleaseID, len(layers))
	for layer, release := range layers {
		chain.Releases[layer] = release.ID
	}
	return chain, merged.origins, nil
}

// chain decides what is still open, orders the filters, and works out their versions and the chain's hash.
func (m *merge) chain() (model.Chain, error) {
	filters := make([]model.RenderedFilter, 0, len(m.filters))
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(m.filters)) {
		f, err := m.decide(*m.filters[name])
		problems = append(problems, err)
		filters = append(filters, f)
	}
	if err := errors.Join(problems...); err != nil {
		return model.Chain{}, err
	}
	slices.SortFunc(filters, compareFilters)
	resources, err := m.rendered()
	if err != nil {
		return model.Chain{}, err
	}
	hash, err := model.ChainHash(filters, resources)
	if err != nil {
		return model.Chain{}, fmt.Errorf("hash of a chain: %w", err)
	}
	return model.Chain{Hash: hash, Filters: filters, Resources: resources}, nil
}

// decide fills in what no layer says, and refuses a filter that cannot run.
func (m *merge) decide(f model.FilterSpec) (model.RenderedFilter, error) {
	object := "filter/" + f.Name
	if f.Module == nil {
		return model.RenderedFilter{}, model.Invalidf(object, "module", "give it a module in one of them, or leave it out", "no layer gives it a module; it comes from %s", m.origins.layers(f.Name))
	}
	if f.FailurePolicy == "" {
		f.FailurePolicy = model.FailReload
	}
	if f.Priority == nil {
		f.Priority = new(int32)
	}
	if err := model.CheckFailOpen(object, "failurePolicy", f); err != nil {
		return model.RenderedFilter{}, fmt.Errorf("%w (the phase is from layer %s, the policy from layer %s)", err, m.origins[f.Name]["phase"], m.origins[f.Name]["failurePolicy"])
	}
	if err := m.keepsSecrets(f); err != nil {
		return model.RenderedFilter{}, err
	}
	version, err := f.ContentHash()
	if err != nil {
		return model.RenderedFilter{}, fmt.Errorf("%s: %w", object, err)
	}
	return model.RenderedFilter{FilterSpec: f, Version: version}, nil
}

// compareFilters orders filters as a request meets them.
func compareFilters(a, b model.RenderedFilter) int {
	return cmp.Or(
		cmp.Compare(phaseRank(a.Phase), phaseRank(b.Phase)),
		cmp.Compare(*b.Priority, *a.Priority),
		strings.Compare(a.Name, b.Name),
	)
}

func phaseRank(p model.Phase) int {
	switch p {
	case model.PhaseAuthn:
		return 0
	case model.PhaseAuthz:
		return 1
	case model.PhaseStats:
		return 2
	default:
		return 3
	}
}
