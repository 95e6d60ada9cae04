package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func flag(name, fields string) ResourceSpec {
	return ResourceSpec{Collection: "flags", Name: name, ResourceBody: ResourceBody{Type: TypeURLPrefix + "acme.flags.v1.Flag", Descriptors: hexA, Fields: json.RawMessage(fields)}}
}

func opaque(name string, message ...byte) ResourceSpec {
	return ResourceSpec{Collection: "blobs", Name: name, ResourceBody: ResourceBody{Type: TypeURLPrefix + "acme.Blob", Opaque: message}}
}

func releaseOfResources() Release {
	return Release{
		ID: ReleaseID{Name: "flags"}, Layer: "team/pay", Resources: []ResourceSpec{flag("b", `{"enabled":true}`), flag("a", `{}`), opaque("x", 1, 2)},
		ResourceOverrides: []ResourceSpec{flag("a", `{"enabled":false}`), opaque("empty")},
		Declared:          []CollectionSpec{{Name: "flags", Lists: []ListKey{{Path: "rules", Key: "name"}}}},
		Taken:             []TakenCollection{{Name: "flags", Version: hexA}},
	}
}

func TestAReleaseOfResources(t *testing.T) {
	sealed, err := Seal(releaseOfResources())
	if err != nil {
		t.Fatal(err)
	}
	// A golden hash, worked out apart from this code, as in TestSeal.
	if want := "sha256:f65c9cde39a1e3b97882fe002009abf37f37639785929917cbc4c6c1af441ed2"; sealed.ID.Hash != want {
		t.Errorf("the hash is %s", sealed.ID.Hash)
	}
	text, err := sealed.CanonicalForm()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseCanonicalForm("flags", text)
	if err != nil {
		t.Fatal(err)
	}
	again, err := back.ContentHash()
	if err != nil || again != sealed.ID.Hash || !reflect.DeepEqual(back.Declared, sealed.Declared) || len(back.Resources) != 3 || back.Resources[0].Key() != "blobs:x" {
		t.Errorf("it reads back as %+v, %s, %v", back, again, err)
	}
	seen := map[string]string{sealed.ID.Hash: "base"}
	for name, change := range map[string]func(*Release){
		"collection":  func(r *Release) { r.Resources[0].Collection = "toggles" },
		"name":        func(r *Release) { r.Resources[0].Name = "c" },
		"type":        func(r *Release) { r.Resources[0].Type = TypeURLPrefix + "acme.flags.v2.Flag" },
		"descriptors": func(r *Release) { r.Resources[0].Descriptors = "" },
		"fields":      func(r *Release) { r.Resources[0].Fields = json.RawMessage(`{"enabled":false}`) },
		"bytes":       func(r *Release) { r.Resources[2].Opaque = []byte{1, 3} },
		"override":    func(r *Release) { r.ResourceOverrides, r.Resources = r.Resources, r.ResourceOverrides },
		"lists":       func(r *Release) { r.Declared[0].Lists[0].Key = "id" },
		"no lists":    func(r *Release) { r.Declared = nil },
	} {
		r := releaseOfResources()
		change(&r)
		hash, err := r.ContentHash()
		if other, clash := seen[hash]; err != nil || clash {
			t.Errorf("%s: %v, the hash of %s", name, err, other)
		}
		seen[hash] = name
	}
	for name, change := range map[string]func(*Release){
		"order":    func(r *Release) { r.Resources[0], r.Resources[1] = r.Resources[1], r.Resources[0] },
		"taken":    func(r *Release) { r.Taken = nil },
		"spelling": func(r *Release) { r.Resources[0].Fields = json.RawMessage("{ \"enabled\" : true }") },
	} {
		r := releaseOfResources()
		change(&r)
		if hash, err := r.ContentHash(); err != nil || hash != sealed.ID.Hash {
			t.Errorf("%s changes the hash, %v", name, err)
		}
	}
}

