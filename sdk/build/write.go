package build

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/waft-project/waft/sdk/manifest"
)

// writeBoth puts a module and its manifest into place: both, or neither. A crash between the two renames leaves a manifest
// whose digest is not the module's, which ReadManifest refuses.
func writeBoth(modulePath string, wasm []byte, manifestPath string, m manifest.Manifest) (err error) {
	data, err := m.Encode()
	if err != nil {
		return fmt.Errorf("write %s: %w", manifestPath, err)
	}
	if err := os.MkdirAll(filepath.Dir(modulePath), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", modulePath, err)
	}
	newModule, err := writeTemp(modulePath, wasm)
	if err != nil {
		return err
	}
	defer removeTemp(newModule, &err)
	newManifest, err := writeTemp(manifestPath, data)
	if err != nil {
		return err
	}
	defer removeTemp(newManifest, &err)

	old, err := keep(modulePath)
	if err != nil {
		return err
	}
	if old != "" {
		defer removeTemp(old, &err)
	}
	if err := os.Rename(newModule, modulePath); err != nil {
		return fmt.Errorf("write %s: %w", modulePath, err)
	}
	if err := os.Rename(newManifest, manifestPath); err != nil {
		err = fmt.Errorf("write %s: %w", manifestPath, err)
		if old != "" {
			return errors.Join(err, os.Rename(old, modulePath))
		}
		return errors.Join(err, os.Remove(modulePath))
	}
	return nil
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
