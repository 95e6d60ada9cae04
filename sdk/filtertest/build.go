package filtertest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// compile builds the filter of a folder with the ordinary toolchain. Go's own build cache makes a second build of the same sources quick.
func compile(ctx context.Context, dir string) ([]byte, error) {
	out, err := os.MkdirTemp("", "waft-filtertest-")
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", dir, err)
	}
	defer func() { _ = os.RemoveAll(out) }()
	path := filepath.Join(out, "filter.wasm")
	cmd := exec.CommandContext(ctx, "go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", path, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stderr, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("build %s: %w\n%s", dir, err, stderr.Bytes())
	}
	return os.ReadFile(path)
}
