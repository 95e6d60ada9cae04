package model

import (
	"slices"
	"testing"
)

// What a chain names of kept secrets is found in canonical configurations, each once; what only looks so is not.
func TestChainsNameKeptSecrets(t *testing.T) {
	configs := []string{
		`{"a":{"$secret":{"name":"x"}},"b":{"$secret":{"file":"/f"}}}`, `{"a":"\"$secret\":{\"layer\":"}`, `{}`, `null`,
		`{"b":[{"$secret":{"version":2,"name":"y","layer":"team/a"}},{"$secret":{"version":1,"layer":"global","name":"x"}}]}`,
		`{"b":{"$secret":{"version":1,"layer":"global","name":"x"}}}`,
	}
	var c Chain
	var r Release
	for i, config := range configs {
		canonical, err := Canonical([]byte(config))
		if err != nil {
			t.Fatal(err)
		}
		f := FilterSpec{Config: canonical}
		c.Filters = append(c.Filters, RenderedFilter{FilterSpec: f})
		if i%2 == 0 {
			r.Filters = append(r.Filters, f)
		} else {
			r.Overrides = append(r.Overrides, f)
		}
	}
	// One without its layer is in no chain: see merge.
	want := []SecretRef{{Name: "x", Layer: "global", Version: 1}, {Name: "y", Layer: "team/a", Version: 2}}
	if got := c.KeptSecrets(); !slices.Equal(got, want) {
		t.Errorf("the chain names %v", got)
	}
	if got := r.KeptSecrets(); !slices.Equal(got, want) {
		t.Errorf("the release names %v", got)
	}
	if got := (Chain{}).KeptSecrets(); got != nil {
		t.Errorf("nothing names %v", got)
	}
}

func TestPinSecrets(t *testing.T) {
	pin := func(use SecretUse) (SecretRef, error) {
		ref := use.Ref
		if ref.Kept() {
			ref.Layer, ref.Version = "global", 7
		}
		return ref, nil
	}
	for config, want := range map[string]string{
		`{"a":{"$secret":{"name":"x"}},"n":1.50}`: `{"a":{"$secret":{"name":"x","layer":"global","version":7}},"n":1.50}`,
		`{"a":{"$secret":{"env":"X"}}}`:           `{"a":{"$secret":{"env":"X"}}}`,
		`{"a": 1}`:                                `{"a": 1}`,
	} {
		got, err := PinSecrets([]byte(config), pin)
		if err != nil || string(got) != want {
			t.Errorf("%s: %s, %v", config, got, err)
		}
	}
}

func TestWhoMayHoldWhoseSecrets(t *testing.T) {
	layers := []Layer{"global", "team/a", "team/b", "service/a", "service/b"}
	may := map[Layer][]Layer{
		"global": layers, "team/a": {"team/a"}, "team/b": {"team/b"}, "service/a": {"service/a"}, "service/b": {"service/b"},
	}
	for _, l := range layers {
		for _, of := range layers {
			if got, want := l.MayHold(of), slices.Contains(may[l], of); got != want {
				t.Errorf("%s and a secret of %s: %v", l, of, got)
			}
		}
	}
}

func TestSecretsAreOfTheirRelease(t *testing.T) {
	r := Release{ID: ReleaseID{Name: "r"}, Layer: "team/a", Overrides: []FilterSpec{{Name: "f", Config: []byte(`{"t":{"$secret":{"layer":"team/b","name":"x","version":1}}}`)}}}
	if err := ValidateRelease(r); err == nil {
		t.Error("a release may name another layer's secret")
	}
	r.Layer = "team/b"
	if err := ValidateRelease(r); err != nil {
		t.Error(err)
	}
}
