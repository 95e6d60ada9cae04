package merge

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

// Nobody gets hold of another layer's kept secret by what it lays over, or under, the filter that holds it.
func TestKeptSecretsStayWithTheirLayer(t *testing.T) {
	secret := func(layer string) string { return `{"$secret":{"layer":"` + layer + `","name":"s","version":1}}` }
	filter := func(module, config string) []model.FilterSpec {
		f := model.FilterSpec{Name: "f"}
		if module != "" {
			f.Module = &model.Module{Digest: "sha256:" + module}
		}
		if config != "" {
			f.Config = json.RawMessage(config)
		}
		return []model.FilterSpec{f}
	}
	type layers = map[model.Layer]model.Release
	defaults := func(module, config string) model.Release { return model.Release{Filters: filter(module, config)} }
	overrides := func(module, config string) model.Release {
		return model.Release{Overrides: filter(module, config)}
	}
	for _, test := range []struct {
		name   string
		layers layers
		err    []string
	}{
		{name: "a layer's own", layers: layers{"team/a": defaults("a", `{"t":`+secret("team/a")+`}`)}},
		{name: "a team's in a filter of global", layers: layers{"global": defaults("g", `{"u":"x"}`), "team/a": defaults("", `{"t":`+secret("team/a")+`}`)}},
		{name: "a service's in a filter of global", layers: layers{"global": defaults("g", `{"u":"x"}`), "service/s": defaults("", `{"t":`+secret("service/s")+`}`)}},
		{name: "a service's own in the place of a team's module", layers: layers{"team/a": defaults("a", ""), "service/s": defaults("s", `{"t":`+secret("service/s")+`}`)}},
		{name: "a team's in the place of global's", layers: layers{"global": defaults("g", `{"t":`+secret("global")+`}`), "team/a": defaults("", `{"t":`+secret("team/a")+`}`)}},
		{name: "global's override takes a team's module away", layers: layers{"global": overrides("g", `{"t":`+secret("global")+`}`), "team/a": defaults("a", "")}},
		{name: "phase, priority and policy are no matter", layers: layers{"global": defaults("g", `{"t":`+secret("global")+`}`), "team/a": {Filters: []model.FilterSpec{{Name: "f", Phase: model.PhaseStats, FailurePolicy: model.FailClosed}}}}},

		{name: "a service's in a filter of a team", layers: layers{"team/a": defaults("a", `{"u":"x"}`), "service/s": defaults("s", `{"t":`+secret("service/s")+`}`)}, err: []string{"config.u is from layer team/a"}},
		{name: "a stranger's module over a service's filter", layers: layers{"team/pay": defaults("pay", ""), "service/pay": defaults("", `{"t":`+secret("service/pay")+`}`), "team/zzz": overrides("stranger", "")}, err: []string{"module is from layer team/zzz"}},
		{name: "a stranger's address over a service's filter", layers: layers{"service/pay": defaults("pay", `{"t":`+secret("service/pay")+`}`), "team/zzz": overrides("", `{"url":"evil"}`)}, err: []string{"config.url is from layer team/zzz"}},
		{name: "another team's", layers: layers{"team/a": defaults("a", `{"t":`+secret("team/b")+`}`)}, err: []string{"layer team/a", "only layer team/b may"}},
		{name: "global's by a team", layers: layers{"team/a": defaults("a", `{"t":`+secret("global")+`}`)}, err: []string{"only layer global may"}},
		{name: "a team's by global", layers: layers{"global": defaults("a", `{"t":`+secret("team/a")+`}`)}, err: []string{"only layer team/a may"}},
		{name: "no certain version", layers: layers{"team/a": defaults("a", `{"t":{"$secret":{"layer":"team/a","name":"s"}}}`)}, err: []string{"by its version"}},
		{name: "a team's module", layers: layers{"global": defaults("g", `{"t":`+secret("global")+`}`), "team/a": defaults("a", "")}, err: []string{"config.t", "module is from layer team/a"}},
		{name: "a team's module under global's config", layers: layers{"global": overrides("", `{"t":`+secret("global")+`}`), "team/a": defaults("a", "")}, err: []string{"module is from layer team/a"}},
		{name: "where a team says that it goes", layers: layers{"global": defaults("g", `{"to":{"url":"x"},"t":`+secret("global")+`}`), "team/a": defaults("", `{"to":{"url":"y"}}`)}, err: []string{"config.to.url is from layer team/a"}},
		{name: "where a team said before that it goes", layers: layers{"global": overrides("g", `{"t":`+secret("global")+`}`), "team/a": defaults("", `{"url":"y"}`)}, err: []string{"config.url is from layer team/a"}},
		{name: "what a team took away", layers: layers{"global": {Filters: filter("g", `{"only":["x"]}`), Overrides: filter("", `{"t":`+secret("global")+`}`)}, "team/a": defaults("", `{"only":null}`)}, err: []string{"config is from layer team/a"}},
		{name: "all of what a team took away", layers: layers{"global": {Filters: filter("g", `{"only":["x"]}`), Overrides: filter("", `{"t":`+secret("global")+`}`)}, "team/a": defaults("", `null`)}, err: []string{"config is from layer team/a"}},
		{name: "a service under its team's secret", layers: layers{"team/a": defaults("a", `{"t":`+secret("team/a")+`}`), "service/s": defaults("", `{"url":"y"}`)}, err: []string{"config.url is from layer service/s"}},
		{name: "another team", layers: layers{"team/a": defaults("a", `{"t":`+secret("team/a")+`}`), "team/b": defaults("", `{"url":"y"}`)}, err: []string{"config.url is from layer team/b"}},
		{name: "another team's module under it", layers: layers{"team/a": defaults("a", ""), "team/b": defaults("", `{"t":`+secret("team/b")+`}`)}, err: []string{"module is from layer team/a"}},
		{name: "two secrets, one misplaced", layers: layers{"global": defaults("g", `{"t":`+secret("global")+`}`), "team/a": defaults("", `{"u":`+secret("team/a")+`}`)}, err: []string{"config.t: it holds the secret kept:global/s@1", "config.u is from layer team/a"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Render(test.layers)
			if (err == nil) != (test.err == nil) {
				t.Fatalf("%v, want %q", err, test.err)
			}
			for _, want := range test.err {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v; it should have %q", err, want)
				}
			}
		})
	}
}
