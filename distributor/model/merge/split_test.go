package merge

import (
	"errors"
	"slices"
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

// chainOf renders filters.
func chainOf(t *testing.T, filters ...model.FilterSpec) model.Chain {
	t.Helper()
	release, err := model.Seal(model.Release{ID: model.ReleaseID{Name: "r"}, Filters: filters})
	if err != nil {
		t.Fatal(err)
	}
	chain, err := Render(map[model.Layer]model.Release{model.LayerGlobal: release})
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

func filter(name, config string, priority int32) model.FilterSpec {
	digest := model.Digest([]byte(name))
	return model.FilterSpec{Name: name, Priority: &priority, Config: []byte(config), Module: &model.Module{Digest: digest, Artifact: digest, Size: 1}}
}

// sides are the two chains that a split one is made of: what the rest of the requests meets, and what the cohort does.
func sides(c model.Chain) (rest, test []model.RenderedFilter) {
	for _, f := range c.Filters {
		if f.Side != model.SideCohort {
			rest = append(rest, f)
		}
		if f.Side != model.SideRest {
			test = append(test, f)
		}
	}
	return rest, test
}

func TestSplit(t *testing.T) {
	split := model.NodeSplit{Layer: model.LayerGlobal, Release: model.ReleaseID{Name: "r", Hash: "new"}, Cohort: model.Cohort{Percent: 5}}
	old := []model.FilterSpec{filter("a", "1", 9), filter("b", "1", 8), filter("c", "1", 7), filter("gone", "1", 6)}
	for _, test := range []struct {
		name string
		test []model.FilterSpec
		want []string
	}{
		{"another config", []model.FilterSpec{filter("a", "1", 9), filter("b", "2", 8), filter("c", "1", 7), filter("gone", "1", 6)},
			[]string{"a", "b rest", "b cohort", "c", "gone"}},
		{"another order", []model.FilterSpec{filter("a", "1", 5), filter("b", "1", 8), filter("c", "1", 7), filter("gone", "1", 6)},
			[]string{"a rest", "b", "c", "gone", "a cohort"}},
		{"one more and one less", []model.FilterSpec{filter("0", "1", 10), filter("a", "1", 9), filter("b", "1", 8), filter("c", "1", 7)},
			[]string{"0 cohort", "a", "b", "c", "gone rest"}},
		{"none", nil, []string{"a rest", "b rest", "c rest", "gone rest"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			rest, under := chainOf(t, old...), chainOf(t, test.test...)
			got, err := Split(rest, under, split)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, f := range got.Filters {
				name := f.Name
				if f.Side != model.SideBoth {
					name += " " + string(f.Side)
				}
				names = append(names, name)
			}
			if !slices.Equal(names, test.want) {
				t.Errorf("got %v, want %v", names, test.want)
			}
			if got.Hash != model.SplitHash(rest.Hash, under.Hash, split.Cohort) || got.Split == nil || got.Split.Rest != rest.Hash || got.Split.Test != under.Hash {
				t.Errorf("it says %s, %+v", got.Hash, got.Split)
			}
			// Each side alone is the chain that it was, in its order.
			a, b := sides(got)
			for side, pair := range map[string][2][]model.RenderedFilter{"rest": {a, rest.Filters}, "cohort": {b, under.Filters}} {
				if !slices.EqualFunc(pair[0], pair[1], func(x, y model.RenderedFilter) bool { return x.Version == y.Version }) {
					t.Errorf("the %s meets %v, want %v", side, pair[0], pair[1])
				}
			}
		})
	}
	chain := chainOf(t, old...)
	if same, err := Split(chain, chain, split); err != nil || same.Split != nil || same.Hash != chain.Hash {
		t.Errorf("two chains that are one: %+v, %v", same.Split, err)
	}
	if _, err := Split(model.Chain{}, chain, split); !errors.Is(err, model.ErrInvalid) {
		t.Errorf("without a chain for the rest: %v", err)
	}
}
