package store

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
)

// readBack reads a value as one kind of thing. What is taken can be written, and is read again as the same.
func readBack[T any](t *testing.T, value []byte) {
	t.Helper()
	var read, again T
	const key = "waft/a-key"
	if err := decode(key, value, &read); err != nil {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("%T: %q: the error does not name the key: %v", read, value, err)
		}
		return
	}
	written, err := encode("an object", read)
	if err != nil {
		t.Fatalf("%q is taken for %+v, which cannot be written: %v", value, read, err)
	}
	if err := decode(key, []byte(written), &again); err != nil {
		t.Fatalf("%q is taken for %+v, and written as %q, which cannot be read: %v", value, read, written, err)
	}
	first, err := json.Marshal(read)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := json.Marshal(again); err != nil || !bytes.Equal(first, second) {
		t.Errorf("%q is taken for %s, and read again as %s (%v)", value, first, second, err)
	}
}

// FuzzValues reads whatever may stand in the store, which a waft of another version, or another program, has written. What a kind of value is taken for, this waft can
// write; an error names the key.
func FuzzValues(f *testing.F) {
	at := time.Unix(1764444000, 5).UTC()
	hash := model.Digest([]byte("a"))
	ref := model.SecretRef{Layer: "team/a", Name: "token", Version: 1}
	for _, v := range []any{
		model.Node{ID: "edge-1", Labels: map[string]string{"env": "prod"}, Ledger: model.LedgerEntry{Chain: hash, State: model.ChainServing, Times: map[model.ChainState]time.Time{model.ChainServing: at}}},
		model.Release{
			ID: model.ReleaseID{Name: "edge", Hash: hash}, Layer: "global", CreatedAt: at, CreatedBy: "ann",
			Filters:   []model.FilterSpec{{Name: "authz", Config: json.RawMessage(`{"rules":[{"path":"/<a>"}]}`)}},
			Resources: []model.ResourceSpec{{Collection: "acme/flags", Name: "a"}},
			Disable:   &model.Disabling{},
		},
		model.DeclaredCollection{CollectionSpec: model.CollectionSpec{Name: "flags", Type: "acme.Flag", Lists: []model.ListKey{{Path: "rules", Key: "name"}}}, Version: "1", UpdatedAt: at},
		model.LayerCollection{Layer: "team/a", Name: "flags", Resources: []model.StoredResource{{}}},
		model.TypeSet{Name: "acme", Digest: hash},
		model.KeptSecret{Layer: ref.Layer, Name: ref.Name, Last: 1, Versions: []model.SecretVersion{{Version: 1, ID: "ab", Key: "k", SetAt: at, SetBy: "ann"}}},
		&model.Freeze{Actor: "ann", Reason: "why", Since: at, Until: at},
		model.AuditEntry{Sequence: 1, At: at, Actor: "ann", Action: "release.create", Object: "release/edge", Hash: hash},
		schema{Version: 1},
		[]byte("sealed"),
		model.AuditEntry{Detail: strings.Repeat("x", compressAbove)},
	} {
		text, err := encode("seed", v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(text))
	}
	f.Add([]byte{0x1f, 0x8b})
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, value []byte) {
		readBack[model.Node](t, value)
		readBack[model.Release](t, value)
		readBack[model.DeclaredCollection](t, value)
		readBack[model.LayerCollection](t, value)
		readBack[model.TypeSet](t, value)
		readBack[model.KeptSecret](t, value)
		readBack[model.Freeze](t, value)
		readBack[model.AuditEntry](t, value)
		readBack[schema](t, value)
		readBack[[]byte](t, value) // a sealed value, or descriptors
	})
}
