package store_test

import (
	"testing"

	"github.com/waft-project/waft/distributor/store"
)

// A store is the same one whoever asks, and after a restart; another one is another, also where it was loaded with the same state.
func TestIdentity(t *testing.T) {
	identity := func(s *store.Store) string {
		t.Helper()
		id, err := s.Identity(t.Context())
		if err != nil || id == "" {
			t.Fatalf("it is %q, %v", id, err)
		}
		return id
	}
	dir := t.TempDir()
	embedded := start(t, dir)
	s := open(t, embedded)
	id := identity(s)
	if again := identity(open(t, embedded)); again != id {
		t.Errorf("it is %s for one and %s for another", id, again)
	}
	state := dump(t, s)
	if err := embedded.Close(); err != nil {
		t.Fatal(err)
	}
	if again := identity(open(t, start(t, dir))); again != id {
		t.Errorf("after a restart it is %s, and was %s", again, id)
	}
	other := start(t, t.TempDir())
	if err := store.Load(t.Context(), other.Client(), loading(state, nil)); err != nil {
		t.Fatal(err)
	}
	if another := identity(open(t, other)); another == id {
		t.Error("what was loaded with its state has its identity")
	}
}
