package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// guestPackages are what a package main must import for a pattern such as ./filters/... to take it for a filter. A
// directory that is named itself is taken whatever it imports.
var guestPackages = []string{
	"github.com/waft-project/waft/sdk",
	"github.com/proxy-wasm/proxy-wasm-go-sdk/proxywasm",
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm",
}

// filterDir is a directory with a filter's source.
type filterDir struct {
	path string
	// named: the command line names this very directory, not a pattern that it matches.
	named bool
}

// filterDirs are the directories that the arguments name; none: the working directory.
func filterDirs(ctx context.Context, args []string) ([]filterDir, error) {
	if len(args) == 0 {
		args = []string{"."}
	}
	var dirs []filterDir
	for _, arg := range args {
		if !strings.Contains(arg, "...") {
			dirs = append(dirs, filterDir{filepath.Clean(arg), true})
			continue
		}
		found, err := matching(ctx, arg)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("%s matches no filter (a package main that imports %s); name a directory, or check the pattern", arg, guestPackages[0])
		}
		dirs = append(dirs, found...)
	}
	return dirs, nil
}

// matching asks the go command which packages a pattern means.
func matching(ctx context.Context, pattern string) ([]filterDir, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-f", `{{if eq .Name "main"}}{{.Dir}}{{range .Imports}} {{.}}{{end}}{{end}}`, pattern)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", pattern, err, bytes.TrimSpace(stderr.Bytes()))
	}
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	var dirs []filterDir
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		if len(words) < 2 || !slices.ContainsFunc(words[1:], func(p string) bool { return slices.Contains(guestPackages, p) }) {
			continue
		}
		path := words[0]
		if relative, err := filepath.Rel(here, path); err == nil {
			path = relative
		}
		dirs = append(dirs, filterDir{path, false})
	}
	return dirs, nil
}

// hasScenarios says whether a directory has scenario files to run.
func (d filterDir) hasScenarios() (bool, error) {
	_, err := os.Stat(filepath.Join(d.path, "scenarios"))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
