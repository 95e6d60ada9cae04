package merge

import (
	"github.com/waft-project/waft/distributor/model"
)

// Split makes one chain of two: rest is what a node is assigned, test is rendered with split.Release in split.Layer. A filter that is the same in both
// stands once, for every request; the others stand in the order that each chain has, with their side. Resources are those of rest, since no request chooses among
// them. Chains that are the same are not split.
// It fails with kind model.ErrInvalid where there is no chain for the rest.
func Split(rest, test model.Chain, split model.NodeSplit) (model.Chain, error) {
	if rest.Hash == "" {
		return model.Chain{}, model.Invalidf("", "", "roll a release out without a cohort first", "there is no chain for the requests outside of the cohort")
	}
	if rest.Hash == test.Hash {
		return rest, nil
	}
	out := model.Chain{
		Hash: model.SplitHash(rest.Hash, test.Hash, split.Cohort), Releases: rest.Releases, Resources: rest.Resources,
		Split: &model.ChainSplit{NodeSplit: split, Rest: rest.Hash, Test: test.Hash},
	}
	// Each chain is in the order of compareFilters, in which equal filters have equal places: a merge keeps the order of both.
	a, b := rest.Filters, test.Filters
	for len(a) > 0 || len(b) > 0 {
		var f model.RenderedFilter
		switch {
		case len(a) > 0 && len(b) > 0 && a[0].Version == b[0].Version:
			f, a, b = a[0], a[1:], b[1:]
		case len(b) == 0 || len(a) > 0 && compareFilters(a[0], b[0]) <= 0:
			f, a = a[0], a[1:]
			f.Side = model.SideRest
		default:
			f, b = b[0], b[1:]
			f.Side = model.SideCohort
		}
		out.Filters = append(out.Filters, f)
	}
	return out.Clone(), nil
}
