package build

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// artefact is a file that a build makes.
type artefact struct {
	path string
	data []byte
}

// writeAll puts the files of a build, which go to one folder, into place: all of them, or none. A crash between two renames
// leaves files of two builds; manifest and symbols hold the digest of their module, so whoever reads them sees it.
func writeAll(outputs ...artefact) (err error) {
	if err := os.MkdirAll(filepath.Dir(outputs[0].path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", outputs[0].path, err)
	}
	fresh, old := make([]string, len(outputs)), make([]string, len(outputs))
	for i, o := range outputs {
		if fresh[i], err = writeTemp(o.path, o.data); err != nil {
			return err
		}
		defer removeTemp(fresh[i], &err)
	}
	for i, o := range outputs {
		if old[i], err = keep(o.path); err != nil {
			return err
		}
		if old[i] != "" {
			defer removeTemp(old[i], &err)
		}
	}
	for i, o := range outputs {
		if err := os.Rename(fresh[i], o.path); err != nil {
			return errors.Join(fmt.Errorf("write %s: %w", o.path, err), putBack(outputs[:i], old[:i]))
		}
	}
	return nil
}

// putBack undoes the renames of a build that failed: what was there before is there again, and nothing where there was nothing.
func putBack(outputs []artefact, old []string) (err error) {
	for i, o := range outputs {
		if old[i] != "" {
			err = errors.Join(err, os.Rename(old[i], o.path))
		} else {
			err = errors.Join(err, os.Remove(o.path))
		}
	}
	return err
}

// writeTemp writes a file beside the one that it is to become.
func writeTemp(path string, data []byte) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return "", fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// keep gives a file that is there a second name, to put it back by; the empty string when there is none.
func keep(path string) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return "", fmt.Errorf("write %s: %w", path, err)
	}
	name := f.Name()
	if err := errors.Join(f.Close(), os.Remove(name)); err != nil {
		return "", fmt.Errorf("write %s: %w", path, err)
	}
	err = os.Link(path, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("write %s: keep the old one: %w", path, err)
	}
	return name, nil
}

// removeTemp removes a temporary file that was not renamed.
func removeTemp(path string, err *error) {
	if rerr := os.Remove(path); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
		*err = errors.Join(*err, rerr)
	}
}
