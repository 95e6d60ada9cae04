package demo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// secondStat is what the second version of the filter headers counts each time it is configured: it stands in the
// statistics of an Envoy that has compiled and configured it, and of no other.
const secondStat = "wasmcustom.demo_headers_second_version"

// secondMain takes the place of the filter's main.go in its second version.
const secondMain = `// Command headers, in its second version: it counts that it is there.
package main

import "github.com/waft-project/waft/sdk"

func init() { sdk.Register(configureSecond) }

func main() {}

func configureSecond(p *sdk.Plugin, config *Config) (sdk.Filter, error) {
	configured, err := p.Counter("demo_headers_second_version")
	if err != nil {
		return nil, err
	}
	configured.Inc()
	return configure(p, config)
}
`

// secondHeaders copies the filter headers and changes its source, as its author would for a second version. The copy lies
// within the checkout, since its imports do; remove takes it away.
func secondHeaders(root string) (dir string, remove func() error, err error) {
	cache := filepath.Join(root, ".cache")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", nil, fmt.Errorf("copy the filter headers: %w", err)
	}
	parent, err := os.MkdirTemp(cache, "demo-")
	if err != nil {
		return "", nil, fmt.Errorf("copy the filter headers: %w", err)
	}
	remove = func() error { return os.RemoveAll(parent) }
	dir = filepath.Join(parent, "headers")
	err = copyGoFiles(filepath.Join(root, "filters", "headers"), dir)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "main.go"), []byte(secondMain), 0o600)
	}
	if err != nil {
		return "", nil, errors.Join(fmt.Errorf("copy the filter headers: %w", err), remove())
	}
	return dir, remove, nil
}

// copyGoFiles copies the Go files of a folder other than its tests.
func copyGoFiles(from, to string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(from, "*.go"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(file)), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}
