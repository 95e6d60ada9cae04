package merge_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/model/merge"
)

func sealed(t *testing.T, r model.Release) model.Release {
	t.Helper()
	sealed, err := model.Seal(r)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

func emergency(t *testing.T, filter string, pass bool) model.Release {
	t.Helper()
	return sealed(t, model.Release{ID: model.ReleaseID{Name: "disable"}, Layer: model.EmergencyLayer(filter), Disable: &model.Disabling{Filter: filter, PassUnauthorized: pass}})
}

func TestAnEmergencyTakesItsFilterOut(t *testing.T) {
	module := &model.Module{Artifact: model.Digest([]byte("a")), Digest: model.Digest([]byte("m")), Size: 1}
	global := sealed(t, model.Release{ID: model.ReleaseID{Name: "base"}, Layer: model.LayerGlobal, Filters: []model.FilterSpec{
		{Name: "authz", Module: module, Phase: model.PhaseAuthz}, {Name: "limit", Module: module}, {Name: "tag", Module: module},
	}, Overrides: []model.FilterSpec{{Name: "limit", FailurePolicy: model.FailClosed}}})
	service := sealed(t, model.Release{ID: model.ReleaseID{Name: "svc"}, Layer: "service/a", Filters: []model.FilterSpec{{Name: "limit", Config: []byte(`{"rate":1}`)}}})
	without := func(f ...string) model.Release {
		t.Helper()
		r := global.Clone()
		r.Filters = slices.DeleteFunc(r.Filters, func(s model.FilterSpec) bool { return slices.Contains(f, s.Name) })
		r.Overrides = slices.DeleteFunc(r.Overrides, func(s model.FilterSpec) bool { return slices.Contains(f, s.Name) })
		return sealed(t, r)
	}
	for name, test := range map[string]struct {
		emergencies []model.Release
		same        model.Release // a release that makes the same chain by itself
		err         string
	}{
		"one that all layers speak of":     {emergencies: []model.Release{emergency(t, "limit", false)}, same: without("limit")},
		"two":                              {emergencies: []model.Release{emergency(t, "limit", false), emergency(t, "tag", false)}, same: without("limit", "tag")},
		"a guard":                          {emergencies: []model.Release{emergency(t, "authz", false)}, err: "every request passes that it would have refused"},
		"a guard, and somebody said so":    {emergencies: []model.Release{emergency(t, "authz", true)}, same: without("authz")},
		"the word for one opens no other":  {emergencies: []model.Release{emergency(t, "tag", true), emergency(t, "authz", false)}, err: "filter/authz"},
		"one that is not there":            {emergencies: []model.Release{emergency(t, "other", false)}, same: global},
		"one of that layer that is hollow": {emergencies: []model.Release{{Layer: "emergency/tag"}}, err: "takes out no filter"},
	} {
		t.Run(name, func(t *testing.T) {
			layers := map[model.Layer]model.Release{global.Layer: global, service.Layer: service}
			want := map[model.Layer]model.Release{global.Layer: test.same, service.Layer: service}
			if name == "one that all layers speak of" || name == "two" {
				delete(want, service.Layer)
			}
			for _, e := range test.emergencies {
				layers[e.Layer] = e
			}
			got, err := merge.Render(layers)
			if test.err != "" {
				if !errors.Is(err, model.ErrInvalid) || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("got %v, want an error with %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			same, err := merge.Render(want)
			if err != nil {
				t.Fatal(err)
			}
			if got.Hash != same.Hash || len(got.Releases) != len(layers) {
				t.Errorf("got %s of %d releases, want %s of %d", got.Hash, len(got.Releases), same.Hash, len(layers))
			}
		})
	}
	t.Run("alone it gives nothing", func(t *testing.T) {
		e := emergency(t, "tag", false)
		if got, err := merge.Render(map[model.Layer]model.Release{e.Layer: e}); err != nil || got.Hash != "" {
			t.Errorf("got %v, %v", got, err)
		}
	})
}
