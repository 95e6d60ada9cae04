package cluster

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.etcd.io/etcd/api/v3/mvccpb"
)

// replicaNamed is a replica as it tells etcd of itself.
func replicaNamed(id string) Replica {
	return Replica{ID: id, Name: "one", Address: "127.0.0.1:7072", Fingerprint: strings.Repeat("ab", 32), Names: []string{"waft.example:7071"}}
}

func entry(t testing.TB, key string, created int64, value any) *mvccpb.KeyValue {
	t.Helper()
	text, raw := value.(string)
	if !raw {
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		text = string(encoded)
	}
	return &mvccpb.KeyValue{Key: []byte(key), Value: []byte(text), CreateRevision: created}
}

func TestReadView(t *testing.T) {
	a, b := replicaNamed("A2"), replicaNamed("B2")
	without := func(change func(*Replica)) Replica { r := replicaNamed("A2"); change(&r); return r }
	for name, test := range map[string]struct {
		entries []*mvccpb.KeyValue
		want    View
		passed  []string
	}{
		"nobody": {},
		"two, of which the first that stood leads": {
			entries: []*mvccpb.KeyValue{entry(t, electionKey+"/1", 9, b), entry(t, electionKey+"/2", 5, a), entry(t, replicasKey+"B2", 4, b), entry(t, replicasKey+"A2", 3, a)},
			want:    View{Replicas: []Replica{a, b}, Leader: a},
		},
		"nobody is known to lead where the first that stood cannot be read": {
			entries: []*mvccpb.KeyValue{entry(t, electionKey+"/1", 9, b), entry(t, electionKey+"/2", 5, "{"), entry(t, replicasKey+"B2", 4, b)},
			want:    View{Replicas: []Replica{b}}, passed: []string{electionKey + "/2"},
		},
		"an entry of another": {entries: []*mvccpb.KeyValue{entry(t, replicasKey+"B2", 4, a)}, passed: []string{replicasKey + "B2"}},
		"not JSON":            {entries: []*mvccpb.KeyValue{entry(t, replicasKey+"A2", 4, "")}, passed: []string{replicasKey + "A2"}},
		"no address":          {entries: []*mvccpb.KeyValue{entry(t, replicasKey+"A2", 4, without(func(r *Replica) { r.Address = "" }))}, passed: []string{replicasKey + "A2"}},
		"no fingerprint":      {entries: []*mvccpb.KeyValue{entry(t, replicasKey+"A2", 4, without(func(r *Replica) { r.Fingerprint = "ab" }))}, passed: []string{replicasKey + "A2"}},
		"no id":               {entries: []*mvccpb.KeyValue{entry(t, replicasKey, 4, without(func(r *Replica) { r.ID = "" }))}, passed: []string{replicasKey}},
		"an id that is none":  {entries: []*mvccpb.KeyValue{entry(t, replicasKey+"A2@b", 4, without(func(r *Replica) { r.ID = "A2@b" }))}, passed: []string{replicasKey + "A2@b"}},
	} {
		t.Run(name, func(t *testing.T) {
			var passed []string
			got := readView(test.entries, func(key string, _ error) { passed = append(passed, key) })
			if diff := cmp.Diff(test.want, got); diff != "" || !slices.Equal(passed, test.passed) {
				t.Errorf("view (-want +got):\n%s\npassed over %q, want %q", diff, passed, test.passed)
			}
		})
	}
}

// FuzzReadView reads whatever may stand in etcd of replicas. Each that is there can be called, and is the one that its key says; the entries in another order are the same view.
func FuzzReadView(f *testing.F) {
	whole := entry(f, "", 0, replicaNamed("A2")).Value
	f.Add("replicas/A2", whole, int64(3), "leader/694d", whole, int64(5))
	f.Add("replicas/A2", []byte(`{"id":"A2","address":":","fingerprint":"`+strings.Repeat("0", 64)+`"}`), int64(3), "replicas/A2", whole, int64(3))
	f.Add("leader/1", []byte("null"), int64(1), "leader/2", whole, int64(2))
	f.Fuzz(func(t *testing.T, key string, value []byte, created int64, other string, more []byte, later int64) {
		entries := []*mvccpb.KeyValue{{Key: []byte(prefix + key), Value: value, CreateRevision: created}, {Key: []byte(prefix + other), Value: more, CreateRevision: later}}
		passed := 0
		v := readView(entries, func(string, error) { passed++ })
		if len(v.Replicas)+passed > len(entries) {
			t.Errorf("%d entries are %+v, and %d were passed over", len(entries), v, passed)
		}
		for _, r := range append(slices.Clone(v.Replicas), v.Leader) {
			if r.ID == "" {
				if diff := cmp.Diff(Replica{}, v.Leader); diff != "" {
					t.Errorf("nobody leads, and is %s", diff)
				}
				continue
			}
			if u, err := url.Parse("http://" + r.ID + "/needed"); err != nil || u.Host != r.ID {
				t.Errorf("%q cannot be called: %v", r.ID, err)
			}
			// What a replica says of itself, said again, is read as the same.
			if again, err := readReplica(entry(t, "", 0, r).Value); err != nil || !cmp.Equal(again, r, cmpopts.EquateEmpty()) {
				t.Errorf("%+v is read as %+v (%v)", r, again, err)
			}
		}
		for _, r := range v.Replicas {
			if !slices.ContainsFunc(entries, func(kv *mvccpb.KeyValue) bool { return string(kv.Key) == replicasKey+r.ID }) {
				t.Errorf("%q stands under no key of its own", r.ID)
			}
		}
		if key == other || created == later {
			return // etcd has each key once, and two were not made at once
		}
		slices.Reverse(entries)
		if turned := readView(entries, func(string, error) {}); turned.Leader.ID != v.Leader.ID || len(turned.Replicas) != len(v.Replicas) {
			t.Errorf("%+v, and in another order %+v", v, turned)
		}
	})
}
