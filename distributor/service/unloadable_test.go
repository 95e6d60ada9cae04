package service

import (
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

func TestUnloadable(t *testing.T) {
	chain := func(envoys ...string) model.Chain {
		module := &model.Module{Reference: "r/f:1", Envoys: envoys}
		return model.Chain{Filters: []model.RenderedFilter{{FilterSpec: model.FilterSpec{Name: "f", Module: module}}}}
	}
	for _, c := range []struct {
		name   string
		envoy  string
		chain  model.Chain
		refuse bool
	}{
		{"the version that the manifest names", "1.40.0", chain("envoy-1.36", "envoy-1.40"), false},
		{"one between two that it names", "1.38.2", chain("envoy-1.36", "envoy-1.40"), false},
		{"one newer than all that it names", "1.41.1", chain("envoy-1.36", "envoy-1.40"), false},
		{"a major version newer than all", "2.0.0", chain("envoy-1.40"), false},
		{"one older than all that it names", "1.39.3", chain("envoy-1.40"), true},
		{"one much older", "1.9.0", chain("envoy-1.36"), true},
		{"a version of two digits is not compared as text", "1.100.0", chain("envoy-1.36"), false},
		{"a module of which nothing is known", "1.36.4", chain(), false},
		{"an Envoy of which nothing is known", "", chain("envoy-1.40"), false},
		{"an Envoy whose version cannot be read", "dev", chain("envoy-1.40"), false},
		{"no filters", "1.36.4", model.Chain{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			why := unloadable(c.envoy, c.chain)
			if (why != "") != c.refuse {
				t.Errorf("says %q", why)
			}
			if c.refuse && (!strings.Contains(why, c.envoy) || !strings.Contains(why, "r/f:1") || !strings.Contains(why, "envoy-1.")) {
				t.Errorf("does not name the Envoy, the module and what loads it: %q", why)
			}
		})
	}
}
