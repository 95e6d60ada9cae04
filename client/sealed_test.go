package client

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waft-project/waft/distributor/model"
)

// A record that is not as it was written is passed over for the one before, whatever is wrong with it, and does not take the place of that one.
func TestSealed(t *testing.T) {
	for name, damage := range map[string]func(string) string{
		"cut off":         func(text string) string { return text[:len(text)/2] },
		"empty":           func(string) string { return "" },
		"changed":         func(text string) string { return strings.Replace(text, `"generation":2`, `"generation":7`, 1) },
		"a later format":  func(text string) string { return strings.Replace(text, `"format":1`, `"format":2`, 1) },
		"something else":  func(string) string { return "[]" },
		"of another type": func(string) string { return `{"format":1,"content":5}` },
		"of another shape": func(string) string {
			const content = `{"retry":5,"generation":"two"}`
			return fmt.Sprintf(`{"format":1,"checksum":%q,"content":%s}`, model.Digest([]byte(content)), content)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), recordFile)
			for generation := int64(1); generation <= 2; generation++ {
				if err := writeSealed(path, record{Generation: generation}); err != nil {
					t.Fatal(err)
				}
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(damage(string(text))), 0o600); err != nil {
				t.Fatal(err)
			}
			var r record
			if damaged, err := readSealed(path, &r); err != nil || !errors.Is(damaged, errTorn) || r != (record{Generation: 1}) {
				t.Errorf("it reads %+v, %v", r, damaged)
			}
			if err := writeSealed(path, record{Generation: 3}); err != nil {
				t.Fatal(err)
			}
			if damaged, err := readSealed(path, &r); err != nil || damaged != nil || r.Generation != 3 {
				t.Errorf("written anew, it reads %+v, %v", r, damaged)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if damaged, err := readSealed(path, &r); err != nil || damaged != nil || r.Generation != 1 {
				t.Errorf("gone, it reads %+v, %v", r, damaged)
			}
		})
	}
	if damaged, err := readSealed(filepath.Join(t.TempDir(), recordFile), &record{}); err != nil || damaged != nil {
		t.Errorf("nothing is damaged: %v", damaged)
	}
}
