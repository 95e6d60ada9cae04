package store_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/store"
)

type pair struct {
	key   string
	value []byte
}

// loading gives pairs one after the other, as Load takes them; then an error, where there is one.
func loading(pairs []pair, last error) func() (string, []byte, bool, error) {
	return func() (string, []byte, bool, error) {
		if len(pairs) == 0 {
			return "", nil, false, last
		}
		p := pairs[0]
		pairs = pairs[1:]
		return p.key, p.value, true, nil
	}
}

func dump(t *testing.T, s *store.Store) []pair {
	t.Helper()
	var all []pair
	if err := s.Dump(t.Context(), func(key string, value []byte) error {
		all = append(all, pair{key, append([]byte{}, value...)})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// What is dumped and loaded elsewhere is the same state, and writers go on there. What is written while it is dumped is in it whole, or not at all.
func TestDumpAndLoad(t *testing.T) {
	from := start(t, t.TempDir())
	s := open(t, from)
	for i := range 130 { // more than a page, and than a transaction
		entry := model.AuditEntry{Actor: "alice", Action: "test", Object: "node/n"}
		if err := s.PutNodes(t.Context(), []model.Node{{ID: fmt.Sprintf("n%d", i), Labels: map[string]string{"x": strings.Repeat("x", 20_000)}}}, []model.AuditEntry{entry}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := from.Client().Put(t.Context(), "/waft/cluster/v1/leader/1", "x"); err != nil {
		t.Fatal(err)
	}
	want := dump(t, s)
	var during []pair
	if err := s.Dump(t.Context(), func(key string, value []byte) error {
		if len(during) == 0 {
			if err := s.PutNodes(t.Context(), []model.Node{{ID: "late"}}, []model.AuditEntry{{Actor: "bob", Action: "test", Object: "node/late"}}); err != nil {
				return err
			}
		}
		during = append(during, pair{key, append([]byte{}, value...)})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(during) != fmt.Sprint(want) {
		t.Errorf("it gave %d keys while somebody wrote, and %d before", len(during), len(want))
	}

	to := start(t, t.TempDir())
	if err := store.Load(t.Context(), to.Client(), loading(want, nil)); err != nil {
		t.Fatal(err)
	}
	restored := open(t, to)
	if got := dump(t, restored); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%d keys, want %d", len(got), len(want))
	}
	if got, err := to.Client().Get(t.Context(), "/waft/cluster/", clientv3.WithPrefix()); err != nil || len(got.Kvs) != 0 {
		t.Errorf("what belongs to running replicas: %v, %v", got, err)
	}
	if err := restored.PutNodes(t.Context(), []model.Node{{ID: "n"}}, []model.AuditEntry{{Actor: "carol", Action: "test", Object: "node/n"}}); err != nil {
		t.Fatal(err)
	}
	entries, _, err := restored.ListAudit(t.Context(), "", 0, 1)
	if err != nil || len(entries) != 1 || entries[0].Sequence != 131 {
		t.Errorf("the audit log goes on as %v, %v", entries, err)
	}
	if err := store.Load(t.Context(), to.Client(), loading(want, nil)); !errors.Is(err, model.ErrConflict) {
		t.Errorf("loaded twice: %v", err)
	}
}

// A load that was cut short leaves a store that nobody opens.
func TestLoadThatDoesNotEnd(t *testing.T) {
	want := dump(t, open(t, start(t, t.TempDir())))
	full := pair{"/waft/v1/nodes/n", []byte("{}")}
	short := errors.New("cut short")
	for what, load := range map[string]func() (string, []byte, bool, error){
		"an error":                  loading(append([]pair{full}, want...), short),
		"no schema":                 loading([]pair{full}, nil),
		"a key of somebody else":    loading([]pair{{"/other", nil}}, nil),
		"a schema that is not done": loading([]pair{{"/waft/v1/schema", []byte(`{"version":-1}`)}}, nil),
	} {
		t.Run(what, func(t *testing.T) {
			to := start(t, t.TempDir())
			if err := store.Load(t.Context(), to.Client(), load); err == nil {
				t.Fatal("it is loaded")
			}
			if _, err := store.Open(t.Context(), to.Client()); !errors.Is(err, model.ErrPrecondition) || !strings.Contains(err.Error(), "did not end") {
				t.Errorf("it is opened: %v", err)
			}
		})
	}
}
