package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// checkOutFile refuses, before anything is fetched, a file to write that is written by a rename and cannot be: one whose folder is not
// there, a folder, and what is there and no file. A rename would take the place of a device such as /dev/null. flag is what the file was given
// by.
func checkOutFile(flag, file string) error {
	if info, err := os.Stat(filepath.Dir(file)); err != nil || !info.IsDir() {
		return fmt.Errorf("%s %s: there is no folder %s; make it, or name another file", flag, file, filepath.Dir(file))
	}
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", flag, err)
	case info.IsDir():
		return fmt.Errorf("%s %s: it is a folder; name a file in it", flag, file)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s %s: it is there and is no file; name one", flag, file)
	}
	return nil
}
