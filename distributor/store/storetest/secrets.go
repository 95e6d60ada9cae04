package storetest

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

// secretID is the id of a version.
func secretID(version int64) string { return fmt.Sprintf("%032x", version) }

// secret is one with versions from 1 to n.
func secret(layer model.Layer, name string, n int64) (model.KeptSecret, map[model.SecretRef][]byte) {
	s, sealed := model.KeptSecret{Layer: layer, Name: name, Last: n}, map[model.SecretRef][]byte{}
	for v := int64(1); v <= n; v++ {
		s.Versions = append(s.Versions, model.SecretVersion{Version: v, ID: secretID(v), Key: "k1", SetAt: at(int(v)), SetBy: "alice", Reason: "why"})
		sealed[s.Ref(v)] = []byte{1, 0, 0xff, byte(v)}
	}
	return s, sealed
}

func putSecret(t *testing.T, s service.Store, layer model.Layer, name string, n int64) model.KeptSecret {
	t.Helper()
	one, sealed := secret(layer, name, n)
	must(t, s.WriteSecret(t.Context(), model.KeptSecretChange{Secret: one, Sealed: sealed}, audit("secret.set", one.Object())))
	got, err := s.GetSecret(t.Context(), layer, name)
	must(t, err)
	return got
}

func secretsRoundTrip(t *testing.T, s service.Store) {
	none, err := s.GetSecret(t.Context(), "team/a", "x")
	must(t, err)
	same(t, "none", none, model.KeptSecret{Layer: "team/a", Name: "x"})
	for _, of := range []struct {
		layer model.Layer
		name  string
	}{{"team/a", "x"}, {"team/ab", "x"}, {"global", "y"}, {"global", "x"}, {"service/a", "x"}} {
		got := putSecret(t, s, of.layer, of.name, 2)
		want, _ := secret(of.layer, of.name, 2)
		if want.Revision = got.Revision; got.Revision == 0 {
			t.Error("it has no revision")
		}
		same(t, "secret", got, want)
	}
	sealed, err := s.GetSealed(t.Context(), model.SecretRef{Layer: "team/a", Name: "x", Version: 2, ID: secretID(2)})
	must(t, err)
	same(t, "value", sealed, []byte{1, 0, 0xff, 2})
	for _, ref := range []model.SecretRef{
		{Layer: "team/a", Name: "x", Version: 3, ID: secretID(3)}, {Layer: "team/a", Name: "z", Version: 1, ID: secretID(1)}, {Layer: "team/b", Name: "x", Version: 1, ID: secretID(1)},
		{Layer: "team/a", Name: "x", Version: 2, ID: secretID(1)}, {Layer: "team/a", Name: "x", Version: 2},
	} {
		_, err := s.GetSealed(t.Context(), ref)
		wantKind(t, err, model.ErrNotFound)
	}
	for layer, want := range map[model.Layer][]string{
		"": {"secret/global/x", "secret/global/y", "secret/service/a/x", "secret/team/a/x", "secret/team/ab/x"}, "team/a": {"secret/team/a/x"}, "team/none": nil,
	} {
		var got []string
		for after := ""; ; {
			page, err := s.ListSecrets(t.Context(), layer, after, 1)
			must(t, err)
			if len(page) == 0 {
				break
			}
			got = append(got, page[0].Object())
			if page[0].Revision == 0 {
				t.Error("it has no revision")
			}
			after = string(page[0].Layer) + "\n" + page[0].Name
		}
		same(t, "list of "+string(layer), got, want)
	}
	entries, _, err := s.ListAudit(t.Context(), "secret/team/a/x", 0, 10)
	must(t, err)
	if len(entries) != 1 {
		t.Errorf("%d audit entries", len(entries))
	}
}

