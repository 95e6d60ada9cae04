//go:build interop

package registrytest_test

import (
	"os"
	"testing"

	"github.com/waft-project/waft/registry/registrytest"
)

// The contract, with Debian's docker-registry: distribution 2.8, which many still run.
func TestContractDocker28(t *testing.T) {
	binary := os.Getenv("DOCKER_REGISTRY")
	if binary == "" {
		t.Fatal("DOCKER_REGISTRY does not name the registry's binary; run `make interop`")
	}
	registrytest.Run(t, func(t *testing.T) registrytest.Endpoint {
		e, stop, err := registrytest.StartProgram(t.Context(), binary, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = stop() })
		return e
	})
}
