package build

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPutBack(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	changed, added := write("changed", "new"), write("added", "new")
	old := write(".changed", "old")
	if err := putBack([]artefact{{path: changed}, {path: added}}, []string{old, ""}); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(changed); string(text) != "old" || err != nil {
		t.Errorf("what was replaced is %q, %v", text, err)
	}
	if entries, err := os.ReadDir(dir); len(entries) != 1 || err != nil {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}
