package envoy

import (
	"fmt"
	"os"
	"path/filepath"
)

// Write puts the content in place of the slot's file in dir, by rename, so that Envoy reads the old or the new content
// and nothing between. The file is readable by its owner only: plugin configurations hold secrets.
func (f SlotFile) Write(dir string) error {
	return ReplaceFile(filepath.Join(dir, SlotFileName(f.Slot)), f.Content)
}

// ReplaceFile writes a file of mode 0600 beside path, flushes it to disk, and renames it to path. When it fails, what was at path is untouched.
func ReplaceFile(path string, content []byte) (err error) {
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary.Name()) // the first error is the one that tells
		}
	}()
	if _, err := temporary.Write(content); err != nil {
		_ = temporary.Close()
		return fmt.Errorf("replace %s: %w", path, err)
	}
	if err := temporary.Sync(); err != nil {
		_ = temporary.Close()
		return fmt.Errorf("replace %s: %w", path, err)
	}
	if err := temporary.Close(); err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	if err := os.Rename(temporary.Name(), path); err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	defer func() { _ = folder.Close() }() // read only
	if err := folder.Sync(); err != nil {
		return fmt.Errorf("flush the folder of %s: %w", path, err)
	}
	return nil
}
