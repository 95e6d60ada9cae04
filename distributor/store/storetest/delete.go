package storetest

import (
	"errors"
	"slices"
	"testing"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
)

func nodesDeleted(t *testing.T, s service.Store) {
	rows := []model.Node{{ID: "a"}, {ID: "b"}, {ID: "c"}}
	if err := s.PutNodes(t.Context(), rows, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteNodes(t.Context(), []string{"a", "c", "never"}, []model.AuditEntry{audit("node.forget", "node/a")}); err != nil {
		t.Fatal(err)
	}
	left, err := s.ListNodes(t.Context(), "", 10)
	if err != nil || len(left) != 1 || left[0].ID != "b" {
		t.Errorf("left are %v, %v", left, err)
	}
	entries, _, err := s.ListAudit(t.Context(), "node/a", 0, 10)
	if err != nil || len(entries) != 1 {
		t.Errorf("the audit has %v, %v", entries, err)
	}
	if err := s.DeleteNodes(t.Context(), make([]string, service.MaxBatch+1), nil); !errors.Is(err, model.ErrInvalid) {
		t.Errorf("a batch over the limit: %v", err)
	}
}

func releaseDeleted(t *testing.T, s service.Store) {
	for n := range 3 {
		r := release("edge", n)
		if err := s.CreateRelease(t.Context(), r, audit("release.create", "release/"+r.ID.String())); err != nil {
			t.Fatal(err)
		}
	}
	gone := release("edge", 1).ID
	if err := s.DeleteRelease(t.Context(), gone, audit("release.collect", "release/"+gone.String())); err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetRelease(t.Context(), gone); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("it is still there: %v", err)
	}
	for _, name := range []string{"", "edge"} {
		list, _, err := s.ListReleases(t.Context(), name, 0, 10)
		if err != nil || len(list) != 2 || slices.ContainsFunc(list, func(r model.Release) bool { return r.ID == gone }) {
			t.Errorf("the list of %q has %d releases, %v", name, len(list), err)
		}
	}
	if err := s.DeleteRelease(t.Context(), gone, audit("release.collect", "release/"+gone.String())); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("once more: %v", err)
	}
	if err := s.CreateRelease(t.Context(), release("edge", 1), audit("release.create", "release/"+gone.String())); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if list, _, err := s.ListReleases(t.Context(), "edge", 0, 10); err != nil || len(list) != 3 || list[0].ID != gone {
		t.Errorf("created again, it is not the newest: %v", err)
	}
}

func rolloutDeleted(t *testing.T, s service.Store) {
	made := map[string]model.Rollout{}
	for _, name := range []string{"one", "two", "three"} {
		r, _, err := s.CreateRollout(t.Context(), model.Rollout{Name: name, Phase: model.RolloutDone}, []model.AuditEntry{audit("rollout.start", "rollout/"+name)})
		if err != nil {
			t.Fatal(err)
		}
		made[name] = r
	}
	end := audit("rollout.collect", "rollout/two")
	if err := s.DeleteRollout(t.Context(), "two", made["two"].Sequence, end); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.GetRollout(t.Context(), "two"); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("it is still there: %v", err)
	}
	if list, _, err := s.ListRollouts(t.Context(), 0, 10); err != nil || len(list) != 2 || list[0].Name != "three" || list[1].Name != "one" {
		t.Errorf("the list has %v, %v", list, err)
	}
	if entries, _, err := s.ListAudit(t.Context(), "rollout/two", 0, 10); err != nil || len(entries) != 2 || entries[0].Action != end.Action {
		t.Errorf("the audit has %v, %v", entries, err)
	}
	if err := s.DeleteRollout(t.Context(), "two", made["two"].Sequence, end); !errors.Is(err, model.ErrNotFound) {
		t.Errorf("once more: %v", err)
	}
	if _, _, err := s.CreateRollout(t.Context(), model.Rollout{Name: "two"}, []model.AuditEntry{audit("rollout.start", "rollout/two")}); !errors.Is(err, model.ErrExists) {
		t.Errorf("its name is free again: %v", err)
	}
}
