package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/waft-project/waft/registry"
	"github.com/waft-project/waft/sdk/manifest"
)

// manifestFile is where pull writes the manifest of a module: FILE.json beside FILE.wasm.
func manifestFile(file string) string { return strings.TrimSuffix(file, ".wasm") + ".json" }

// keepManifest refuses to write a manifest over a file that is something else: it may be a person's, or the manifest of another version
// that is still needed.
func keepManifest(path string, text []byte) error {
	have, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && bytes.Equal(have, text) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("pull: %s is there, and is not the manifest that would be written to it; move it away, name another file with -O, or say --overwrite", path)
}

// describes checks that the manifest beside a pulled artifact is about its module.
func describes(a registry.Artifact) error {
	const next = "do not use it: whoever published it has mixed two modules up; ask for another version"
	m, err := manifest.Decode(a.Manifest)
	if err != nil {
		return fmt.Errorf("pull %s: the manifest beside it: %w; %s", a.Reference, err, next)
	}
	if m.Digest() != string(a.Module.Digest) || m.Size != a.Module.Size {
		return fmt.Errorf("pull %s: its manifest describes the module %s of %d bytes, and it holds %s of %d; %s", a.Reference, m.Digest(), m.Size, a.Module.Digest, a.Module.Size, next)
	}
	return nil
}
