package distributor_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waft-project/waft/distributor"
	waftv1 "github.com/waft-project/waft/distributor/api/gen/waft/v1"
)

// A distributor that is started once with a store which knows nothing of its registry, since the real one is elsewhere, removes nothing from it: not while that store
// is empty, and not when it has releases of its own. One that has always had the same store removes what no release names.
func TestAnotherStoreSweepsNothing(t *testing.T) {
	data := t.TempDir()
	old := time.Now().Add(-48 * time.Hour)
	run := func(use func(s *server)) {
		t.Helper()
		// Whatever is there was pushed the day before yesterday.
		if err := filepath.WalkDir(filepath.Join(data, "registry"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Name() == "link" {
				err = os.Chtimes(path, old, old)
			}
			return err
		}); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		s := start(t, distributor.Config{Data: data, Insecure: true})
		use(s)
		if err := s.stop(); err != nil {
			t.Fatal(err)
		}
	}
	create := func(s *server, name string) (repository string) {
		t.Helper()
		r, err := s.client(t).Releases.CreateRelease(t.Context(), &waftv1.CreateReleaseRequest{Release: release(t, inlineDocument(name, encodedModule(loadable(name)), ""))})
		if err != nil {
			t.Fatal(err)
		}
		_, repository, _ = strings.Cut(r.GetSpec().GetFilters()[0].GetModule(), "/")
		return repository
	}
	moved := func(from, to string) {
		t.Helper()
		if err := os.Rename(filepath.Join(data, from), filepath.Join(data, to)); err != nil {
			t.Fatal(err)
		}
	}
	there := func(s *server, repository string) bool { return exists(t, s.HTTP+"/"+repository) == nil }

	var first, second, unneeded string
	run(func(s *server) {
		first = create(s, "first")
		unneeded = "inline/global/unneeded@" + pushUntagged(t, s.HTTP+"/inline/global/unneeded", loadable("unneeded"))
	})
	run(func(s *server) {
		if there(s, unneeded) || !there(s, first) {
			t.Errorf("with the same store, what no release names is there: %v, and what one names: %v", there(s, unneeded), there(s, first))
		}
	})

	moved("etcd", "elsewhere")
	run(func(s *server) {
		if !there(s, first) {
			t.Error("an empty store has the modules of another one removed")
		}
		second = create(s, "second")
	})
	run(func(s *server) {
		if !there(s, first) {
			t.Error("another store with a release has the modules of the first removed")
		}
	})
	moved("etcd", "other")
	moved("elsewhere", "etcd")
	run(func(s *server) {
		if !there(s, first) || !there(s, second) {
			t.Errorf("with the first store again, its module is there: %v, and the other's: %v", there(s, first), there(s, second))
		}
	})
}
