package filtertest

import "testing"

// TestRun runs the scenarios of a filter that is written directly on proxy-wasm-go-sdk.
func TestRun(t *testing.T) { Run(t, "../wasmhost/testdata/gofilter") }
