package registrytest_test

import (
	"testing"

	"github.com/waft-project/waft/registry/registrytest"
)

func TestInMemory(t *testing.T) {
	registrytest.Run(t, func(t *testing.T) registrytest.Endpoint { return registrytest.Start(t) })
}

func TestFilesystem(t *testing.T) {
	registrytest.Run(t, func(t *testing.T) registrytest.Endpoint { return registrytest.StartFilesystem(t, t.TempDir()) })
}

func TestTLS(t *testing.T) {
	registrytest.Run(t, func(t *testing.T) registrytest.Endpoint { return registrytest.StartTLS(t) })
}

// A registry with the referrers API.
func TestReferrersAPI(t *testing.T) {
	registrytest.Run(t, func(t *testing.T) registrytest.Endpoint {
		return registrytest.Serve(t, registrytest.NewReferrersAPI(registrytest.Start(t).Handler))
	})
}
