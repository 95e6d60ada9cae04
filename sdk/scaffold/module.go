package scaffold

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// waftModule is the module whose package sdk a filter imports.
const waftModule = "github.com/waft-project/waft"

// goVersion is the language version of a new module: the one that package sdk itself needs.
const goVersion = "1.26.0"

// replacedVersion is required where a replace directive says where the module really is.
const replacedVersion = "v0.0.0"

// home is the Go module that a filter is to belong to.
type home struct {
	goCommand string
	path      string
	own       bool // it is to be made
	version   string
	sdk       string // of a checkout, absolute; empty: none
}

// findModule decides where a filter lives. dir need not exist, its parent does.
func findModule(ctx context.Context, dir, name string, opts Options) (home, error) {
	h := home{goCommand: opts.Go, path: opts.Module, own: true, version: opts.Version}
	if opts.SDK != "" {
		abs, err := filepath.Abs(opts.SDK)
		if err != nil {
			return h, fmt.Errorf("checkout of waft in %s: %w", opts.SDK, err)
		}
		if path, err := h.run(ctx, abs, "list", "-m"); err != nil || path != waftModule {
			return h, fmt.Errorf("%w: %s is no checkout of %s; name the folder that holds its go.mod", ErrModule, opts.SDK, waftModule)
		}
		h.sdk = abs
	}
	if h.path == "" && h.sdk == "" {
		enclosing, err := h.enclosing(ctx, filepath.Dir(dir))
		if err != nil {
			return h, err
		}
		if enclosing != "" {
			h.path, h.own = enclosing, false
			return h, nil
		}
	}
	if h.path == "" {
		h.path = name
	}
	return h, nil
}

// enclosing is the path of the module that a folder belongs to; empty: none. A module in which waft's packages cannot be
// imported is an error: its go.mod is its author's to change.
func (h home) enclosing(ctx context.Context, dir string) (string, error) {
	file, err := h.run(ctx, dir, "env", "GOMOD")
	if err != nil {
		return "", err
	}
	if file == "" || file == os.DevNull {
		return "", nil
	}
	path, err := h.run(ctx, filepath.Dir(file), "list", "-m")
	if err != nil {
		return "", err
	}
	path, _, _ = strings.Cut(path, "\n") // a workspace has several
	if _, err := h.run(ctx, dir, "list", "-m", waftModule); err != nil {
		return "", fmt.Errorf("%w: it would belong to the module %s, which does not require %s; run `go get %s` there, "+
			"or give the filter a module of its own with --module PATH", ErrModule, path, waftModule, waftModule)
	}
	return path, nil
}

// goMod is the go.mod of a module of the filter's own.
func (h home) goMod() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "module %s\n\ngo %s\n", h.path, goVersion)
	if h.sdk != "" {
		fmt.Fprintf(&b, "\nrequire %s %s\n\n// Drop this line to take waft from the module proxy instead: go mod edit -dropreplace=%s && go get %s@latest\nreplace %s => %s\n",
			waftModule, replacedVersion, waftModule, waftModule, waftModule, quotePath(h.sdk))
	}
	return b.Bytes()
}

// quotePath writes a path as go.mod wants it.
func quotePath(path string) string {
	if strings.ContainsAny(path, " \t\"'`(),") {
		return fmt.Sprintf("%q", path)
	}
	return path
}

// resolve has the go command find what the filter imports, and write go.mod and go.sum.
func (h home) resolve(ctx context.Context, dir string) error {
	if h.sdk == "" {
		version := h.version
		if version == "" {
			version = "latest"
		}
		if _, err := h.run(ctx, dir, "get", waftModule+"@"+version); err != nil {
			return fmt.Errorf("%w: %w; name a checkout of waft with --sdk DIR, or make the filter in a module that requires %s", ErrModule, err, waftModule)
		}
	}
	if _, err := h.run(ctx, dir, "mod", "tidy"); err != nil {
		return fmt.Errorf("%w: %w; see that the go command can reach its module proxy, or has the modules already", ErrModule, err)
	}
	return nil
}

// run runs the go command and gives what it prints, without white space around it.
func (h home) run(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, h.goCommand, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(bytes.TrimSpace(out)), nil
}
