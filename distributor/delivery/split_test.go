package delivery

import (
	"slices"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/model/merge"
)

// TestCollectionsOfASplitChain: both filters of one name are sent, and whatever decides who meets which gives the chain another version.
func TestCollectionsOfASplitChain(t *testing.T) {
	filter := func(config string) map[model.Layer]model.Release {
		m := module("a")
		r, err := model.Seal(model.Release{ID: model.ReleaseID{Name: "edge"}, Filters: []model.FilterSpec{
			{Name: "a", Module: &m, Config: []byte(config)}, {Name: "same", Module: &m},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return map[model.Layer]model.Release{model.LayerGlobal: r}
	}
	rest, err := merge.Render(filter("1"))
	if err != nil {
		t.Fatal(err)
	}
	test, err := merge.Render(filter("2"))
	if err != nil {
		t.Fatal(err)
	}
	node := model.Node{ID: "edge-1", Generation: 4}
	versions := map[string]bool{}
	for _, cohort := range []model.Cohort{{Percent: 5}, {Percent: 6}, {Header: model.CohortHeader{Name: "x", Value: "1"}}} {
		split, err := merge.Split(rest, test, model.NodeSplit{Layer: model.LayerGlobal, Release: test.Releases[model.LayerGlobal], Cohort: cohort})
		if err != nil {
			t.Fatal(err)
		}
		collections := Collections(node, split, nil)
		var names []string
		for _, r := range collections[0].Resources {
			names = append(names, r.Name)
		}
		if !slices.Equal(names, []string{"a", "a.cohort", "same"}) {
			t.Errorf("the filters are %v", names)
		}
		versions[collections[1].Version] = true
	}
	versions[Collections(node, rest, nil)[1].Version], versions[Collections(node, test, nil)[1].Version] = true, true
	if len(versions) != 5 {
		t.Errorf("%d versions of five chains", len(versions))
	}
}
