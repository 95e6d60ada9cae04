package wholefile_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/waft-project/waft/wholefile"
)

func TestReplaceLeavesTheOldOneWhenItFails(t *testing.T) {
	dir := t.TempDir()
	read := func(path string) string {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	path := filepath.Join(dir, "a", "waft.json")
	if err := wholefile.Replace(path, []byte("new")); err == nil {
		t.Error("wrote into a folder that is not there")
	}
	path = filepath.Join(dir, "waft.json")
	for _, content := range []string{"one", "two"} {
		if err := wholefile.Replace(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got := read(path); got != content {
			t.Errorf("content %q", got)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
