package model_test

import (
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

func TestOnlyAnEmergencyLayerTakesFiltersOut(t *testing.T) {
	id := model.ReleaseID{Name: "disable-limit"}
	take := &model.Disabling{Filter: "limit"}
	for name, test := range map[string]struct {
		release model.Release
		want    string
	}{
		"as it should be":   {release: model.Release{ID: id, Layer: "emergency/limit", Disable: take}},
		"a service":         {release: model.Release{ID: id, Layer: "service/a", Disable: take}, want: "cannot take a filter out"},
		"another filter":    {release: model.Release{ID: id, Layer: "emergency/tag", Disable: take}, want: "spec.disable.filter"},
		"nothing":           {release: model.Release{ID: id, Layer: "emergency/limit"}, want: "does not say so"},
		"filters beside it": {release: model.Release{ID: id, Layer: "emergency/limit", Disable: take, Filters: []model.FilterSpec{{Name: "x"}}}, want: "gives no filters"},
		"no name":           {release: model.Release{ID: id, Layer: "emergency/", Disable: take}, want: "metadata.layer"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := model.Seal(test.release)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// What is signed of a disabling is all of it, and is read back; releases that disable nothing keep the form that they had.
func TestCanonicalFormOfADisabling(t *testing.T) {
	for want, r := range map[string]model.Release{
		`{"apiVersion":"waft.dev/v1","disable":{"filter":"authz","passUnauthorized":true},"filters":[],"layer":"emergency/authz","overrides":[]}`: {
			Layer: "emergency/authz", Disable: &model.Disabling{Filter: "authz", PassUnauthorized: true}},
		`{"apiVersion":"waft.dev/v1","disable":{"filter":"tag"},"filters":[],"layer":"emergency/tag","overrides":[]}`: {Layer: "emergency/tag", Disable: &model.Disabling{Filter: "tag"}},
		`{"apiVersion":"waft.dev/v1","filters":[],"layer":"global","overrides":[]}`:                                   {Layer: "global"},
	} {
		text, err := r.CanonicalForm()
		if err != nil || string(text) != want {
			t.Errorf("got %s, %v; want %s", text, err, want)
			continue
		}
		back, err := model.ParseCanonicalForm("a", text)
		if err != nil || (back.Disable == nil) != (r.Disable == nil) || r.Disable != nil && *back.Disable != *r.Disable {
			t.Errorf("%s was read back as %+v, %v", want, back.Disable, err)
		}
	}
}
