// Package wholefile replaces files so that whoever reads them, and whoever comes after the machine has stopped, finds the old content or the new one, and nothing
// between. It imports the standard library only, since filters' tools, agents and applications all use it.
package wholefile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Prefix is how the names of files begin that are not finished; those of a process that was ended may be left.
const Prefix = ".new-"

// Replace writes a file of mode 0600 beside path, flushes it to disk, renames it to path, and flushes the folder where that can be done. When it fails, what was at path is
// untouched, but for a flush of the folder that fails: then either may be there after the machine has stopped. It may be called concurrently.
func Replace(path string, content []byte) (err error) {
	temporary, err := os.CreateTemp(filepath.Dir(path), Prefix+"*")
	if err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary.Name()) // the first error is the one that tells
		}
	}()
	_, err = temporary.Write(content)
	if err == nil {
		err = temporary.Sync()
	}
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("replace %s: %w", path, err)
	}
	if err := flushFolder(filepath.Dir(path)); err != nil {
		return fmt.Errorf("flush the folder of %s: %w", path, err)
	}
	return nil
}

// Unfinished are the files of a folder that are not finished. Who calls it sees to it that nothing in the folder is being replaced.
func Unfinished(dir string) ([]string, error) { return filepath.Glob(filepath.Join(dir, Prefix+"*")) }
