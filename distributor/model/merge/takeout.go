package merge

import "github.com/waft-project/waft/distributor/model"

// takeOut leaves the filter out that a release of an emergency layer disables. That it is not there is no error: the release says what must not
// run, not what does.
func (m *merge) takeOut(release model.Release) error {
	if release.Disable == nil {
		return model.Invalidf("release/"+release.ID.String(), "spec.disable", "create it again", "a release of layer %s takes out no filter", release.Layer)
	}
	name := release.Disable.Filter
	f, there := m.filters[name]
	if !there {
		return nil
	}
	if f.Guards() && !release.Disable.PassUnauthorized {
		return model.Invalidf("filter/"+name, "", "disable another filter, or say that unauthorized requests may pass",
			"without it every request passes that it would have refused, since it is a filter of phase %s (layer %s), and release/%s does not allow that",
			f.Phase, m.origins[name]["phase"], release.ID)
	}
	delete(m.filters, name)
	delete(m.origins, name)
	return nil
}
