package store_test

import (
	"errors"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/distributor/store"
	"github.com/waft-project/waft/distributor/store/storetest"
)

const leaderKey = "/test/leader"

// lead puts a key as an election does, and gives its fence.
func lead(t *testing.T, client *clientv3.Client) store.Fence {
	t.Helper()
	got, err := client.Put(t.Context(), leaderKey, "me")
	if err != nil {
		t.Fatal(err)
	}
	return store.Fence{Key: leaderKey, Revision: got.Header.Revision}
}

// A fenced store is a store as any, while its fence stands.
func TestFencedContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) service.Store {
		embedded := start(t, t.TempDir())
		return open(t, embedded).Fenced(lead(t, embedded.Client()))
	})
}

// Whoever leads no more writes nothing, of any kind, and is told so; also where somebody else leads by the same key.
func TestFenceThatIsGone(t *testing.T) {
	embedded := start(t, t.TempDir())
	plain := open(t, embedded)
	s := plain.Fenced(lead(t, embedded.Client()))
	rollout, revision, err := s.CreateRollout(t.Context(), model.Rollout{Name: "one", Wave: -1}, []model.AuditEntry{{Object: "rollout/one"}})
	if err != nil {
		t.Fatal(err)
	}
	release := model.Release{ID: model.ReleaseID{Name: "r", Hash: "sha256:1"}}
	for _, again := range []bool{false, true} {
		if _, err := embedded.Client().Delete(t.Context(), leaderKey); err != nil {
			t.Fatal(err)
		}
		if again {
			lead(t, embedded.Client())
		}
		for what, write := range map[string]func() error{
			"rows": func() error { return s.PutNodes(t.Context(), []model.Node{{ID: "n"}}, nil) },
			"rows with an entry": func() error {
				return s.PutNodes(t.Context(), []model.Node{{ID: "n"}}, []model.AuditEntry{{Object: "node/n"}})
			},
			"a rollout": func() error {
				_, err := s.UpdateRollout(t.Context(), rollout, revision, []model.AuditEntry{{Object: "rollout/one"}})
				return err
			},
			"a rollout without an entry": func() error { _, err := s.UpdateRollout(t.Context(), rollout, revision, nil); return err },
			"a new rollout": func() error {
				_, _, err := s.CreateRollout(t.Context(), model.Rollout{Name: "two", Wave: -1}, []model.AuditEntry{{Object: "rollout/two"}})
				return err
			},
			"a deletion": func() error { return s.DeleteNodes(t.Context(), []string{"n"}, nil) },
			"a rollout's end": func() error {
				return s.DeleteRollout(t.Context(), rollout.Name, rollout.Sequence, model.AuditEntry{Object: "rollout/one"})
			},
			"a release's end": func() error { return s.DeleteRelease(t.Context(), release.ID, model.AuditEntry{Object: "release/r"}) },
		} {
			if err := write(); !errors.Is(err, model.ErrUnavailable) {
				t.Errorf("%s: error is %v, want unavailable", what, err)
			}
		}
	}
	if rows, err := plain.ListNodes(t.Context(), "", 10); err != nil || len(rows) != 0 {
		t.Errorf("rows are %v (%v)", rows, err)
	}
	if entries, _, err := plain.ListAudit(t.Context(), "", 0, 10); err != nil || len(entries) != 1 {
		t.Errorf("entries are %v (%v)", entries, err)
	}
	// The one that leads now is told of conflicts as before.
	now := plain.Fenced(leads(t, embedded.Client()))
	if _, err := now.UpdateRollout(t.Context(), rollout, revision+1000, nil); !errors.Is(err, model.ErrConflict) {
		t.Errorf("a conflict is %v", err)
	}
}

// leads gives the fence of the key that is there.
func leads(t *testing.T, client *clientv3.Client) store.Fence {
	t.Helper()
	got, err := client.Get(t.Context(), leaderKey)
	if err != nil || len(got.Kvs) != 1 {
		t.Fatalf("%v (%v)", got, err)
	}
	return store.Fence{Key: leaderKey, Revision: got.Kvs[0].CreateRevision}
}
