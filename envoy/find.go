package envoy

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// PathVariable is the environment variable that names the Envoy binary to use.
const PathVariable = "ENVOY"

// ErrNotFound means that no Envoy binary was found.
var ErrNotFound = errors.New("no Envoy found")

// Binary is an Envoy executable. The zero value names none; get one from Find.
type Binary struct {
	// Path is absolute.
	Path string
}

// Find looks for Envoy in this order: the explicit path (when it is not empty), $ENVOY, envoy on the PATH, and the newest
// version that `make envoy` left in .cache/envoy of the module that the working directory is in. An explicit path or
// $ENVOY that does not name an executable is an error; the search does not go on behind the caller's back.
//
// The error wraps ErrNotFound when nothing is there.
func Find(explicit string) (Binary, error) {
	if explicit != "" {
		return named(explicit, "the path given")
	}
	if path := os.Getenv(PathVariable); path != "" {
		return named(path, "$"+PathVariable)
	}
	if path, err := exec.LookPath("envoy"); err == nil {
		return named(path, "the PATH")
	}
	cached, err := Cached()
	if err != nil {
		return Binary{}, err
	}
	if len(cached) > 0 {
		return cached[0].Binary, nil
	}
	return Binary{}, fmt.Errorf("%w: neither a path given, $%s, envoy on the PATH nor .cache/envoy names one; run `make envoy`, or set $%s", ErrNotFound, PathVariable, PathVariable)
}

// CachedBinary is a binary of the module's own cache, and the version that its folder is named for.
type CachedBinary struct {
	Binary
	Number Number
}

// Cached lists the binaries in .cache/envoy of the module that the working directory is in, newest first. Outside of a
// module the list is empty.
func Cached() ([]CachedBinary, error) {
	root, err := moduleRoot()
	if err != nil || root == "" {
		return nil, err
	}
	paths, err := filepath.Glob(filepath.Join(root, ".cache", "envoy", "*", "envoy", "_bin", "envoy"))
	if err != nil {
		return nil, fmt.Errorf("search %s for Envoy: %w", root, err)
	}
	var found []CachedBinary
	for _, path := range paths {
		number, err := ParseNumber(filepath.Base(filepath.Dir(filepath.Dir(filepath.Dir(path)))))
		if err != nil {
			continue // not a folder of ours
		}
		found = append(found, CachedBinary{Binary: Binary{Path: path}, Number: number})
	}
	slices.SortFunc(found, func(a, b CachedBinary) int { return b.Number.Compare(a.Number) })
	return found, nil
}

// FindVersion is Find for one exact version out of the module's own cache; for tests and for comparing versions.
func FindVersion(number Number) (Binary, error) {
	cached, err := Cached()
	if err != nil {
		return Binary{}, err
	}
	for _, c := range cached {
		if c.Number == number {
			return c.Binary, nil
		}
	}
	return Binary{}, fmt.Errorf("%w: version %s is not in .cache/envoy; run `make envoy`", ErrNotFound, number)
}

func named(path, from string) (Binary, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return Binary{}, fmt.Errorf("make the path of Envoy absolute: %w", err)
	}
	info, err := os.Stat(absolute)
	if err != nil {
		return Binary{}, fmt.Errorf("%w: %s names %s: %w", ErrNotFound, from, absolute, err)
	}
	if info.IsDir() || info.Mode().Perm()&0o111 == 0 {
		return Binary{}, fmt.Errorf("%w: %s names %s, which is not an executable file", ErrNotFound, from, absolute)
	}
	return Binary{Path: absolute}, nil
}

// moduleRoot is the nearest folder upwards that holds a go.mod, or the empty string.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the working directory: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", nil
		}
		dir = parent
	}
}

// Compare orders versions; negative when n is older than other.
func (n Number) Compare(other Number) int {
	return cmp.Or(cmp.Compare(n.Major, other.Major), cmp.Compare(n.Minor, other.Minor), cmp.Compare(n.Patch, other.Patch))
}
