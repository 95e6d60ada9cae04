package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
)

// FuzzParseCanonicalForm reads whatever may come as the content of a signed release. What is taken is exactly what would be signed of it, is a release that could have
// been created, and has the hash of the text.
func FuzzParseCanonicalForm(f *testing.F) {
	zero := int32(0)
	for _, r := range []Release{
		{ID: ReleaseID{Name: "r"}, Layer: "team/a", Filters: []FilterSpec{{Name: "bare", Priority: &zero, Config: json.RawMessage("null")}, goodFilter("headers")}, Overrides: []FilterSpec{goodFilter("authz")}},
		releaseOfResources(),
		{ID: ReleaseID{Name: "off"}, Layer: EmergencyLayer("authz"), Disable: &Disabling{Filter: "authz", PassUnauthorized: true}},
	} {
		sealed, err := Seal(r)
		if err != nil {
			f.Fatal(err)
		}
		text, err := sealed.CanonicalForm()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
		f.Add(append(text, text...))
	}
	f.Add([]byte(`{"apiVersion":"waft.dev/v1","filters":null,"layer":"global","overrides":[]}`))
	f.Add([]byte(`{"APIVERSION":"waft.dev/v1","filters":[],"layer":"global","overrides":[]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseCanonicalForm("r", text)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if again, err := r.CanonicalForm(); err != nil || !bytes.Equal(again, text) {
			t.Errorf("%q is taken for %q (%v)", text, again, err)
		}
		if canonical, err := Canonical(text); err != nil || !bytes.Equal(canonical, text) {
			t.Errorf("%q is taken, and is not canonical (%v)", text, err)
		}
		if r.ID != (ReleaseID{Name: "r", Hash: Digest(text)}) {
			t.Errorf("%q is taken for %v", text, r.ID)
		}
		sealed, err := Seal(r)
		if err != nil || sealed.ID != r.ID {
			t.Errorf("%q is taken, and could not have been created: %v, %v", text, sealed.ID, err)
		}
	})
}

// FuzzSplitBody takes whatever somebody may write as the body of a resource apart. Put together again it is what was written.
func FuzzSplitBody(f *testing.F) {
	f.Add([]byte(`{"@type":"type.googleapis.com/acme.flags.v1.Flag","enabled":true,"rules":[{"name":"a<b>&\u2028"}]}`))
	f.Add([]byte(`{"@type":"type.googleapis.com/acme.flags.v1.Flag","value":"AQI="}`))
	f.Add([]byte(`{"@type":"type.googleapis.com/acme.flags.v1.Flag","@type":"x"}`))
	f.Add([]byte(`{"@type":null}`))
	f.Add([]byte(`[null]`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, text []byte) {
		typeURL, members, err := SplitBody("resource/a", "spec", text)
		if err != nil {
			told, ok := errors.AsType[*Error](err)
			if !ok || !errors.Is(err, ErrInvalid) || told.Object == "" || told.Field == "" || told.Next == "" || typeURL != "" || members != nil {
				t.Errorf("%q gives %q, %q, %v", text, typeURL, members, err)
			}
			return
		}
		if len(typeURL) > maxTypeURL || validateTypeURL("resource/a", "spec", typeURL) != nil {
			t.Errorf("%q has the type %q", text, typeURL)
		}
		var inside map[string]json.RawMessage
		if err := json.Unmarshal(members, &inside); err != nil || inside == nil || inside[TypeMember] != nil {
			t.Errorf("%q has the members %q (%v)", text, members, err)
		}
		whole, err := Canonical(text)
		if err != nil {
			t.Fatalf("%q is taken: %v", text, err)
		}
		if again, err := (ResourceBody{Type: typeURL, Fields: members}).JSON(); err != nil || !reflect.DeepEqual([]byte(again), whole) {
			t.Errorf("%q is put together again as %q (%v)", text, again, err)
		}
	})
}
