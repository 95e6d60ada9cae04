package merge

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

func TestChanges(t *testing.T) {
	filter := func(name, digest, config string) model.FilterSpec {
		f := model.FilterSpec{Name: name, Module: &model.Module{Digest: digest}}
		if config != "" {
			f.Config = json.RawMessage(config)
		}
		return f
	}
	authn := filter("authz", "sha256:2", `{"rules":[{"path":"/a"},{"path":"/c"}],"issuer":"i"}`)
	authn.Phase = model.PhaseAuthn
	before := map[model.Layer]model.Release{
		"global": {Filters: []model.FilterSpec{filter("authz", "sha256:1", `{"rules":[{"path":"/a"},{"path":"/b"}],"issuer":"i","old":{}}`), filter("gone", "sha256:9", "")}},
	}
	after := map[model.Layer]model.Release{
		"global": {Filters: []model.FilterSpec{authn, filter("came", "sha256:7", "")}},
		"team/a": {Filters: []model.FilterSpec{{Name: "authz", Config: json.RawMessage(`{"realm":"a.b"}`)}}},
	}
	from, err := Render(before)
	if err != nil {
		t.Fatal(err)
	}
	to, origins, err := Explain(after)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range Changes(from, to, origins) {
		got = append(got, fmt.Sprintf("%s added=%v removed=%v", c.Filter, c.Added, c.Removed))
		if c.Added || c.Removed {
			continue
		}
		for _, f := range c.Fields {
			got = append(got, fmt.Sprintf("  %s: %s -> %s (%s)", f.Path, f.From, f.To, f.Layer))
		}
	}
	want := []string{
		"authz added=false removed=false",
		`  config.old: {} ->  ()`,
		`  config.realm:  -> "a.b" (team/a)`,
		`  config.rules[1].path: "/b" -> "/c" (global)`,
		`  module: "sha256:1" -> "sha256:2" (global)`,
		`  phase: "" -> "AUTHN" (global)`,
		"came added=true removed=false",
		"gone added=false removed=true",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	if same := Changes(to, to, origins); same != nil {
		t.Errorf("a chain differs from itself: %v", same)
	}
	if all := Changes(model.Chain{}, to, origins); len(all) != 2 || !all[0].Added || !all[1].Added {
		t.Errorf("from nothing: %v", all)
	}
}