func secretsSwap(t *testing.T, s service.Store) {
	first := putSecret(t, s, "global", "x", 2)
	next := first
	next.Versions, next.Last = append(next.Versions[1:2:2], model.SecretVersion{Version: 3, ID: secretID(3), Key: "k2", SetAt: at(3), SetBy: "bob"}), 3
	change := model.KeptSecretChange{Secret: next, Sealed: map[model.SecretRef][]byte{next.Ref(3): {3}}, Gone: []model.SecretRef{first.Ref(1)}}
	must(t, s.WriteSecret(t.Context(), change, audit("secret.set", next.Object())))
	change.Sealed = map[model.SecretRef][]byte{next.Ref(3): {4}}
	wantKind(t, s.WriteSecret(t.Context(), change, audit("secret.set", next.Object())), model.ErrConflict)
	anew, sealed := secret("global", "x", 1)
	wantKind(t, s.WriteSecret(t.Context(), model.KeptSecretChange{Secret: anew, Sealed: sealed}, audit("secret.set", next.Object())), model.ErrConflict)

	got, err := s.GetSecret(t.Context(), "global", "x")
	must(t, err)
	next.Revision = got.Revision
	same(t, "secret", got, next)
	value, err := s.GetSealed(t.Context(), next.Ref(3))
	must(t, err)
	same(t, "value", value, []byte{3})
	_, err = s.GetSealed(t.Context(), first.Ref(1))
	wantKind(t, err, model.ErrNotFound)
	// All of it, but for the count.
	empty := got
	empty.Versions = nil
	must(t, s.WriteSecret(t.Context(), model.KeptSecretChange{Secret: empty, Gone: []model.SecretRef{got.Ref(2), got.Ref(3)}}, audit("secret.delete", next.Object())))
	got, err = s.GetSecret(t.Context(), "global", "x")
	must(t, err)
	if got.Last != 3 || len(got.Versions) != 0 || got.Revision == 0 {
		t.Errorf("left is %+v", got)
	}
}

func secretsNamed(t *testing.T, s service.Store) {
	naming := func(n int, configs ...string) model.Release {
		r := release("edge", n)
		r.Filters = nil
		for i, c := range configs {
			f := model.FilterSpec{Name: string(rune('a' + i)), Config: json.RawMessage(c)}
			if i%2 == 0 {
				r.Filters = append(r.Filters, f)
			} else {
				r.Overrides = append(r.Overrides, f)
			}
		}
		return r
	}
	one := putSecret(t, s, "global", "x", 1)
	config := func(id string, version int64) string {
		return fmt.Sprintf(`{"t":{"$secret":{"id":%q,"layer":"global","name":"x","version":%d}}}`, id, version)
	}
	first, second := config(secretID(1), 1), config(secretID(2), 2)
	create := func(r model.Release) error {
		return s.CreateRelease(t.Context(), r, audit("release.create", "release/"+r.ID.String()))
	}
	must(t, create(naming(1, first, first)))
	// Whoever has looked before that for releases that name it, and found none, does not remove it.
	gone := one
	gone.Versions = nil
	wantKind(t, s.WriteSecret(t.Context(), model.KeptSecretChange{Secret: gone, Gone: []model.SecretRef{one.Ref(1)}}, audit("secret.set", one.Object())), model.ErrConflict)
	_, err := s.GetSealed(t.Context(), one.Ref(1))
	must(t, err)
	one, err = s.GetSecret(t.Context(), "global", "x")
	must(t, err)
	wantKind(t, create(naming(1, first, first)), model.ErrExists)
	wantKind(t, create(naming(2, first, second)), model.ErrNotFound)
	wantKind(t, create(naming(2, config(secretID(2), 1))), model.ErrNotFound)
	_, err = s.GetRelease(t.Context(), naming(2).ID)
	wantKind(t, err, model.ErrNotFound)
	one.Versions, one.Last = append(one.Versions, model.SecretVersion{Version: 2, ID: secretID(2), SetAt: at(1)}), 2
	must(t, s.WriteSecret(t.Context(), model.KeptSecretChange{Secret: one, Sealed: map[model.SecretRef][]byte{one.Ref(2): {2}}}, audit("secret.set", one.Object())))
	must(t, create(naming(2, first, second)))
}
