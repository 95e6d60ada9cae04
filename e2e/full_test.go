package e2e

import (
	"os"
	"testing"
)

// fullVariable is set to "all" by `make e2e` and `make rogues`.
const fullVariable = "WAFT_E2E"

// full says whether every test is to run. `make test`, which each change waits for, leaves out those that try what another one tries in
// another way: an older Envoy, a rarer kind of wrong.
func full() bool { return os.Getenv(fullVariable) == "all" }

// onlyInFull skips a test where not every one is to run.
func onlyInFull(t *testing.T) {
	t.Helper()
	if !full() {
		t.Skipf("%s is not all; make e2e runs it", fullVariable)
	}
}
