package model

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestSeal(t *testing.T) {
	draft := Release{ID: ReleaseID{Name: "edge-auth"}, Filters: []FilterSpec{goodFilter("authz"), goodFilter("headers")}}
	draft.Filters[0].Config = json.RawMessage(`{ "b": 1.0, "a": [ ] }`)
	sealed, err := Seal(draft)
	if err != nil {
		t.Fatal(err)
	}
	// A golden hash, worked out apart from this code: it must not change between versions of waft, since rollouts and rows refer to it.
	if want := "sha256:b12ff1d393c8874735867bfb98be8cc61cb0aab70636db3af43e07858089adf8"; sealed.ID.Hash != want {
		t.Errorf("the hash is %s", sealed.ID.Hash)
	}
	if sealed.Layer != LayerGlobal || string(sealed.Filters[0].Config) != `{"a":[],"b":1}` {
		t.Errorf("got layer %q and config %s", sealed.Layer, sealed.Filters[0].Config)
	}
	if draft.Layer != "" || string(draft.Filters[0].Config) != `{ "b": 1.0, "a": [ ] }` {
		t.Error("the draft was changed")
	}
	again, err := Seal(sealed)
	if err != nil || again.ID != sealed.ID {
		t.Errorf("sealing again gives %v, %v", again.ID, err)
	}
	if _, err := Seal(Release{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("a release without a name: %v", err)
	}
	bad := draft.Clone()
	bad.Overrides = []FilterSpec{{Name: "a", Config: json.RawMessage(`{"x":{"y":9007199254740993}}`)}}
	if _, err := Seal(bad); err == nil || fieldsOf(t, err)[0] != "spec.overrides[0].config.x.y" {
		t.Errorf("got %v", err)
	}
}

func TestContentHashCoversContentOnly(t *testing.T) {
	release := func(change func(*Release)) string {
		r := Release{ID: ReleaseID{Name: "edge-auth"}, Layer: LayerGlobal, Filters: []FilterSpec{goodFilter("authz"), goodFilter("headers")}}
		change(&r)
		hash, err := r.ContentHash()
		if err != nil {
			t.Fatal(err)
		}
		return hash
	}
	base := release(func(*Release) {})
	for name, change := range map[string]func(*Release){
		"name":      func(r *Release) { r.ID.Name = "other" },
		"reference": func(r *Release) { r.Filters[0].Module.Reference = "other" },
		"profiles":  func(r *Release) { r.Filters[0].Module.Envoys = []string{"envoy-1.40"} },
		"author":    func(r *Release) { r.CreatedBy, r.Reason = "mo", "because" },
		"order":     func(r *Release) { r.Filters[0], r.Filters[1] = r.Filters[1], r.Filters[0] },
		"spacing":   func(r *Release) { r.Filters[0].Config = json.RawMessage("{\n\"issuer\" : \"https://issuer.example\"}") },
	} {
		if release(change) != base {
			t.Errorf("%s changes the hash", name)
		}
	}
	zero := int32(0)
	seen := map[string]string{base: "base"}
	for name, change := range map[string]func(*Release){
		"layer":       func(r *Release) { r.Layer = "team/a" },
		"filter name": func(r *Release) { r.Filters[0].Name = "other" },
		"digest":      func(r *Release) { r.Filters[0].Module.Digest = "sha256:b" },
		"artifact":    func(r *Release) { r.Filters[0].Module.Artifact = "sha256:b" },
		"size":        func(r *Release) { r.Filters[0].Module.Size++ },
		"no module":   func(r *Release) { r.Filters[0].Module = nil },
		"phase":       func(r *Release) { r.Filters[0].Phase = PhaseStats },
		"policy":      func(r *Release) { r.Filters[0].FailurePolicy = "" },
		"priority":    func(r *Release) { r.Filters[0].Priority = &zero },
		"no priority": func(r *Release) { r.Filters[0].Priority = nil },
		"config":      func(r *Release) { r.Filters[0].Config = json.RawMessage(`{}`) },
		"null config": func(r *Release) { r.Filters[0].Config = json.RawMessage(`null`) },
		"no config":   func(r *Release) { r.Filters[0].Config = nil },
		"override":    func(r *Release) { r.Overrides, r.Filters = r.Filters, r.Overrides },
		"fewer":       func(r *Release) { r.Filters = r.Filters[:1] },
	} {
		hash := release(change)
		if other, clash := seen[hash]; clash {
			t.Errorf("%s has the hash of %s", name, other)
		}
		seen[hash] = name
	}
}

func TestChainHashKeepsOrder(t *testing.T) {
	a, b := RenderedFilter{FilterSpec: goodFilter("a")}, RenderedFilter{FilterSpec: goodFilter("b")}
	hashes := map[string]bool{}
	for _, filters := range [][]RenderedFilter{nil, {a}, {a, b}, {b, a}} {
		hash, err := ChainHash(filters, nil)
		if err != nil {
			t.Fatal(err)
		}
		hashes[hash] = true
	}
	if len(hashes) != 4 {
		t.Errorf("4 chains have %d hashes", len(hashes))
	}
}

// The canonical form is what is signed: it is read back to the same release, and nothing but it is.
func TestCanonicalForm(t *testing.T) {
	zero := int32(0)
	sealed, err := Seal(Release{
		ID: ReleaseID{Name: "edge-auth"}, Layer: "team/a",
		Filters:   []FilterSpec{{Name: "bare", Priority: &zero, Config: json.RawMessage("null")}, goodFilter("headers")},
		Overrides: []FilterSpec{goodFilter("authz")},
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := sealed.CanonicalForm()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseCanonicalForm("edge-auth", text)
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed.Filters {
		if m := sealed.Filters[i].Module; m != nil {
			m.Reference, m.Envoys = "", nil
		}
	}
	for i := range sealed.Overrides {
		sealed.Overrides[i].Module.Reference, sealed.Overrides[i].Module.Envoys = "", nil
	}
	if !reflect.DeepEqual(back, sealed) {
		t.Errorf("got  %+v\nwant %+v", back, sealed)
	}
	good := string(text)
	for name, bad := range map[string]string{
		"nothing": "", "white space": good + "\n", "a member more": strings.Replace(good, `"layer"`, `"kayer":1,"layer"`, 1),
		"another case": strings.Replace(good, `"layer"`, `"Layer"`, 1), "a member twice": strings.Replace(good, `"layer"`, `"layer":"global","layer"`, 1),
		"another order": strings.Replace(good, `"layer":"team/a",`, "", 1), "another version": strings.Replace(good, "waft.dev/v1", "waft.dev/v2", 1),
		"no layer": strings.Replace(good, "team/a", "nowhere", 1),
	} {
		if r, err := ParseCanonicalForm("edge-auth", []byte(bad)); !errors.Is(err, ErrInvalid) || bad == good {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}