func TestValidateResources(t *testing.T) {
	for _, test := range []struct {
		name   string
		spoil  func(*Release)
		fields []string
	}{
		{"good", func(*Release) {}, nil},
		{"waft's own", func(r *Release) { r.Resources[2].Collection = "waft/v1/filters" }, []string{"spec.resources[2].collection"}},
		{"no collection of Envoy's", func(r *Release) { r.Resources[2].Collection = "envoy/things" }, []string{"spec.resources[2].collection"}},
		{"another type in Envoy's", func(r *Release) { r.Resources[2].Collection = "envoy/clusters" }, []string{"spec.resources[2].spec.@type"}},
		{"words", func(r *Release) { r.Resources[2].Collection = "blobs//x" }, []string{"spec.resources[2].collection"}},
		{"name", func(r *Release) { r.Resources[2].Name = "a b" }, []string{"spec.resources[2].name"}},
		{"type", func(r *Release) { r.Resources[2].Type = "acme.Blob" }, []string{"spec.resources[2].spec.@type"}},
		{"twice", func(r *Release) { r.Resources[1].Name = "b" }, []string{"spec.resources[1].name"}},
		{"both", func(r *Release) { r.Resources[0].Opaque = []byte{1} }, []string{"spec.resources[0].spec"}},
		{"no object", func(r *Release) { r.Resources[0].Fields = json.RawMessage("[]") }, []string{"spec.resources[0].spec"}},
		{"too many fields", func(r *Release) {
			var b strings.Builder
			for i := range MaxFields + 1 {
				fmt.Fprintf(&b, `,"f%d":1`, i)
			}
			r.Resources[0].Fields = json.RawMessage("{" + b.String()[1:] + "}")
		}, []string{"spec.resources[0].spec"}},
		{"paths too long", func(r *Release) {
			r.Resources[0].Fields = json.RawMessage(`{"` + strings.Repeat("x", MaxResource/2) + `":{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1}}`)
		}, []string{"spec.resources[0].spec"}},
		{"no digest", func(r *Release) { r.Resources[0].Descriptors = "x" }, []string{"spec.resources[0].descriptors"}},
		{"too large", func(r *Release) { r.Resources[2].Opaque = make([]byte, MaxResource+1) }, []string{"spec.resources[2].spec"}},
		{"too large together", func(r *Release) {
			for i := range 5 {
				r.Resources = append(r.Resources, opaque(strings.Repeat("y", i+1), make([]byte, MaxResource)...))
			}
		}, []string{"spec.resources"}},
		{"as many as may be", func(r *Release) { withSoMany(r, MaxResources) }, nil},
		{"too many", func(r *Release) { withSoMany(r, MaxResources+1) }, []string{"spec.resources"}},
		{"declared in vain", func(r *Release) { r.Declared[0].Name = "toggles" }, []string{"spec.declared[0].name"}},
		{"list", func(r *Release) { r.Declared[0].Lists[0].Path = "rules." }, []string{"spec.declared[0].lists[0].path"}},
		{"list key", func(r *Release) { r.Declared[0].Lists[0].Key = "" }, []string{"spec.declared[0].lists[0].key"}},
		{"in an emergency", func(r *Release) { r.Layer, r.Disable = "emergency/authz", &Disabling{Filter: "authz"} }, []string{"spec.resources"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := releaseOfResources()
			test.spoil(&r)
			if got := fieldsOf(t, ValidateRelease(r)); !reflect.DeepEqual(got, test.fields) {
				t.Errorf("got %v, want %v", got, test.fields)
			}
		})
	}
}

// withSoMany gives a release so many resources.
func withSoMany(r *Release, n int) {
	for i := len(r.Resources) + len(r.ResourceOverrides); i < n; i++ {
		r.Resources = append(r.Resources, opaque(fmt.Sprint("one-", i), 1))
	}
}

func TestSplitBody(t *testing.T) {
	for _, body := range []ResourceBody{flag("a", `{"enabled":true}`).ResourceBody, flag("a", `{}`).ResourceBody, opaque("x", 0xff, 0).ResourceBody} {
		text, err := body.JSON()
		if err != nil {
			t.Fatal(err)
		}
		url, members, err := SplitBody("resource/x", "spec", text)
		if err != nil || url != body.Type || !body.IsOpaque() && string(members) != string(body.Fields) {
			t.Errorf("%s: %s and %s, %v", text, url, members, err)
		}
	}
	for text, field := range map[string]string{
		`[]`: "spec", `null`: "spec", `{`: "spec", `{}`: "spec.@type", `{"@type":5}`: "spec.@type", `{"@type":"acme.Flag"}`: "spec.@type",
		`{"@type":"a/b","x":{"y":9007199254740993}}`: "spec.x.y",
	} {
		_, _, err := SplitBody("resource/x", "spec", json.RawMessage(text))
		var told *Error
		if !errors.As(err, &told) || told.Field != field || !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v, want the field %s", text, err, field)
		}
	}
}

func TestVersionOfACollection(t *testing.T) {
	a, b := StoredResource{ResourceSpec: flag("a", `{}`), Version: "1"}, StoredResource{ResourceSpec: flag("b", `{}`), Version: "1"}
	if VersionOf([]StoredResource{a, b}) != VersionOf([]StoredResource{b, a}) {
		t.Error("the order counts")
	}
	c := a
	c.Version = "2"
	if VersionOf([]StoredResource{a, b}) == VersionOf([]StoredResource{c, b}) || VersionOf(nil) == VersionOf([]StoredResource{a}) {
		t.Error("a change does not count")
	}
}
