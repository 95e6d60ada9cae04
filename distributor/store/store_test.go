package store_test

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor/model"
	"github.com/waft-project/waft/distributor/service"
	"github.com/waft-project/waft/distributor/store"
	"github.com/waft-project/waft/distributor/store/storetest"
)

const startTimeout = 30 * time.Second

func start(t *testing.T, dir string) *store.Embedded {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	embedded, err := store.StartEmbedded(ctx, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := embedded.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return embedded
}

func open(t *testing.T, embedded *store.Embedded) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), embedded.Client())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) service.Store { return open(t, start(t, t.TempDir())) })
}

// Two stores over one etcd are two processes' worth of writers: what one caches of the sequence the other overtakes.
func TestSequenceIsSharedByProcesses(t *testing.T) {
	embedded := start(t, t.TempDir())
	stores := []*store.Store{open(t, embedded), open(t, embedded)}
	for i := range 6 {
		entry := model.AuditEntry{Actor: "alice", Action: "test", Object: "node/n"}
		if err := stores[i%2].PutNodes(t.Context(), []model.Node{{ID: "n"}}, []model.AuditEntry{entry}); err != nil {
			t.Fatal(err)
		}
	}
	entries, _, err := stores[0].ListAudit(t.Context(), "", 0, 10)
	if err != nil || len(entries) != 6 || entries[0].Sequence != 6 {
		t.Fatalf("got %d entries (%v), want 6 in one sequence", len(entries), err)
	}
}

func TestSecondStartOnTheSameFolder(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir)
	_, err := store.StartEmbedded(t.Context(), dir, nil)
	if !errors.Is(err, model.ErrConflict) {
		t.Fatalf("error is %v, want a conflict", err)
	}
	for _, part := range []string{dir, "process " + strconv.Itoa(os.Getpid())} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not name %q", err, part)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	start(t, dir)
}

func TestStartThatCannotBe(t *testing.T) {
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.StartEmbedded(t.Context(), file, nil); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("error is %v, want one that names %s", err, file)
	}
}

// etcd cannot go on from a first start that ended before its log had an entry; the folder must not stay unusable.
func TestStartAfterOneThatWasCutShort(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if embedded, err := store.StartEmbedded(ended, dir, nil); err == nil {
		_ = embedded.Close() // it was faster than its context
	}
	open(t, start(t, dir))
}

func TestRestartKeepsEverything(t *testing.T) {
	dir := t.TempDir()
	first := start(t, dir)
	s := open(t, first)
	rollout, revision, err := s.CreateRollout(t.Context(), model.Rollout{Name: "one", Wave: -1}, []model.AuditEntry{{Object: "rollout/one"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.GetRollout(t.Context(), "one"); !errors.Is(err, model.ErrUnavailable) {
		t.Fatalf("a stopped store says %v, want unavailable", err)
	}
	s = open(t, start(t, dir))
	got, gotRevision, err := s.GetRollout(t.Context(), "one")
	if err != nil || got.Sequence != rollout.Sequence || gotRevision != revision {
		t.Fatalf("got sequence %d, revision %d (%v), want %d and %d", got.Sequence, gotRevision, err, rollout.Sequence, revision)
	}
}

// A folder that cannot be used is an error that says what to do.
func TestFolderThatCannotBeUsed(t *testing.T) {
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	locked := t.TempDir()
	if err := os.Mkdir(locked+"/LOCK", 0o700); err != nil { // root may write to any folder; nobody can lock this one
		t.Fatal(err)
	}
	for _, dir := range []string{file + "/data", locked} {
		if _, err := store.StartEmbedded(t.Context(), dir, nil); !errors.Is(err, model.ErrUnavailable) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "--data") {
			t.Errorf("%s: error is %v", dir, err)
		}
	}
}
