package model

import "strings"

// layerEmergency is the kind of the layers that take a filter out of chains: emergency/FILTER, laid over all others.
const layerEmergency = "emergency"

// EmergencyLayer is the layer whose releases take the filter of that name out of a chain.
func EmergencyLayer(filter string) Layer { return Layer(layerEmergency + "/" + filter) }

// Disables is the name of the filter that the layer's releases take out of a chain; empty for a layer that gives filters.
func (l Layer) Disables() string {
	kind, filter, _ := strings.Cut(string(l), "/")
	if kind != layerEmergency {
		return ""
	}
	return filter
}

// Disabling is what a release of an emergency layer says: without this filter. Such a release has nothing else, and no other release has it:
// no team can leave out what security has put in.
type Disabling struct {
	// Filter is the name in the layer.
	Filter string `json:"filter"`
	// PassUnauthorized allows that a filter of phase AUTHN or AUTHZ is left out, so that requests pass that it would have refused. Without
	// it a chain in which the filter is one cannot be rendered.
	PassUnauthorized bool `json:"passUnauthorized,omitempty"`
}

// Given says whether those releases give a node a chain at all. An emergency layer only takes away: a node that has nothing else waits.
func Given(assigned map[Layer]ReleaseID) bool {
	for layer := range assigned {
		if layer.Disables() == "" {
			return true
		}
	}
	return false
}

// Guards says whether a filter decides who gets in: one of phase AUTHN or AUTHZ.
func (f FilterSpec) Guards() bool { return f.Phase == PhaseAuthn || f.Phase == PhaseAuthz }

// validateDisabling checks that a release of an emergency layer takes out its filter and nothing else, and that any other takes out none.
func validateDisabling(object string, r Release) error {
	filter := r.Layer.Disables()
	switch d := r.Disable; {
	case d == nil && filter == "":
		return nil
	case d == nil:
		return Invalidf(object, "spec.disable", "write disable: {filter: "+shorten(filter)+"}", "a release of layer %s takes its filter out, and this one does not say so", shorten(string(r.Layer)))
	case filter == "":
		return Invalidf(object, "spec.disable", "use the layer emergency/"+shorten(d.Filter), "a release of layer %s cannot take a filter out", shorten(string(r.Layer)))
	case d.Filter != filter:
		return Invalidf(object, "spec.disable.filter", "write "+shorten(filter), "a release of layer %s cannot take out %q", shorten(string(r.Layer)), shorten(d.Filter))
	case len(r.Filters)+len(r.Overrides) > 0:
		return Invalidf(object, "spec.filters", "leave them out", "a release of layer %s gives no filters", shorten(string(r.Layer)))
	case len(r.Resources)+len(r.ResourceOverrides) > 0:
		return Invalidf(object, "spec.resources", "leave them out", "a release of layer %s gives no resources", shorten(string(r.Layer)))
	}
	return nil
}
