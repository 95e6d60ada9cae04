package filtertest

import (
	"context"
	"fmt"
	"os"

	"github.com/waft-project/waft/sdk/build"
)

// compile builds the filter of a folder as `waft build` does, and gives the module's bytes. Go's own build cache makes a second build of
// the same sources quick.
func compile(ctx context.Context, dir string) ([]byte, error) {
	out, err := os.MkdirTemp("", "waft-filtertest-")
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", dir, err)
	}
	defer func() { _ = os.RemoveAll(out) }()
	built, err := build.Build(ctx, dir, build.Options{OutDir: out})
	if err != nil {
		return nil, err
	}
	return os.ReadFile(built.Module)
}
