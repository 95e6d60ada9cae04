package conformance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

const goGuestPackage = "github.com/waft-project/waft/sdk/wasmhost/conformance/testdata/goguest"

// goGuest compiles the guest in Go, once in a process. It needs the Go toolchain, and the module as the working directory.
var goGuest = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "goguest-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "goguest.wasm")
	build := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", path, goGuestPackage)
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile %s: %w: %s", goGuestPackage, err, out)
	}
	return os.ReadFile(path)
})
