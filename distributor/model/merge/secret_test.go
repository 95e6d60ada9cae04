package merge

import (
	"encoding/json"
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

// What names a secret is one value: a layer replaces it, and never a part of it.
func TestLayersAndSecrets(t *testing.T) {
	const a, b = `{"$secret":{"env":"A"}}`, `{"$secret":{"file":"/b"}}`
	for _, test := range []struct{ name, under, over, want string }{
		{"over nothing", `{}`, `{"t":` + a + `}`, `{"t":` + a + `}`},
		{"over a string", `{"t":"x"}`, `{"t":` + a + `}`, `{"t":` + a + `}`},
		{"over an object", `{"t":{"x":1}}`, `{"t":` + a + `}`, `{"t":` + a + `}`},
		{"over another", `{"t":` + a + `}`, `{"t":` + b + `}`, `{"t":` + b + `}`},
		{"a string over it", `{"t":` + a + `}`, `{"t":"x"}`, `{"t":"x"}`},
		{"an object over it", `{"t":` + a + `}`, `{"t":{"x":1}}`, `{"t":{"x":1}}`},
		{"beside it", `{"t":` + a + `}`, `{"u":1}`, `{"t":` + a + `,"u":1}`},
		{"taken away", `{"t":` + a + `,"u":1}`, `{"t":null}`, `{"u":1}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := merge{filters: map[string]*model.FilterSpec{}, origins: Origins{}, configs: map[string][]model.Layer{}}
			for _, laid := range []struct {
				layer  model.Layer
				config string
			}{{model.LayerGlobal, test.under}, {"team/a", test.over}} {
				if err := m.layFilter(laid.layer, model.FilterSpec{Name: "f", Config: json.RawMessage(laid.config)}); err != nil {
					t.Fatal(err)
				}
			}
			if got := string(m.filters["f"].Config); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
			if layer, known := m.origins["f"]["config.t.$secret"]; known {
				t.Errorf("a part of a secret is of %s", layer)
			}
		})
	}
	with := func(secret string) model.Chain {
		return model.Chain{Filters: []model.RenderedFilter{{FilterSpec: model.FilterSpec{Name: "f", Config: json.RawMessage(`{"t":` + secret + `}`)}}}}
	}
	changes := Changes(with(a), with(b), Origins{"f": {"config.t": "team/a"}})
	if len(changes) != 1 || len(changes[0].Fields) != 1 || changes[0].Fields[0] != (FieldChange{Path: "config.t", From: a, To: b, Layer: "team/a"}) {
		t.Errorf("%+v", changes)
	}
}
